//! What answers: one small trait, one file for each kind of server. Every backend streams; a plain
//! reply is a collected stream. A backend knows its vendor's JSON and nothing of HTTP as we serve it.

mod embedded;
mod frames;
mod openai;

pub use embedded::Embedded;

use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;

use crate::{
    error::Result,
    types::{ChatEvent, ChatRequest, EmbedReply, EmbedRequest, Model},
};

/// The events of one reply as they arrive, ending with `ChatEvent::Done` or with an error. Dropping
/// it aborts the work behind it and frees what it holds.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>;

#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// `embedded`, `ollama` …: a constant, fit for a metric's label.
    fn name(&self) -> &'static str;

    /// Starts a reply. Returns when the backend has accepted the request.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream>;

    /// Embeds all texts in one call.
    async fn embed(&self, request: EmbedRequest) -> Result<EmbedReply>;

    /// The models that can be used now.
    async fn models(&self) -> Result<Vec<Model>>;

    /// Whether it answers; gives its version.
    async fn version(&self) -> Result<String>;

    /// Ends what it runs (children, connections). Nothing is left running when this returns.
    async fn stop(&self) {}
}
