//! Chunks as points: vector, words, facts for filters, and all that a hit shows.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    DenseVector, FieldType, Filter, NamedVectors, PointStruct, RetrievedPoint, Vector, vector, vector_output,
    vectors::VectorsOptions, vectors_output,
};
use serde_json::json;

use super::{
    super::{
        Chunk, DocumentId, Hit, Metadata,
        metadata::{OFFSETS, of_hit},
    },
    catalog::{self, Generation, Record},
    client::{Client, DENSE, Part, WORDS},
    facts::{FACTS, Facts, RANGE_PATH, RANGE_VALUE},
    failure::Outcome,
    points::{BORN, DIED, DOCUMENT, Payload, count, damaged, is, payload, point_id, signed, text, until},
    words,
};

const INDEXES: [(&str, FieldType); 6] = [
    (DOCUMENT, FieldType::Keyword),
    (BORN, FieldType::Integer),
    (DIED, FieldType::Integer),
    (FACTS, FieldType::Keyword),
    (RANGE_PATH, FieldType::Keyword),
    (RANGE_VALUE, FieldType::Float),
];

/// Bounds of one request.
const BATCH_POINTS: usize = 256;
const BATCH_BYTES: usize = 2 << 20;

/// Makes the collection of a generation.
pub(super) async fn create(client: &Client, generation: &Generation) -> Outcome<()> {
    let name = generation.collection();
    client.create(&name, Some(generation.embedding.dimension)).await?;
    client.index(&name, &INDEXES).await
}

/// Stores a document's chunks. `shown` is its metadata as hits show it.
pub(super) async fn put(
    client: &Client,
    generation: &Generation,
    document: &DocumentId,
    born: i64,
    shown: &Metadata,
    chunks: Vec<Chunk>,
) -> Outcome<()> {
    let collection = generation.collection();
    let of_document = OfDocument::new(document, born, shown);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (index, chunk) in (0..).zip(chunks) {
        let (point, size) = of_document.point(index, chunk);
        if batch.len() == BATCH_POINTS || !batch.is_empty() && bytes + size > BATCH_BYTES {
            client.upsert(&collection, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        batch.push(point);
        bytes += size;
    }
    client.upsert(&collection, batch).await
}

/// The part that is the same for all chunks of a document.
struct OfDocument<'a> {
    id: &'a DocumentId,
    born: i64,
    metadata: String,
    facts: Facts,
}

impl<'a> OfDocument<'a> {
    fn new(id: &'a DocumentId, born: i64, shown: &Metadata) -> Self {
        let mut facts = Facts::default();
        facts.add(shown);
        Self { id, born, metadata: catalog::json(shown), facts }
    }

    /// A point, and its bytes in a message, about.
    fn point(&self, index: u64, chunk: Chunk) -> (PointStruct, usize) {
        let (start, end) = (chunk.char_start, chunk.char_end);
        let mut facts = self.facts.clone();
        facts.add(&chunk.metadata);
        let offsets = [index, start, end, end.saturating_sub(start)].map(|offset| json!(offset));
        facts.add(&OFFSETS.map(str::to_owned).into_iter().zip(offsets).collect());
        let metadata = catalog::json(&chunk.metadata);
        let words = words::of_chunk(&chunk.content);
        let bytes = self.metadata.len()
            + metadata.len()
            + chunk.content.len()
            + 4 * chunk.vector.len()
            + 8 * words.indices.len()
            + facts.bytes();
        let mut fields = payload([
            (DOCUMENT, self.id.as_str().into()),
            (BORN, self.born.into()),
            ("index", signed(index).into()),
            ("start", signed(start).into()),
            ("end", signed(end).into()),
            ("content", chunk.content.into()),
            ("metadata", metadata.into()),
            ("document_metadata", self.metadata.as_str().into()),
        ]);
        fields.extend(payload(facts.into_fields()));
        let vector = |vector| Vector { vector: Some(vector), ..Vector::default() };
        let dense = vector::Vector::Dense(DenseVector { data: chunk.vector });
        let mut vectors = HashMap::from([(DENSE.to_owned(), vector(dense))]);
        if !words.indices.is_empty() {
            vectors.insert(WORDS.to_owned(), vector(vector::Vector::Sparse(words)));
        }
        let vectors = VectorsOptions::Vectors(NamedVectors { vectors });
        // In the order in which documents came, which is the order of hits with equal scores.
        let id = u128::from(self.born.unsigned_abs()) << 64 | u128::from(index);
        (PointStruct { id: Some(point_id(id)), payload: fields, vectors: Some(vectors.into()) }, bytes)
    }
}

/// The points of a document in a version of it.
pub(super) async fn points_of(
    client: &Client,
    generation: &Generation,
    record: &Record,
) -> Outcome<Vec<RetrievedPoint>> {
    let mut of_document = Filter::must([is(DOCUMENT, record.document.id.as_str()), until(BORN, record.born)]);
    of_document.must_not.push(until(BORN, record.born - 1));
    match client.list(&generation.collection(), &of_document, 0, usize::MAX, Part::Both).await {
        // A reindex has just replaced it.
        Err(failure) if failure.is_missing() => Ok(Vec::new()),
        points => points,
    }
}

/// The chunks of a document in their order, without those that a put has just removed.
pub(super) async fn of_document(
    client: &Client,
    generation: &Generation,
    record: &Record,
) -> Outcome<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for point in &points_of(client, generation, record).await? {
        chunks.push((count(&point.payload, "index")?, chunk(point)?));
    }
    chunks.sort_by_key(|(index, _)| *index);
    Ok(chunks.into_iter().map(|(_, chunk)| chunk).collect())
}

fn chunk(point: &RetrievedPoint) -> Outcome<Chunk> {
    let fields = &point.payload;
    Ok(Chunk {
        char_start: count(fields, "start")?,
        char_end: count(fields, "end")?,
        content: text(fields, "content")?.to_owned(),
        metadata: metadata(fields, "metadata")?,
        vector: dense(point)?,
    })
}

fn metadata(fields: &Payload, name: &str) -> Outcome<Metadata> {
    serde_json::from_str(text(fields, name)?).map_err(|error| damaged(&error.to_string()))
}

/// A hit whose score is not known yet.
pub(super) fn hit(point: &RetrievedPoint) -> Outcome<Hit> {
    let fields = &point.payload;
    let document_id = DocumentId::new(text(fields, DOCUMENT)?)?;
    let (shown, own) = (metadata(fields, "document_metadata")?, metadata(fields, "metadata")?);
    let (index, start, end) = (count(fields, "index")?, count(fields, "start")?, count(fields, "end")?);
    Ok(Hit {
        chunk_id: document_id.chunk(usize::try_from(index).unwrap_or(usize::MAX)),
        document_id,
        content: text(fields, "content")?.to_owned(),
        score: 0.0,
        metadata: of_hit(shown, own, index, start, end),
    })
}

pub(super) fn content(point: &RetrievedPoint) -> Outcome<&str> {
    text(&point.payload, "content")
}

pub(super) fn dense(point: &RetrievedPoint) -> Outcome<Vec<f32>> {
    let named = point.vectors.as_ref().and_then(|vectors| vectors.vectors_options.as_ref());
    let vector = match named {
        Some(vectors_output::VectorsOptions::Vectors(named)) => named.vectors.get(DENSE),
        _ => None,
    };
    match vector.cloned().map(|vector| vector.into_vector()) {
        Some(vector_output::Vector::Dense(dense)) => Ok(dense.data),
        _ => Err(damaged("a chunk has no vector")),
    }
}
