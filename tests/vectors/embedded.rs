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
    vectors::{Chunk, Metadata, NewDocument, Search, Sqlite, VectorStore},
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

/// A document whose storing takes seconds.
fn endless() -> NewDocument {
    let chunks = (0..200_000).map(|at| Chunk {
        char_start: at,
        char_end: at + 1,
        content: format!("new {at}"),
        metadata: Metadata::new(),
        vector: vec![1.0, 0.0],
    });
    NewDocument {
        id: Some(id("a")),
        title: None,
        metadata: Metadata::new(),
        content: "new".to_owned(),
        chunks: chunks.collect(),
    }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_put_leaves_the_old_version() {
    const FOLDER: &str = "SIMPLETON_TEST_PUT";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let store = open(Path::new(&folder));
        store.put(&collection("docs"), &model(2), endless()).await.unwrap();
        panic!("it ended");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let chunks: [(&str, &[f32]); 2] = [("old one", &[1.0, 0.0]), ("old two", &[0.0, 1.0])];
    store.put(&collection("docs"), &model(2), document(Some("a"), &chunks)).await.unwrap();
    store.stop().await;
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = folder.path().join("documents.db-wal");
    let written = || fs::metadata(&log).map_or(0, |log| log.len());
    // More than the cache of pages holds, so that a part of it is on the disk.
    eventually(Duration::from_secs(120), "the child writes", async || written() >= 1_000_000).await;
    child.kill().unwrap();
    child.wait().unwrap();
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
