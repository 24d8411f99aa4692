//! Stores to test, and documents to put into them.

use serde_json::{Value, json};
use simpleton::vectors::{
    Chunk, CollectionName, DocumentId, Embedding, Found, Hit, Metadata, NewDocument, Query, QueryVector,
    Search, Sqlite, VectorStore,
};

/// Runs a test with an empty store of each kind.
pub async fn with_each_store(test: impl AsyncFn(&dyn VectorStore)) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::new(folder.path().join("documents.db"));
    test(&store).await;
    store.stop().await;
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
