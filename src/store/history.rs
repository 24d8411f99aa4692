//! History of aggregates: minutes for a day, hours for the whole retention, and failed requests. One task owns
//! the file; a query returns its rows together with what is not written yet. Without a usable file everything
//! continues in memory, and `status` has the reason.

mod tables;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use clap::Args;
use sqlx::SqliteConnection;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use self::{
    tables::{MINUTES_OF_A_DAY, Span},
    writer::{Found, Job, Writer},
};
use crate::{
    error::{Error, Kind, Result},
    files::check_writable,
    sqlite::Database,
    telemetry::aggregates::{Aggregates, Aggregator, FailureRecord, Minute},
    value_parser::{hours, path},
};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Monitoring")]
#[group(skip)]
pub struct Settings {
    /// Hours to keep statistics and failed requests for /analytics
    #[arg(long, env = "METRICS_RETENTION_HOURS", default_value = "168", value_parser = hours(1..=8784))]
    pub metrics_retention_hours: u64,
    /// File for these statistics. Defaults to one in the data directory; servers on one machine can share a file to combine their statistics
    #[arg(long, env = "METRICS_FILE", value_name = "FILE", value_parser = path)]
    pub metrics_file: Option<PathBuf>,
}

impl Settings {
    /// The file, in this data folder unless another is named. One that the operator names may be a link.
    pub fn file(&self, data_dir: &Path) -> PathBuf {
        let named = self.metrics_file.as_ref();
        let named = named.map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
        named.unwrap_or_else(|| data_dir.join("state").join("history.db"))
    }
}

/// Timeout for reading the file; then an answer has what is in memory.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a stop waits for the last write.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub struct History {
    aggregator: Arc<Aggregator>,
    retention_hours: u64,
    jobs: mpsc::Sender<Job>,
    standing: Arc<Mutex<Standing>>,
}

/// How the file stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why it cannot be used now; none when it can.
    pub trouble: Option<String>,
    /// Attempts that failed, since the start.
    pub errors: u64,
    /// On disk.
    pub bytes: u64,
    pub written_at: Option<SystemTime>,
}

/// Figures, and the time that they cover.
#[derive(Clone, Debug)]
pub struct Covered<T> {
    /// The first minute of it.
    pub from: Minute,
    pub to: SystemTime,
    pub aggregates: T,
}

impl<T> Covered<T> {
    /// Minutes that are covered; at least a second's worth.
    pub fn minutes(&self) -> f64 {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(self.from.unsigned_abs() * 60);
        (self.to.duration_since(from).unwrap_or_default().as_secs_f64() / 60.0).max(1.0 / 60.0)
    }
}

impl History {
    /// Returns at once: the file is opened behind the scenes. Must be called within a tokio runtime.
    pub fn open(settings: &Settings, data_dir: &Path, aggregator: Arc<Aggregator>) -> Self {
        Self::over(
            tables::database(settings.file(data_dir)),
            None,
            settings.metrics_retention_hours,
            aggregator,
        )
    }

    fn over(
        database: Database,
        connection: Option<SqliteConnection>,
        retention_hours: u64,
        aggregator: Arc<Aggregator>,
    ) -> Self {
        let (sender, jobs) = mpsc::channel(64);
        let standing = Arc::<Mutex<Standing>>::default();
        let writer = Writer {
            database,
            retention_hours,
            aggregator: Arc::clone(&aggregator),
            standing: Arc::clone(&standing),
            connection,
            damaged: None,
            next_upkeep: Instant::now(),
        };
        tokio::spawn(writer.run(jobs));
        Self { aggregator, retention_hours, jobs: sender, standing }
    }

    /// Describes the file without changing it, also while no server runs.
    ///
    /// # Errors
    /// `Setup`, with what to do, when the file cannot be used.
    pub async fn describe(settings: &Settings, data_dir: &Path) -> Result<String> {
        let file = settings.file(data_dir);
        check_writable(&file).map_err(|source| {
            let message = format!(
                "{} cannot be written; correct its permissions, or set METRICS_FILE to another file.",
                file.display()
            );
            Error::new(Kind::Setup, message).with_source(source)
        })?;
        let database = tables::database(file);
        match database.describe("no statistics yet").await {
            Ok(found) => Ok(found),
            Err(error) => {
                let what = database.explain(&error, "statistics are kept in memory only").await;
                Err(Error::new(Kind::Setup, what).with_source(error))
            }
        }
    }

    pub fn retention_hours(&self) -> u64 {
        self.retention_hours
    }

