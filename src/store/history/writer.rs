//! Task that owns the file: it writes the accumulated aggregates every two seconds, answers queries, folds
//! minutes into hours and removes old rows.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use sqlx::{Connection, SqliteConnection};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Standing, lock, note,
    tables::{self, FiguresRow, Span},
};
use crate::{
    sqlite::{Database, Fault, FileState},
    telemetry::aggregates::{Aggregates, Aggregator, FailureRecord, Minute, MinuteRow},
};

/// Interval of writing: after a kill, what is younger is lost.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

pub(super) enum Job {
    Aggregates { span: Span, reply: oneshot::Sender<Found> },
    Failures { limit: usize, unauthenticated: bool, reply: oneshot::Sender<Vec<FailureRecord>> },
    Stop { reply: oneshot::Sender<()> },
}

/// Data of a period: rows of the file, and rows in memory.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<FiguresRow>,
    pub(super) parts: Vec<Arc<MinuteRow>>,
    pub(super) oldest: Option<Minute>,
}

impl Found {
    /// Shows everything from this minute on, each with its first minute.
    pub(super) fn each(&self, from: Minute, mut show: impl FnMut(Minute, &Aggregates)) {
        // A part in memory knows more than its row.
        let parts: HashSet<i64> = self.parts.iter().map(|part| part.id).collect();
        for row in self.rows.iter().filter(|row| row.id == 0 || !parts.contains(&row.id)) {
            // A row that does not read is damage that SQLite does not see; the others still count.
            if let Some(aggregates) = Aggregates::from_bytes(&row.aggregates) {
                show(row.start, &aggregates);
            }
        }
        for part in self.parts.iter().filter(|part| part.minute >= from) {
            show(part.minute, &part.aggregates);
        }
    }

    /// The first minute of which there is anything.
    pub(super) fn begins(&self) -> Option<Minute> {
        self.parts.iter().map(|part| part.minute).chain(self.oldest).min()
    }
}

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) retention_hours: u64,
    pub(super) aggregator: Arc<Aggregator>,
    pub(super) standing: Arc<Mutex<Standing>>,
    pub(super) connection: Option<SqliteConnection>,
    /// State of a damaged file, which is left alone until it has been changed.
    pub(super) damaged: Option<FileState>,
    pub(super) next_upkeep: Instant,
}

impl Writer {
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut ticks = interval(WRITE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(Job::Aggregates { span, reply }) => {
                        // The caller may have timed out.
                        let _ = reply.send(self.find(span).await);
                    }
                    Some(Job::Failures { limit, unauthenticated, reply }) => {
                        let _ = reply.send(self.failures(limit, unauthenticated).await);
                    }
                    Some(Job::Stop { reply }) => {
                        self.write().await;
                        self.close().await;
                        let _ = reply.send(());
                        return;
                    }
                    // The queue is closed: the server has ended without a stop.
                    None => return self.close().await,
                },
                _ = ticks.tick() => {
                    self.write().await;
                    if self.next_upkeep <= Instant::now() {
                        self.upkeep().await;
                    }
                }
            }
        }
    }

    /// Writes what has changed. What cannot be written stays in memory for the next time.
    async fn write(&mut self) {
        let is_new = self.connection.is_none();
        if let Err(error) = self.open().await {
            return self.failed(&error).await;
        }
        // After a failure nothing is assumed of what the file holds.
        let written = if is_new { self.aggregator.unwritten() } else { self.aggregator.to_write() };
        let Some(connection) = &mut self.connection else { return };
        if !written.parts.is_empty() || !written.failures.is_empty() {
            if let Err(error) = tables::write(connection, &written.parts, &written.failures).await {
                return self.failed(&error).await;
            }
            self.aggregator.written(&written);
            lock(&self.standing).written_at = Some(SystemTime::now());
        }
        note(&self.standing, None, None);
    }

    async fn find(&mut self, span: Span) -> Found {
        // First memory, then the file: what is written in between is in both, and found out by its id.
        let parts = self.aggregator.unwritten().parts;
        let read = async {
            self.open().await?;
            let Some(connection) = &mut self.connection else { return Ok((Vec::new(), None)) };
            sqlx::Result::Ok((tables::aggregates(connection, span).await?, tables::oldest(connection).await?))
        };
        match read.await {
            Ok((rows, oldest)) => Found { rows, parts, oldest },
            Err(error) => {
                self.failed(&error).await;
                Found { parts, ..Found::default() }
            }
        }
    }

    async fn failures(&mut self, limit: usize, unauthenticated: bool) -> Vec<FailureRecord> {
        let read = async {
            self.open().await?;
            let Some(connection) = &mut self.connection else { return Ok(Vec::new()) };
            tables::failures(connection, limit, unauthenticated).await
        };
        match read.await {
            Ok(failures) => failures,
            Err(error) => {
                self.failed(&error).await;
                Vec::new()
            }
        }
    }

    async fn upkeep(&mut self) {
        self.next_upkeep = Instant::now() + UPKEEP_INTERVAL;
        let now = self.aggregator.now();
        let Some(connection) = &mut self.connection else { return };
        let kept = async {
            tables::fold(connection, now).await?;
            tables::expire(connection, now, self.retention_hours).await
        };
        if let Err(error) = kept.await {
            self.failed(&error).await;
        }
        lock(&self.standing).bytes = self.database.file.bytes().await;
    }

    async fn open(&mut self) -> sqlx::Result<()> {
        if self.connection.is_none() {
            if self.damaged.is_some() && self.database.file.state().await == self.damaged {
                return Err(sqlx::Error::Decode("nothing has been done about the damage".into()));
            }
            self.connection = Some(self.database.open().await?);
            self.damaged = None;
            self.next_upkeep = Instant::now();
        }
        Ok(())
    }

    /// Whatever it was, the next attempt begins with a new connection. The file is never replaced.
    async fn failed(&mut self, error: &sqlx::Error) {
        self.close().await;
        if Fault::of(error) == Fault::Damaged {
            self.damaged = self.database.file.state().await;
        }
        let trouble = self.database.explain(error, "new statistics are in memory only").await;
        note(&self.standing, Some(trouble), Some(error));
    }

    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing the statistics file failed");
        }
    }
}
