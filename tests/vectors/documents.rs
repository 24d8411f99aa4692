//! Putting, listing, reading and deleting documents and collections.

use serde_json::json;
use simpleton::{
    error::Kind,
    vectors::{Collection, NewDocument, Stats, content_hash},
};

use crate::harness::{
    collection, document, hits, id, model, near, object, offsets, put, query, texts, with_each_store,
};

#[tokio::test]
async fn a_document_is_found_by_its_chunks_and_read_back() {
    with_each_store(async |store| {
        let mut new = document(Some("guide.md"), &[("größer", &[3.0, 0.0]), (" als", &[0.0, 2.0])]);
        new.title = Some("Guide".to_owned());
        new.metadata = object(json!({"lang": "de", "page": 7, "title": "mine"}));
        new.chunks[1].metadata = object(json!({"page": 2, "heading": "A > B"}));
        let stored = store.put(&collection("docs"), &model(2), new).await.unwrap();
        assert_eq!(stored.chunk_ids, ["guide.md#0", "guide.md#1"]);
        assert!(!stored.replaced);
        let found = hits(store, "docs", query(near(&[0.1, 1.0]))).await;
        assert_eq!(texts(&found), [" als", "größer"]);
        assert_eq!((found[0].chunk_id.as_str(), found[0].document_id.as_str()), ("guide.md#1", "guide.md"));
        let mut metadata = offsets(1, 6, 10);
        metadata.extend(object(json!({"lang": "de", "title": "Guide", "page": 2, "heading": "A > B"})));
        assert_eq!(found[0].metadata, metadata);
        let kept = store.document(&id("guide.md")).await.unwrap();
        assert_eq!(kept.metadata, object(json!({"lang": "de", "page": 7, "title": "mine"})));
        assert_eq!((kept.title.as_deref(), kept.chunks_count, kept.content_bytes), (Some("Guide"), 2, 12));
        assert_eq!(kept.content_hash, content_hash("größer als"));
        assert_eq!(store.content(&id("guide.md")).await.unwrap(), "größer als");
        let chunks = store.chunks(&id("guide.md")).await.unwrap();
        let [first, second] = &chunks[..] else { panic!("{chunks:?}") };
        assert_eq!((first.char_start, first.char_end, first.content.as_str()), (0, 6, "größer"));
        assert_eq!((second.char_start, second.char_end, second.content.as_str()), (6, 10, " als"));
        assert_eq!((&first.vector[..], &second.vector[..]), (&[1.0, 0.0][..], &[0.0, 1.0][..]));
        assert_eq!(
            (&first.metadata, &second.metadata),
            (&object(json!({})), &object(json!({"page": 2, "heading": "A > B"})))
        );
        assert_eq!(store.chunks(&id("none")).await.unwrap_err().kind(), Kind::NotFound);
        let expected = Collection {
            name: collection("docs"),
            embedding: model(2),
            reindexing: None,
            documents_count: 1,
            chunks_count: 2,
        };
        assert_eq!(store.collections().await.unwrap(), std::slice::from_ref(&expected));
        assert_eq!(store.collection(&collection("docs")).await.unwrap(), expected);
        let stats = store.stats().await.unwrap();
        assert!(stats.bytes > 0);
        assert_eq!(Stats { bytes: 0, ..stats }, Stats { collections: 1, documents: 1, chunks: 2, bytes: 0 });
    })
    .await;
}

#[tokio::test]
async fn the_same_id_or_the_same_content_replaces_the_old_version() {
    with_each_store(async |store| {
        let docs = collection("docs");
        let old = document(Some("a"), &[("old", &[1.0, 0.0]), ("same", &[0.0, 1.0]), ("gone", &[0.5, 0.5])]);
        store.put(&docs, &model(2), old).await.unwrap();
        let first = store.document(&id("a")).await.unwrap();
        let new = document(Some("a"), &[("new", &[1.0, 0.0]), ("same", &[0.0, 1.0])]);
        // What an ingest looks up first: the vectors that it need not make again.
        let previous = store.previous(&docs, Some(&id("a")), &new.content).await.unwrap().unwrap();
        assert_eq!((previous.id, previous.embedding), (id("a"), model(2)));
        assert_eq!(previous.vectors.len(), 3);
        assert_eq!(previous.vectors["same"], [0.0, 1.0]);
        assert!(store.put(&docs, &model(2), new.clone()).await.unwrap().replaced);
        let second = store.document(&id("a")).await.unwrap();
        assert_eq!(second.created_at, first.created_at);
        assert!(second.updated_at >= first.updated_at);
        assert_eq!(texts(&hits(store, "docs", query(near(&[1.0, 0.0]))).await), ["new", "same"]);
        // The same content without an id.
        let again = NewDocument { id: None, metadata: object(json!({"v": 3})), ..new.clone() };
        let previous = store.previous(&docs, None, &again.content).await.unwrap().unwrap();
        assert_eq!((previous.id, previous.vectors.len()), (id("a"), 2));
        let stored = store.put(&docs, &model(2), again).await.unwrap();
        assert_eq!((stored.id, stored.replaced), (id("a"), true));
        assert_eq!(store.document(&id("a")).await.unwrap().metadata, object(json!({"v": 3})));
        // Another collection, and another content, are other documents.
        let elsewhere = NewDocument { id: None, ..new };
        let stored = store.put(&collection("other"), &model(2), elsewhere).await.unwrap();
        assert!(!stored.replaced && stored.id != id("a"));
        let other = document(None, &[("other", &[1.0, 0.0])]);
        assert!(store.previous(&docs, None, &other.content).await.unwrap().is_none());
        assert_ne!(store.put(&docs, &model(2), other).await.unwrap().id, id("a"));
        assert_eq!(store.collection(&docs).await.unwrap().documents_count, 2);
    })
    .await;
}

