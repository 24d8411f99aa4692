//! One llama-server process: its command line, its start, its output and its end.

use std::{
    ffi::OsString,
    fs,
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

use super::{Role, log_tail::LogTail, place::Failure, spawner::Spawner};
use crate::{
    client::{Client, Method, Target, Timeouts},
    error::{Kind, Result},
    library::Entry,
};

/// How long a child may take to end by itself. It has nothing to save, and while a client was still
/// connected llama-server was seen to go on for half a minute.
const GRACE: Duration = Duration::from_secs(2);
/// The steps between two questions whether the model is loaded.
const FIRST_POLL: Duration = Duration::from_millis(10);
const LAST_POLL: Duration = Duration::from_millis(250);
/// Whether a child hangs is asked every so often, and how often in a row it may stay silent.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
const MISSED_LOOKS: u32 = 3;
/// A dead child is seen by its exit and one that hangs by its silence. These only bound one request: on a
/// slow machine a long prompt or 2048 texts may well take many minutes.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(1800),
    idle: Duration::from_secs(300),
};

/// What a child is to run.
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) entry: Arc<Entry>,
    pub(super) role: Role,
    pub(super) socket: PathBuf,
    pub(super) slots: u32,
    /// Tokens of one slot.
    pub(super) context: u32,
    pub(super) threads: u32,
}

impl Plan {
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
        // Its threads sleep between tokens and leave their cores to whoever passes the tokens on
        // (docs/adr/0017).
        pair("--poll", "0".into());
        pair("--log-colors", "off".into());
        // The RAM prompt cache has restored another conversation's content (llama.cpp issue 27148).
        pair("--cache-ram", "0".into());
        match self.role {
            // -c is then shared out evenly: no reply can take another one's room.
            Role::Chat => list.push("--no-kv-unified".into()),
            Role::Embed => {
                // An input has to fit into one physical batch, and a logical batch may not be smaller.
                pair("-b", self.context.to_string().into());
                pair("-ub", self.context.to_string().into());
                // With a cache for each slot, texts of different lengths are cut over several
                // batches and each mean is taken over a part: measured at cosines down to 0.89.
                list.extend(["--embedding", "--kv-unified"].map(OsString::from));
                if !self.entry.architecture.embedding_only {
                    // A language model names no pooling; the mean of its last layer is the usual one.
                    list.extend(["--pooling", "mean"].map(OsString::from));
                }
            }
        }
        // --no-prefill-assistant: a last assistant message is continued only where that is asked for.
        let plain = ["--no-ui", "--no-slots", "--offline", "--jinja", "--no-prefill-assistant"];
        list.extend(plain.map(OsString::from));
        list
    }
}

/// A running child. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    client: Client,
    log: Arc<LogTail>,
    readers: JoinSet<()>,
    plan: Plan,
}

