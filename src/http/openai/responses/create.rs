//! `POST /v1/responses`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;

use super::{
    assemble::{Keeping, assemble},
    body::{ResponseBody, response_field},
    conversation::messages,
    earlier::{Earlier, earlier, resolve as resolve_references},
    events::{ResponseEncoder, ResponseEvent},
    input::{Input, InputItem, Items},
    item::ItemBody,
    output::item_id,
    response::{Draft, ResponseObject, ResponseStatus, raw},
};
use crate::{
    app::{self, App},
    error::{self, Error},
    http::{
        HttpState,
        extract::{Json, Room, body::LARGE_BYTES, fields::Fields},
        ignored::IgnoredNames,
        middleware::{auth::Caller, errors::Result},
        native::inference::resolve,
        reply::respond,
    },
    request_context::scope,
    store::responses::{ResponseId, StoredResponse},
    types::{ChatRequest, Prompt},
};

/// Create a response (OpenAI)
#[utoipa::path(post, path = "/v1/responses", tag = "OpenAI",
    request_body(content = ResponseBody, example = json!({"input": "What is the capital of France?"})),
    responses((status = 200, content((ResponseObject = "application/json"), (ResponseEvent = "text/event-stream")))))]
pub(in crate::http) async fn create(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<ResponseBody>,
) -> Result<Response> {
    let mut prepared = Prepared::new(body, room, &state, &caller).await?;
    let mut ignored = std::mem::take(&mut prepared.ignored);
    let (draft, encoder) = (Arc::clone(&prepared.draft), ResponseEncoder::new(Arc::clone(&prepared.draft)));
    if draft.background {
        return Ok(ignored.mark(prepared.begin(&state, &caller).await?));
    }
    let (stream, reply) = (prepared.stream, prepared.ask(Arc::clone(&state.app), caller.owned()));
    let response = respond(&state, &caller, reply, encoder, stream).await?;
    let is_lost = draft.finished.get().is_some_and(|finished| draft.store && !finished.is_stored);
    ignored.note_if("store", is_lost);
    Ok(ignored.mark(response))
}

/// A request that has been read and checked.
struct Prepared {
    draft: Arc<Draft>,
    request: ChatRequest,
    stream: bool,
    ignored: IgnoredNames,
    /// JSON of the input, if the response is to be stored.
    input: String,
    room: Room,
}

impl Prepared {
    async fn new(
        mut body: ResponseBody,
        room: Room,
        state: &HttpState,
        caller: &Caller,
    ) -> error::Result<Self> {
        let can_store = state.app.responses().is_enabled();
        let (mut ignored, mut fields) = (body.ignored(), Fields::default());
        let store = body.storing(can_store, &mut fields);
        ignored.note_if("store", body.store.is_none() && !can_store);
        let Earlier { id: previous, items: earlier, bytes } =
            earlier(body.previous_response_id.as_deref(), state, caller).await?;
        let (is_text, new, referred) = match std::mem::replace(&mut body.input, Input::Text(String::new())) {
            Input::Text(text) if text.is_empty() => {
                return Err(Error::field("/input", "must not be empty"));
            }
            Input::Text(text) => (true, vec![InputItem::user(text)], 0),
            Input::List(items) => {
                let (items, referred) = resolve_references(items, state, caller).await?;
                (false, items, referred)
            }
        };
        let room = match bytes + referred {
            read if read > LARGE_BYTES => state.body_memory.enlarge(caller.principal, room, read).await,
            _ => room,
        };
        let items = Items { earlier, new };
        let model = resolve(state, body.model.as_deref(), items.images(), body.tools()).await?;
        items.check(is_text, &mut fields);
        let (id, stream) = (ResponseId::random()?, body.stream.unwrap_or(false));
        let (mut request, mut draft) = body.read(model, (id, previous), store, &mut fields);
        fields.finish()?;
        let number =
            |index, kind: &super::conversation::ItemKind| item_id(kind.prefix(), &id.digits(), index);
        let (earlier, new) = items.open(is_text, number, &state.app).await?;
        draft.inputs = new.len();
        let input = match store {
            true => raw(&new.iter().map(ItemBody::from).collect::<Vec<_>>()).get().to_owned(),
            false => String::new(),
        };
        let items = earlier.iter().chain(&new);
        request.prompt = Prompt::Messages(messages(draft.instructions.as_deref(), items));
        let room = room.keep(request.size());
        Ok(Self { draft: Arc::new(draft), request, stream, ignored, input, room })
    }

    /// Asks for the reply, which is stored at its end if it is to be.
    async fn ask(self, app: Arc<App>, caller: app::Caller) -> error::Result<app::ChatReply> {
        let Self { draft, request, input, room, .. } = self;
        let reply = app.chat(&caller, request).await;
        drop(room);
        let reply = reply.map_err(|error| error.at(response_field))?;
        let responses = Arc::clone(app.responses());
        let is_kept = draft.store && !draft.background;
        let keeping = is_kept.then(|| Keeping { responses, owner: caller.principal, input });
        Ok(assemble(draft, reply, keeping))
    }

    /// Begins the response in the background.
    async fn begin(mut self, state: &HttpState, caller: &Caller) -> error::Result<Response> {
        let draft = Arc::clone(&self.draft);
        let queued = draft.begun(ResponseStatus::Queued);
        let stored = StoredResponse {
            id: draft.id,
            previous: draft.previous,
            is_finished: false,
            input: std::mem::take(&mut self.input),
            body: queued.get().to_owned(),
        };
        let cancelled = draft.begun(ResponseStatus::Cancelled).get().to_owned();
        let work = scope(caller.recorder.context(), self.complete(Arc::clone(&state.app), caller.owned()));
        state.app.respond_in_background(caller.principal, &stored, cancelled, work).await?;
        // The request is counted when the response is complete, with the time until now.
        caller.recorder.endless();
        Ok(json(&queued))
    }

    /// Makes the response to its end, and returns its JSON.
    async fn complete(self, app: Arc<App>, caller: app::Caller) -> String {
        let draft = Arc::clone(&self.draft);
        let recorder = Arc::clone(&caller.recorder);
        let made = async {
            self.ask(app, caller).await?.collect().await?;
            Ok(())
        };
        match (made.await, draft.finished.get()) {
            (Ok(()), Some(finished)) => finished.json.get().to_owned(),
            (made, _) => {
                let error = made.err().unwrap_or_else(app::incomplete);
                recorder.failed(&error);
                draft.failed(&draft.output(), &error, true).get().to_owned()
            }
        }
    }
}

pub(super) fn json(json: &RawValue) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], json.get().to_owned()).into_response()
}