    pub fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    /// Everything that happened in the last `minutes`. Beyond a day the beginning is that of an
    /// hour, and it is never before the oldest figures that there are.
    pub async fn aggregates(&self, minutes: u64) -> Covered<Aggregates> {
        let now = self.aggregator.now();
        let span = Span::coarse(now, minutes);
        let found = self.find(span).await;
        let is_service = self.aggregator.is_service();
        let merged = spawn_blocking(move || {
            let mut sum = Aggregates::default();
            found.each(span.from, |_, aggregates| sum.merge(aggregates));
            sum.set_apart(is_service);
            (found.begins(), sum)
        });
        let (oldest, aggregates) = merged.await.unwrap_or_default();
        let from = oldest.map_or(minute_of(now), |oldest| oldest.max(span.from)).max(span.from);
        Covered { from, to: now, aggregates }
    }

    /// The last `minutes` in steps, each with its first minute; steps in which nothing happened are
    /// empty. Beyond a day a step is a number of whole hours.
    pub async fn series(&self, minutes: u64, step: u64) -> Covered<Vec<(Minute, Aggregates)>> {
        let now = self.aggregator.now();
        let step = i64::try_from(step).unwrap_or(i64::MAX).max(1);
        let span =
            if minutes > MINUTES_OF_A_DAY { Span::coarse(now, minutes) } else { Span::fine(now, minutes) };
        // Steps lie on multiples of themselves, so that a later call has the same ones.
        let span = span.in_steps_of(step);
        let (first, found) = (span.from, self.find(span).await);
        let last = minute_of(now);
        let is_service = self.aggregator.is_service();
        let steps = spawn_blocking(move || {
            let mut steps: BTreeMap<Minute, Aggregates> = BTreeMap::new();
            let mut start = first;
            while start <= last {
                steps.insert(start, Aggregates::default());
                start += step;
            }
            found.each(first, |minute, aggregates| {
                // Rows that a clock set back has left in the future count at the end.
                let start = (minute - minute.rem_euclid(step)).min(last - last.rem_euclid(step));
                steps.entry(start).or_default().merge(aggregates);
            });
            steps.values_mut().for_each(|aggregates| aggregates.set_apart(&is_service));
            steps.into_iter().collect()
        });
        Covered { from: first, to: now, aggregates: steps.await.unwrap_or_default() }
    }

    /// Reads the totals that other processes have written of the last `minutes`: at the start, those before it.
    pub async fn before(&self, minutes: u64) -> Vec<(Minute, Aggregates)> {
        let span = Span::fine(self.aggregator.now(), minutes);
        let mut found = self.find(span).await;
        let ours: HashSet<i64> = std::mem::take(&mut found.parts).iter().map(|part| part.id).collect();
        found.rows.retain(|row| !ours.contains(&row.id));
        let mut before = Vec::new();
        found.each(span.from, |start, aggregates| before.push((start, aggregates.clone())));
        before
    }

    /// List recent errors, the newest first.
    pub async fn failures(&self, limit: usize, unauthenticated: bool) -> Vec<FailureRecord> {
        let mut failures = self.aggregator.unwritten().failures;
        failures.retain(|failure| unauthenticated || !failure.unauthenticated);
        failures.reverse();
        let (reply, answer) = oneshot::channel();
        let written =
            self.ask(Job::Failures { limit, unauthenticated, reply }, answer).await.unwrap_or_default();
        let unwritten: Vec<FailureRecord> =
            failures.into_iter().filter(|failure| !written.contains(failure)).collect();
        unwritten.into_iter().chain(written).take(limit).collect()
    }

    /// Writes what is not written, and ends.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.jobs.send(Job::Stop { reply }).await.is_ok() && timeout(STOP_TIMEOUT, done).await.is_err() {
            tracing::warn!("figures of the last seconds could not be written before the end");
        }
    }

    async fn find(&self, span: Span) -> Found {
        let (reply, answer) = oneshot::channel();
        match self.ask(Job::Aggregates { span, reply }, answer).await {
            Some(found) => found,
            None => Found { parts: self.aggregator.unwritten().parts, ..Found::default() },
        }
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Option<T> {
        let asked = async {
            self.jobs.send(job).await.ok()?;
            answer.await.ok()
        };
        let answered = timeout(READ_TIMEOUT, asked).await;
        if answered.is_err() {
            note(
                &self.standing,
                Some("the disk does not respond: statistics are those in memory".to_owned()),
                None,
            );
        }
        answered.ok().flatten()
    }
}

fn lock(standing: &Mutex<Standing>) -> std::sync::MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes how the file is, and says so once when that is news.
fn note(standing: &Mutex<Standing>, trouble: Option<String>, error: Option<&sqlx::Error>) {
    let mut standing = lock(standing);
    standing.errors += u64::from(error.is_some());
    if standing.trouble == trouble {
        return;
    }
    standing.trouble.clone_from(&trouble);
    match (trouble, error) {
        (None, _) => tracing::info!("statistics can be written again"),
        (Some(trouble), Some(error)) => tracing::warn!(%error, "statistics: {trouble}"),
        (Some(trouble), None) => tracing::warn!("statistics: {trouble}"),
    }
}

fn minute_of(at: SystemTime) -> Minute {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds / 60).unwrap_or(0)
}
