//! Image analysis, captions and OCR. Each of the three is one `ChatRequest` with the image in
//! its only message; OCR may also be Tesseract's.

use futures_util::stream;

use super::{App, Caller, ChatReply, catalog::DEMO, metering::Source};
use crate::{
    cache::{Events, KeyScope},
    error::Result,
    images::Image,
    tesseract::OcrEngine,
    types::{CacheStatus, Capability, ChatEvent, ChatRequest, Done, Message, Prompt, Role, Sampling},
};

/// How much a caption tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    Brief,
    #[default]
    Normal,
    Detailed,
}

/// A text about an image, whole.
pub struct VisionReply {
    pub text: String,
    /// The model that wrote it, or `tesseract` with its version.
    pub model: String,
    pub cache_status: CacheStatus,
}

/// Replies of vision models when there is no text to read, in lower case and without full stop.
const NO_TEXT: [&str; 9] = [
    "no text found",
    "no text",
    "none",
    "n/a",
    "no visible text",
    "there is no text in this image",
    "there is no text in the image",
    "there is no text visible in this image",
    "there is no visible text in this image",
];

impl App {
    /// Answer a question about an image. The model is one that `Catalog::resolve` has given.
    ///
    /// # Errors
    /// Those of `App::chat`.
    pub async fn analyze(
        &self,
        caller: &Caller,
        model: String,
        image: Image,
        prompt: String,
        sampling: Sampling,
    ) -> Result<ChatReply> {
        self.chat(caller, request(model, image, prompt, sampling)).await
    }

    /// Caption an image.
    ///
    /// # Errors
    /// Those of `App::chat`.
    pub async fn caption(
        &self,
        caller: &Caller,
        model: String,
        image: Image,
        detail: Detail,
    ) -> Result<VisionReply> {
        let prompt = match detail {
            Detail::Brief => &self.prompts.caption_brief,
            Detail::Normal => &self.prompts.caption_normal,
            Detail::Detailed => &self.prompts.caption_detailed,
        };
        let reply = self.chat(caller, request(model, image, prompt.clone(), likeliest())).await?;
        collect(reply).await
    }

    /// Extract text from an image. The text is empty when there is none.
    ///
    /// # Errors
    /// Those of `App::chat`, and of `Tesseract::read`.
    pub async fn ocr(&self, caller: &Caller, reader: Reader, image: Image) -> Result<VisionReply> {
        let mut reading = match reader {
            Reader::Tesseract => self.tesseract_reads(caller, image).await?,
            Reader::Model(model) => {
                let request = request(model, image, self.prompts.ocr.clone(), likeliest());
                collect(self.chat(caller, request).await?).await?
            }
        };
        if NO_TEXT.contains(&reading.text.trim_end_matches('.').to_lowercase().as_str()) {
            reading.text.clear();
        }
        Ok(reading)
    }

    /// Chooses the OCR engine of a request: the model that it names, else what `OCR_ENGINE` says.
    ///
    /// # Errors
    /// Those of `Catalog::resolve`.
    pub async fn reader(&self, named: Option<&str>) -> Result<Reader> {
        if named.is_none() && self.reads_with_tesseract().await {
            return Ok(Reader::Tesseract);
        }
        self.resolve(named, Capability::Vision).await.map(Reader::Model)
    }

    async fn reads_with_tesseract(&self) -> bool {
        match self.ocr_engine {
            OcrEngine::Model => false,
            OcrEngine::Tesseract => true,
            OcrEngine::Auto => !self.has_vision_model().await && self.tesseract.is_installed().await,
        }
    }

    /// Whether the default vision model is one that the settings name, or is installed and not the demo.
    async fn has_vision_model(&self) -> bool {
        if self.catalog.settings.named(Capability::Vision).is_some() {
            return true;
        }
        match self.resolve(None, Capability::Vision).await {
            Ok(model) => model != DEMO && self.catalog.route(&model).await.listed.is_some(),
            Err(_) => false,
        }
    }

    /// Kept in the cache as a model's reply would be: its version is the model, and the languages
    /// with the version are what a digest is to weights.
    async fn tesseract_reads(&self, caller: &Caller, image: Image) -> Result<VisionReply> {
        let version = self.tesseract.version().await?.to_owned();
        let digest = format!("{version} {}", self.tesseract.languages());
        let request = request(version.clone(), image.clone(), String::new(), Sampling::default());
        let owner = Some(caller.principal.id());
        let scope = KeyScope { backend: "tesseract", digest: &digest, context: None, owner };
        let key = self.cache.chat_key(&request, caller.is_native, Some(scope));
        let source = Source { backend: "tesseract", model: version.as_str().into(), listed: true };
        let (tesseract, meter) = (self.tesseract.clone(), self.meter(caller, source, None));
        let read = async move {
            let text = tesseract.read(&image).await?;
            let events = [ChatEvent::Text(text), Done::default().into()];
            let events: Events = Box::pin(stream::iter(events.map(Ok)));
            Ok(events)
        };
        collect(self.answer(caller, key, version.clone(), "tesseract", || meter.run(read)).await?).await
    }
}

/// OCR engine chosen for a request.
pub enum Reader {
    /// A model that `Catalog::resolve` has given.
    Model(String),
    Tesseract,
}

fn request(model: String, image: Image, prompt: String, sampling: Sampling) -> ChatRequest {
    let message = Message::new(Role::User, prompt).with_images(vec![image]);
    ChatRequest { sampling, ..ChatRequest::new(model, Prompt::Messages(vec![message])) }
}

/// A caption and a reading have one best answer, the same each time.
fn likeliest() -> Sampling {
    Sampling { temperature: Some(0.0), ..Sampling::default() }
}

async fn collect(mut reply: ChatReply) -> Result<VisionReply> {
    let (model, cache_status) = (reply.model.clone(), reply.cache_status.clone());
    let text = reply.collect().await?.text.trim().to_owned();
    Ok(VisionReply { text, model, cache_status })
}
