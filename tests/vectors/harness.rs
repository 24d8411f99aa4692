//! Stores to test, and documents to put into them.

use serde_json::{Value, json};
use simpleton::{
    types::Secret,
    vectors::{
        Chunk, CollectionName, DocumentId, Embedding, Found, Hit, Metadata, NewDocument, Qdrant, Query,
        QueryVector, Search, Sqlite, VectorStore,
    },
};

use crate::scripted_qdrant;

/// Runs a test with an empty store of each kind: the embedded one, a scripted Qdrant, and the real one at
/// `TEST_QDRANT_URL`, when it is set.
pub async fn with_each_store(test: impl AsyncFn(&dyn VectorStore)) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::new(folder.path().join("documents.db"));
    test(&store).await;
    store.stop().await;
    let scripted = scripted_qdrant::Qdrant::start(None).await;
    let store = Qdrant::new(&scripted.url(), None).unwrap();
    test(&store).await;
    store.stop().await;
    if let Ok(url) = std::env::var("TEST_QDRANT_URL") {
        let key = std::env::var("TEST_QDRANT_API_KEY").ok().map(Secret::new);
        // Tests run beside each other.
        let prefix = format!("test-{:016x}-", rand::random::<u64>());
        let store = Qdrant::with_prefix(&url, key.as_ref(), &prefix).unwrap();
        test(&store).await;
        store.stop().await;
        remove_all(&url, key, &prefix).await;
    }
}

async fn remove_all(url: &str, key: Option<Secret>, prefix: &str) {
    let client = qdrant_client::Qdrant::from_url(url).api_key(key.as_ref().map(Secret::expose));
    let client = client.skip_compatibility_check().build().unwrap();
    for collection in client.list_collections().await.unwrap().collections {
        if collection.name.starts_with(prefix) {
            client.delete_collection(collection.name).await.unwrap();
        }
    }
}

pub fn collection(name: &str) -> CollectionName {
    CollectionName::new(name).unwrap()
}

pub fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

pub fn model(dimension: usize) -> Embedding {
    Embedding { model: "small".to_owned(), dimension }
}

pub fn object(value: Value) -> Metadata {
    value.as_object().unwrap().clone()
}

/// A document of these chunks, one after the other.
pub fn document(name: Option<&str>, chunks: &[(&str, &[f32])]) -> NewDocument {
    let mut content = String::new();
    let chunks = chunks.iter().map(|(text, vector)| {
        let char_start = content.chars().count() as u64;
        content += text;
        Chunk {
            char_start,
            char_end: content.chars().count() as u64,
            content: (*text).to_owned(),
            metadata: Metadata::new(),
            vector: vector.to_vec(),
        }
    });
    let chunks = chunks.collect();
    NewDocument { id: name.map(id), title: None, metadata: Metadata::new(), content, chunks }
}

/// A document with metadata and one chunk, in the collection `docs`.
pub async fn put(store: &dyn VectorStore, name: &str, metadata: Value) {
    let document = NewDocument { metadata: object(metadata), ..document(Some(name), &[(name, &[1.0, 0.0])]) };
    store.put(&collection("docs"), &model(2), document).await.unwrap();
}

pub fn near(vector: &[f32]) -> Search {
    Search::Vector(QueryVector { model: "small".to_owned(), values: vector.to_vec() })
}

pub fn query(search: Search) -> Query {
    Query { search, filter: None, top_k: 10, score_threshold: None, diversity: 0.0 }
}

pub async fn hits(store: &dyn VectorStore, name: &str, query: Query) -> Vec<Hit> {
    match store.search(&collection(name), query).await.unwrap() {
        Found::Hits(hits) => hits,
        Found::OtherModel(embedding) => panic!("the collection's model is {embedding:?}"),
    }
}

pub fn texts(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.content.as_str()).collect()
}

pub fn offsets(index: u64, start: u64, end: u64) -> Metadata {
    object(json!({"chunk_index": index, "char_start": start, "char_end": end, "chunk_length": end - start}))
}
