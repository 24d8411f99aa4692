//! Tables of the file, and every statement that touches it.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::minute_of;
use crate::{
    sqlite::{Database, SqliteFile, begin},
    telemetry::aggregates::{Aggregates, FailureRecord, Minute, MinuteRow},
};

/// Files are never changed once they have been released: old files have had them as they were.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/history/0001-minutes-hours-failures.sql"),
    include_str!("../migrations/history/0002-plain-names.sql"),
];

pub(super) const MINUTES_OF_A_DAY: u64 = 1440;
const DAY: Minute = 1440;
const HOUR: Minute = 60;

/// Delay after which an hour is folded: by then every server has written its part.
const SETTLED_AFTER: Minute = 10;

/// Failed requests that are kept of callers with a key, and of unauthenticated callers.
const FAILURES: i64 = 10_000;
const REFUSALS: i64 = 1_000;

/// Pages that may lie idle in the file; they are used again.
const FREE_PAGES: i64 = 256;

pub(super) fn database(path: PathBuf) -> Database {
    let file = SqliteFile { path, log_bytes: 4 << 20, memory_kilobytes: 256 };
    Database { file, migrations: MIGRATIONS }
}

/// Which rows make up a time: minutes before `edge`, whole hours from there on. What lies up to a
/// day ahead belongs to it: a clock that was put back must not hide what has happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Minute,
    edge: Minute,
    until: Minute,
}

impl Span {
    /// As few rows as possible.
    pub(super) fn coarse(now: SystemTime, minutes: u64) -> Self {
        let now = minute_of(now);
        let from = now - Minute::try_from(minutes).unwrap_or(now).min(now);
        if from < now - DAY {
            let from = from - from.rem_euclid(HOUR);
            return Self { from, edge: from, until: now + DAY };
        }
        Self { from, edge: from + (-from).rem_euclid(HOUR), until: now + DAY }
    }

    /// Begins earlier, at a multiple of `step`.
    pub(super) fn in_steps_of(self, step: Minute) -> Self {
        let from = self.from - self.from.rem_euclid(step);
        let edge = if self.edge == self.from { from } else { self.edge };
        Self { from, edge, ..self }
    }

    /// Every minute by itself; they are there for a day.
    pub(super) fn fine(now: SystemTime, minutes: u64) -> Self {
        let span = Self::coarse(now, minutes);
        Self { edge: span.until + 1, ..span }
    }
}

/// Figures as they are in the file, with the first minute that they are of.
pub(super) struct FiguresRow {
    /// Of a minute's part; 0 for an hour.
    pub(super) id: i64,
    pub(super) start: Minute,
    pub(super) aggregates: Vec<u8>,
}

impl FromRow<'_, SqliteRow> for FiguresRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self { id: row.try_get(0)?, start: row.try_get(1)?, aggregates: row.try_get(2)? })
    }
}

pub(super) async fn aggregates(
    connection: &mut SqliteConnection,
    span: Span,
) -> sqlx::Result<Vec<FiguresRow>> {
    sqlx::query_as(
        "SELECT id, start, aggregates FROM minute WHERE start >= ?1 AND start < ?2 AND start <= ?3
         UNION ALL SELECT 0, start, aggregates FROM hour WHERE start >= ?2 AND start <= ?3
         UNION ALL SELECT id, start, aggregates FROM minute WHERE folded = 0 AND start >= ?2 AND start <= ?3",
    )
    .bind(span.from)
    .bind(span.edge)
    .bind(span.until)
    .fetch_all(connection)
    .await
}

/// The first minute of which there is anything.
pub(super) async fn oldest(connection: &mut SqliteConnection) -> sqlx::Result<Option<Minute>> {
    // min() passes over nulls only as an aggregate.
    let oldest = "SELECT min(start) FROM (SELECT min(start) AS start FROM minute
                  UNION ALL SELECT min(start) FROM hour)";
    sqlx::query_scalar(oldest).fetch_one(connection).await
}

