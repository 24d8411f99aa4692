//! The product: one `App`, built once, through which every endpoint goes. It knows no HTTP and no
//! vendor's JSON.

mod chat;
mod embed;
pub mod health;
pub mod keys;
pub mod models;

use std::sync::Arc;

pub use self::chat::ChatReply;
use self::{keys::KeyId, models::Models};
use crate::{backend::Backend, telemetry::metrics::Metrics};

pub struct App {
    pub models: Models,
    pub metrics: Arc<Metrics>,
    backend: Arc<dyn Backend>,
}

/// On whose behalf something is done, and by which endpoint it came.
#[derive(Clone, Debug)]
pub struct Caller {
    pub key: KeyId,
    /// The route's template: a constant, fit for a metric's label.
    pub endpoint: &'static str,
}

impl App {
    pub fn new(backend: Arc<dyn Backend>, models: models::Settings, metrics: Arc<Metrics>) -> Self {
        Self { models: Models::new(Arc::clone(&backend), models), metrics, backend }
    }

    /// Ends everything that the backend runs.
    pub async fn stop(&self) {
        self.backend.stop().await;
    }
}
