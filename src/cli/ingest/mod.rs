//! `simpleton ingest`: adds files as documents.

mod form;
mod paths;
mod watch;

use std::{
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
};

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::signal::unix::SignalKind;

use self::paths::{File, find};
use super::{
    local_server::LocalServer,
    progress::Progress,
    running_server::RunningServer,
    serve::{LAST_WORK, listen, runtime, survive_full_files},
    terminal::{printable, say},
};
use crate::{
    config::Config,
    error::{Error, Kind, Result},
    files,
    text::extract::Refusal,
    vectors::CollectionName,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  simpleton ingest report.pdf notes.md           add two files
  simpleton ingest docs/                         add everything in a folder
  simpleton ingest 'docs/**/*.md'                add the files that match a pattern
  simpleton ingest docs/ --collection handbook   add it to the collection handbook
  simpleton ingest docs/ --watch                 keep running, and follow every change

In folders and patterns, hidden files and files without text are skipped.
All settings can be given as flags; see `simpleton serve --help`.";

#[derive(Args)]
pub(super) struct Options {
    /// Files, folders, and patterns such as 'docs/**/*.md'
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Collection to add the documents to. Defaults to DEFAULT_COLLECTION
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Keep running: add new files, and update or remove documents when their files change or are deleted
    #[arg(long)]
    watch: bool,
}

/// Exit code after Ctrl-C.
const INTERRUPTED: u8 = 130;

pub(super) fn run(options: &Options, config: &Config) -> Result<ExitCode> {
    let collection = match &options.collection {
        Some(name) => CollectionName::new(name).map_err(|error| Error::new(Kind::Setup, error.message()))?,
        None => config.rag.default_collection.clone(),
    };
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        survive_full_files()?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut server = LocalServer::find_or_start(config).await?;
        let mut ingestion = Ingestion::new(collection, options.watch, config);
        let work = async {
            match options.watch {
                true => watch::watch(&mut ingestion, &options.paths, &mut server, config).await,
                false => ingestion.add_found(server.api(), &options.paths).await,
            }
        };
        let done = tokio::select! {
            done = work => done.map(|()| false),
            _ = interrupt.recv() => Ok(true),
        };
        server.stop().await;
        ingestion.conclude(done)
    });
    // A file system that does not respond must not delay the exit.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

/// Outcome of adding a file.
enum Added {
    Chunks {
        new: u64,
        unchanged: u64,
    },
    /// Reason why a file without text was refused.
    Skipped(String),
}

struct Ingestion {
    collection: CollectionName,
    /// Maximum bytes of a file (MAX_BODY_MB).
    most: u64,
    counts: Counts,
    /// Files that could not be added, with the reason.
    failed: Vec<(PathBuf, String)>,
    /// Whether to keep running, and so to report failures immediately and not at the end.
    is_watch: bool,
}

#[derive(Default)]
struct Counts {
    changed: usize,
    unchanged: usize,
    skipped: usize,
    removed: usize,
}

impl Ingestion {
    fn new(collection: CollectionName, is_watch: bool, config: &Config) -> Self {
        let most = config.server.max_body_mb * 1024 * 1024;
        Self { collection, most, counts: Counts::default(), failed: Vec::new(), is_watch }
    }

    async fn add_found(&mut self, server: &RunningServer, paths: &[PathBuf]) -> Result<()> {
        let found = find(paths);
        for (path, reason) in &found.skipped {
            self.skip(path, reason);
        }
        self.failed.extend(found.failed);
        self.add(server, found.files.iter()).await.map(drop)
    }

