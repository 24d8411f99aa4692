//! `/openapi.json`, made from the handlers, and `/docs`, Swagger UI out of the binary: no network is
//! needed to read it.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    body::Bytes,
    extract::Path,
    http::{Method, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, Ref, RefOr, ResponseBuilder,
        path::{Parameter, ParameterIn},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_swagger_ui::Config;

use super::{
    PUBLIC, PUBLIC_FIGURES,
    error::{Problem, Result, nothing_here},
};
use crate::error::{Error, Kind};

#[derive(OpenApi)]
#[openapi(
    info(title = "Simpleton", license(name = "Apache-2.0")),
    paths(
        super::service::root,
        super::health::health,
        super::health::live,
        super::health::ready,
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
    modifiers(&Keys, &Problems)
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

/// Whatever is asked may be refused, always in the same form.
struct Problems;

impl Modify for Problems {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut schemas = vec![(Problem::name().into(), Problem::schema())];
        Problem::schemas(&mut schemas);
        api.components.get_or_insert_default().schemas.extend(schemas);
        let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
        let refusal = ResponseBuilder::new()
            .description("Problem details (RFC 9457)")
            .content("application/problem+json", content)
            .build();
        for item in api.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.insert("default".to_owned(), refusal.clone().into());
                for response in responses.values_mut() {
                    // Every response must have a description.
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        response.description = "Successful response".to_owned();
                    }
                }
            }
        }
    }
}

static API: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Api::openapi);

/// The OpenAPI document as pretty JSON, as `docs/openapi.json` holds it.
pub fn openapi() -> String {
    let json = API.to_pretty_json().expect("the document is plain data");
    json + "\n"
}

/// The parameters that may stand in the query of a documented route; none for a page, whose query is the
/// browser's business.
pub(super) fn query_parameters(template: &str, method: &Method) -> Option<Vec<&'static str>> {
    let item = API.paths.paths.get(template)?;
    let operation = match *method {
        Method::GET | Method::HEAD => item.get.as_ref(),
        Method::POST => item.post.as_ref(),
        Method::DELETE => item.delete.as_ref(),
        _ => None,
    };
    let in_query = |parameter: &'static RefOr<Parameter>| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.as_str()),
        _ => None,
    };
    Some(operation?.parameters.iter().flatten().filter_map(in_query).collect())
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
        Error::new(Kind::Internal, "The documentation is not available.").with_source(source.to_string())
    })?;
    let Some(file) = found else { return Err(nothing_here()) };
    // The page's own links are relative to `/docs/`, whichever way it was reached.
    let bytes = if name == "index.html" {
        String::from_utf8_lossy(&file.bytes).replacen("<head>", "<head><base href=\"/docs/\">", 1).into()
    } else {
        match file.bytes {
            // Not copied: a client that does not read its replies would fill the memory with copies.
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        }
    };
    Ok(([(header::CONTENT_TYPE, file.content_type)], bytes).into_response())
}

// What follows is for the documentation alone; a test holds it against real replies.

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum ContentField {
    Text(String),
    Parts(Vec<super::content::Part>),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum ImageUrlField {
    Text(String),
    Object(super::content::ImageUrlBody),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum FormatField {
    /// `json`.
    Word(String),
    /// A JSON Schema.
    #[schema(value_type = Object)]
    Schema(serde_json::Value),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum KeepAliveField {
    /// `5m`.
    Duration(String),
    Seconds(f64),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum ThinkField {
    Whether(bool),
    /// `low`, `medium` or `high`.
    Effort(String),
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) enum ArgumentsField {
    Text(String),
    #[schema(value_type = Object)]
    Object(serde_json::Value),
}

/// One event of a streamed response, on a line that starts with `data: `. The last one has `done: true` and
/// the remaining fields of a complete response. If a failure occurs, the last one is `event: error` with a
/// problem as its data. During silences, comments (`: ping`) are sent.
#[derive(Serialize, ToSchema)]
pub(super) struct GenerateEvent {
    model: String,
    response: String,
    thinking: Option<String>,
    done: bool,
}

/// One event of a streamed response; see `GenerateEvent`.
#[derive(Serialize, ToSchema)]
pub(super) struct ChatEvent {
    model: String,
    message: MessageReply,
    done: bool,
}

/// Response of `/inference/generate`.
#[derive(Serialize, ToSchema)]
pub(super) struct GenerateReply {
    model: String,
    response: String,
    /// Reasoning of a thinking model before its answer.
    thinking: Option<String>,
    done: bool,
    #[serde(flatten)]
    #[schema(inline)]
    end: EndReply,
    /// Token ids to send with a later request that continues from here.
    context: Option<Vec<u32>>,
}

/// Response of `/inference/chat`.
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

/// Durations are in nanoseconds. A response from the cache, or shared with an identical request, has only
/// `total_duration`: the time that this request took.
#[derive(Serialize, ToSchema)]
struct EndReply {
    /// `stop` or `length`; `load` or `unload` if the prompt was empty.
    done_reason: String,
    total_duration: u64,
    load_duration: Option<u64>,
    prompt_eval_count: u64,
    prompt_eval_duration: Option<u64>,
    eval_count: u64,
    eval_duration: Option<u64>,
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// A client that asks a thousand times and does not read would fill the memory.
    #[tokio::test]
    async fn a_reply_that_is_always_the_same_is_not_copied() {
        let bundle = || async {
            let response = asset("swagger-ui-bundle.js").unwrap_or_else(|_| panic!("a file"));
            response.into_body().collect().await.expect("bytes").to_bytes()
        };
        let (first, second) = (bundle().await, bundle().await);
        assert!(first.len() > 100_000 && first.as_ptr() == second.as_ptr());
    }
}
