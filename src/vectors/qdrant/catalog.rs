//! The catalog: one collection of Qdrant, without vectors, with a point for each of our collections, each document
//! and each part of a document's text.
//!
//! The point of a collection has its state, above all the version that counts. Points of documents, texts and chunks
//! have the version in which they came and the one in which they went, so that writing the state is the one moment at
//! which a document is replaced: whatever came later is not there yet, and whatever went later still is.

use std::slice;

use jiff::Timestamp;
use qdrant_client::qdrant::{
    FieldType, Filter, NamedVectors, PointStruct, RetrievedPoint, vectors::VectorsOptions,
};

use super::{
    super::{CollectionName, Document, DocumentId, Embedding, Metadata},
    client::{Client, Part},
    failure::Outcome,
    points::{
        BORN, DIED, DOCUMENT, Payload, count, damaged, hash, is, live, optional_text, optional_whole,
        payload, point_id, signed, text, whole,
    },
};

pub(super) const CATALOG: &str = "catalog";

pub(super) const KIND: &str = "kind";
pub(super) const COLLECTION: &str = "collection";
pub(super) const HASH: &str = "content_hash";

const INDEXES: [(&str, FieldType); 6] = [
    (KIND, FieldType::Keyword),
    (COLLECTION, FieldType::Keyword),
    (DOCUMENT, FieldType::Keyword),
    (HASH, FieldType::Keyword),
    (BORN, FieldType::Integer),
    (DIED, FieldType::Integer),
];

/// Bytes of text in one point.
const TEXT_BYTES: usize = 1 << 20;
/// Points with text in one reply.
const TEXTS_AT_ONCE: usize = 4;

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) name: CollectionName,
    /// Different from that of any other collection, also of an earlier one of this name.
    pub(super) id: String,
    /// The version that counts.
    pub(super) version: i64,
    pub(super) searched: Generation,
    /// Under construction by a reindex.
    pub(super) building: Option<Generation>,
}

/// A set of chunks, in a collection of Qdrant of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) id: i64,
    pub(super) embedding: Embedding,
}

impl Generation {
    pub(super) fn new(embedding: &Embedding) -> Self {
        Self { id: signed(rand::random::<u64>() >> 1), embedding: embedding.clone() }
    }

    /// Name of its collection in Qdrant.
    pub(super) fn collection(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// Field of a document's point: the number of its chunks in this generation.
    pub(super) fn chunks_field(&self) -> String {
        format!("chunks_{:016x}", self.id)
    }
}

impl State {
    pub(super) fn new(name: &CollectionName, embedding: &Embedding) -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Self { name: name.clone(), id, version: 0, searched: Generation::new(embedding), building: None }
    }

    /// Whether a search in this state is one in the other, too.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.id, self.version, self.searched.id) == (&other.id, other.version, other.searched.id)
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = &Generation> {
        slice::from_ref(&self.searched).iter().chain(&self.building)
    }

    /// The points of its documents that are there now.
    pub(super) fn documents(&self) -> Filter {
        let mut filter = live(self.version);
        filter.must.extend([is(KIND, "document"), is(COLLECTION, &self.id)]);
        filter
    }

    fn from_payload(payload: &Payload) -> Outcome<Self> {
        let generation = |id: &str, model: &str, dimension: &str| -> Outcome<Generation> {
            let dimension =
                usize::try_from(whole(payload, dimension)?).map_err(|_| damaged("no dimension"))?;
            let embedding = Embedding { model: text(payload, model)?.to_owned(), dimension };
            Ok(Generation { id: whole(payload, id)?, embedding })
        };
        let is_building = optional_whole(payload, "new_generation").is_some();
        let new = || generation("new_generation", "new_model", "new_dimension");
        Ok(Self {
            name: CollectionName::new(text(payload, "name")?)?,
            id: text(payload, COLLECTION)?.to_owned(),
            version: whole(payload, "version")?,
            searched: generation("generation", "model", "dimension")?,
            building: is_building.then(new).transpose()?,
        })
    }

    fn to_payload(&self) -> Payload {
        let mut fields = payload([
            (KIND, "collection".into()),
            ("name", self.name.as_str().into()),
            (COLLECTION, self.id.as_str().into()),
            ("version", self.version.into()),
            ("generation", self.searched.id.into()),
            ("model", self.searched.embedding.model.as_str().into()),
            ("dimension", signed(self.searched.embedding.dimension as u64).into()),
        ]);
        if let Some(new) = &self.building {
            fields.extend(payload([
                ("new_generation", new.id.into()),
                ("new_model", new.embedding.model.as_str().into()),
                ("new_dimension", signed(new.embedding.dimension as u64).into()),
            ]));
        }
        fields
    }
}