    /// Adds files, one after the other, and returns those without text. A failure does not stop the others.
    ///
    /// # Errors
    /// A failure that all other files would share: the server does not accept the key, or cannot be reached.
    async fn add<'a>(
        &mut self,
        server: &RunningServer,
        files: impl Iterator<Item = (&'a PathBuf, &'a File)> + Clone,
    ) -> Result<Vec<PathBuf>> {
        let all = files.clone().map(|(_, file)| file.metadata.len()).sum();
        let (mut bar, mut done, mut without_text) = (Progress::new(String::new()), 0, Vec::new());
        for (path, file) in files {
            let shown = file.shown.display();
            bar.rename(format!("ingesting {shown}"));
            bar.show(done, all);
            let size = file.metadata.len();
            let added = self.add_file(server, path, |part| bar.show(done + (size as f64 * part) as u64, all));
            let added = added.await;
            bar.clear();
            done += size;
            match added {
                Ok(Added::Chunks { new: 0, unchanged }) => {
                    self.counts.unchanged += 1;
                    say(format_args!("{shown}: {} unchanged", chunks(unchanged)));
                }
                Ok(Added::Chunks { new, unchanged }) => {
                    self.counts.changed += 1;
                    say(format_args!("{shown}: {}, {new} new", chunks(new + unchanged)));
                }
                Ok(Added::Skipped(reason)) => {
                    without_text.push(path.clone());
                    match file.is_named {
                        true => self.fail(&file.shown, reason),
                        false => self.skip(&file.shown, &reason),
                    }
                }
                Err(error) if is_for_all(&error) => return Err(error),
                Err(error) => self.fail(&file.shown, reason(&error)),
            }
        }
        Ok(without_text)
    }

    /// Adds a file; `progress` gets the fraction that is done.
    async fn add_file(
        &self,
        server: &RunningServer,
        path: &Path,
        mut progress: impl FnMut(f64),
    ) -> Result<Added> {
        let file = files::read(path, self.most).map_err(|error| self.unreadable(path, &error))?;
        let form = form::form(&self.collection, path, &file)?;
        drop(file);
        let mut events = match server.upload("/rag/upload", form).await {
            Ok(events) => pin!(events),
            Err(error) => return refused(error),
        };
        let mut last = Value::Null;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => last = event,
                Err(error) => return refused(error),
            }
            if let (Some(embedded), Some(chunks)) = (last["embedded"].as_f64(), last["chunks"].as_f64()) {
                progress(embedded / chunks.max(1.0));
            }
        }
        let number = |name: &str| last[name].as_u64();
        match number("chunks_created").zip(number("chunks_unchanged")) {
            Some((new, unchanged)) => Ok(Added::Chunks { new, unchanged }),
            None => Err(Error::new(Kind::BadGateway, "The server's response ended too early.")),
        }
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) -> Error {
        let is_too_large = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > self.most);
        Error::field(
            "",
            match is_too_large {
                true => format!("is larger than MAX_BODY_MB, {} MB", self.most / (1024 * 1024)),
                false => paths::reason(error),
            },
        )
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        self.counts.skipped += 1;
        say(format_args!("{}: skipped, because it {reason}", path.display()));
    }

    fn fail(&mut self, path: &Path, reason: String) {
        if self.is_watch {
            eprintln!("{}", printable(&format!("{}: {reason}", path.display())));
        }
        self.failed.push((path.to_owned(), reason));
    }

    /// Prints a summary and the failures. `done` is whether the command was interrupted.
    fn conclude(&self, done: Result<bool>) -> Result<ExitCode> {
        say(self.summary());
        if !self.failed.is_empty() && !self.is_watch {
            eprintln!("{} could not be added:", self.failed.len());
            for (path, reason) in &self.failed {
                eprintln!("  {}", printable(&format!("{}: {reason}", path.display())));
            }
        }
        match done? {
            // Ctrl-C is how to end a watch.
            true if self.is_watch => Ok(ExitCode::SUCCESS),
            true => {
                eprintln!("Interrupted. Run the same command again to add the rest.");
                Ok(ExitCode::from(INTERRUPTED))
            }
            false if self.failed.is_empty() => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::FAILURE),
        }
    }

    fn summary(&self) -> String {
        let Counts { changed, unchanged, skipped, removed } = self.counts;
        let mut parts = vec![format!("{changed} added or updated"), format!("{unchanged} unchanged")];
        for (count, what) in [(removed, "removed"), (skipped, "skipped"), (self.failed.len(), "failed")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        format!("Collection {}: {}", self.collection, parts.join(", "))
    }
}

fn chunks(count: u64) -> String {
    if count == 1 { "1 chunk".to_owned() } else { format!("{count} chunks") }
}

/// Tells a file without text, which is only skipped in a folder, from a failure.
fn refused(error: Error) -> Result<Added> {
    match error.field_errors() {
        [field] if Refusal::is_without_text(&field.detail) => Ok(Added::Skipped(field.detail.clone())),
        _ => Err(error),
    }
}

/// Reason of a failure, as a predicate about the file.
fn reason(error: &Error) -> String {
    match error.field_errors() {
        [field] if matches!(field.pointer.as_str(), "" | "/file") => field.detail.clone(),
        _ => error.message().to_owned(),
    }
}

/// Whether the other files would fail too.
fn is_for_all(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unauthorized | Kind::Unavailable)
}
