//! Extraction of text in child processes: one of this program's own for each document, which gets it on its
//! standard input and writes the text to its standard output, within limits on memory and time. Independent of
//! requests.

mod child;
mod job;

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

pub use self::child::run_if_asked;
use self::job::{Job, Task};
use crate::{
    error::{Error, Kind, Result},
    text::extract::{Extracted, Hints, Limits, Refusal},
    value_parser::{seconds, whole},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Documents")]
#[group(skip)]
pub struct Settings {
    /// Seconds to extract the text of a document; slower ones are refused
    #[arg(long, env = "EXTRACT_TIMEOUT_S", default_value = "60", value_parser = seconds(1..=3600))]
    pub extract_timeout_s: u64,
    /// Megabytes of memory to extract the text of a document; larger ones are refused. At most one document per core is read at a time
    #[arg(long, env = "EXTRACT_MEMORY_MB", default_value = "1024", value_parser = whole(64..=1_048_576_u64))]
    pub extract_memory_mb: u64,
    /// Program to run in place of this one, for tests, which are other programs.
    #[arg(skip)]
    pub program: Option<PathBuf>,
}

/// Timeout for waiting until other documents have been read.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of output for each byte of text: JSON has it as text and as Markdown, and escapes some of it.
const OUTPUT_PER_TEXT: u64 = 8;

pub struct Extractor {
    program: PathBuf,
    timeout: Duration,
    memory_mb: u64,
    limits: Limits,
    /// One child for each processor.
    room: Arc<Semaphore>,
}

impl Extractor {
    pub fn new(settings: &Settings) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self {
            program: settings.program.clone().unwrap_or_else(own_program),
            timeout: Duration::from_secs(settings.extract_timeout_s),
            memory_mb: settings.extract_memory_mb,
            limits: Limits::default(),
            room: Arc::new(Semaphore::new(processors)),
        }
    }

    /// Extracts the text of a document.
    ///
    /// # Errors
    /// `Invalid`, as of a field without its pointer, when the document is refused or takes too much time or
    /// memory; `Busy` when too many others wait.
    pub async fn extract(&self, document: Bytes, hints: Hints) -> Result<Extracted> {
        let output = self.run(Task::Extract(hints), document).await?;
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&output)).await;
        parsed.map_err(|source| broken(source.to_string()))?.map_err(|source| broken(source.to_string()))
    }

    /// Returns the image of a page that `image_pages` lists, as a file.
    ///
    /// # Errors
    /// Those of `extract`.
    pub async fn page_image(&self, document: Bytes, page: u32) -> Result<Vec<u8>> {
        self.run(Task::PageImage(page), document).await
    }

    /// Runs a child to its end, and kills it when the request is cancelled.
    async fn run(&self, task: Task, document: Bytes) -> Result<Vec<u8>> {
        let room = timeout(QUEUE_TIMEOUT, Arc::clone(&self.room).acquire_owned()).await;
        let _room: Option<OwnedSemaphorePermit> = room.map_err(|_| busy())?.ok();
        let job =
            Job { task, limits: self.limits, memory_mb: self.memory_mb, seconds: self.timeout.as_secs() };
        let child = self.spawn().map_err(|source| {
            Error::new(Kind::Internal, "Extraction of text could not be started.").with_source(source)
        })?;
        let most = self.limits.max_text as u64 * OUTPUT_PER_TEXT;
        let output = timeout(self.timeout, exchange(child, &job, &document, most)).await;
        match output.map_err(|_| too_slow(self.timeout))? {
            Ok(output) => job::outcome(output).map_err(|refusal| refused(&refusal)),
            Err(failure) => Err(failure.error(self)),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .arg(child::ARGUMENT)
            // A document that takes over the child finds no key there.
            .env_clear()
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is for the server, which lets replies finish.
            .process_group(0)
            .kill_on_drop(true);
        command.spawn()
    }
}

/// This program, even when its file has been replaced by a newer one.
fn own_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { running } else { std::env::current_exe().unwrap_or_else(|_| "simpleton".into()) }
}

/// Reason why a child gave no answer.
enum ChildFailure {
    Communication(std::io::Error),
    TooMuchOutput,
    /// The signal that ended the child.
    Signal(i32),
    Exit,
}

impl ChildFailure {
    fn error(self, extractor: &Extractor) -> Error {
        match self {
            Self::Communication(source) => broken(source.to_string()),
            Self::TooMuchOutput => refused(&Refusal::too_much_text(&extractor.limits)),
            Self::Signal(signal) if signal == rustix::process::Signal::XCPU.as_raw() => {
                too_slow(extractor.timeout)
            }
            // An allocation beyond the limit, or a stack's end.
            Self::Signal(_) | Self::Exit => {
                let megabytes = extractor.memory_mb;
                let detail = format!(
                    "takes more than {megabytes} MB of memory to read, or is damaged; split it into several documents"
                );
                Error::field("", detail)
            }
        }
    }
}

/// Sends the document and collects the output, both at once.
async fn exchange(mut child: Child, job: &Job, document: &[u8], most: u64) -> Result<Vec<u8>, ChildFailure> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let send = async {
        if let Some(mut stdin) = stdin {
            // A child that ends early says why in its output or its status.
            let _ = stdin.write_all(&job.header()).await;
            let _ = stdin.write_all(document).await;
        }
    };
    let receive = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(most + 1).read_to_end(&mut output).await?;
        }
        Ok(output)
    };
    let ((), output) = tokio::join!(send, receive);
    let output = output.map_err(ChildFailure::Communication)?;
    if output.len() as u64 > most {
        return Err(ChildFailure::TooMuchOutput);
    }
    let status = child.wait().await.map_err(ChildFailure::Communication)?;
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(signal) => Err(ChildFailure::Signal(signal)),
        None if status.success() => Ok(output),
        None => Err(ChildFailure::Exit),
    }
}

fn refused(refusal: &Refusal) -> Error {
    Error::field("", refusal.detail.clone())
}

fn too_slow(limit: Duration) -> Error {
    let seconds = limit.as_secs();
    Error::field("", format!("takes more than {seconds} s to read; split it into several documents"))
}

fn busy() -> Error {
    Error::new(Kind::Busy, "Too many documents are being read; try again later.")
        .retry_after(Duration::from_secs(5))
}

fn broken(source: String) -> Error {
    Error::new(Kind::Internal, "Extraction of text failed.").with_source(source)
}
