//! `/rag/query`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HitBody, ModeBody, collection, filter, share, top_k};
use crate::{
    app::{
        App, Collected,
        rag::{Answer, SearchDocuments},
    },
    error::{self, Error},
    http::{
        HttpState,
        extract::{
            Json,
            fields::Fields,
            object::{Object, Word},
        },
        middleware::{
            auth::Caller,
            errors::{ErrorFormat, Result},
        },
        native::message::MessageBody,
        reply::{ReplyEncoder, SseFrames, respond},
    },
    types::{Capability, ChatEvent, ChatRequest, Done, JsonText, Message, Prompt, Role, Sampling},
    vectors::Hit,
};

/// Without a threshold of the request's, chunks that are further from the question than this are not used.
const USUAL_THRESHOLD: f32 = 0.22;
/// Small models repeat themselves without an end.
const USUAL_TOKENS: u32 = 1024;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct QueryBody {
    #[schema(min_length = 1, example = "Which databases are supported?")]
    query: String,
    /// The conversation before the question, oldest message first, so that a question can refer to it.
    #[schema(value_type = Option<Vec<MessageBody>>)]
    messages: Option<Vec<Object<MessageBody>>>,
    /// Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    collection: Option<String>,
    /// Maximum number of chunks to answer from. Defaults to TOP_K_RESULTS.
    #[schema(minimum = 1, maximum = 1000)]
    top_k: Option<i64>,
    /// Do not use chunks with a lower score.
    #[schema(default = 0.22, minimum = 0, maximum = 1)]
    score_threshold: Option<f64>,
    /// Condition on metadata, as in `/rag/search`.
    #[schema(value_type = Option<Object>)]
    filter: Option<JsonText>,
    /// How chunks are found: by meaning (`vector`), by words (`keyword`), or by both. Defaults to `vector`.
    #[schema(value_type = Option<ModeBody>)]
    mode: Option<Word<ModeBody>>,
    /// Model that answers. Defaults to the server's default model.
    model: Option<String>,
    /// Instructions that go before those for answering from documents.
    system_prompt: Option<String>,
    /// Sampling temperature, from 0 (always the likeliest token) to 2. Defaults to the model's own, or else 0.7.
    #[schema(default = 0.7, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Maximum number of tokens to generate.
    #[schema(default = 1024, minimum = 1, maximum = 2147483647)]
    max_tokens: Option<i64>,
    /// Stream the response as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// A server-sent event of a streamed answer. The last one has `done: true` and the fields of a reply that is not
/// streamed, its `answer` empty. After a failure the last one is named `error`, and its data is a problem.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct QueryEvent<'a> {
    answer: &'a str,
    done: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct QueryReply<'a> {
    query: &'a str,
    /// Refers to its sources by their numbers: `[1]`.
    answer: &'a str,
    /// Chunks that the model was given; empty when the documents have nothing on the question.
    sources: Vec<SourceBody<'a>>,
    model: &'a str,
    collection: &'a str,
    /// Number of sources. Those that do not fit the model's context are left out, the lowest ranked first.
    chunks_used: usize,
    done: bool,
}

#[derive(Serialize, ToSchema)]
struct SourceBody<'a> {
    /// The first has number 1.
    number: usize,
    #[serde(flatten)]
    #[schema(inline)]
    hit: HitBody<'a>,
}

/// Answer a question from documents
#[utoipa::path(post, path = "/rag/query", tag = "Documents",
    request_body(content = QueryBody, example = json!({"query": "Which databases are supported?"})),
    responses((status = 200, content((QueryReply = "application/json"), (QueryEvent = "text/event-stream")))))]
pub(in crate::http) async fn query(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, _room): Json<QueryBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let (request, search) = body.into_request(&state.app).await?;
    let (query, collection) = (search.query.clone(), search.collection.as_str().to_owned());
    let Answer { reply, sources } = state.app.answer_from(&caller, request, search).await?;
    let encoder = QueryEncoder { query, collection, sources, model: String::new() };
    respond(&state, &caller, async { Ok(reply) }, encoder, stream).await
}

impl QueryBody {
    async fn into_request(self, app: &App) -> error::Result<(ChatRequest, SearchDocuments)> {
        let mut fields = Fields::default();
        if self.query.trim().is_empty() {
            fields.refuse("/query", "must not be empty");
        }
        let top_k = top_k(app, self.top_k, &mut fields);
        let threshold = share("/score_threshold", self.score_threshold, &mut fields);
        let sampling = Sampling {
            temperature: fields.between("/temperature", self.temperature, 0.0, 2.0),
            max_tokens: fields.positive("/max_tokens", self.max_tokens).or(Some(USUAL_TOKENS)),
            ..Sampling::default()
        };
        for (index, Object(message)) in self.messages.iter().flatten().enumerate() {
            message.check(index, &mut fields);
        }
        fields.finish()?;
        let mut messages = Vec::new();
        messages.extend(self.system_prompt.map(|text| Message::new(Role::System, text)));
        for (index, Object(message)) in self.messages.into_iter().flatten().enumerate() {
            messages.push(message.into_message(index, app).await?);
        }
        messages.push(Message::new(Role::User, &self.query));
        let model = app.resolve(self.model.as_deref(), Capability::Completion).await?;
        let request = ChatRequest { sampling, ..ChatRequest::new(model, Prompt::Messages(messages)) };
        let search = SearchDocuments {
            collection: collection(app, self.collection)?,
            query: self.query,
            mode: self.mode.map(|Word(mode)| mode).unwrap_or_default().into(),
            filter: filter(self.filter.as_ref())?,
            top_k,
            score_threshold: threshold.or(Some(USUAL_THRESHOLD)),
            diversity: 0.0,
        };
        Ok((request, search))
    }
}

/// Encoder of `/rag/query`.
struct QueryEncoder {
    query: String,
    collection: String,
    sources: Vec<Hit>,
    model: String,
}

impl QueryEncoder {
    fn reply<'a>(&'a self, model: &'a str, answer: &'a str) -> QueryReply<'a> {
        let source = |(number, hit): (usize, &'a Hit)| SourceBody { number, hit: hit.into() };
        QueryReply {
            query: &self.query,
            answer,
            sources: (1..).zip(&self.sources).map(source).collect(),
            model,
            collection: &self.collection,
            chunks_used: self.sources.len(),
            done: true,
        }
    }
}

impl ReplyEncoder for QueryEncoder {
    fn begin(&mut self, model: &str, _: &mut SseFrames) {
        model.clone_into(&mut self.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut SseFrames) {
        if let ChatEvent::Text(answer) = event {
            out.data(&QueryEvent { answer, done: false });
        }
    }

    fn end(&mut self, _: &Done, out: &mut SseFrames) {
        out.data(&self.reply(&self.model, ""));
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut SseFrames) {
        out.named("error", &ErrorFormat::Problem.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        serde_json::to_vec(&self.reply(model, &reply.text))
            .expect("texts and numbers, and a Vec takes them all")
    }
}
