//! The product: one `App`, built once, through which every endpoint goes. It knows no HTTP and no
//! vendor's JSON.

mod analytics;
mod chat;
mod embed;
pub mod health;
pub mod keys;
pub mod models;
pub mod pictures;
pub mod prompts;
pub mod vision;

use std::sync::Arc;

pub use self::{analytics::CacheReport, chat::ChatReply};
use self::{keys::KeyId, models::Models, pictures::Pictures, prompts::Prompts};
use crate::{
    backend::Backend,
    cache::{Cache, Directives, Origin},
    ocr::{self, OcrEngine, Tesseract},
    telemetry::metrics::Metrics,
};

pub struct App {
    pub models: Models,
    pub pictures: Pictures,
    pub cache: Cache,
    pub metrics: Arc<Metrics>,
    backend: Arc<dyn Backend>,
    prompts: Prompts,
    ocr_engine: OcrEngine,
    tesseract: Arc<Tesseract>,
}

/// What the product is set up with.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub models: &'a models::Settings,
    pub pictures: &'a pictures::Settings,
    pub ocr: &'a ocr::Settings,
}

/// On whose behalf something is done, and by which endpoint it came.
#[derive(Clone, Debug)]
pub struct Caller {
    pub key: KeyId,
    /// The route's template: a constant, fit for a metric's label.
    pub endpoint: &'static str,
    /// What it says about caching.
    pub directives: Directives,
}

impl App {
    pub fn new(
        backend: Arc<dyn Backend>,
        settings: Settings<'_>,
        prompts: Prompts,
        cache: Cache,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            models: Models::new(Arc::clone(&backend), settings.models.clone()),
            pictures: Pictures::new(settings.pictures, Arc::clone(&metrics)),
            cache,
            metrics,
            backend,
            prompts,
            ocr_engine: settings.ocr.ocr_engine,
            tesseract: Arc::new(Tesseract::new(settings.ocr)),
        }
    }

    /// What an answer depends on besides the request; none while it is not known which weights will
    /// answer.
    fn origin<'a>(&'a self, digest: Option<&'a str>, caller: &Caller) -> Option<Origin<'a>> {
        let owner = Some(caller.key.to_bytes());
        digest.map(|digest| Origin { backend: self.backend.name(), digest, owner })
    }

    /// Ends everything that runs behind the scenes.
    pub async fn stop(&self) {
        self.backend.stop().await;
        self.cache.stop().await;
    }
}
