//! Several at once: puts of one document, and searches beside puts and a reindex.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use simpleton::vectors::{Chunk, Embedding, Filter, Metadata, NewDocument, Query, Search, VectorStore};

use crate::harness::{collection, document, hits, id, model, near, put, query, with_each_store};

/// A version of the document `a`, whose chunks all tell its number.
fn version(number: usize) -> NewDocument {
    let texts: Vec<String> = (0..=number % 5).map(|_| format!("version {number}. ")).collect();
    let chunks: Vec<(&str, &[f32])> =
        texts.iter().map(|text| (text.as_str(), [1.0, 0.5].as_slice())).collect();
    document(Some("a"), &chunks)
}

/// Fails unless a search finds one version of the document, wholly.
async fn check_whole(store: &dyn VectorStore, search: Search) {
    let filter = Some(Filter::parse(&json!({"chunk_index": {"gte": 0}})).unwrap());
    let found = hits(store, "docs", Query { filter, ..query(search) }).await;
    let number: usize = found[0].content.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    assert_eq!(found.len(), number % 5 + 1, "{found:#?}");
    assert!(found.iter().all(|hit| hit.content == found[0].content), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_puts_of_one_document_at_once_one_version_stays() {
    with_each_store(async |store| {
        let docs = collection("docs");
        let embedding = model(2);
        let puts = (0..20).map(|number| store.put(&docs, &embedding, version(number)));
        let stored = join_all(puts).await;
        assert_eq!(stored.iter().filter(|stored| !stored.as_ref().unwrap().replaced).count(), 1);
        check_whole(store, near(&[1.0, 0.0])).await;
        assert_eq!(store.collection(&docs).await.unwrap().documents_count, 1);
        // The same content without an id, in a collection that is not there yet.
        let new = collection("new");
        let nameless = || NewDocument { id: None, ..document(None, &[("the same text", &[1.0, 0.0])]) };
        let stored = join_all((0..5).map(|_| store.put(&new, &embedding, nameless()))).await;
        let ids: Vec<_> = stored.into_iter().map(|stored| stored.unwrap().id).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_beside_puts_finds_one_version_of_each_document() {
    with_each_store(async |store| {
        let docs = collection("docs");
        store.put(&docs, &model(2), version(0)).await.unwrap();
        let is_done = AtomicBool::new(false);
        let writing = async {
            for number in 1..60 {
                store.put(&docs, &model(2), version(number)).await.unwrap();
            }
            is_done.store(true, Ordering::Release);
        };
        let searching = async |search: Search| {
            while !is_done.load(Ordering::Acquire) {
                check_whole(store, search.clone()).await;
            }
        };
        tokio::join!(writing, searching(near(&[1.0, 0.0])), searching(Search::Keyword("version".to_owned())));
    })
    .await;
}

/// A document so large that storing it takes a while.
fn large_document(embedding: &Embedding, chunks: u64) -> NewDocument {
    let chunks = (0..chunks).map(|at| Chunk {
        char_start: at * 10,
        char_end: at * 10 + 10,
        content: format!("chunk {at:04}"),
        metadata: Metadata::new(),
        vector: vec![1.0; embedding.dimension],
    });
    let chunks: Vec<Chunk> = chunks.collect();
    let content = chunks.iter().map(|chunk| chunk.content.as_str()).collect();
    NewDocument { id: Some(id("large")), title: None, metadata: Metadata::new(), content, chunks }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_go_on_during_a_large_put_and_during_a_reindex() {
    with_each_store(async |store| {
        let docs = collection("docs");
        put(store, "a", json!({})).await;
        // Number of searches that began and ended while something was being stored.
        let search_during = async |stored: &AtomicBool| {
            let mut searches = 0;
            loop {
                let found = hits(store, "docs", query(near(&[1.0, 0.0]))).await;
                if stored.load(Ordering::Acquire) {
                    return searches;
                }
                assert!(found.iter().any(|hit| hit.document_id == id("a")));
                searches += 1;
            }
        };
        let stored = AtomicBool::new(false);
        let putting = async {
            store.put(&docs, &model(2), large_document(&model(2), 3_000)).await.unwrap();
            stored.store(true, Ordering::Release);
        };
        let (_, searches) = tokio::join!(putting, search_during(&stored));
        assert!(searches >= 3, "{searches} searches during a put");
        store.delete_document(&id("large")).await.unwrap();
        let larger = Embedding { model: "large".to_owned(), dimension: 8 };
        let reindex = store.begin_reindex(&docs, &larger).await.unwrap();
        let stored = AtomicBool::new(false);
        let reindexing = async {
            let pending = store.pending(&reindex, 10).await.unwrap();
            let chunks = large_document(&larger, 3_000).chunks;
            store.put_reindexed(&reindex, &id("a"), &pending[0].content_hash, chunks).await.unwrap();
            stored.store(true, Ordering::Release);
        };
        let (_, searches) = tokio::join!(reindexing, search_during(&stored));
        assert!(searches >= 3, "{searches} searches during a reindex");
        assert_eq!(store.finish_reindex(&reindex).await.unwrap(), 0);
        assert_eq!(store.collection(&docs).await.unwrap().chunks_count, 3_000);
    })
    .await;
}