/// All in one transaction.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    parts: &[Arc<MinuteRow>],
    failures: &[FailureRecord],
) -> sqlx::Result<()> {
    let mut transaction = begin(connection, MIGRATIONS).await?;
    for part in parts {
        sqlx::query(
            "INSERT INTO minute (id, start, aggregates) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET aggregates = excluded.aggregates",
        )
        .bind(part.id)
        .bind(part.minute)
        .bind(part.aggregates.to_bytes())
        .execute(&mut *transaction)
        .await?;
    }
    for failure in failures {
        sqlx::query(
            "INSERT INTO failure (at_ms, request_id, method, path, status, kind, message, unauthenticated)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(failure.at_ms)
        .bind(&failure.request_id)
        .bind(&failure.method)
        .bind(&failure.path)
        .bind(failure.status)
        .bind(&failure.kind)
        .bind(&failure.message)
        .bind(failure.unauthenticated)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

/// The latest, the newest first.
pub(super) async fn failures(
    connection: &mut SqliteConnection,
    limit: usize,
    unauthenticated: bool,
) -> sqlx::Result<Vec<FailureRecord>> {
    let rows = sqlx::query(
        "SELECT at_ms, request_id, method, path, status, kind, message, unauthenticated FROM failure
         WHERE unauthenticated <= ?2 ORDER BY id DESC LIMIT ?1",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(unauthenticated)
    .fetch_all(connection)
    .await?;
    let record = |row: &SqliteRow| {
        Ok(FailureRecord {
            at_ms: row.try_get(0)?,
            request_id: row.try_get(1)?,
            method: row.try_get(2)?,
            path: row.try_get(3)?,
            status: row.try_get(4)?,
            kind: row.try_get(5)?,
            message: row.try_get(6)?,
            unauthenticated: row.try_get(7)?,
        })
    };
    rows.iter().map(record).collect()
}

/// Adds the minutes of hours that are over to the rows of their hours.
pub(super) async fn fold(connection: &mut SqliteConnection, now: SystemTime) -> sqlx::Result<()> {
    let settled = minute_of(now) - SETTLED_AFTER;
    let before = settled - settled.rem_euclid(HOUR);
    loop {
        let mut transaction = begin(connection, MIGRATIONS).await?;
        let first: Option<Minute> =
            sqlx::query_scalar("SELECT min(start) FROM minute WHERE folded = 0 AND start < ?1")
                .bind(before)
                .fetch_one(&mut *transaction)
                .await?;
        let Some(first) = first else { return Ok(()) };
        let start = first - first.rem_euclid(HOUR);
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT aggregates FROM hour WHERE start = ?1
             UNION ALL SELECT aggregates FROM minute WHERE folded = 0 AND start >= ?1 AND start < ?1 + 60",
        )
        .bind(start)
        .fetch_all(&mut *transaction)
        .await?;
        let mut sum = Aggregates::default();
        for row in rows {
            // Damage that SQLite does not see costs this row, and not the others.
            let Some(aggregates) = Aggregates::from_bytes(&row) else {
                tracing::warn!(minute = start, "a row of statistics cannot be read and counts as empty");
                continue;
            };
            sum.merge(&aggregates);
        }
        sqlx::query(
            "INSERT INTO hour (start, aggregates) VALUES (?1, ?2)
                     ON CONFLICT (start) DO UPDATE SET aggregates = excluded.aggregates",
        )
        .bind(start)
        .bind(sum.to_bytes())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE minute SET folded = 1 WHERE folded = 0 AND start >= ?1 AND start < ?1 + 60")
            .bind(start)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
}

/// Removes what is older than it is to be kept.
pub(super) async fn expire(
    connection: &mut SqliteConnection,
    now: SystemTime,
    retention_hours: u64,
) -> sqlx::Result<()> {
    let now = minute_of(now);
    let kept = Minute::try_from(retention_hours).unwrap_or(Minute::MAX / HOUR).saturating_mul(HOUR);
    // An hour goes when all of it is too old.
    let hours = now.saturating_sub(kept).saturating_sub(HOUR);
    // A minute that is not folded yet is the only one to know.
    let minutes = (now - DAY - HOUR).max(hours);
    let mut transaction = begin(connection, MIGRATIONS).await?;
    for (sql, before) in [
        ("DELETE FROM minute WHERE start < ?1 AND folded = 1", minutes),
        ("DELETE FROM minute WHERE start < ?1", hours),
        ("DELETE FROM hour WHERE start < ?1", hours),
        ("DELETE FROM failure WHERE at_ms < ?1 * 60000", hours),
    ] {
        sqlx::query(sql).bind(before).execute(&mut *transaction).await?;
    }
    for (unauthenticated, most) in [(false, FAILURES), (true, REFUSALS)] {
        sqlx::query(
            "DELETE FROM failure WHERE unauthenticated = ?1 AND id <=
             (SELECT id FROM failure WHERE unauthenticated = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(unauthenticated)
        .bind(most)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    // What has been removed is given back, when it is worth it.
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    if free > FREE_PAGES {
        sqlx::raw_sql("PRAGMA incremental_vacuum").execute(&mut *connection).await?;
    }
    Ok(())
}
