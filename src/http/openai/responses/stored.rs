//! `/v1/responses/{id}`: stored responses.

use std::sync::Arc;

use axum::{Json as JsonReply, extract::State, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use utoipa::{IntoParams, ToSchema};

use super::{
    create::json as reply,
    item::ItemBody,
    response::{ResponseObject, raw},
};
use crate::{
    app::responses::Progress,
    error::{self, Error, Kind},
    http::{
        HttpState,
        extract::{Query, fields::Fields, filled},
        middleware::{auth::Caller, errors::Result},
        openai::models::ListObject,
        rag::named::{Name, Named},
    },
    store::responses::{ResponseId, StoredResponse},
};

const USUAL_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;
const WHOLE: &str = "a whole number from 1 to 100";

impl Name for ResponseId {
    const UNKNOWN: &'static str = "There is no stored response with this id; it may have expired.";

    fn parse(id: String) -> error::Result<Self> {
        Self::parse(&id).ok_or_else(Self::unknown)
    }

    fn unknown() -> Error {
        Error::new(Kind::NotFound, Self::UNKNOWN).with_code("response_not_found")
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "documentation of `Named<ResponseId>`")]
pub(in crate::http) struct ResponseIdParam {
    /// Id of the response.
    #[param(example = "resp_0123456789abcdef0123456789abcdef")]
    id: String,
}

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct InputItemsQuery {
    /// Maximum number of items.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    #[serde(default, deserialize_with = "filled")]
    limit: Option<String>,
    /// `asc`, or `desc` for the newest first.
    #[param(value_type = Option<String>, default = "desc")]
    #[serde(default, deserialize_with = "filled")]
    order: Option<String>,
    /// Return the items after the one with this id: the last one of the page before.
    #[serde(default, deserialize_with = "filled")]
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct InputItems<'a> {
    object: ListObject,
    #[schema(value_type = Vec<ItemBody>)]
    data: Vec<&'a RawValue>,
    #[schema(required)]
    first_id: Option<String>,
    #[schema(required)]
    last_id: Option<String>,
    has_more: bool,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DeletedResponse {
    id: String,
    object: DeletedResponseObject,
    deleted: bool,
}

/// Always `response`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DeletedResponseObject {
    Response,
}

/// Get a stored response (OpenAI)
#[utoipa::path(get, path = "/v1/responses/{id}", tag = "OpenAI", params(ResponseIdParam),
    responses((status = 200, body = ResponseObject)))]
pub(in crate::http) async fn retrieve(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(id): Named<ResponseId>,
) -> Result<Response> {
    let (stored, progress) = find(&state, &caller, id).await?;
    Ok(reply(&present(&stored, progress)?))
}

/// Delete a stored response (OpenAI)
#[utoipa::path(delete, path = "/v1/responses/{id}", tag = "OpenAI", params(ResponseIdParam),
    responses((status = 200, body = DeletedResponse)))]
pub(in crate::http) async fn remove(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(id): Named<ResponseId>,
) -> Result<JsonReply<DeletedResponse>> {
    if !state.app.responses().delete(&caller.principal, id).await? {
        return Err(ResponseId::unknown().into());
    }
    let (id, object) = (id.to_string(), DeletedResponseObject::Response);
    Ok(JsonReply(DeletedResponse { id, object, deleted: true }))
}

/// Cancel a response that is made in the background (OpenAI)
#[utoipa::path(post, path = "/v1/responses/{id}/cancel", tag = "OpenAI", params(ResponseIdParam),
    responses((status = 200, body = ResponseObject)))]
pub(in crate::http) async fn cancel(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(id): Named<ResponseId>,
) -> Result<Response> {
    let (stored, _) = find(&state, &caller, id).await?;
    if parse(&stored)?.get("background") != Some(&Value::Bool(true)) {
        let message = "Only a response that is made in the background can be cancelled.";
        return Err(Error::new(Kind::Malformed, message).into());
    }
    state.app.responses().cancel(&caller.principal, id).await;
    let (stored, progress) = find(&state, &caller, id).await?;
    Ok(reply(&present(&stored, progress)?))
}

/// List the items of a stored response's input (OpenAI)
#[utoipa::path(get, path = "/v1/responses/{id}/input_items", tag = "OpenAI",
    params(ResponseIdParam, InputItemsQuery), responses((status = 200, body = InputItems)))]
pub(in crate::http) async fn input_items(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Named(id): Named<ResponseId>,
    Query(query): Query<InputItemsQuery>,
) -> Result<Response> {
    let (stored, _) = find(&state, &caller, id).await?;
    let items: Vec<&RawValue> = serde_json::from_str(&stored.input).map_err(unreadable)?;
    Ok(reply(&raw(&page(items, query)?)))
}

async fn find(
    state: &HttpState,
    caller: &Caller,
    id: ResponseId,
) -> error::Result<(StoredResponse, Progress)> {
    state.app.responses().get(&caller.principal, id).await?.ok_or_else(ResponseId::unknown)
}

/// The response as it is now.
fn present(stored: &StoredResponse, progress: Progress) -> error::Result<Box<RawValue>> {
    let mut response = parse(stored)?;
    match progress {
        Progress::Finished => {
            return serde_json::from_str::<&RawValue>(&stored.body)
                .map(ToOwned::to_owned)
                .map_err(unreadable);
        }
        Progress::Queued => {}
        Progress::InProgress => {
            response.insert("status".to_owned(), "in_progress".into());
        }
        Progress::Lost => {
            let error = json!({"code": "server_error", "message": "The server was stopped before the response was complete."});
            response.insert("status".to_owned(), "failed".into());
            response.insert("error".to_owned(), error);
        }
    }
    Ok(raw(&response))
}

fn parse(stored: &StoredResponse) -> error::Result<Map<String, Value>> {
    serde_json::from_str(&stored.body).map_err(unreadable)
}

fn unreadable(_: serde_json::Error) -> Error {
    Error::new(Kind::Internal, "The stored response cannot be read.")
}

fn page<'a>(mut items: Vec<&'a RawValue>, query: InputItemsQuery) -> error::Result<InputItems<'a>> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let id = |item: &RawValue| {
        serde_json::from_str::<Identified>(item.get()).map(|item| item.id).unwrap_or_default()
    };
    let mut fields = Fields::default();
    let limit = fields.number("/limit", query.limit.as_deref(), WHOLE).unwrap_or(USUAL_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        fields.refuse("/limit", format!("must be {WHOLE}"));
    }
    match query.order.as_deref() {
        Some("asc") => {}
        None | Some("desc") => items.reverse(),
        Some(_) => fields.refuse("/order", "must be asc or desc"),
    }
    if let Some(after) = query.after {
        match items.iter().position(|item| id(item) == after) {
            Some(place) => drop(items.drain(..=place)),
            None => fields.refuse("/after", "must be the id of an item of this response's input"),
        }
    }
    fields.finish()?;
    let has_more = items.len() > limit;
    items.truncate(limit);
    Ok(InputItems {
        object: ListObject::List,
        first_id: items.first().map(|item| id(item)),
        last_id: items.last().map(|item| id(item)),
        data: items,
        has_more,
    })
}