fn id_of_state(name: &CollectionName) -> u128 {
    u128::from(hash(&[b"collection", name.as_str().as_bytes()]))
}

/// Ids of documents' points are in the order of the documents' ids' hashes, in whichever version.
pub(super) fn first_id(document: &DocumentId) -> u128 {
    // Beyond the ids of states.
    u128::from(hash(&[b"document", document.as_str().as_bytes()]) | 1) << 64
}

/// A document as it is in the catalog.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Id of its collection.
    pub(super) collection: String,
    pub(super) born: i64,
    /// Number of the points with its text.
    pub(super) parts: u64,
    /// With the number of its chunks in the generation that is searched.
    pub(super) document: Document,
}

impl Record {
    pub(super) fn id(&self) -> u128 {
        first_id(&self.document.id)
            + u128::from(hash(&[self.collection.as_bytes(), &self.born.to_le_bytes()]))
    }

    fn text_id(&self, part: u64) -> u128 {
        let of = [self.collection.as_bytes(), &self.born.to_le_bytes(), &part.to_le_bytes()];
        u128::from(hash(&[b"text", of[0], of[1], of[2]])) << 64 | u128::from(hash(&of))
    }

    pub(super) fn from_point(point: &RetrievedPoint, state: &State) -> Outcome<Self> {
        let fields = &point.payload;
        let time = |name| {
            Timestamp::from_millisecond(whole(fields, name)?).map_err(|error| damaged(&error.to_string()))
        };
        let metadata: Metadata =
            serde_json::from_str(text(fields, "metadata")?).map_err(|error| damaged(&error.to_string()))?;
        let document = Document {
            id: DocumentId::new(text(fields, DOCUMENT)?)?,
            collection: state.name.clone(),
            title: optional_text(fields, "title").map(str::to_owned),
            metadata,
            content_hash: text(fields, HASH)?.to_owned(),
            content_bytes: count(fields, "content_bytes")?,
            chunks_count: count(fields, &state.searched.chunks_field()).unwrap_or_default(),
            created_at: time("created_at")?,
            updated_at: time("updated_at")?,
        };
        let collection = text(fields, COLLECTION)?.to_owned();
        Ok(Self { collection, born: whole(fields, BORN)?, parts: count(fields, "parts")?, document })
    }

    fn to_payload(&self, state: &State) -> Payload {
        let document = &self.document;
        let mut fields = payload([
            (KIND, "document".into()),
            (COLLECTION, self.collection.as_str().into()),
            ("collection_name", state.name.as_str().into()),
            (DOCUMENT, document.id.as_str().into()),
            (BORN, self.born.into()),
            ("parts", signed(self.parts).into()),
            ("metadata", json(&document.metadata).into()),
            (HASH, document.content_hash.as_str().into()),
            ("content_bytes", signed(document.content_bytes).into()),
            ("created_at", document.created_at.as_millisecond().into()),
            ("updated_at", document.updated_at.as_millisecond().into()),
        ]);
        if let Some(title) = &document.title {
            fields.insert("title".to_owned(), title.as_str().into());
        }
        fields.insert(state.searched.chunks_field(), signed(document.chunks_count).into());
        fields
    }
}

pub(super) fn json(metadata: &Metadata) -> String {
    serde_json::Value::from(metadata.clone()).to_string()
}

fn without_vectors(id: u128, payload: Payload) -> PointStruct {
    let none = VectorsOptions::Vectors(NamedVectors::default());
    PointStruct { id: Some(point_id(id)), payload, vectors: Some(none.into()) }
}

/// Makes the catalog, if it is missing, and removes the collections that belong to none of ours.
pub(super) async fn prepare(client: &Client) -> Outcome<()> {
    let names = client.names().await?;
    if !names.iter().any(|name| name == CATALOG)
        && let Err(failure) = client.create(CATALOG, None).await
        // Another server may have made it just now.
        && !client.names().await?.iter().any(|name| name == CATALOG)
    {
        return Err(failure);
    }
    client.index(CATALOG, &INDEXES).await?;
    let states = states(client).await?;
    let ours: Vec<String> = states.iter().flat_map(State::generations).map(Generation::collection).collect();
    for name in names {
        if name != CATALOG && !ours.contains(&name) {
            client.drop(&name).await?;
        }
    }
    let mut of_none = Filter::must_not([is(KIND, "collection")]);
    of_none.must_not.extend(states.iter().map(|state| is(COLLECTION, &state.id)));
    client.delete(CATALOG, of_none).await
}