#[tokio::test]
async fn other_vectors_and_taken_ids_are_refused_in_plain_words() {
    with_each_store(async |store| {
        let docs = collection("docs");
        put(store, "a", json!({})).await;
        let new = document(Some("b"), &[("b", &[1.0, 0.0, 0.0])]);
        let error = store.put(&docs, &model(3), new).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(
            error.message(),
            "The vectors of the collection \"docs\" were made by the model \"small\" (2 dimensions), not by \"small\" (3 dimensions). Use the same model, or move the collection to the other one with POST /rag/collections/docs/reindex."
        );
        // A collection is not made for what is refused.
        let new = document(Some("a"), &[("x", &[1.0, 0.0])]);
        for error in [
            store.previous(&collection("new"), Some(&id("a")), &new.content).await.unwrap_err(),
            store.put(&collection("new"), &model(2), new).await.unwrap_err(),
        ] {
            assert_eq!(error.message(), "document_id belongs to a document of another collection: docs.");
        }
        let empty = document(Some("c"), &[]);
        assert_eq!(store.put(&docs, &model(2), empty).await.unwrap_err().field_errors()[0].pointer, "/content");
        for vector in [[f32::NAN, 0.0].as_slice(), &[1.0], &[]] {
            let error = store.put(&docs, &model(2), document(None, &[("x", vector)])).await.unwrap_err();
            assert_eq!(error.kind(), Kind::BadGateway, "{vector:?}");
        }
        let reserved = NewDocument {
            metadata: object(json!({"char_start": 1})),
            ..document(None, &[("x", &[1.0, 0.0])])
        };
        let error = store.put(&docs, &model(2), reserved).await.unwrap_err();
        assert_eq!(error.field_errors()[0].pointer, "/metadata/char_start");
        assert_eq!(store.collections().await.unwrap().len(), 1);
        assert_eq!(store.collection(&docs).await.unwrap().documents_count, 1);
    })
    .await;
}

#[tokio::test]
async fn documents_are_listed_in_pages() {
    with_each_store(async |store| {
        let names: Vec<String> = (0..25).map(|at| format!("docs/{at}.md")).collect();
        for name in &names {
            put(store, name, json!({})).await;
        }
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.documents(&collection("docs"), after.as_ref(), 10).await.unwrap();
            assert!(page.len() <= 10);
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            listed.extend(page.into_iter().map(|document| document.id.as_str().to_owned()));
        }
        listed.sort();
        let mut expected = names;
        expected.sort();
        assert_eq!(listed, expected);
    })
    .await;
}

#[tokio::test]
async fn deleted_documents_and_collections_are_gone() {
    with_each_store(async |store| {
        for name in ["a", "b"] {
            put(store, name, json!({"name": name})).await;
        }
        store
            .put(&collection("other"), &model(2), document(Some("c"), &[("a c", &[1.0, 0.0])]))
            .await
            .unwrap();
        assert_eq!(hits(store, "docs", query(near(&[1.0, 0.0]))).await.len(), 2);
        store.delete_document(&id("a")).await.unwrap();
        assert_eq!(texts(&hits(store, "docs", query(near(&[1.0, 0.0]))).await), ["b"]);
        assert_eq!(store.document(&id("a")).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.content(&id("a")).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.delete_document(&id("a")).await.unwrap_err().kind(), Kind::NotFound);
        store.delete_document(&id("b")).await.unwrap();
        assert_eq!(store.collection(&collection("docs")).await.unwrap().chunks_count, 0);
        assert!(hits(store, "docs", query(near(&[1.0, 0.0]))).await.is_empty());
        store.delete_collection(&collection("docs")).await.unwrap();
        let docs = collection("docs");
        let missing = [
            store.collection(&docs).await.err(),
            store.delete_collection(&docs).await.err(),
            store.documents(&docs, None, 10).await.err(),
            store.search(&docs, query(near(&[1.0, 0.0]))).await.err(),
            store.begin_reindex(&docs, &model(3)).await.err(),
        ];
        for error in missing {
            let error = error.unwrap();
            assert_eq!((error.kind(), error.message()), (Kind::NotFound, "There is no collection \"docs\"."));
        }
        // Another model may begin it anew, and nothing is left of the old one.
        store.put(&docs, &model(3), document(Some("a"), &[("a", &[1.0, 0.0, 0.0])])).await.unwrap();
        assert_eq!(hits(store, "docs", query(near(&[1.0, 0.0, 0.0]))).await.len(), 1);
        assert_eq!(hits(store, "other", query(near(&[1.0, 0.0]))).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn collections_of_any_script_are_kept_apart() {
    with_each_store(async |store| {
        for name in ["größe", "文档", "Docs", "docs", "x.y-z_1"] {
            let new = document(None, &[(name, &[1.0, 0.0])]);
            store.put(&collection(name), &model(2), new).await.unwrap();
        }
        for name in ["größe", "文档", "Docs", "docs", "x.y-z_1"] {
            assert_eq!(texts(&hits(store, name, query(near(&[1.0, 0.0]))).await), [name]);
        }
        let names: Vec<String> =
            store.collections().await.unwrap().iter().map(|found| found.name.to_string()).collect();
        assert_eq!(names, ["Docs", "docs", "größe", "x.y-z_1", "文档"]);
    })
    .await;
}
