//! Moving a collection to another embedding model while it is searched.

use serde_json::json;
use simpleton::{
    error::Kind,
    vectors::{Chunk, Embedding, Found, Metadata, QueryVector, Reindex, Search, VectorStore},
};

use crate::harness::{collection, document, hits, id, model, near, put, query, texts, with_each_store};

fn large() -> Embedding {
    Embedding { model: "large".to_owned(), dimension: 3 }
}

fn chunk(text: &str) -> Chunk {
    let char_end = text.chars().count() as u64;
    let vector = vec![0.0, 0.0, 1.0];
    Chunk { char_start: 0, char_end, content: text.to_owned(), metadata: Metadata::new(), vector }
}

/// Brings one pending document over.
async fn bring(store: &dyn VectorStore, reindex: &Reindex) -> bool {
    let Some(next) = store.pending(reindex, 1).await.unwrap().pop() else { return false };
    let text = store.content(&next.id).await.unwrap();
    store.put_reindexed(reindex, &next.id, &next.content_hash, vec![chunk(&text)]).await.unwrap()
}

#[tokio::test]
async fn the_old_vectors_serve_until_the_new_ones_are_complete() {
    with_each_store(async |store| {
        let docs = collection("docs");
        for name in ["a", "b", "c"] {
            put(store, name, json!({"name": name})).await;
        }
        let reindex = store.begin_reindex(&docs, &large()).await.unwrap();
        assert_eq!(store.collection(&docs).await.unwrap().reindexing, Some(large()));
        assert_eq!(store.pending(&reindex, 10).await.unwrap().len(), 3);
        assert!(bring(store, &reindex).await);
        assert_eq!(store.finish_reindex(&reindex).await.unwrap(), 2);
        // Half of it is there, and nothing of it is searched.
        assert_eq!(hits(store, "docs", query(near(&[1.0, 0.0]))).await.len(), 3);
        assert_eq!(hits(store, "docs", query(Search::Keyword("b c".to_owned()))).await.len(), 2);
        assert_eq!(store.chunks(&id("a")).await.unwrap()[0].vector, [1.0, 0.0]);
        assert_eq!(store.collection(&docs).await.unwrap().chunks_count, 3);
        while bring(store, &reindex).await {}
        // Documents that change meanwhile are brought over again, and new ones with them.
        put(store, "a", json!({"name": "changed"})).await;
        put(store, "d", json!({})).await;
        assert_eq!(store.finish_reindex(&reindex).await.unwrap(), 2);
        let stale = store.put_reindexed(&reindex, &id("a"), "an old hash", vec![chunk("a")]).await.unwrap();
        let gone = store.put_reindexed(&reindex, &id("gone"), "", vec![chunk("a")]).await.unwrap();
        assert_eq!((stale, gone), (false, false));
        while bring(store, &reindex).await {}
        assert_eq!(store.finish_reindex(&reindex).await.unwrap(), 0);
        let moved = store.collection(&docs).await.unwrap();
        assert_eq!((moved.embedding, moved.reindexing), (large(), None));
        assert_eq!((moved.documents_count, moved.chunks_count), (4, 4));
        assert_eq!(store.chunks(&id("a")).await.unwrap()[0].vector, [0.0, 0.0, 1.0]);
        // Who still asks with the old model learns which one it is.
        let old = store.search(&docs, query(near(&[1.0, 0.0]))).await.unwrap();
        assert_eq!(old, Found::OtherModel(large()));
        let vector = QueryVector { model: "large".to_owned(), values: vec![0.0, 0.0, 2.0] };
        let mut found = hits(store, "docs", query(Search::Vector(vector))).await;
        found.sort_by(|left, right| left.content.cmp(&right.content));
        assert_eq!(texts(&found), ["a", "b", "c", "d"]);
        assert_eq!(found[0].metadata["name"], "changed");
        assert_eq!(hits(store, "docs", query(Search::Keyword("b c".to_owned()))).await.len(), 2);
        assert_eq!(store.pending(&reindex, 1).await.unwrap_err().kind(), Kind::NotFound);
        let old = document(Some("e"), &[("e", &[1.0, 0.0])]);
        assert_eq!(store.put(&docs, &model(2), old).await.unwrap_err().kind(), Kind::Invalid);
    })
    .await;
}

#[tokio::test]
async fn a_reindex_is_continued_discarded_or_replaced() {
    with_each_store(async |store| {
        let docs = collection("docs");
        for name in ["a", "b"] {
            put(store, name, json!({"name": name})).await;
        }
        let first = store.begin_reindex(&docs, &large()).await.unwrap();
        assert!(bring(store, &first).await);
        // The same model goes on where it was, as after a crash.
        let again = store.begin_reindex(&docs, &large()).await.unwrap();
        assert_eq!(store.pending(&again, 10).await.unwrap().len(), 1);
        // Another model begins anew.
        let other = Embedding { model: "other".to_owned(), dimension: 3 };
        let second = store.begin_reindex(&docs, &other).await.unwrap();
        assert_eq!(store.pending(&second, 10).await.unwrap().len(), 2);
        assert_eq!(store.finish_reindex(&first).await.unwrap_err().kind(), Kind::NotFound);
        let late = store.put_reindexed(&first, &id("a"), "", vec![chunk("a")]).await;
        assert_eq!(late.unwrap_err().kind(), Kind::NotFound);
        store.abandon_reindex(&first).await.unwrap();
        assert_eq!(store.collection(&docs).await.unwrap().reindexing, Some(other));
        store.abandon_reindex(&second).await.unwrap();
        assert_eq!(store.collection(&docs).await.unwrap().reindexing, None);
        assert_eq!(hits(store, "docs", query(near(&[1.0, 0.0]))).await.len(), 2);
        // Deleted with their collection, under construction or not.
        let third = store.begin_reindex(&docs, &large()).await.unwrap();
        assert!(bring(store, &third).await);
        store.delete_collection(&docs).await.unwrap();
        assert_eq!(store.pending(&third, 1).await.unwrap_err().kind(), Kind::NotFound);
        store.abandon_reindex(&third).await.unwrap();
        assert_eq!(store.stats().await.unwrap().chunks, 0);
    })
    .await;
}
