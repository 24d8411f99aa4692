//! Filters over metadata, whose names and values are data whatever they hold.

use serde_json::{Value, json};
use simpleton::vectors::{Filter, NewDocument, Query, Search, VectorStore};

use crate::harness::{collection, document, hits, model, near, object, put, query, with_each_store};

/// Ids of the documents that pass, in each of the modes.
async fn passing(store: &dyn VectorStore, filter: &Value) -> Vec<String> {
    let filter = Filter::parse(filter).unwrap();
    let mut by_mode = Vec::new();
    for search in [near(&[1.0, 0.0]), Search::Keyword("word".to_owned())] {
        let filtered = Query { filter: Some(filter.clone()), top_k: 100, ..query(search) };
        let mut found: Vec<String> =
            hits(store, "docs", filtered).await.into_iter().map(|hit| hit.document_id.to_string()).collect();
        found.sort();
        by_mode.push(found);
    }
    assert_eq!(by_mode[0], by_mode[1], "{filter:?}");
    by_mode.remove(0)
}

#[tokio::test]
async fn filters_choose_documents_by_their_metadata() {
    with_each_store(async |store| {
        for (name, metadata) in [
            ("a word", json!({"lang": "de", "year": 2020, "tags": ["x", "y"], "draft": false, "at": "2024-05-01"})),
            ("b word", json!({"lang": "en", "year": 2021.5, "tags": [], "draft": true, "at": "2024-05-01T12:00:00Z"})),
            ("c word", json!({"lang": "en", "year": "2020", "author": {"name": "Ada", "age": 36}, "draft": null})),
            ("d word", json!({})),
        ] {
            put(store, name, metadata).await;
        }
        for (filter, expected) in [
            (json!({}), "abcd"),
            (json!({"lang": "en"}), "bc"),
            (json!({"lang": "EN"}), ""),
            (json!({"lang": "en", "draft": true}), "b"),
            (json!({"year": 2020}), "a"),
            (json!({"year": 2020.0}), "a"),
            (json!({"year": "2020"}), "c"),
            (json!({"draft": false}), "a"),
            (json!({"draft": 0}), ""),
            (json!({"tags": "y"}), "a"),
            (json!({"lang": {"in": ["de", "fr", 1, true]}}), "a"),
            (json!({"lang": {"in": []}}), ""),
            (json!({"year": {"gt": 2020}}), "b"),
            (json!({"year": {"gte": 2020, "lt": 2021.5}}), "a"),
            (json!({"year": {"lte": 2021.5}}), "ab"),
            (json!({"at": {"gt": "2024-05-01"}}), "b"),
            (json!({"at": {"gte": "2024-05-01T02:00:00+02:00", "lte": "2024-05-01T14:00:00+02:00"}}), "ab"),
            (json!({"author.name": "Ada"}), "c"),
            (json!({"author.age": {"lt": 40}}), "c"),
            (json!({"tags": {"exists": true}}), "a"),
            (json!({"draft": {"exists": false}}), "cd"),
            (json!({"not": {"lang": "en"}}), "ad"),
            (json!({"or": [{"lang": "de"}, {"author.name": "Ada"}]}), "ac"),
            (json!({"and": [{"lang": "en"}, {"not": {"draft": true}}]}), "c"),
            (json!({"and": [{"or": [{"lang": "de"}, {"lang": "en"}]}, {"not": {"and": [{"lang": "en"}, {"draft": true}]}}]}), "ac"),
            (json!({"nothing": "x"}), ""),
        ] {
            let found: String = passing(store, &filter).await.iter().map(|name| &name[..1]).collect();
            assert_eq!(found, expected, "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_fields_of_chunks_are_filtered_too() {
    with_each_store(async |store| {
        let chunks: Vec<(&str, &[f32])> =
            vec![("one word ", &[1.0, 0.0]), ("two word ", &[1.0, 0.1]), ("a third word", &[1.0, 0.2])];
        let mut new = document(Some("a"), &chunks);
        new.title = Some("Guide".to_owned());
        for (chunk, page) in new.chunks.iter_mut().zip(1..) {
            chunk.metadata = object(json!({"page": page, "heading": format!("H{page}")}));
        }
        store.put(&collection("docs"), &model(2), new).await.unwrap();
        for (filter, expected) in [
            (json!({"page": 2}), vec![1]),
            (json!({"page": {"gte": 2}, "heading": {"in": ["H1", "H3"]}}), vec![2]),
            (json!({"title": "Guide", "chunk_index": 0}), vec![0]),
            (json!({"chunk_index": {"in": [0, 2.0, "1", true]}}), vec![0, 2]),
            (json!({"chunk_index": {"in": ["1"]}}), vec![]),
            (json!({"char_start": {"gt": 0}}), vec![1, 2]),
            (json!({"char_end": {"lte": 18}}), vec![0, 1]),
            (json!({"chunk_length": 9}), vec![0, 1]),
            (json!({"chunk_length": {"gt": "2024-01-01"}}), vec![]),
            (json!({"chunk_index": {"exists": false}}), vec![]),
            (json!({"not": {"page": 2}}), vec![0, 2]),
        ] {
            let parsed = Filter::parse(&filter).unwrap();
            let mut found: Vec<u64> =
                hits(store, "docs", Query { filter: Some(parsed), ..query(near(&[1.0, 0.0])) })
                    .await
                    .iter()
                    .map(|hit| hit.metadata["chunk_index"].as_u64().unwrap())
                    .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{filter}");
        }
    })
    .await;
}

#[tokio::test]
async fn sql_in_a_filter_or_in_metadata_is_text() {
    with_each_store(async |store| {
        let odd = [
            "'; DROP TABLE document; --",
            "\" OR 1=1 --",
            "a'b\"c",
            "",
            " ",
            "a.b",
            "$.x",
            "%",
            "_",
            "*",
            "?1",
            "\\",
            "\n",
            "\u{0}",
            "select",
            "日本",
            "🦀",
            "and ",
            "path",
        ];
        for (at, name) in odd.iter().enumerate() {
            put(store, &format!("{at:02} word"), json!({*name: *name, "same": at})).await;
        }
        for (at, name) in odd.iter().enumerate() {
            assert_eq!(passing(store, &json!({*name: *name})).await, [format!("{at:02} word")], "{name:?}");
            assert!(passing(store, &json!({"same": *name})).await.is_empty(), "{name:?}");
        }
        assert_eq!(store.collection(&collection("docs")).await.unwrap().documents_count, odd.len() as u64);
    })
    .await;
}

#[tokio::test]
async fn the_largest_filter_is_answered() {
    with_each_store(async |store| {
        put(store, "a word", json!({"n": 7, "text": "x".repeat(1024)})).await;
        let values: Vec<u64> = (0..256).collect();
        let mut filter = json!({"or": vec![json!({"n": {"in": values}}); 30]});
        for _ in 0..6 {
            filter = json!({"and": [{"text": "x".repeat(1024)}, filter]});
        }
        assert_eq!(passing(store, &filter).await, ["a word"]);
        let many: Metadata = (0..1000).map(|at| (format!("field {at}"), json!(at))).collect();
        let new = NewDocument { metadata: many, ..document(Some("b"), &[("b word", &[1.0, 0.0])]) };
        store.put(&collection("docs"), &model(2), new).await.unwrap();
        assert_eq!(passing(store, &json!({"field 999": 999})).await, ["b"]);
    })
    .await;
}

type Metadata = simpleton::vectors::Metadata;
