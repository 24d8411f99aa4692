//! Answers from documents: the search that they need, and their sources.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HitBody, ModeBody, collection, filter, share, top_k};
use crate::{
    app::{
        App, Caller, ChatReply,
        rag::{Answer, Mode, SearchDocuments},
    },
    error::Result,
    http::extract::{fields::Fields, object::Word},
    types::{ChatRequest, JsonText},
    vectors::Hit,
};

/// Cosine similarity that applies when a request sets no threshold: in vector mode, chunks below it are not used; in
/// hybrid mode, none is used if all are below it. Keyword scores are relative to the best hit, which is never low.
const USUAL_THRESHOLD: f32 = 0.22;

/// Documents that an answer is made from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DocumentsBody {
    /// Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    pub(super) collection: Option<String>,
    /// Maximum number of chunks to answer from. Defaults to TOP_K_RESULTS.
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) top_k: Option<i64>,
    /// How to find chunks: by meaning (`vector`), by words (`keyword`), or by both (`hybrid`). Defaults to `vector`.
    #[schema(value_type = Option<ModeBody>)]
    pub(super) mode: Option<Word<ModeBody>>,
    /// Condition on metadata, as in `/rag/search`.
    #[schema(value_type = Option<Object>)]
    pub(super) filter: Option<JsonText>,
    /// Ignore chunks with a lower score. Defaults to 0.22 in vector mode. In hybrid mode, without a threshold, the
    /// documents are taken to have no answer if no chunk has a cosine similarity of at least 0.22.
    #[schema(minimum = 0, maximum = 1)]
    pub(super) score_threshold: Option<f64>,
}

impl DocumentsBody {
    /// The search for chunks, its query still to be made from the conversation. `at` is the place of these fields in
    /// the request.
    pub(in crate::http) fn into_search(self, app: &App, at: &str, fields: &mut Fields) -> SearchDocuments {
        let threshold = share(&format!("{at}/score_threshold"), self.score_threshold, fields);
        let mode = self.mode.map(|Word(mode)| mode).unwrap_or_default().into();
        let usual = |wanted| (threshold.is_none() && mode == wanted).then_some(USUAL_THRESHOLD);
        SearchDocuments {
            collection: fields
                .accept(at, collection(app, self.collection))
                .unwrap_or_else(|| app.default_collection().clone()),
            query: String::new(),
            mode,
            filter: fields.accept(at, filter(self.filter.as_ref())).flatten(),
            top_k: top_k(app, &format!("{at}/top_k"), self.top_k, fields),
            score_threshold: threshold.or_else(|| usual(Mode::Vector)),
            min_similarity: usual(Mode::Hybrid),
            diversity: 0.0,
        }
    }
}

/// A chunk that an answer is made from.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SourceBody<'a> {
    /// The first has number 1.
    number: usize,
    #[serde(flatten)]
    #[schema(inline)]
    hit: HitBody<'a>,
}

/// Sources of an answer. They are known when it begins.
#[derive(Clone, Default)]
pub(in crate::http) struct Sources(Arc<OnceLock<Vec<Hit>>>);

impl Sources {
    /// Answers the last message of a chat from documents, and keeps the sources.
    pub(in crate::http) async fn answer(
        self,
        app: &App,
        caller: &Caller,
        request: ChatRequest,
        search: SearchDocuments,
    ) -> Result<ChatReply> {
        let Answer { reply, sources } = app.answer_from(caller, request, search).await?;
        self.0.get_or_init(|| sources);
        Ok(reply)
    }

    pub(in crate::http) fn bodies(&self) -> Vec<SourceBody<'_>> {
        let source = |(number, hit)| SourceBody { number, hit: HitBody::from(hit) };
        (1..).zip(self.0.get().into_iter().flatten()).map(source).collect()
    }
}
