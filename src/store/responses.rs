//! Responses that callers have stored, in one SQLite file. Their JSON is opaque here. A conversation, which is the
//! responses that continue one another, is removed as a whole: when its newest response has expired, or when the
//! file is full and it has been unused for the longest time.

mod tables;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};
use tokio::{
    fs,
    sync::{MappedMutexGuard, Mutex, MutexGuard},
};

use crate::{
    error::{Error, Kind, Result},
    files::check_writable,
    sqlite::{Database, Fault, close_unless_ok},
    types::Principal,
    value_parser::whole,
};

/// How long a conversation is kept after its newest response, as in OpenAI's API.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Consequence of a file that cannot be used.
const UNUSABLE: &str = "responses cannot be stored or read";

const MEGABYTE: u64 = 1024 * 1024;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Responses")]
#[group(skip)]
pub struct Settings {
    /// Megabytes of disk space for stored responses of /v1/responses; when it is used up, the conversations that have been unused the longest are removed. Use 0 to store none
    #[arg(long, env = "RESPONSES_MAX_MB", default_value = "1024", value_parser = whole(0..=1_048_576_u64))]
    pub responses_max_mb: u64,
}

/// Random part of a response's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseId(u128);

impl ResponseId {
    /// # Errors
    /// `Internal` when the system has no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|source| {
            Error::new(Kind::Internal, "The system's random number generator does not work.")
                .with_source(source)
        })?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    /// Reads an id as it is written; `None` for what is no id of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_digits(text.strip_prefix("resp_")?)
    }

    /// Reads the digits of an id alone.
    pub fn of_digits(digits: &str) -> Option<Self> {
        let is_plain = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_plain.then(|| u128::from_str_radix(digits, 16).ok().map(Self))?
    }

    /// The digits alone, of which the ids of its items are made.
    pub fn digits(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resp_{:032x}", self.0)
    }
}

/// A response with its input, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    pub id: ResponseId,
    /// The response that it continues.
    pub previous: Option<ResponseId>,
    /// Whether it will not change any more.
    pub is_finished: bool,
    /// A list of items.
    pub input: String,
    pub body: String,
}

/// A response with all that it continues.
#[derive(Debug, PartialEq, Eq)]
pub enum Chain {
    /// The oldest first.
    Complete(Vec<StoredResponse>),
    /// This one is not there.
    Missing(ResponseId),
    /// Together they are larger than was allowed.
    TooLarge,
}

pub struct Responses {
    database: Database,
    /// Bytes that the file may have in use.
    max_bytes: u64,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Responses {
    /// The file is opened when it is first needed. `None` when nothing is to be stored.
    pub fn new(settings: &Settings, data_dir: &Path) -> Option<Self> {
        let max_bytes = settings.responses_max_mb * MEGABYTE;
        (max_bytes > 0).then(|| Self::over(file(data_dir), max_bytes))
    }

    fn over(file: PathBuf, max_bytes: u64) -> Self {
        Self { database: tables::database(file), max_bytes, connection: Mutex::new(None) }
    }

    /// Describes the file without changing it, also while no server runs.
    ///
    /// # Errors
    /// `Setup`, with what to do, when the file cannot be used.
    pub async fn describe(settings: &Settings, data_dir: &Path) -> Result<String> {
        if settings.responses_max_mb == 0 {
            return Ok("not stored (RESPONSES_MAX_MB is 0)".to_owned());
        }
        let file = file(data_dir);
        check_writable(&file).map_err(|source| {
            let message = format!("{} cannot be written; correct its permissions.", file.display());
            Error::new(Kind::Setup, message).with_source(source)
        })?;
        let database = tables::database(file);
        match database.describe("no responses yet").await {
            Ok(found) => Ok(found),
            Err(error) => {
                let what = database.explain(&error, UNUSABLE).await;
                Err(Error::new(Kind::Setup, what).with_source(error))
            }
        }
    }

    /// Stores a response, and makes room for it when there is none. One that continues another belongs to its
    /// conversation.
    ///
    /// # Errors
    /// `TooLarge`, and `Unavailable` when the file cannot be written; nothing is changed then.
    pub async fn put(&self, owner: &Principal, response: &StoredResponse) -> Result<()> {
        let bytes = (response.input.len() + response.body.len()) as u64;
        if bytes > self.max_bytes / 2 {
            let message = "The response is too large to be stored; raise RESPONSES_MAX_MB to store it.";
            return Err(Error::new(Kind::TooLarge, message));
        }
        let put = async {
            let mut connection = self.connection().await?;
            tables::put(&mut connection, owner, response, now(), self.max_bytes).await?;
            tables::shrink(&mut connection).await
        };
        self.told(put.await).await
    }

    /// Replaces the JSON of a response that was not finished, which it is then.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub async fn finish(&self, owner: &Principal, id: ResponseId, body: &str) -> Result<()> {
        let finished = async { tables::finish(&mut *self.connection().await?, owner, id, body).await };
        self.told(finished.await).await
    }

