//! The product: one `App`, built once, through which every endpoint goes. It knows no HTTP and no
//! vendor's JSON.

pub mod alerts;
mod analytics;
mod answer;
pub mod catalog;
mod chat;
mod checked;
mod count;
mod documents;
mod embed;
mod forced_call;
pub mod health;
mod image_urls;
pub mod images;
pub mod keys;
mod load;
mod metering;
mod models;
pub mod prompts;
pub mod rag;
pub mod responses;
pub mod suggestions;
mod tool_text;
pub mod vision;
mod webhooks;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{alerts::Alerts, catalog::Catalog};
pub use self::{
    analytics::{CacheReport, DocumentsReport, LiveReport, MonitoringReport},
    chat::{ChatReply, Collected, incomplete},
};
use self::{images::ImageDecoder, prompts::Prompts, rag::Documents, responses::Responses};
use crate::{
    backend::Backend,
    cache::{Cache, CacheControl},
    error::Result,
    extractor::{self, Extractor},
    images::{EncodedImage, Image, ImageLimits, RefusalReason},
    store::{History, responses::StoredResponse},
    telemetry::{Monitoring, recorder::RequestRecorder, traces::Exporter},
    tesseract::{self, OcrEngine, Tesseract},
    types::{Capability, Model, Principal},
};

pub struct App {
    catalog: Catalog,
    images: ImageDecoder,
    cache: Cache,
    monitoring: Monitoring,
    history: History,
    alerts: Alerts,
    /// Cancelled when the server is told to stop: replies without an end then end.
    stopping: CancellationToken,
    /// Background tasks, which run to the end of the last reply.
    background: TaskTracker,
    ended: CancellationToken,
    prompts: Prompts,
    documents: Documents,
    responses: Arc<Responses>,
    ocr_engine: OcrEngine,
    tesseract: Arc<Tesseract>,
    extractor: Extractor,
}

/// Settings of the product.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub catalog: &'a catalog::Settings,
    pub images: &'a images::Settings,
    pub ocr: &'a tesseract::Settings,
    pub documents: &'a extractor::Settings,
}

/// Parts of the product, each opened by its own module.
pub struct Parts {
    /// The preferred one first.
    pub backends: Vec<Arc<dyn Backend>>,
    pub cache: Cache,
    pub monitoring: Monitoring,
    pub history: History,
    pub alerts: Alerts,
    pub prompts: Prompts,
    pub documents: Documents,
    pub responses: Arc<Responses>,
}

/// On whose behalf something is done, and by which endpoint it came.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Principal,
    /// The route's template: a constant, fit for a metric's label.
    pub endpoint: &'static str,
    /// Whether the request uses the native API rather than another vendor's.
    pub is_native: bool,
    /// `Cache-Control` of the request.
    pub cache_control: CacheControl,
    /// Recorder of the request.
    pub recorder: Arc<RequestRecorder>,
}

impl App {
    pub fn new(parts: Parts, settings: Settings<'_>) -> Self {
        let Parts { backends, cache, monitoring, history, alerts, prompts, documents, responses } = parts;
        Self {
            catalog: Catalog::new(backends, settings.catalog.clone()),
            images: ImageDecoder::new(settings.images, Arc::clone(&monitoring.metrics)),
            cache,
            monitoring,
            history,
            alerts,
            stopping: CancellationToken::new(),
            background: TaskTracker::new(),
            ended: CancellationToken::new(),
            prompts,
            documents,
            responses,
            ocr_engine: settings.ocr.ocr_engine,
            tesseract: Arc::new(Tesseract::new(settings.ocr)),
            extractor: Extractor::new(settings.documents),
        }
    }

    /// Begins what runs behind the scenes, on the present runtime. It ends with `stop`, or when what
    /// is given back is dropped.
    pub fn start(self: &Arc<Self>, exporter: Option<Exporter>) -> DropGuard {
        if self.monitoring.enabled {
            let (app, ended) = (Arc::clone(self), self.ended.clone());
            self.background.spawn(async move { app.alerts.run(&app, ended).await });
        }
        if let Some(exporter) = exporter {
            self.background.spawn(exporter.run(self.ended.clone()));
        }
        let (responses, ended) = (Arc::clone(&self.responses), self.ended.clone());
        self.background.spawn(async move { responses.expire(ended).await });
        self.ended.clone().drop_guard()
    }

    /// Cancelled when the server is told to stop: replies without an end then end.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Responses that callers have stored.
    pub fn responses(&self) -> &Arc<Responses> {
        &self.responses
    }

    /// Stores a response of a caller, and makes it in the background; see `Responses::start`.
    ///
    /// # Errors
    /// Those of `Responses::start`.
    pub async fn respond_in_background(
        &self,
        owner: Principal,
        response: &StoredResponse,
        cancelled: String,
        work: impl Future<Output = String> + Send + 'static,
    ) -> Result<()> {
        self.responses.start(&self.background, owner, response, cancelled, work).await
    }

    /// Lists the models that can be used now.
    ///
    /// # Errors
    /// That of the backend.
    pub async fn models(&self) -> Result<Arc<[Model]>> {
        self.catalog.list().await
    }

    /// Names of the models at the last listing, separated by commas.
    pub fn model_names(&self) -> String {
        self.catalog.names()
    }

    /// Name of the model to ask; see `Catalog::resolve`.
    ///
    /// # Errors
    /// Those of `Catalog::resolve`.
    pub async fn resolve(&self, named: Option<&str>, needed: Capability) -> Result<String> {
        self.catalog.resolve(named, needed).await
    }

    /// Decodes an image of a request; `pointer` is its place there.
    ///
    /// # Errors
    /// Those of `ImageDecoder::open`.
    pub async fn open_image(&self, image: EncodedImage, pointer: &str) -> Result<Image> {
        self.images.open(image, pointer).await
    }

    /// Limits of images, for a body that is read as it comes.
    pub fn image_limits(&self) -> &ImageLimits {
        self.images.limits()
    }

    /// Counts an image that was refused before it was decoded.
    pub fn count_refused_image(&self, reason: RefusalReason) {
        self.monitoring.metrics.vision.refused(reason);
    }

    /// Ends everything that runs behind the scenes.
    pub async fn stop(&self) {
        self.responses.stop().await;
        join_all(self.catalog.backends().map(|backend| backend.stop())).await;
        self.cache.stop().await;
        self.documents.stop().await;
        self.history.stop().await;
        self.ended.cancel();
        self.background.close();
        self.background.wait().await;
    }
}
