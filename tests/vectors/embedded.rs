//! The embedded store's file: restarts, kills and damage.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use simpleton::{
    error::Kind,
    vectors::{Chunk, Embedding, Metadata, NewDocument, Reindex, Search, Sqlite, VectorStore},
};

use crate::{
    eventually::eventually,
    harness::{collection, document, hits, id, model, near, query, texts},
};

fn open(folder: &Path) -> Sqlite {
    Sqlite::new(folder.join("documents.db"))
}

#[tokio::test]
async fn documents_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let chunks: [(&str, &[f32]); 2] = [("one", &[1.0, 0.0]), ("two", &[0.0, 1.0])];
    store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
    store.stop().await;
    let mode = fs::metadata(folder.path().join("documents.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let store = open(folder.path());
    assert_eq!(texts(&hits(&store, "docs", query(near(&[0.0, 1.0]))).await), ["two", "one"]);
    assert_eq!(texts(&hits(&store, "docs", query(Search::Keyword("two".to_owned()))).await), ["two"]);
    // Ids of chunks go on where they were.
    store.put(&collection("docs"), &model(2), document(Some("b"), &[("three", &[0.5, 1.0])])).await.unwrap();
    assert_eq!(texts(&hits(&store, "docs", query(near(&[0.4, 1.0]))).await), ["three", "two", "one"]);
    store.stop().await;
}

/// Chunks that take seconds to be stored.
fn endless(embedding: &Embedding) -> Vec<Chunk> {
    let chunks = (0..200_000).map(|at| Chunk {
        char_start: at,
        char_end: at + 1,
        content: format!("new {at}"),
        metadata: Metadata::new(),
        vector: vec![1.0; embedding.dimension],
    });
    chunks.collect()
}

/// Variable with which this test is run once more, to be killed; it names the folder.
const FOLDER: &str = "SIMPLETON_TEST_KILL";

/// Runs the current test as a child, and kills it when a part of what it stores is on the disk.
async fn kill_while_it_writes(folder: &Path) {
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.join("documents.db-wal");
    let written = || fs::metadata(&log).map_or(0, |log| log.len());
    // More than the cache of pages holds.
    eventually(Duration::from_secs(120), "the child writes", async || written() >= 1_000_000).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_put_leaves_the_old_version() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let new = NewDocument { chunks: endless(&model(2)), ..document(Some("a"), &[("new", &[1.0, 0.0])]) };
        open(Path::new(&folder)).put(&collection("docs"), &model(2), new).await.unwrap();
        panic!("it ended");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let chunks: [(&str, &[f32]); 2] = [("old one", &[1.0, 0.0]), ("old two", &[0.0, 1.0])];
    store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
    store.stop().await;
    kill_while_it_writes(folder.path()).await;
    let store = open(folder.path());
    assert_eq!(texts(&hits(&store, "docs", query(near(&[1.0, 0.0]))).await), ["old one", "old two"]);
    assert!(hits(&store, "docs", query(Search::Keyword("new".to_owned()))).await.is_empty());
    assert_eq!(store.content(&id("a")).await.unwrap(), "old oneold two");
    assert_eq!(store.stats().await.unwrap().chunks, 2);
    store.put(&collection("docs"), &model(2), document(Some("a"), &[("newer", &[1.0, 0.0])])).await.unwrap();
    assert_eq!(texts(&hits(&store, "docs", query(near(&[1.0, 0.0]))).await), ["newer"]);
    store.stop().await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_reindex_leaves_the_old_vectors_and_what_was_done() {
    let (docs, larger) = (collection("docs"), Embedding { model: "large".to_owned(), dimension: 3 });
    if let Some(folder) = std::env::var_os(FOLDER) {
        let store = open(Path::new(&folder));
        let reindex = store.begin_reindex(&docs, &larger).await.unwrap();
        let next = store.pending(&reindex, 1).await.unwrap().remove(0);
        store.put_reindexed(&reindex, &next.id, &next.content_hash, endless(&larger)).await.unwrap();
        panic!("it ended");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for name in ["a", "b"] {
        store.put(&docs, &model(2), document(Some(name), &[(name, &[1.0, 0.0])])).await.unwrap();
    }
    let reindex = store.begin_reindex(&docs, &larger).await.unwrap();
    let bring = async |store: &Sqlite, reindex: &Reindex| {
        let next = store.pending(reindex, 1).await.unwrap().remove(0);
        let chunks = document(None, &[(next.id.as_str(), &[0.0, 0.0, 1.0])]).chunks;
        assert!(store.put_reindexed(reindex, &next.id, &next.content_hash, chunks).await.unwrap());
    };
    bring(&store, &reindex).await;
    store.stop().await;
    kill_while_it_writes(folder.path()).await;
    let store = open(folder.path());
    assert_eq!(hits(&store, "docs", query(near(&[1.0, 0.0]))).await.len(), 2);
    let reindex = store.begin_reindex(&docs, &larger).await.unwrap();
    assert_eq!(store.pending(&reindex, 10).await.unwrap().len(), 1);
    bring(&store, &reindex).await;
    assert_eq!(store.finish_reindex(&reindex).await.unwrap(), 0);
    assert_eq!(store.collection(&docs).await.unwrap().chunks_count, 2);
    store.stop().await;
}

#[tokio::test]
async fn a_damaged_file_is_left_as_it_is_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("documents.db");
    let garbage = b"this is not a database".repeat(1_000);
    fs::write(&file, &garbage).unwrap();
    let store = open(folder.path());
    let failures = [
        store.put(&collection("docs"), &model(2), document(None, &[("a", &[1.0, 0.0])])).await.err(),
        store.collections().await.err(),
        store.stats().await.err(),
    ];
    for error in failures {
        let error = error.unwrap();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains("their file is damaged"), "{}", error.message());
        assert!(error.chain().contains("Stop the server and restore documents.db"), "{}", error.chain());
    }
    assert_eq!(fs::read(&file).unwrap(), garbage);
    // It is moved away while the server runs, and a new one is begun.
    fs::rename(&file, folder.path().join("away")).unwrap();
    assert!(store.collections().await.unwrap().is_empty());
    store.stop().await;
}
