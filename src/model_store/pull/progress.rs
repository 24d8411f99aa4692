//! Progress of a pull, in Ollama's words. It is a log: a listener that joins late gets all steps from the
//! beginning.

use tokio::sync::watch;

use crate::{
    error::{Error, Kind, Result},
    model_store::digest::Digest,
};

/// One step of a pull, in its latest state.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// `pulling manifest`, `pulling 5838c06c15cd`, `verifying sha256 digest`, `writing manifest`, `success`; while
    /// another process downloads the same file, `waiting for another download`.
    pub status: String,
    /// The file that is being downloaded, in steps that download one.
    pub file: Option<FileProgress>,
}

/// Progress of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileProgress {
    /// `sha256:…`
    pub digest: String,
    /// Bytes.
    pub total: u64,
    /// Bytes that are on the disk.
    pub completed: u64,
    /// Bytes of `completed` that an earlier pull had downloaded.
    pub resumed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    /// Only the last one still changes.
    steps: Vec<Progress>,
    end: Option<Result<()>>,
}

impl Log {
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some()
    }
}

/// Writes the log of a pull.
pub(super) struct Reporter(watch::Sender<Log>);

impl Reporter {
    pub(super) fn new() -> (Self, watch::Receiver<Log>) {
        let (sender, receiver) = watch::channel(Log::default());
        (Self(sender), receiver)
    }

    pub(super) fn step(&self, status: &str) {
        self.report(Progress { status: status.to_owned(), file: None });
    }

    pub(super) fn file(&self, digest: &Digest, total: u64, completed: u64, resumed: u64) {
        let status = format!("pulling {}", &digest.hex()[..12]);
        let file = FileProgress { digest: digest.to_string(), total, completed, resumed };
        self.report(Progress { status, file: Some(file) });
    }

    pub(super) fn end(&self, end: Result<()>) {
        self.0.send_modify(|log| log.end = Some(end));
    }

    /// Updates the last step, or begins the next one.
    fn report(&self, progress: Progress) {
        self.0.send_modify(|log| match log.steps.last_mut() {
            Some(last) if last.status == progress.status => {
                // Workers may report in another order than they wrote.
                let completed = |step: &Progress| step.file.as_ref().map_or(0, |file| file.completed);
                if completed(&progress) >= completed(last) {
                    *last = progress;
                }
            }
            _ => log.steps.push(progress),
        });
    }
}

/// Reads the log of a pull.
pub(super) struct Reader {
    log: watch::Receiver<Log>,
    /// Steps that were read, the last one perhaps in an older state.
    seen: usize,
    last: Option<Progress>,
    is_over: bool,
}

impl Reader {
    pub(super) fn new(mut log: watch::Receiver<Log>) -> Self {
        log.mark_changed();
        Self { log, seen: 0, last: None, is_over: false }
    }

    pub(super) async fn next(&mut self) -> Option<Result<Progress>> {
        while !self.is_over {
            if let Some(update) = self.update() {
                self.is_over = update.as_ref().is_none_or(Result::is_err);
                return update;
            }
            if self.log.changed().await.is_err() && self.is_read() {
                self.is_over = true;
                let message = "The download was interrupted; pull the model again to continue it.";
                return Some(Err(Error::new(Kind::Unavailable, message)));
            }
        }
        None
    }

    /// Next step or state, or the end; `None` while there is none.
    fn update(&mut self) -> Option<Option<Result<Progress>>> {
        let log = self.log.borrow_and_update();
        let current = self.seen.checked_sub(1).and_then(|at| log.steps.get(at));
        let step = match current {
            Some(current) if self.last.as_ref() != Some(current) => Some(current),
            _ => log.steps.get(self.seen).inspect(|_| self.seen += 1),
        };
        if let Some(step) = step {
            self.last = Some(step.clone());
            return Some(Some(Ok(step.clone())));
        }
        match &log.end {
            Some(Ok(())) => Some(None),
            Some(Err(error)) => Some(Some(Err(error.clone()))),
            None => None,
        }
    }

    fn is_read(&self) -> bool {
        let log = self.log.borrow();
        log.end.is_none() && log.steps.len() == self.seen && log.steps.last() == self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(reader: &mut Reader) -> Option<(String, Option<u64>)> {
        let progress = reader.next().await?.expect("no error");
        Some((progress.status, progress.file.map(|file| file.completed)))
    }

    fn step(status: &str, completed: Option<u64>) -> Option<(String, Option<u64>)> {
        Some((status.to_owned(), completed))
    }

    #[tokio::test]
    async fn a_reader_gets_every_step_and_the_newest_state_of_each() {
        let (reporter, log) = Reporter::new();
        let digest = Digest::of(b"abc");
        let mut early = Reader::new(log.clone());
        reporter.step("pulling manifest");
        assert_eq!(next(&mut early).await, step("pulling manifest", None));
        reporter.file(&digest, 10, 2, 0);
        assert_eq!(next(&mut early).await, step("pulling ba7816bf8f01", Some(2)));
        reporter.file(&digest, 10, 6, 0);
        // It never goes backwards.
        reporter.file(&digest, 10, 5, 0);
        let mut late = Reader::new(log);
        reporter.file(&digest, 10, 10, 0);
        reporter.step("success");
        reporter.end(Ok(()));
        assert_eq!(next(&mut late).await, step("pulling manifest", None));
        for reader in [&mut early, &mut late] {
            assert_eq!(next(reader).await, step("pulling ba7816bf8f01", Some(10)));
            assert_eq!(next(reader).await, step("success", None));
            assert_eq!(next(reader).await, None);
            assert_eq!(next(reader).await, None);
        }
    }

    #[tokio::test]
    async fn a_pull_that_is_cut_off_ends_with_an_error() {
        let (reporter, log) = Reporter::new();
        let mut reader = Reader::new(log);
        reporter.step("pulling manifest");
        drop(reporter);
        assert_eq!(next(&mut reader).await, step("pulling manifest", None));
        let error = reader.next().await.expect("an end").expect_err("it was cut off");
        assert!(error.message().contains("interrupted"), "{error}");
        assert!(reader.next().await.is_none());
    }
}
