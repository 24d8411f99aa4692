//! `/openapi.json`, made from the handlers, and `/docs`, Swagger UI out of the binary: no network is
//! needed to read it.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};
use utoipa_swagger_ui::Config;

use super::{
    PUBLIC, PUBLIC_FIGURES,
    error::{Result, nothing_here},
};
use crate::error::{Error, Kind};

#[derive(OpenApi)]
#[openapi(
    info(title = "Simpleton", license(name = "Apache-2.0")),
    paths(
        super::service::root,
        super::service::health,
        super::service::models,
        super::service::metrics,
        super::inference::generate,
        super::inference::chat,
        super::embeddings::embed,
        super::embeddings::batch,
        super::vision::analyze,
        super::vision::caption,
        super::vision::ocr,
        super::vision::upload,
        super::analytics::stats::stats,
        super::analytics::errors::errors,
        super::analytics::alerts::alerts,
        super::analytics::usage::usage,
        super::analytics::series::series,
        super::analytics::live::live,
        super::analytics::health::health,
        super::analytics::cache::cache,
        super::analytics::cache::clear_cache,
    ),
    modifiers(&Keys)
)]
struct Api;

/// Every route needs a key, sent in one of two ways, unless it is on the public list.
struct Keys;

impl Modify for Keys {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        components.add_security_scheme("key", header);
        components.add_security_scheme("bearer", bearer);
        let either =
            vec![SecurityRequirement::new("key", [""; 0]), SecurityRequirement::new("bearer", [""; 0])];
        for (path, item) in &mut api.paths.paths {
            if !PUBLIC.contains(&path.as_str()) && !PUBLIC_FIGURES.contains(&path.as_str()) {
                for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                    operation.security = Some(either.clone());
                }
            }
        }
    }
}

/// The OpenAPI document as pretty JSON, as `docs/openapi.json` holds it.
pub fn openapi() -> String {
    let json = Api::openapi().to_pretty_json().expect("the document is plain data");
    json + "\n"
}

static OPENAPI: LazyLock<String> = LazyLock::new(openapi);

pub(super) async fn openapi_json() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.as_str()).into_response()
}

pub(super) async fn page() -> Result<Response> {
    asset("index.html")
}

pub(super) async fn file(Path(name): Path<String>) -> Result<Response> {
    asset(&name)
}

fn asset(name: &str) -> Result<Response> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("/openapi.json").persist_authorization(true)));
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|source| {
        Error::new(Kind::Internal, "The documentation cannot be shown.").because(source.to_string())
    })?;
    let Some(file) = found else { return Err(nothing_here()) };
    // The page's own links are relative to `/docs/`, whichever way it was reached.
    let bytes = if name == "index.html" {
        String::from_utf8_lossy(&file.bytes)
            .replacen("<head>", "<head><base href=\"/docs/\">", 1)
            .into_bytes()
    } else {
        file.bytes.into_owned()
    };
    Ok(([(header::CONTENT_TYPE, file.content_type)], bytes).into_response())
}

/// A reply of `/inference/generate`; with `stream: true` each event has this shape and only the last
/// one the counts. For the documentation; a test holds it against real replies.
#[derive(Serialize, ToSchema)]
pub(super) struct GenerateReply {
    model: String,
    response: String,
    /// What a reasoning model thought before it answered.
    thinking: Option<String>,
    done: bool,
    #[serde(flatten)]
    #[schema(inline)]
    end: EndReply,
    /// Token ids with which a later request can go on.
    context: Option<Vec<u32>>,
}

/// A reply of `/inference/chat`, as above.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatReply {
    model: String,
    message: MessageReply,
    done: bool,
    #[serde(flatten)]
    #[schema(inline)]
    end: EndReply,
}

#[derive(Serialize, ToSchema)]
struct MessageReply {
    role: String,
    content: String,
    thinking: Option<String>,
    tool_calls: Option<Vec<serde_json::Value>>,
}

/// All durations in nanoseconds.
#[derive(Serialize, ToSchema)]
struct EndReply {
    /// `stop` or `length`.
    done_reason: String,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: u64,
    eval_duration: u64,
}
