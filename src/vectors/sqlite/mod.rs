//! Embedded store: one SQLite file, one transaction for each document. One connection writes; others read beside it,
//! so that searches go on while documents are stored. Vectors are searched in memory (`index`), words in the file.
//! See docs/adr/0028.

mod documents;
mod facts;
mod failure;
mod index;
mod indexes;
mod keywords;
mod put;
mod reindex;
mod search;
mod tables;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use sqlx::{Connection, SqliteConnection, Transaction};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use self::{
    failure::{Failure, Outcome},
    indexes::{Change, Indexes},
};
use super::{
    Chunk, Collection, CollectionName, Document, DocumentId, Embedding, Found, NewDocument, Previous, Query,
    Reindex, Stats, Stored, VectorStore,
};
use crate::{
    error::{Error, Kind, Result},
    files::check_writable,
    sqlite::{Database, Fault, Lent, Readers, close_unless_ok},
};

/// Consequence of a file that cannot be used.
const UNUSABLE: &str = "documents cannot be stored or searched";

pub struct Sqlite {
    database: Database,
    /// Whether the file has been opened, and has its tables.
    opened: AtomicBool,
    writer: Mutex<Option<SqliteConnection>>,
    /// Whether the connection that writes is to be replaced: SQLite may have ended a transaction by itself, and sqlx
    /// would then begin no other one.
    has_failed: AtomicBool,
    readers: Readers,
    indexes: Indexes,
    /// Held from a commit until its change is in the indexes, and while an index is read from the file.
    publishing: Mutex<()>,
}

impl Sqlite {
    /// The file is opened when it is first needed, and made when it is missing.
    pub fn new(file: PathBuf) -> Self {
        let database = tables::database(file);
        Self {
            opened: AtomicBool::new(false),
            writer: Mutex::new(None),
            has_failed: AtomicBool::new(false),
            readers: Readers::new(database.file.options()),
            indexes: Indexes::new(),
            publishing: Mutex::new(()),
            database,
        }
    }

    /// Describes the file without changing it, also while no server runs.
    ///
    /// # Errors
    /// `Setup`, with what to do, when the file cannot be used.
    pub async fn describe(file: PathBuf) -> Result<String> {
        check_writable(&file).map_err(|source| {
            let message = format!("{} cannot be written; correct its permissions.", file.display());
            Error::new(Kind::Setup, message).with_source(source)
        })?;
        let database = tables::database(file);
        match database.describe("no documents yet").await {
            Ok(found) => Ok(found),
            Err(error) => {
                Err(Error::new(Kind::Setup, database.explain(&error, UNUSABLE).await).with_source(error))
            }
        }
    }

    /// Whether there is no file yet, so that nothing is in it.
    async fn is_missing(&self) -> sqlx::Result<bool> {
        Ok(!self.opened.load(Ordering::Acquire) && !tokio::fs::try_exists(&self.database.file.path).await?)
    }

    /// The connection that writes; waits for those before.
    async fn writer(&self) -> sqlx::Result<MappedMutexGuard<'_, SqliteConnection>> {
        let mut writer = self.writer.lock().await;
        if self.has_failed.swap(false, Ordering::AcqRel)
            && let Some(failed) = writer.take()
        {
            failed.close().await?;
        }
        if writer.is_none() {
            let mut connection = self.database.open().await?;
            // What is stored must be on the disk when its caller is told so.
            let durable = sqlx::raw_sql("PRAGMA synchronous = FULL").execute(&mut connection).await;
            *writer = Some(close_unless_ok(connection, durable).await?.0);
            self.opened.store(true, Ordering::Release);
        }
        Ok(MutexGuard::map(writer, |connection| connection.as_mut().expect("it was just opened")))
    }

    /// A connection that reads.
    async fn reader(&self) -> sqlx::Result<Lent<'_>> {
        if !self.opened.load(Ordering::Acquire) {
            drop(self.writer().await?);
        }
        self.readers.lend().await
    }

    /// Commits, and brings the index up to date before any search looks at it.
    async fn publish(&self, transaction: Transaction<'_, sqlx::Sqlite>, change: &Change) -> sqlx::Result<()> {
        let _publishing = self.publishing.lock().await;
        transaction.commit().await?;
        self.indexes.apply(change);
        Ok(())
    }

    /// Gives the space of what was deleted back to the disk, in steps, between which documents can be stored.
    async fn shrink(&self) {
        let shrunk = async {
            let mut before = i64::MAX;
            loop {
                let mut writer = self.writer().await?;
                let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *writer).await?;
                if free == 0 || free >= before {
                    return Ok::<(), sqlx::Error>(());
                }
                before = free;
                sqlx::raw_sql("PRAGMA incremental_vacuum(2000)").execute(&mut *writer).await?;
            }
        };
        if let Err(error) = shrunk.await {
            tracing::warn!(%error, "the space of deleted documents could not be given back to the disk");
        }
    }

    /// An error for the caller, with the cause and the remedy for the log.
    async fn told<T>(&self, outcome: Outcome<T>) -> Result<T> {
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Sqlite(error)) => error,
        };
        self.has_failed.store(true, Ordering::Release);
        if let Err(error) = self.readers.reconnect().await {
            tracing::debug!(%error, "closing a connection failed");
        }
        let message = match Fault::of(&error) {
            Fault::Full => "The server's disk is full. Free space on it, and try again.",
            Fault::Damaged => {
                "The documents cannot be read: their file is damaged. The server's log says what to do."
            }
            Fault::Refused => "The documents cannot be read or written now. The server's log says why.",
        };
        let remedy = self.database.explain(&error, UNUSABLE).await;
        Err(Error::new(Kind::Unavailable, message).with_source(Explained { remedy, error }))
    }
}

