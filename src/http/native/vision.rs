//! `/vision/analyze`, `/vision/caption`, `/vision/ocr` and `/vision/upload`.

use std::sync::Arc;

use axum::{
    Json as JsonReply,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reply::{GenerateEncoder, GenerateEvent, GenerateReply};
use crate::{
    app::vision::{Detail, VisionReply},
    error,
    http::{
        HttpState,
        extract::{
            Json, Room,
            fields::Fields,
            multipart::{Form, ImageForm},
            object::Word,
        },
        middleware::{auth::Caller, errors::Result},
        reply::{mark, respond},
    },
    images::EncodedImage,
    types::{Capability, Sampling},
};

/// Red square of 16 by 16 pixels, as a PNG in base64.
const EXAMPLE_IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mP4z8BAEmIY1TCqYfhqAACQ+f8B8u7oVwAAAABJRU5ErkJggg==";
const DEFAULT_PROMPT: &str = "Describe this image";

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AnalyzeBody {
    /// Base64 of a PNG, JPEG, GIF, WebP or BMP file, with or without a `data:` URI prefix.
    #[schema(value_type = String)]
    image: EncodedImage,
    /// Question about the image, or what to do with it.
    #[schema(min_length = 1, example = "What objects are in this image?")]
    prompt: String,
    /// Defaults to the server's default vision model.
    model: Option<String>,
    /// Sampling temperature, from 0 (always the most likely token) to 2. Defaults to the model's own, or else 0.7.
    #[schema(default = 0.7, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Maximum number of tokens to generate.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_tokens: Option<i64>,
    /// Stream the response as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CaptionBody {
    /// Base64 of a PNG, JPEG, GIF, WebP or BMP file, with or without a `data:` URI prefix.
    #[schema(value_type = String)]
    image: EncodedImage,
    /// Level of detail. Defaults to `normal`.
    #[schema(value_type = Option<DetailBody>)]
    detail_level: Option<Word<DetailBody>>,
    /// Defaults to the server's default vision model.
    model: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DetailBody {
    Brief,
    Normal,
    Detailed,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OcrBody {
    /// Base64 of a PNG, JPEG, GIF, WebP or BMP file, with or without a `data:` URI prefix.
    #[schema(value_type = String)]
    image: EncodedImage,
    /// Defaults to what `OCR_ENGINE` says: the server's default vision model, or Tesseract.
    model: Option<String>,
}

/// Form fields; empty ones are ignored.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its description is used")]
pub(in crate::http) struct UploadForm {
    /// PNG, JPEG, GIF, WebP or BMP file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Question about the image, or what to do with it.
    #[schema(default = "Describe this image")]
    prompt: Option<String>,
    /// Defaults to the server's default vision model.
    model: Option<String>,
    /// Sampling temperature, from 0 (always the most likely token) to 2. Defaults to the model's own, or else 0.7.
    #[schema(default = 0.7, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Maximum number of tokens to generate.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_tokens: Option<i64>,
    /// Stream the response as server-sent events: `true`, `1`, `yes` or `on`.
    #[schema(default = false)]
    stream: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CaptionReply {
    caption: String,
    model: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OcrReply {
    /// Empty if there is none.
    text: String,
    /// The model that read the text, or `tesseract` with its version.
    model: String,
}

/// Answer a question about an image
#[utoipa::path(post, path = "/vision/analyze", tag = "Vision", 
    request_body(content = AnalyzeBody, example = json!({"image": EXAMPLE_IMAGE, "prompt": "What color is this image?"})),
    responses((status = 200, content((GenerateReply = "application/json"), (GenerateEvent = "text/event-stream")))))]
pub(in crate::http) async fn analyze(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<AnalyzeBody>,
) -> Result<Response> {
    let mut fields = Fields::default();
    check_prompt(&body.prompt, &mut fields);
    let sampling = sampling(body.temperature, body.max_tokens, &mut fields);
    fields.finish()?;
    let request = VisionRequest { prompt: body.prompt, model: body.model, sampling };
    let input = ImageInput { image: body.image, pointer: "/image", room };
    request.answer(&state, &caller, input, body.stream.unwrap_or(false)).await
}

/// Answer a question about an uploaded image
#[utoipa::path(post, path = "/vision/upload", tag = "Vision",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 200, content((GenerateReply = "application/json"), (GenerateEvent = "text/event-stream")))))]
pub(in crate::http) async fn upload(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    mut form: Form<ImageForm>,
) -> Result<Response> {
    let mut fields = Fields::default();
    let prompt = form.take("prompt").unwrap_or_else(|| DEFAULT_PROMPT.to_owned());
    check_prompt(&prompt, &mut fields);
    let stream = fields.truth("/stream", form.take("stream").as_deref()).unwrap_or(false);
    let temperature = fields.number("/temperature", form.take("temperature").as_deref(), "a number");
    let max_tokens = fields.number("/max_tokens", form.take("max_tokens").as_deref(), "a whole number");
    let sampling = sampling(temperature, max_tokens, &mut fields);
    fields.finish()?;
    let request = VisionRequest { prompt, model: form.take("model"), sampling };
    let input = ImageInput { image: EncodedImage::from_bytes(form.file), pointer: "/file", room: form.room };
    request.answer(&state, &caller, input, stream).await
}

/// Caption an image
#[utoipa::path(post, path = "/vision/caption", tag = "Vision", 
    request_body(content = CaptionBody, example = json!({"image": EXAMPLE_IMAGE})),
    responses((status = 200, body = CaptionReply)))]
pub(in crate::http) async fn caption(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<CaptionBody>,
) -> Result<Response> {
    let model = state.app.resolve(body.model.as_deref(), Capability::Vision).await?;
    let image = ImageInput { image: body.image, pointer: "/image", room }.open(&state).await?;
    let detail = body.detail_level.map_or_else(Detail::default, |Word(level)| level.into());
    let VisionReply { text, model, cache_status } = state.app.caption(&caller, model, image, detail).await?;
    let mut response = JsonReply(CaptionReply { caption: text, model }).into_response();
    mark(response.headers_mut(), &cache_status);
    Ok(response)
}

/// Extract text from an image
#[utoipa::path(post, path = "/vision/ocr", tag = "Vision", 
    request_body(content = OcrBody, example = json!({"image": EXAMPLE_IMAGE})),
    responses((status = 200, body = OcrReply)))]
