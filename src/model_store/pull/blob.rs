//! Download of one blob, from its partial file to its checksum and its final name.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{interval, sleep},
};

use super::{
    Pace,
    fetch::Fetch,
    partial::{Follower, Partial},
    plan::RemoteFile,
    progress::Reporter,
    session::Session,
};
use crate::{
    error::{Error, Kind, Result},
    model_store::{
        blobs::write_error,
        digest::{CopyError, Digest},
        manifest::Layer,
    },
};

/// Interval at which the record of finished ranges is written: what a kill can lose.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Interval at which the download of another process is checked.
const POLL_EVERY: Duration = Duration::from_millis(200);

pub(super) struct BlobDownload<'a> {
    pub(super) session: &'a Session,
    pub(super) file: &'a RemoteFile,
    pub(super) blobs: &'a Path,
    pub(super) pace: &'a Pace,
    pub(super) reporter: &'a Reporter,
}

impl BlobDownload<'_> {
    /// Downloads the blob, continuing an earlier download. Nothing has the blob's name before its checksum is right.
    pub(super) async fn run(&self) -> Result<()> {
        loop {
            let Layer { digest, size, .. } = &self.file.layer;
            let Some(partial) = self.open().await? else {
                self.reporter.file(digest, *size, *size, *size);
                return Ok(());
            };
            let resumed = partial.completed();
            if self.attempt(&partial, resumed).await? {
                return Ok(());
            }
            // Bytes of an earlier download may be damaged, as after a power failure; new ones are not.
            if resumed == 0 {
                let message =
                    format!("{} sent a file that does not match its checksum.", self.session.host());
                return Err(Error::new(Kind::BadGateway, message).with_source(digest.to_string()));
            }
        }
    }

    /// The partial file; `None` when another process has finished the blob meanwhile.
    async fn open(&self) -> Result<Option<Arc<Partial>>> {
        loop {
            let (blobs, layer) = (self.blobs.to_owned(), self.file.layer.clone());
            let opened = self.blocking(move || {
                Ok((Partial::open(&blobs, &layer.digest, layer.size)?, is_there(&blobs, &layer)))
            });
            match opened.await? {
                (Some(partial), false) => return Ok(Some(Arc::new(partial))),
                (Some(partial), true) => {
                    self.blocking(move || partial.discard()).await?;
                    return Ok(None);
                }
                (None, _) => {
                    self.reporter.step("waiting for another download");
                    sleep(POLL_EVERY).await;
                }
            }
        }
    }

    /// Downloads and checks; false when the checksum is wrong.
    async fn attempt(&self, partial: &Arc<Partial>, resumed: u64) -> Result<bool> {
        let Layer { digest, size, .. } = &self.file.layer;
        let report = || self.reporter.file(digest, *size, partial.completed(), resumed);
        report();
        let closing = CloseOnDrop(partial);
        let follower = Follower::new(Arc::clone(partial));
        let hashed = spawn_blocking(move || Digest::of_copy(&mut { follower }, &mut io::sink()));
        let fetch = Fetch::new(self.session, self.file, Arc::clone(partial), self.pace, &report);
        let fetched = tokio::select! {
            fetched = fetch.run() => fetched,
            error = self.save_regularly(partial) => Err(error),
        };
        if let Err(error) = fetched {
            let partial = Arc::clone(partial);
            // The first error says more.
            let _ = self.blocking(move || partial.save()).await;
            return Err(error);
        }
        let hashed = hashed.await.map_err(|source| {
            Error::new(Kind::Internal, "The checksum of a download could not be computed.")
                .with_source(source)
        })?;
        drop(closing);
        let (found, _) = hashed
            .map_err(|(CopyError::Read(error) | CopyError::Write(error))| write_error(self.blobs, error))?;
        let (partial, is_right) = (Arc::clone(partial), found == *digest);
        self.blocking(move || if is_right { partial.publish() } else { partial.discard() }).await?;
        Ok(is_right)
    }

    async fn save_regularly(&self, partial: &Arc<Partial>) -> Error {
        let mut ticks = interval(SAVE_EVERY);
        loop {
            ticks.tick().await;
            let partial = Arc::clone(partial);
            if let Err(error) = self.blocking(move || partial.save()).await {
                return error;
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = spawn_blocking(work).await.map_err(|source| {
            Error::new(Kind::Internal, "A download could not be written.").with_source(source)
        })?;
        done.map_err(|error| write_error(self.blobs, error))
    }
}

/// Whether the blobs folder has a file of this name and size.
pub(super) fn is_there(blobs: &Path, layer: &Layer) -> bool {
    let found = std::fs::metadata(blobs.join(layer.digest.blob_name()));
    found.is_ok_and(|found| found.is_file() && found.len() == layer.size)
}

/// Ends the thread that hashes, together with the download.
struct CloseOnDrop<'a>(&'a Partial);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