/// A failure of the file for the log: what it means and what to do, and what SQLite says.
#[derive(Debug)]
struct Explained {
    remedy: String,
    error: sqlx::Error,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.remedy)
    }
}

impl std::error::Error for Explained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[async_trait]
impl VectorStore for Sqlite {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn put(
        &self,
        collection: &CollectionName,
        embedding: &Embedding,
        document: NewDocument,
    ) -> Result<Stored> {
        self.told(put::put(self, collection, embedding, document).await).await
    }

    async fn previous(
        &self,
        collection: &CollectionName,
        id: Option<&DocumentId>,
        content: &str,
    ) -> Result<Option<Previous>> {
        self.told(put::previous(self, collection, id, content).await).await
    }

    async fn search(&self, collection: &CollectionName, query: Query) -> Result<Found> {
        self.told(search::search(self, collection, query).await).await
    }

    async fn collections(&self) -> Result<Vec<Collection>> {
        self.told(documents::collections(self, None).await).await
    }

    async fn collection(&self, name: &CollectionName) -> Result<Collection> {
        self.told(documents::collection(self, name).await).await
    }

    async fn delete_collection(&self, name: &CollectionName) -> Result<()> {
        self.told(documents::delete_collection(self, name).await).await
    }

    async fn documents(
        &self,
        collection: &CollectionName,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<Document>> {
        self.told(documents::documents(self, collection, after, limit).await).await
    }

    async fn document(&self, id: &DocumentId) -> Result<Document> {
        self.told(documents::document(self, id).await).await
    }

    async fn content(&self, id: &DocumentId) -> Result<String> {
        self.told(documents::content(self, id).await).await
    }

    async fn chunks(&self, id: &DocumentId) -> Result<Vec<Chunk>> {
        self.told(documents::chunks(self, id).await).await
    }

    async fn delete_document(&self, id: &DocumentId) -> Result<()> {
        self.told(documents::delete_document(self, id).await).await
    }

    async fn begin_reindex(&self, collection: &CollectionName, embedding: &Embedding) -> Result<Reindex> {
        self.told(reindex::begin_or_continue(self, collection, embedding).await).await
    }

    async fn pending(&self, reindex: &Reindex, limit: usize) -> Result<Vec<Document>> {
        self.told(reindex::pending(self, reindex, limit).await).await
    }

    async fn put_reindexed(
        &self,
        reindex: &Reindex,
        id: &DocumentId,
        content_hash: &str,
        chunks: Vec<Chunk>,
    ) -> Result<bool> {
        self.told(reindex::put(self, reindex, id, content_hash, chunks).await).await
    }

    async fn finish_reindex(&self, reindex: &Reindex) -> Result<u64> {
        self.told(reindex::finish(self, reindex).await).await
    }

    async fn abandon_reindex(&self, reindex: &Reindex) -> Result<()> {
        self.told(reindex::abandon(self, reindex).await).await
    }

    async fn check(&self) -> Result<()> {
        self.told(documents::check(self).await).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.told(documents::stats(self).await).await
    }

    async fn stop(&self) {
        let closed = async {
            self.readers.close().await?;
            if let Some(connection) = self.writer.lock().await.take() {
                connection.close().await?;
            }
            Ok::<(), sqlx::Error>(())
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the file with the documents was not closed properly");
        }
    }
}

#[cfg(test)]
mod tests;
