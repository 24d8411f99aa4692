//! A reply on its way out: the API's encoder says what is written, `stream` when, and `frames` in which format.

mod cached;
mod encoder;
pub(super) mod frames;
pub(super) mod progress;
mod silence;
mod stream;

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

pub use self::silence::StreamTimes;
pub(in crate::http) use self::{
    cached::mark,
    encoder::ReplyEncoder,
    frames::{Frames, Framing, probe},
};
use crate::{
    app::ChatReply,
    error,
    http::{
        HttpState,
        middleware::{auth::Caller, errors::Result},
    },
};

/// Writes the reply, streamed or whole. A failure before the first event is an ordinary error, unless the
/// stream has begun without one.
pub(in crate::http) async fn respond<R>(
    state: &HttpState,
    caller: &Caller,
    reply: R,
    mut encoder: impl ReplyEncoder,
    stream: bool,
) -> Result<Response>
where
    R: Future<Output = error::Result<ChatReply>> + Send + 'static,
{
    if stream {
        return stream::respond(state, Arc::clone(&caller.recorder), reply, Box::new(encoder)).await;
    }
    let mut reply = reply.await?;
    let mut collected = reply.collect().await?;
    for _ in 1..encoder.choices() {
        collected.others.push(reply.collect().await?);
    }
    let ChatReply { model, cache_status, .. } = reply;
    let json = encoder.complete(&model, &collected);
    let content_type = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, content_type)], json).into_response();
    mark(response.headers_mut(), &cache_status);
    Ok(response)
}
