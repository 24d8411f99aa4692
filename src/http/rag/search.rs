//! `/rag/search`.

use std::sync::Arc;

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HitBody, ModeBody, collection, filter, share, top_k};
use crate::{
    app::{App, rag::SearchDocuments},
    error,
    http::{
        HttpState,
        extract::{Json, fields::Fields, object::Word},
        middleware::{auth::Caller, errors::Result},
    },
    types::JsonText,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SearchBody {
    #[schema(min_length = 1, example = "Which databases are supported?")]
    query: String,
    /// Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    collection: Option<String>,
    /// Maximum number of results. Defaults to TOP_K_RESULTS.
    #[schema(minimum = 1, maximum = 1000)]
    top_k: Option<i64>,
    /// Leave out results with a lower score.
    #[schema(minimum = 0, maximum = 1)]
    score_threshold: Option<f64>,
    /// Condition on metadata: `{"field": value}`, `{"field": {"in": [1, 2]}}` (or `gt`, `gte`, `lt`, `lte`, `exists`), and
    /// `and`, `or` and `not` of conditions.
    #[schema(value_type = Option<Object>)]
    filter: Option<JsonText>,
    /// How to find chunks: by meaning (`vector`), by words (`keyword`), or by both (`hybrid`). Defaults to `vector`.
    #[schema(value_type = Option<ModeBody>)]
    mode: Option<Word<ModeBody>>,
    /// Prefer results that differ from each other: 0 ranks by relevance only.
    #[schema(default = 0, minimum = 0, maximum = 1)]
    diversity: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SearchReply<'a> {
    query: &'a str,
    /// Best first.
    results: Vec<HitBody<'a>>,
    collection: &'a str,
    total_results: usize,
}

/// Search documents
#[utoipa::path(post, path = "/rag/search", tag = "Documents",
    request_body(content = SearchBody, example = json!({"query": "Which databases are supported?"})),
    responses((status = 200, body = SearchReply)))]
pub(in crate::http) async fn search(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<SearchBody>,
) -> Result<Response> {
    let search = body.into_search(&state.app)?;
    let hits = state.app.search(&caller, &search).await?;
    let reply = SearchReply {
        query: &search.query,
        total_results: hits.len(),
        results: hits.iter().map(HitBody::from).collect(),
        collection: search.collection.as_str(),
    };
    Ok(JsonReply(reply).into_response())
}

impl SearchBody {
    fn into_search(self, app: &App) -> error::Result<SearchDocuments> {
        let mut fields = Fields::default();
        if self.query.trim().is_empty() {
            fields.refuse("/query", "must not be empty");
        }
        let top_k = top_k(app, "/top_k", self.top_k, &mut fields);
        let score_threshold = share("/score_threshold", self.score_threshold, &mut fields);
        let diversity = share("/diversity", self.diversity, &mut fields).unwrap_or_default();
        let collection = fields.accept("", collection(app, self.collection));
        let filter = fields.accept("", filter(self.filter.as_ref())).flatten();
        fields.finish()?;
        Ok(SearchDocuments {
            collection: collection.unwrap_or_else(|| app.default_collection().clone()),
            query: self.query,
            mode: self.mode.map(|Word(mode)| mode).unwrap_or_default().into(),
            filter,
            top_k,
            score_threshold,
            min_similarity: None,
            diversity,
        })
    }
}