impl Process {
    pub(super) async fn start(spawner: &Spawner, plan: Plan) -> Result<Self, Failure> {
        let name = &plan.entry.name;
        let failed = |detail: String| {
            Failure::new(Kind::Setup, format!("The engine process for {name} cannot be started."), detail)
        };
        let client = Client::new("The engine", Target::Unix(plan.socket.clone()), TIMEOUTS)
            .map_err(|error| failed(error.chain()))?;
        let mut command = Command::new(&plan.program);
        command.args(plan.arguments()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        scrub_environment(&mut command);
        let mut child = spawner.spawn(command).await.map_err(|error| failed(error.to_string()))?;
        let log = Arc::new(LogTail::default());
        let mut readers = JoinSet::new();
        if let Some(output) = child.stdout.take() {
            readers.spawn(read_log(output, Arc::clone(&log), name.to_string()));
        }
        if let Some(output) = child.stderr.take() {
            readers.spawn(read_log(output, Arc::clone(&log), name.to_string()));
        }
        Ok(Self { child, client, log, readers, plan })
    }

    /// Returns when the model is loaded and requests are taken.
    pub(super) async fn ready(&mut self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_POLL;
        loop {
            tokio::select! {
                exit = self.child.wait() => return Err(self.did_not_load(exit.ok()).await),
                // No socket yet, or "Loading model": ask again.
                answer = self.client.send(Method::GET, "/health", None) => {
                    if answer.is_ok_and(|answer| answer.is_success()) {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(self.too_slow(limit)),
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(LAST_POLL);
        }
    }

    /// Returns when the process has ended without having been told to.
    pub(super) async fn ended(&mut self) -> Failure {
        let status = self.child.wait().await.ok();
        self.finish_log().await;
        let message = format!("The engine process for {} ended unexpectedly.", self.plan.entry.name);
        Failure::new(Kind::BadGateway, message, self.detail(status))
    }

    /// Why a process is ended that does not answer any more.
    pub(super) fn hangs(&self) -> Failure {
        let message = format!("The engine process for {} did not answer any more.", self.plan.entry.name);
        Failure::new(Kind::BadGateway, message, self.log.text())
    }

    /// Asks the process to end, makes it end, and reaps it.
    pub(super) async fn terminate(mut self) {
        if let Some(pid) = self.pid().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            // It may have ended on its own just now; waiting shows that.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(GRACE, self.child.wait()).await.is_err() {
            // Fails only when it has ended, and then there is nothing left to do.
            let _ = self.child.kill().await;
        }
    }

    /// `None` once it has been reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    async fn did_not_load(&mut self, status: Option<ExitStatus>) -> Failure {
        self.finish_log().await;
        let name = &self.plan.entry.name;
        let message = match self.log.reason() {
            Some(reason) => format!("The engine cannot load {name}: {reason}."),
            None => format!("The engine cannot load {name}: its process ended ({}).", told(status)),
        };
        Failure::new(Kind::BadGateway, message, self.detail(status))
    }

    fn too_slow(&self, limit: Duration) -> Failure {
        let message = format!("{} was not loaded within {} s.", self.plan.entry.name, limit.as_secs());
        Failure::new(Kind::GatewayTimeout, message, self.log.text())
    }

    fn detail(&self, status: Option<ExitStatus>) -> String {
        format!("{}; its last lines:\n{}", told(status), self.log.text())
    }

    /// The process is gone, but its last lines may still be in the pipe.
    async fn finish_log(&mut self) {
        let all = async { while self.readers.join_next().await.is_some() {} };
        // A grandchild could hold the pipe open for ever.
        let _ = timeout(Duration::from_secs(1), all).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // llama-server leaves its socket behind.
        let _ = fs::remove_file(&self.plan.socket);
    }
}

fn told(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "unknown exit status".to_owned(), |status| status.to_string())
}

/// Completes when the child has left a plain question unanswered several times in a row, although it
/// answers such ones whatever it computes. Asked only while somebody waits for it.
pub(super) async fn hung(client: &Client, look_every: Duration, is_used: impl Fn() -> bool) {
    let mut missed = 0;
    while missed < MISSED_LOOKS {
        sleep(look_every).await;
        let answers = !is_used()
            || timeout(look_every, client.send(Method::GET, "/health", None)).await.is_ok_and(|a| a.is_ok());
        missed = if answers { 0 } else { missed + 1 };
    }
}

async fn read_log(output: impl AsyncRead + Unpin, log: Arc<LogTail>, model: String) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if !text.is_empty() {
            tracing::debug!(model, "llama-server: {text}");
            log.push(text);
        }
    }
}

/// Leaves a child only what it needs: LLAMA_ARG_* would change its command line, and keys and
/// tokens are none of its business.
pub(super) fn scrub_environment(command: &mut Command) {
    const NAMES: [&str; 8] =
        ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];
    const PREFIXES: [&str; 9] =
        ["CUDA_", "NVIDIA_", "GGML_", "HIP_", "HSA_", "ROCR_", "ROCM_", "VK_", "ONEAPI_"];
    command.env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| {
            NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
    }));
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_child_that_is_silent_hangs_unless_nobody_needs_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let client = Client::new("The engine", Target::Unix(path), TIMEOUTS).expect("a client");
        let (look, a_while) = (Duration::from_millis(200), Duration::from_secs(2));
        assert!(timeout(a_while, hung(&client, look, || false)).await.is_err(), "nobody asks");
        timeout(10 * a_while, hung(&client, look, || true)).await.expect("it is silent");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                while stream.read(&mut asked).await.is_ok_and(|length| length > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                    // Those whose question was given up have left.
                    let _ = stream.write_all(answer).await;
                }
            }
        });
        assert!(timeout(a_while, hung(&client, look, || true)).await.is_err(), "it answers");
    }
}
