//! One llama-server process: its command line, its start, its output and its end.

use std::{
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Role,
    log_tail::LogTail,
    model_slot::Failure,
    settings::GpuLayers,
    spawner::Spawner,
    usage,
    watch::{Fault, HELD_UP_LIMIT, SILENT_LIMIT, STUCK_LIMIT},
};
use crate::{
    error::{Kind, Result},
    http_client::{Client, Request, Target, Timeouts},
    model_store::Entry,
};

/// Time a child may take to exit by itself. It has nothing to save, and llama-server has been seen to run on
/// for half a minute while a client was still connected.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses between two checks of whether the model is loaded.
const FIRST_POLL: Duration = Duration::from_millis(10);
const LAST_POLL: Duration = Duration::from_millis(250);
/// Timeouts of a single request. They are long, because a long prompt or 2048 texts may take many minutes on
/// a slow machine; `watch` detects a child that hangs.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(1800),
    idle: Duration::from_secs(300),
};

/// Launch parameters of a child.
pub(super) struct LaunchSpec {
    pub(super) program: PathBuf,
    pub(super) entry: Arc<Entry>,
    pub(super) role: Role,
    pub(super) socket: PathBuf,
    pub(super) slots: u32,
    /// Tokens of one slot.
    pub(super) context: u32,
    pub(super) threads: u32,
    pub(super) gpu_layers: GpuLayers,
}

impl LaunchSpec {
    /// llama-server's command line. Every flag is one that its `--help` documents.
    fn arguments(&self) -> Vec<OsString> {
        let mut list: Vec<OsString> = Vec::new();
        let mut pair = |flag: &str, value: OsString| list.extend([flag.into(), value]);
        pair("-m", self.entry.weights.clone().into());
        if let (Role::Chat, Some(projector)) = (self.role, &self.entry.projector) {
            pair("--mmproj", projector.clone().into());
        }
        pair("--host", self.socket.clone().into());
        pair("-np", self.slots.to_string().into());
        pair("-c", (u64::from(self.context) * u64::from(self.slots)).to_string().into());
        pair("-t", self.threads.to_string().into());
        // Without -ngl, llama-server offloads as many layers as fit.
        if let GpuLayers::AtMost(layers) = self.gpu_layers {
            pair("-ngl", layers.to_string().into());
        }
        // Its threads sleep between tokens and leave their cores to the threads that forward them
        // (docs/adr/0017).
        pair("--poll", "0".into());
        pair("--log-colors", "off".into());
        // The RAM prompt cache has restored another conversation's content (llama.cpp issue 27148).
        pair("--cache-ram", "0".into());
        match self.role {
            // -c is then divided evenly: no reply can take another one's room.
            Role::Chat => list.push("--no-kv-unified".into()),
            Role::Embed => {
                // An input has to fit into one physical batch, and a logical batch may not be smaller.
                pair("-b", self.context.to_string().into());
                pair("-ub", self.context.to_string().into());
                // With a cache for each slot, texts of different lengths are cut over several
                // batches and each mean is taken over a part: measured at cosines down to 0.89.
                list.extend(["--embedding", "--kv-unified"].map(OsString::from));
                if !self.entry.architecture.embedding_only {
                    // A language model defines no pooling; the mean of its last layer is the usual one.
                    list.extend(["--pooling", "mean"].map(OsString::from));
                }
            }
        }
        // --no-prefill-assistant: a last assistant message is continued only on request.
        // --metrics: the endpoint that `watch` polls.
        let plain = ["--metrics", "--no-ui", "--no-slots", "--offline", "--no-prefill-assistant"];
        list.extend(plain.map(OsString::from));
        match self.entry.chat_template {
            // As Jinja, the name would be read as the template itself.
            Some(name) => list.extend(["--no-jinja", "--chat-template", name].map(OsString::from)),
            None => list.push("--jinja".into()),
        }
        list
    }
}

/// A running child. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    client: Client,
    log: Arc<LogTail>,
    readers: JoinSet<()>,
    spec: LaunchSpec,
}

