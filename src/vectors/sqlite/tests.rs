//! A disk without room, which only the connection that writes can be made to see.

use super::*;
use crate::vectors::Metadata;

#[tokio::test]
async fn a_full_disk_refuses_the_new_version_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Sqlite::new(folder.path().join("documents.db"));
    let docs = CollectionName::new("docs").expect("a name");
    let embedding = Embedding { model: "small".to_owned(), dimension: 2 };
    let version = |text: &str| NewDocument {
        id: Some(DocumentId::new("a").expect("an id")),
        title: None,
        metadata: Metadata::new(),
        content: text.to_owned(),
        chunks: vec![Chunk {
            char_start: 0,
            char_end: 1,
            content: text.to_owned(),
            metadata: Metadata::new(),
            vector: vec![1.0, 0.0],
        }],
    };
    store.put(&docs, &embedding, version("old")).await.expect("room");
    let pages = "PRAGMA max_page_count = 60";
    sqlx::raw_sql(pages).execute(&mut *store.writer().await.expect("open")).await.expect("set");
    let error = store.put(&docs, &embedding, version(&"new ".repeat(100_000))).await.expect_err("no room");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.message(), "The server's disk is full. Free space on it, and try again.");
    let id = DocumentId::new("a").expect("an id");
    assert_eq!(store.content(&id).await.expect("the old one"), "old");
    store.put(&docs, &embedding, version("small")).await.expect("room for this");
    assert_eq!(store.content(&id).await.expect("the new one"), "small");
    store.stop().await;
}
