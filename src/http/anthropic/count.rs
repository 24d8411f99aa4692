//! `/v1/messages/count_tokens`.

use std::sync::Arc;

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    betas::{BetaParam, Betas},
    body::body,
};
use crate::{
    http::{
        HttpState,
        extract::{Json, fields::Fields},
        middleware::{auth::Caller, errors::Result},
    },
    types::Sampling,
};

body! {
    struct CountTokensBody {}
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct MessageTokens {
    input_tokens: u64,
}

/// Count the tokens of a message's prompt (Anthropic)
#[utoipa::path(post, path = "/v1/messages/count_tokens", tag = "Anthropic", params(BetaParam),
    request_body(content = CountTokensBody, example = json!({"messages": [{"role": "user", "content": "What is the capital of France?"}]})),
    responses((status = 200, body = MessageTokens)))]
pub(in crate::http) async fn count(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    betas: Betas,
    Json(mut body, _room): Json<CountTokensBody>,
) -> Result<Response> {
    let (prompt, mut ignored) = (body.prompt(), betas.ignored());
    body.note_ignored(&mut ignored);
    prompt.note_ignored(&mut ignored);
    let (request, places) = prompt.into_request(Sampling::default(), Fields::default(), &state).await?;
    let counted = state.app.count_prompt(&caller, request).await;
    let input_tokens = counted.map_err(|error| places.translate(error))?;
    Ok(ignored.mark(JsonReply(MessageTokens { input_tokens }).into_response()))
}
