//! Settings of the embedded engine.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::Args;

use crate::{
    types::KeepAlive,
    value_parser::{duration, path, seconds, whole, word},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedded engine")]
#[group(skip)]
pub struct Settings {
    /// Path of the llama-server program. Defaults to the first one found in DATA_DIR/engine, in lib/simpleton beside the bin directory of the simpleton program, and on PATH
    #[arg(long, env = "LLAMA_SERVER", value_parser = path)]
    pub llama_server: Option<PathBuf>,
    /// GPU backend that `make run` and `simpleton engine install` build into llama-server: auto (the first of the following whose tools are installed), cuda, rocm, vulkan, metal, or off
    #[arg(long, env = "ENGINE_GPU", default_value = "auto", value_parser = word(GPU_BACKENDS))]
    pub engine_gpu: &'static str,
    /// Maximum number of a model's layers to keep in GPU memory, or auto for as many as fit. 0 uses the CPU alone
    #[arg(long, env = "ENGINE_GPU_LAYERS", default_value = "auto", value_parser = gpu_layers)]
    pub engine_gpu_layers: GpuLayers,
    /// Maximum number of loaded models
    #[arg(long, env = "ENGINE_MAX_LOADED", default_value = "3", value_parser = whole(1..=64_u32))]
    pub engine_max_loaded: u32,
    /// Number of requests that one loaded model answers in parallel
    #[arg(long, env = "ENGINE_PARALLEL", default_value = "4", value_parser = whole(1..=64_u32))]
    pub engine_parallel: u32,
    /// Maximum number of requests waiting for one model; further ones are refused
    #[arg(long, env = "ENGINE_QUEUE", default_value = "64", value_parser = whole(0..=100_000_u32))]
    pub engine_queue: u32,
    /// Time to keep an idle model loaded: seconds, a duration (90s, 5m, 1h), or -1 to keep it forever
    #[arg(long, env = "ENGINE_KEEP_ALIVE", default_value = "5m", allow_hyphen_values = true, value_parser = keep_alive)]
    pub engine_keep_alive: KeepAlive,
    /// Context size in tokens, for prompt and answer together, of models that state none (num_ctx); at most what the model was trained for, and less if the memory is too small
    #[arg(long, env = "ENGINE_CONTEXT", default_value = "4096", value_parser = whole(256..=4_194_304_u32))]
    pub engine_context: u32,
    /// Megabytes of memory for all loaded models together. Defaults to 80 % of the machine's memory
    #[arg(long, env = "ENGINE_MEMORY_MB", value_parser = whole(1..=100_000_000_u64))]
    pub engine_memory_mb: Option<u64>,
    /// Number of threads per model. Defaults to the number of processor cores
    #[arg(long, env = "ENGINE_THREADS", value_parser = whole(1..=1024_u32))]
    pub engine_threads: Option<u32>,
    /// Seconds to wait for a model to load
    #[arg(long, env = "ENGINE_START_TIMEOUT_S", default_value = "300", value_parser = seconds(1..=86_400))]
    pub engine_start_timeout_s: u64,
}

/// Values of ENGINE_GPU, which `scripts/engine.sh` reads.
const GPU_BACKENDS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("cuda", "cuda"),
    ("rocm", "rocm"),
    ("vulkan", "vulkan"),
    ("metal", "metal"),
    ("off", "off"),
];

/// Number of layers that llama-server offloads to GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuLayers {
    /// llama-server measures what fits.
    Auto,
    AtMost(u32),
}

fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(GpuLayers::Auto);
    }
    match text.parse() {
        Ok(layers) if layers <= 10_000 => Ok(GpuLayers::AtMost(layers)),
        _ => Err("must be auto or a whole number from 0 to 10000".to_owned()),
    }
}

fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    match duration(text, Duration::from_secs(1)) {
        Some(time) => Ok(KeepAlive::For(time)),
        None => text.parse(),
    }
}

impl Settings {
    pub(super) fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.engine_start_timeout_s)
    }

    pub(super) fn threads(&self) -> u32 {
        self.engine_threads.unwrap_or_else(cores)
    }
}

/// Physical cores available to this process. Hyperthreads are not counted, because two threads on one core
/// make llama.cpp slower.
fn cores() -> u32 {
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    let physical = physical_cores(Path::new("/sys/devices/system/cpu")).unwrap_or(allowed);
    u32::try_from(allowed.min(physical)).unwrap_or(1).max(1)
}

/// `None` if the system does not report them; Linux does in sysfs.
fn physical_cores(sysfs: &Path) -> Option<usize> {
    let siblings: HashSet<String> = fs::read_dir(sysfs)
        .ok()?
        .flatten()
        .filter_map(|cpu| fs::read_to_string(cpu.path().join("topology/thread_siblings_list")).ok())
        .collect();
    (!siblings.is_empty()).then_some(siblings.len())
}