pub(in crate::http) async fn ocr(
    State(state): State<Arc<HttpState>>,
    caller: Caller,
    Json(body, room): Json<OcrBody>,
) -> Result<Response> {
    let reader = state.app.reader(body.model.as_deref()).await?;
    let image = ImageInput { image: body.image, pointer: "/image", room }.open(&state).await?;
    let VisionReply { text, model, cache_status } = state.app.ocr(&caller, reader, image).await?;
    let mut response = JsonReply(OcrReply { text, model }).into_response();
    mark(response.headers_mut(), &cache_status);
    Ok(response)
}

/// An image as it came, with the room in memory that it takes until it is decoded.
struct ImageInput {
    image: EncodedImage,
    /// Where it stands in the request.
    pointer: &'static str,
    room: Room,
}

impl ImageInput {
    async fn open(self, state: &HttpState) -> error::Result<crate::images::Image> {
        let Self { image, pointer, room: _room } = self;
        state.app.open_image(image, pointer).await
    }
}

struct VisionRequest {
    prompt: String,
    model: Option<String>,
    sampling: Sampling,
}

impl VisionRequest {
    async fn answer(
        self,
        state: &HttpState,
        caller: &Caller,
        input: ImageInput,
        stream: bool,
    ) -> Result<Response> {
        let model = state.app.resolve(self.model.as_deref(), Capability::Vision).await?;
        let image = input.open(state).await?;
        let (app, asked_by) = (Arc::clone(&state.app), caller.owned());
        let reply = async move { app.analyze(&asked_by, model, image, self.prompt, self.sampling).await };
        respond(state, caller, reply, GenerateEncoder::default(), stream).await
    }
}

fn sampling(temperature: Option<f64>, max_tokens: Option<i64>, fields: &mut Fields) -> Sampling {
    Sampling {
        temperature: fields.between("/temperature", temperature, 0.0, 2.0),
        max_tokens: fields.positive("/max_tokens", max_tokens),
        ..Sampling::default()
    }
}

fn check_prompt(prompt: &str, fields: &mut Fields) {
    if prompt.trim().is_empty() {
        fields.refuse("/prompt", "must not be empty");
    }
}

impl From<DetailBody> for Detail {
    fn from(detail: DetailBody) -> Self {
        match detail {
            DetailBody::Brief => Self::Brief,
            DetailBody::Normal => Self::Normal,
            DetailBody::Detailed => Self::Detailed,
        }
    }
}
