//! Memory budget: estimates of the memory of a model, and the memory of the machine. What a child really takes
//! depends on llama.cpp's version and the processor; the estimates only have to keep the machine alive.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Role, settings::Settings, usage::Memory};
use crate::{model_store::Entry, types::MemoryEstimate};

const MB: u64 = 1_000_000;

/// Memory of llama-server itself with its compute buffers. Small models (5 to 46 MB of files) were measured at
/// 40 to 75 MB above their files.
const FIXED_BYTES: u64 = 128 * MB;

/// Estimate for a child with so many tokens in all its slots together.
pub(super) fn estimate(entry: &Entry, role: Role, tokens: u64) -> MemoryEstimate {
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let projector = entry.projector.as_deref().filter(|_| role == Role::Chat);
    let parts: u64 = entry.parts.iter().map(|part| size(&part.path)).sum();
    let weights = parts.saturating_add(projector.map_or(0, size));
    let kv_cache = match (role, entry.architecture.embedding_only) {
        // An encoder has no KV cache.
        (Role::Embed, true) => 0,
        _ => entry.architecture.kv_bytes_per_token.saturating_mul(tokens),
    };
    estimate_of(weights, kv_cache)
}

/// Estimate for a child with so many bytes of weights and in its KV cache.
pub(super) fn estimate_of(weights: u64, kv_cache: u64) -> MemoryEstimate {
    // Compute buffers grow with the model: a twentieth covers all measurements.
    MemoryEstimate { weights, kv_cache, compute: weights / 20 + FIXED_BYTES }
}

/// Memory limit in bytes of a child while it loads its model. Compute buffers differ too much between models to
/// be estimated closely.
pub(super) fn loading_ceiling(estimate: u64, budget: u64) -> u64 {
    within_budget(estimate.saturating_add((estimate / 2).max(1000 * MB)), estimate, budget)
}

/// Memory limit in bytes of a child with a loaded model: its reserved memory, and some for each request. A text
/// takes 130 bytes for each of its own until it is tokenised.
pub(super) fn ceiling(estimate: u64, loaded: Option<Memory>, tokens: u64, budget: u64) -> u64 {
    let base = loaded.map_or(0, |memory| memory.reserved).max(estimate);
    let requests = (256 * MB).saturating_add(tokens.saturating_mul(1000));
    within_budget(base.saturating_add(estimate / 4).saturating_add(requests), estimate, budget)
}

/// A child was admitted by its estimate.
fn within_budget(ceiling: u64, estimate: u64, budget: u64) -> u64 {
    ceiling.min(budget.max(estimate))
}

/// Memory budget in bytes of all children together.
pub(super) fn budget(settings: &Settings) -> u64 {
    match settings.engine_memory_mb {
        Some(megabytes) => megabytes.saturating_mul(MB),
        None => available() / 5 * 4,
    }
}

/// Memory of the machine, or of the container where that is less.
pub(super) fn available() -> u64 {
    control_groups().filter_map(|group| group.limit()).fold(machine(), u64::min)
}

/// Bytes that a new child can have now: those that the machine has free, or the container where these are fewer.
/// Files in memory count as free, since the system gives them up when it needs room.
pub(super) fn free() -> u64 {
    least_free(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), control_groups())
}

/// No limit where the system does not say how much is free.
fn least_free(meminfo: &str, groups: impl Iterator<Item = ControlGroup>) -> u64 {
    let machine = kilobytes(meminfo, "MemAvailable:").unwrap_or(u64::MAX);
    groups.filter_map(|group| group.free()).fold(machine, u64::min)
}

/// A line of `/proc/meminfo`, described in proc_meminfo(5), in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|number| number.saturating_mul(1024))
}

/// A control group of this process, by its folder. Its files are described in the kernel's cgroup-v2.rst.
struct ControlGroup(PathBuf);

/// The control groups whose limits hold for this process: its own and those above it.
fn control_groups() -> impl Iterator<Item = ControlGroup> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let folders: Vec<PathBuf> = Path::new(&path).ancestors().map(Path::to_owned).collect();
    folders.into_iter().map(|folder| ControlGroup(Path::new("/sys/fs/cgroup").join(folder)))
}

impl ControlGroup {
    /// `None` when there is none.
    fn limit(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.max")).ok()?.trim().parse().ok()
    }

    fn free(&self) -> Option<u64> {
        let used: u64 = fs::read_to_string(self.0.join("memory.current")).ok()?.trim().parse().ok()?;
        let stat = fs::read_to_string(self.0.join("memory.stat")).ok()?;
        let files = stat.lines().find_map(|line| line.strip_prefix("file ")?.parse::<u64>().ok())?;
        Some(self.limit()?.saturating_sub(used.saturating_sub(files)))
    }
}

#[cfg(target_os = "linux")]
fn machine() -> u64 {
    let system = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "totalram is 32 bits wide on 32-bit machines")]
    u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit))
}

/// No limit where the system does not report its memory.
#[cfg(not(target_os = "linux"))]
fn machine() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_says_what_is_left_of_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = ControlGroup(folder.path().to_owned());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 300\nfile 400\ninactive_file 200\n");
        assert_eq!((group.limit(), group.free()), (None, None));
        write("memory.max", "1000\n");
        assert_eq!((group.limit(), group.free()), (Some(1000), Some(700)));
        write("memory.max", "100\n");
        assert_eq!(group.free(), Some(0));
    }

    #[test]
    fn the_smallest_of_all_limits_is_what_is_free() {
        let group = |limit: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, text) in
                [("memory.max", limit), ("memory.current", "700000"), ("memory.stat", "file 400000\n")]
            {
                fs::write(folder.path().join(name), text).expect("a file");
            }
            folder
        };
        let folders = [group("max"), group("900000"), group("5000000")];
        let groups = || folders.iter().map(|folder| ControlGroup(folder.path().to_owned()));
        let meminfo = |kilobytes: u64| format!("MemTotal: 9000 kB\nMemAvailable: {kilobytes} kB\n");
        assert_eq!(least_free(&meminfo(2000), groups()), 600_000);
        assert_eq!(least_free(&meminfo(500), groups()), 512_000);
        assert_eq!(least_free(&meminfo(500), groups().take(1)), 512_000);
        assert_eq!(least_free("", groups().skip(2)), 4_700_000);
        assert_eq!(least_free("", groups().take(1)), u64::MAX);
    }

    #[test]
    fn what_the_system_says_is_free_is_read() {
        let text = "MemTotal:       24000 kB\nMemFree:  100 kB\nMemAvailable:    2000 kB\n";
        assert_eq!(kilobytes(text, "MemAvailable:"), Some(2000 * 1024));
        assert_eq!(kilobytes("", "MemAvailable:"), None);
        assert!(free() > 0 && available() >= free());
    }

    #[test]
    fn a_ceiling_leaves_room_for_what_is_reserved_and_stays_within_the_budget() {
        let loaded = |reserved| Some(Memory { held: 50 * MB, reserved: reserved * MB, resident: 60 * MB });
        assert_eq!(ceiling(100 * MB, loaded(200), 8000, u64::MAX), 489 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, u64::MAX), 639 * MB);
        assert_eq!(ceiling(300 * MB, None, 8000, u64::MAX), 639 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, 400 * MB), 400 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, 100 * MB), 300 * MB);
        assert_eq!(loading_ceiling(100 * MB, u64::MAX), 1100 * MB);
        assert_eq!(loading_ceiling(8000 * MB, u64::MAX), 12_000 * MB);
    }
}
