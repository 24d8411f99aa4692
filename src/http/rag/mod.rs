//! `/rag`: documents, search in them, and answers from them.

pub(super) mod answer;
pub(super) mod collections;
pub(super) mod documents;
pub(super) mod ingest;
pub(super) mod named;
pub(super) mod query;
pub(super) mod reindex;
pub(super) mod search;
pub(super) mod upload;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::extract::fields::Fields;
use crate::{
    app::{App, rag::Mode},
    error::Result,
    types::JsonText,
    vectors::{CollectionName, DocumentId, Filter, Hit, MAX_TOP_K, Metadata},
};

/// A chunk of a document.
#[derive(Serialize, ToSchema)]
struct HitBody<'a> {
    chunk_id: &'a str,
    document_id: &'a str,
    /// Text of the chunk: `char_start` to `char_end` of the document's text.
    content: &'a str,
    /// 0 to 1. In vector mode, the cosine similarity; in keyword mode, relative to the best hit; in hybrid mode,
    /// relative to a chunk that ranks first both by meaning and by words.
    #[schema(minimum = 0, maximum = 1)]
    score: f32,
    /// The document's metadata and `title`, and the chunk's `chunk_index`, `char_start`, `char_end` and `chunk_length`
    /// (in characters) and, if known, `page` and `heading`.
    #[schema(value_type = Object)]
    metadata: &'a Metadata,
}

impl<'a> From<&'a Hit> for HitBody<'a> {
    fn from(hit: &'a Hit) -> Self {
        let Hit { chunk_id, document_id, content, score, metadata } = hit;
        Self { chunk_id, document_id: document_id.as_str(), content, score: *score, metadata }
    }
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModeBody {
    #[default]
    Vector,
    Keyword,
    Hybrid,
}

impl From<ModeBody> for Mode {
    fn from(mode: ModeBody) -> Self {
        match mode {
            ModeBody::Vector => Self::Vector,
            ModeBody::Keyword => Self::Keyword,
            ModeBody::Hybrid => Self::Hybrid,
        }
    }
}

/// The collection that a request names, else the default one.
fn collection(app: &App, named: Option<String>) -> Result<CollectionName> {
    named.map_or_else(|| Ok(app.default_collection().clone()), CollectionName::new)
}

fn document_id(named: Option<String>) -> Result<Option<DocumentId>> {
    named.map(DocumentId::new).transpose()
}

fn filter(given: Option<&JsonText>) -> Result<Option<Filter>> {
    given.filter(|given| !given.is_null()).map(|given| Filter::parse(&given.to_value())).transpose()
}

fn metadata(given: Option<&JsonText>, fields: &mut Fields) -> Metadata {
    if let Some(pointer) = given.and_then(JsonText::repeated_name) {
        fields.refuse(format!("/metadata{pointer}"), "is given twice");
    }
    match given.map(JsonText::to_value) {
        None | Some(Value::Null) => Metadata::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(_) => {
            fields.refuse("/metadata", "must be an object");
            Metadata::new()
        }
    }
}

fn top_k(app: &App, pointer: &str, given: Option<i64>, fields: &mut Fields) -> usize {
    let Some(given) = given else { return app.default_top_k() };
    usize::try_from(given).ok().filter(|given| (1..=MAX_TOP_K).contains(given)).unwrap_or_else(|| {
        fields.refuse(pointer, format!("must be between 1 and {MAX_TOP_K}"));
        1
    })
}

fn share(pointer: &str, given: Option<f64>, fields: &mut Fields) -> Option<f32> {
    fields.between(pointer, given, 0.0, 1.0)
}
