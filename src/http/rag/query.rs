//! `/rag/query`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ModeBody,
    answer::{DocumentsBody, SourceBody, Sources},
};
use crate::{
    app::{App, Collected, rag::SearchDocuments},
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
        reply::{Frames, ReplyEncoder, respond},
    },
    types::{Capability, ChatEvent, ChatRequest, Done, JsonText, Message, Prompt, Role, Sampling},
};

/// Small models may repeat themselves endlessly.
const USUAL_TOKENS: u32 = 1024;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct QueryBody {
    #[schema(min_length = 1, example = "Which databases are supported?")]
    query: String,
    /// Conversation before the question, oldest message first, so that the question can refer to it.
    #[schema(value_type = Option<Vec<MessageBody>>)]
    messages: Option<Vec<Object<MessageBody>>>,
    /// Defaults to the server's default collection.
    #[schema(min_length = 1, max_length = 128)]
    collection: Option<String>,
    /// Maximum number of chunks to answer from. Defaults to TOP_K_RESULTS.
    #[schema(minimum = 1, maximum = 1000)]
    top_k: Option<i64>,
    /// Ignore chunks with a lower score. Defaults to 0.22 in vector mode. In hybrid mode, without a threshold, the
    /// documents are taken to have no answer if no chunk has a cosine similarity of at least 0.22.
    #[schema(minimum = 0, maximum = 1)]
    score_threshold: Option<f64>,
    /// Condition on metadata, as in `/rag/search`.
    #[schema(value_type = Option<Object>)]
    filter: Option<JsonText>,
    /// How to find chunks: by meaning (`vector`), by words (`keyword`), or by both (`hybrid`). Defaults to `vector`.
    #[schema(value_type = Option<ModeBody>)]
    mode: Option<Word<ModeBody>>,
    /// Model that answers. Defaults to the server's default model.
    model: Option<String>,
    /// Instructions to put before the built-in ones for answering from documents.
    system_prompt: Option<String>,
    /// Sampling temperature, from 0 (always the most likely token) to 2. Defaults to the model's own, or else 0.7.
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
    /// Cites its sources by number: `[1]`.
    answer: &'a str,
    /// Chunks that the model was given; empty if the documents have nothing on the question.
    sources: Vec<SourceBody<'a>>,
    model: &'a str,
    collection: &'a str,
    /// Number of sources. Those that do not fit the model's context are left out, the lowest ranked first.
    chunks_used: usize,
    done: bool,
}

/// Answer a question from documents
#[utoipa::path(post, path = "/rag/query", tag = "Documents",
    request_body(content = QueryBody, example = json!({"query": "Which databases are supported?"})),
    responses((status = 200, content((QueryReply = "application/json"), (QueryEvent = "text/event-stream")))))]
pub(in crate::http) async fn query(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<QueryBody>,
) -> Result<Response> {
    let stream = body.stream.unwrap_or(false);
    let before = usize::from(body.system_prompt.is_some());
    let last = before + body.messages.as_ref().map_or(0, Vec::len);
    let (request, search) = body.into_request(&state.app).await?;
    let encoder = QueryEncoder::new(&search);
    let (app, asker, sources) = (Arc::clone(&state.app), caller.owned(), encoder.sources.clone());
    let reply = async move {
        let reply = sources.answer(&app, &asker, request, search).await;
        drop(room);
        reply.map_err(|error| error.at(|pointer| place(pointer, before, last)))
    };
    respond(&state, &caller, reply, encoder, stream).await
}

impl QueryBody {
    async fn into_request(self, app: &App) -> error::Result<(ChatRequest, SearchDocuments)> {
        let mut fields = Fields::default();
        if self.query.trim().is_empty() {
            fields.refuse("/query", "must not be empty");
        }
        let documents = DocumentsBody {
            collection: self.collection,
            top_k: self.top_k,
            mode: self.mode,
            filter: self.filter,
            score_threshold: self.score_threshold,
        };
        let search =
            SearchDocuments { query: self.query.clone(), ..documents.into_search(app, "", &mut fields) };
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
        messages.push(Message::new(Role::User, self.query));
        let model = app.resolve(self.model.as_deref(), Capability::Completion).await?;
        let request = ChatRequest { sampling, ..ChatRequest::new(model, Prompt::Messages(messages)) };
        Ok((request, search))
    }
}

/// The field of the request that a message of the chat was made of; `before` is the number of messages before the
/// conversation.
fn place(pointer: &str, before: usize, last: usize) -> String {
    let part = pointer.strip_prefix("/messages/").and_then(|part| part.split_once('/'));
    match part.map(|(number, rest)| (number.parse::<usize>(), rest)) {
        Some((Ok(number), _)) if number == last => "/query".to_owned(),
        Some((Ok(number), _)) if number < before => "/system_prompt".to_owned(),
        Some((Ok(number), rest)) => format!("/messages/{}/{rest}", number - before),
        _ if pointer == "/messages" && last == before => "/query".to_owned(),
        _ => pointer.to_owned(),
    }
}

/// Encoder of `/rag/query`.
struct QueryEncoder {
    query: String,
    collection: String,
    sources: Sources,
    model: String,
}

impl QueryEncoder {
    fn new(search: &SearchDocuments) -> Self {
        Self {
            query: search.query.clone(),
            collection: search.collection.as_str().to_owned(),
            sources: Sources::default(),
            model: String::new(),
        }
    }

    fn reply<'a>(&'a self, model: &'a str, answer: &'a str) -> QueryReply<'a> {
        let sources = self.sources.bodies();
        QueryReply {
            query: &self.query,
            answer,
            chunks_used: sources.len(),
            sources,
            model,
            collection: &self.collection,
            done: true,
        }
    }
}

impl ReplyEncoder for QueryEncoder {
    fn begin(&mut self, model: &str, _: &mut Frames) {
        model.clone_into(&mut self.model);
    }

    fn event(&mut self, event: &ChatEvent, out: &mut Frames) {
        if let ChatEvent::Text(answer) = event {
            out.data(&QueryEvent { answer, done: false });
        }
    }

    fn end(&mut self, _: &Done, out: &mut Frames) {
        out.data(&self.reply(&self.model, ""));
    }

    fn error(&mut self, error: &Error, request_id: &str, out: &mut Frames) {
        out.named("error", &ErrorFormat::Problem.write(error, request_id));
    }

    fn complete(&mut self, model: &str, reply: &Collected) -> Vec<u8> {
        serde_json::to_vec(&self.reply(model, &reply.text))
            .expect("texts and numbers, and a Vec takes them all")
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_message_of_the_chat_is_the_field_that_it_was_made_of() {
        // System prompt, two turns, the question.
        for (pointer, field) in [
            ("/messages/0/content", "/system_prompt"),
            ("/messages/1/content", "/messages/0/content"),
            ("/messages/2/images/0", "/messages/1/images/0"),
            ("/messages/3/content", "/query"),
            ("/messages", "/messages"),
            ("/model", "/model"),
        ] {
            assert_eq!(place(pointer, 1, 3), field);
        }
        assert_eq!(place("/messages", 1, 1), "/query");
    }
}