pub(super) async fn state(client: &Client, name: &CollectionName) -> Outcome<Option<State>> {
    let found = match client.get(CATALOG, &[id_of_state(name)], Part::Payload).await {
        // Nothing has been stored yet.
        Err(failure) if failure.is_missing() => return Ok(None),
        found => found?,
    };
    found.first().map(|point| State::from_payload(&point.payload)).transpose()
}

pub(super) async fn states(client: &Client) -> Outcome<Vec<State>> {
    let points = list(client, &Filter::must([is(KIND, "collection")]), 0, usize::MAX).await?;
    let states: Outcome<Vec<State>> =
        points.iter().map(|point| State::from_payload(&point.payload)).collect();
    let mut states = states?;
    states.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(states)
}

/// Points of the catalog, of which there are none before anything has been stored.
async fn list(client: &Client, filter: &Filter, from: u128, limit: usize) -> Outcome<Vec<RetrievedPoint>> {
    match client.list(CATALOG, filter, from, limit, Part::Payload).await {
        Err(failure) if failure.is_missing() => Ok(Vec::new()),
        found => found,
    }
}

/// Makes a state the one that counts.
pub(super) async fn commit(client: &Client, state: &State) -> Outcome<()> {
    client.upsert(CATALOG, vec![without_vectors(id_of_state(&state.name), state.to_payload())]).await
}

pub(super) async fn delete(client: &Client, state: &State) -> Outcome<()> {
    client.delete(CATALOG, Filter::must([is(KIND, "collection"), is(COLLECTION, &state.id)])).await
}

/// Records of a collection that match, after a document, in the order of their ids.
pub(super) async fn records(
    client: &Client,
    state: &State,
    filter: &Filter,
    after: Option<&DocumentId>,
    limit: usize,
) -> Outcome<Vec<Record>> {
    let from = after.map_or(0, |after| first_id(after).saturating_add(1 << 64));
    let points = list(client, filter, from, limit).await?;
    points.iter().map(|point| Record::from_point(point, state)).collect()
}

/// The document of this id, in whichever collection it is.
pub(super) async fn find(client: &Client, id: &DocumentId) -> Outcome<Option<(State, Record)>> {
    let of_this_id = Filter::must([is(KIND, "document"), is(DOCUMENT, id.as_str())]);
    for point in list(client, &of_this_id, 0, usize::MAX).await? {
        let name = CollectionName::new(text(&point.payload, "collection_name")?)?;
        let Some(state) = state(client, &name).await? else { continue };
        let record = Record::from_point(&point, &state)?;
        let has_died = optional_whole(&point.payload, DIED).is_some_and(|died| died <= state.version);
        if record.collection == state.id && record.born <= state.version && !has_died {
            return Ok(Some((state, record)));
        }
    }
    Ok(None)
}

/// Stores a document's record and text, which do not count yet.
pub(super) async fn put(client: &Client, state: &State, record: &Record, content: &str) -> Outcome<()> {
    for (part, number) in parts(content).into_iter().zip(0..) {
        let fields = payload([
            (KIND, "text".into()),
            (COLLECTION, record.collection.as_str().into()),
            (DOCUMENT, record.document.id.as_str().into()),
            (BORN, record.born.into()),
            ("part", signed(number).into()),
            ("text", part.into()),
        ]);
        // One message may not be larger than Qdrant, or a proxy before it, takes.
        client.upsert(CATALOG, vec![without_vectors(record.text_id(number), fields)]).await?;
    }
    client.upsert(CATALOG, vec![without_vectors(record.id(), record.to_payload(state))]).await
}

/// The text of a document; None when it was replaced meanwhile.
pub(super) async fn content(client: &Client, record: &Record) -> Outcome<Option<String>> {
    let ids: Vec<u128> = (0..record.parts).map(|part| record.text_id(part)).collect();
    let mut content = String::new();
    for ids in ids.chunks(TEXTS_AT_ONCE) {
        let points = client.get(CATALOG, ids, Part::Payload).await?;
        if points.len() < ids.len() {
            return Ok(None);
        }
        let mut texts = Vec::with_capacity(points.len());
        for point in &points {
            texts.push((whole(&point.payload, "part")?, text(&point.payload, "text")?));
        }
        texts.sort_unstable();
        content.extend(texts.into_iter().map(|(_, text)| text));
    }
    Ok(Some(content))
}

/// A text in parts that fit into messages.
pub(super) fn parts(content: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = content;
    while rest.len() > TEXT_BYTES {
        let boundary = (0..=TEXT_BYTES).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or_default();
        let (part, others) = rest.split_at(boundary);
        parts.push(part);
        rest = others;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Removes the documents of a collection that is gone.
pub(super) async fn delete_documents(client: &Client, state: &State) -> Outcome<()> {
    client.delete(CATALOG, Filter::must([is(COLLECTION, &state.id)])).await
}