    /// # Errors
    /// `Unavailable` when the file cannot be read.
    pub async fn get(&self, owner: &Principal, id: ResponseId) -> Result<Option<StoredResponse>> {
        let found = async { tables::get(&mut *self.connection().await?, owner, id, now()).await };
        self.told(found.await).await
    }

    /// The response and those that it continues, together not larger than `max_bytes`.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be read.
    pub async fn chain(&self, owner: &Principal, id: ResponseId, max_bytes: usize) -> Result<Chain> {
        let chain =
            async { tables::chain(&mut *self.connection().await?, owner, id, now(), max_bytes).await };
        self.told(chain.await).await
    }

    /// Deletes a response; false when there is none.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub async fn delete(&self, owner: &Principal, id: ResponseId) -> Result<bool> {
        let deleted = async {
            let mut connection = self.connection().await?;
            let deleted = tables::delete(&mut connection, owner, id, now()).await?;
            tables::shrink(&mut connection).await?;
            Ok(deleted)
        };
        self.told(deleted.await).await
    }

    /// Checks that the file can be read, if there is one.
    ///
    /// # Errors
    /// `Unavailable` when it cannot.
    pub async fn check(&self) -> Result<()> {
        let checked = async {
            if fs::try_exists(&self.database.file.path).await? {
                tables::check(&mut *self.connection().await?).await?;
            }
            Ok(())
        };
        self.told(checked.await).await
    }

    /// Removes the conversations that have expired.
    ///
    /// # Errors
    /// `Unavailable` when the file cannot be written.
    pub async fn expire(&self) -> Result<()> {
        let expired = async {
            // No file is made for nothing.
            if !fs::try_exists(&self.database.file.path).await? {
                return Ok(());
            }
            let mut connection = self.connection().await?;
            tables::expire(&mut connection, now()).await?;
            tables::shrink(&mut connection).await
        };
        self.told(expired.await).await
    }

    pub async fn stop(&self) {
        if let Some(connection) = self.connection.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the file with the stored responses was not closed properly");
        }
    }

    /// The connection; waits for those before.
    async fn connection(&self) -> sqlx::Result<MappedMutexGuard<'_, SqliteConnection>> {
        let mut connection = self.connection.lock().await;
        if connection.is_none() {
            let mut opened = self.database.open().await?;
            // What was deleted is overwritten.
            let set = sqlx::raw_sql("PRAGMA secure_delete = ON").execute(&mut opened).await;
            *connection = Some(close_unless_ok(opened, set).await?.0);
        }
        Ok(MutexGuard::map(connection, |connection| connection.as_mut().expect("it was just opened")))
    }

    /// An error for the caller, with the cause and the remedy for the log. The next attempt begins with a new
    /// connection.
    async fn told<T>(&self, outcome: sqlx::Result<T>) -> Result<T> {
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if let Some(connection) = self.connection.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing a connection failed");
        }
        let message = match Fault::of(&error) {
            Fault::Full => "The server's disk is full, so responses cannot be stored.",
            Fault::Damaged => {
                "The stored responses cannot be read: their file is damaged. The server's log says what to do."
            }
            Fault::Refused => {
                "The stored responses cannot be read or written now. The server's log says why."
            }
        };
        let remedy = self.database.explain(&error, UNUSABLE).await;
        Err(Error::new(Kind::Unavailable, message).with_source(format!("{remedy} ({error})")))
    }
}

/// The file in this data folder.
fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("state/responses.db")
}

/// Seconds since 1970.
fn now() -> i64 {
    Timestamp::now().as_second()
}