impl Process {
    pub(super) async fn start(spawner: &Spawner, spec: LaunchSpec) -> Result<Self, Failure> {
        let name = &spec.entry.name;
        let failed = |detail: String| {
            Failure::new(
                Kind::Setup,
                format!(
                    "The engine process for {name} cannot be started; run `simpleton doctor` to find out why."
                ),
                detail,
            )
        };
        let client = Client::new("The engine", Target::Unix(spec.socket.clone()), TIMEOUTS)
            .map_err(|error| failed(error.chain()))?;
        let mut command = Command::new(&spec.program);
        command.args(spec.arguments()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        scrub_environment(&mut command);
        let mut child = spawner.spawn(command).await.map_err(|error| failed(error.to_string()))?;
        child.id().into_iter().for_each(usage::goes_first);
        let log = Arc::new(LogTail::default());
        let mut readers = JoinSet::new();
        if let Some(output) = child.stdout.take() {
            readers.spawn(read_log(output, Arc::clone(&log), name.to_string()));
        }
        if let Some(output) = child.stderr.take() {
            readers.spawn(read_log(output, Arc::clone(&log), name.to_string()));
        }
        Ok(Self { child, client, log, readers, spec })
    }

    /// Returns when the model is loaded and the child accepts requests.
    pub(super) async fn ready(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_POLL;
        loop {
            tokio::select! {
                exit = self.child.wait() => return Err(self.did_not_load(exit.ok()).await),
                // No socket yet, or "Loading model": try again.
                answer = self.client.send(Request::get("/health")) => {
                    if answer.is_ok_and(|answer| answer.is_success()) {
                        self.log.serves();
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(self.too_slow(limit)),
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LAST_POLL);
        }
    }

    /// Returns when the process has exited without having been asked to.
    pub(super) async fn ended(&mut self) -> Failure {
        let status = self.child.wait().await.ok();
        self.finish_log().await;
        let message = format!("The engine process for {} ended unexpectedly.", self.spec.entry.name);
        Failure::new(Kind::BadGateway, message, exit_text(status)).with_last_lines(self.log.take())
    }

    /// Reason for killing a process that exceeds its limits, hangs or is blocked by one request.
    pub(super) fn offends(&self, fault: Fault) -> Failure {
        let name = &self.spec.entry.name;
        let (done, to_suspect) = match fault {
            Fault::Outgrew(ceiling) => {
                let megabytes = ceiling.div_ceil(1_000_000);
                (
                    format!("exceeded {megabytes} MB of memory"),
                    format!(
                        "This request made the engine process for {name} exceed {megabytes} MB of memory"
                    ),
                )
            }
            Fault::HeldUp => (
                format!("was blocked by one request for {} s", HELD_UP_LIMIT.as_secs()),
                format!(
                    "This request blocked the engine process for {name} for {} s",
                    HELD_UP_LIMIT.as_secs()
                ),
            ),
            Fault::Silent | Fault::Stuck => (
                format!("did not respond for {} s", SILENT_LIMIT.as_secs()),
                format!("The engine process for {name} stopped responding to this request"),
            ),
        };
        Failure::new(Kind::BadGateway, format!("The engine process for {name} {done} and was stopped."), "")
            .telling_suspect(format!(
                "{to_suspect}, so it was stopped; simplify the request before you send it again."
            ))
            .with_last_lines(self.log.take())
    }

    /// Reason for killing a process that does not load its model.
    pub(super) fn does_not_load(&self, fault: Fault) -> Failure {
        let name = &self.spec.entry.name;
        let done = match fault {
            Fault::Outgrew(ceiling) => {
                format!("its process exceeded {} MB of memory", ceiling.div_ceil(1_000_000))
            }
            _ => format!("its process ran for {} s without making progress", STUCK_LIMIT.as_secs()),
        };
        let cause = match self.spec.entry.architecture.has_chat_template {
            true => " The chat template in its file is the likely cause.",
            false => "",
        };
        let message = format!("The engine cannot load {name}: {done} and was stopped.{cause}");
        Failure::new(Kind::BadGateway, message, "").with_last_lines(self.log.take())
    }

    /// Terminates the process, kills it if necessary, and reaps it.
    pub(super) async fn terminate(mut self) {
        if let Some(pid) = self.pid().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            // It may just have exited on its own; waiting shows that.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(TERMINATE_TIMEOUT, self.child.wait()).await.is_err() {
            // Fails only when it has ended, and then there is nothing left to do.
            let _ = self.child.kill().await;
        }
    }

    /// Kills a process that did not terminate.
    pub(super) async fn kill(mut self) {
        // Fails only when it has ended, and then there is nothing left to do.
        let _ = self.child.kill().await;
    }

    /// Process id; `None` once the process has been reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    async fn did_not_load(&mut self, status: Option<ExitStatus>) -> Failure {
        self.finish_log().await;
        let name = &self.spec.entry.name;
        let (reason, detail) = match self.log.reason() {
            Some(reason) => (reason, exit_text(status)),
            None => (format!("its process ended ({})", exit_text(status)), String::new()),
        };
        let message = format!("The engine cannot load {name}: {reason}.");
        Failure::new(Kind::BadGateway, message, detail).with_last_lines(self.log.take())
    }

    fn too_slow(&self, limit: Duration) -> Failure {
        let message = format!("{} was not loaded within {} s.", self.spec.entry.name, limit.as_secs());
        Failure::new(Kind::GatewayTimeout, message, "").with_last_lines(self.log.take())
    }

    /// Reads the process's last lines, which may still be in the pipe after its exit.
    async fn finish_log(&mut self) {
        let all = async { while self.readers.join_next().await.is_some() {} };
        // A grandchild could hold the pipe open for ever.
        let _ = timeout(Duration::from_secs(1), all).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // llama-server leaves its socket behind.
        let _ = fs::remove_file(&self.spec.socket);
    }
}

fn exit_text(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "unknown exit status".to_owned() };
    if status.signal() == Some(rustix::process::Signal::ILL.as_raw()) {
        return format!(
            "{status}: it was built for another processor; PORTABLE=1 scripts/engine.sh builds it for any"
        );
    }
    status.to_string()
}

async fn read_log(output: impl AsyncRead + Unpin, log: Arc<LogTail>, model: String) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if !text.is_empty() {
            let shown = text.clone();
            if log.push(text) {
                tracing::debug!(model, "llama-server: {shown}");
            }
        }
    }
}

/// Removes environment variables that a child does not need: LLAMA_ARG_* would change its settings, and
/// others may be secrets.
pub(super) fn scrub_environment(command: &mut Command) {
    const NAMES: [&str; 8] =
        ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];
    const PREFIXES: [&str; 9] =
        ["CUDA_", "NVIDIA_", "GGML_", "HIP_", "HSA_", "ROCR_", "ROCM_", "VK_", "ONEAPI_"];
    command.env_clear();
    // Memory of a large request is returned to the system when it is done (mallopt(3)).
    command.envs([
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_TRIM_THRESHOLD_", "1048576"),
        ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ]);
    command.envs(std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    }));
}
