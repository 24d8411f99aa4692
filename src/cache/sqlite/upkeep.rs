//! Maintenance that the writer does when idle: it removes expired and cleared entries,
//! keeps the filter right, and gives room back.

use std::time::SystemTime;

use tokio::time::{Duration, Instant};

use super::writer::{BATCH_WINDOW, Writer};

/// Interval of the upkeep; a full filter, for instance, starts it at once.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

impl Writer {
    /// Removes what is over or was cleared, keeps the filter right, and gives room back. It stops for
    /// waiting jobs and goes on afterwards.
    pub(super) async fn upkeep(&mut self) {
        self.next_upkeep = Instant::now() + UPKEEP_INTERVAL;
        if !self.recovered().await {
            self.next_upkeep = self.rest_until;
            return;
        }
        match self.try_upkeep().await {
            Ok(true) => {}
            Ok(false) => self.next_upkeep = Instant::now() + BATCH_WINDOW,
            Err(error) => self.failed(&error).await,
        }
    }

    /// Whether all is done.
    async fn try_upkeep(&mut self) -> sqlx::Result<bool> {
        // The filter after the removals: what has left the file need not be in it.
        while self.remove_some().await? || self.learn_some().await? || self.shrink_some().await? {
            if !self.jobs.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn remove_some(&mut self) -> sqlx::Result<bool> {
        let Some(database) = &mut self.database else { return Ok(false) };
        let expired = database.expire(SystemTime::now()).await?;
        let trimmed = database.trim().await?;
        let swept = database.sweep().await?;
        self.disk_status.changed(&expired);
        self.disk_status.changed(&trimmed);
        Ok(swept || !expired.is_none() || !trimmed.is_none())
    }

    /// Reads some keys out of the file when a new filter is wanted.
    async fn learn_some(&mut self) -> sqlx::Result<bool> {
        let wanting = self.filters.are_wanting();
        let Some(database) = self.database.as_mut().filter(|_| wanting) else { return Ok(false) };
        let entries = self.disk_status.entries().sum();
        let hashes = database.hashes_after(self.filters.read_after(entries)).await?;
        self.filters.have_read(&hashes);
        if hashes.is_empty() {
            self.publish();
        }
        Ok(true)
    }

    async fn shrink_some(&mut self) -> sqlx::Result<bool> {
        match &mut self.database {
            Some(database) => database.shrink().await,
            None => Ok(false),
        }
    }
}
