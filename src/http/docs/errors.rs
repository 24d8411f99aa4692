//! Errors in the OpenAPI document: each operation lists the statuses that it can answer with, and each status has
//! the error of the operation's API.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
};

use axum::http::StatusCode;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, OneOfBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, path::Operation,
    },
};

use crate::{
    error::Kind,
    http::{
        anthropic::AnthropicError,
        middleware::errors::{ErrorFormat, Problem},
        ollama::OllamaError,
        openai::OpenAiError,
        route::Access,
    },
};

/// Errors of any operation: two keys or no `Host`, an unknown query parameter, the end of the server, and its faults.
const ALWAYS: &[Kind] = &[Kind::Malformed, Kind::Invalid, Kind::ShuttingDown, Kind::Internal];
/// Errors of an operation that needs a key.
const WITH_KEY: &[Kind] = &[Kind::Unauthorized];
/// Errors of an operation whose path names a model, a collection or the like.
const WITH_NAME: &[Kind] = &[Kind::NotFound];
/// Errors of an operation that reads a body.
const WITH_BODY: &[Kind] = &[Kind::UnsupportedMediaType, Kind::TooLarge, Kind::RequestTimeout, Kind::Busy];

/// Returns the kinds of errors that an operation may answer with; `own` are those of its route.
pub(super) fn kinds(operation: &Operation, template: &str, access: Access, own: &[Kind]) -> Vec<Kind> {
    let when = |condition, kinds| if condition { kinds } else { &[][..] };
    let sets = [
        ALWAYS,
        when(access != Access::Public, WITH_KEY),
        when(template.contains('{'), WITH_NAME),
        when(operation.request_body.is_some(), WITH_BODY),
        own,
    ];
    sets.concat()
}

/// Adds the errors to the responses of an operation, in the format of each API that it belongs to.
pub(super) fn describe(
    operation: &mut Operation,
    kinds: &[Kind],
    formats: &[ErrorFormat],
    components: &mut Components,
) {
    for (status, formats) in statuses(kinds, formats) {
        let error = response(status, &formats);
        match operation.responses.responses.entry(status.as_str().to_owned()) {
            Entry::Vacant(entry) => {
                let names: Vec<_> = formats.into_iter().map(schema_name).collect();
                let name = format!("{}{}", names.join("Or"), status.as_str());
                entry.insert(Ref::from_response_name(&name).into());
                components.responses.insert(name, error.into());
            }
            // The operation itself answers with this status, too.
            Entry::Occupied(mut entry) => {
                if let RefOr::T(response) = entry.get_mut() {
                    response.content.extend(error.content);
                }
            }
        }
    }
}

/// The statuses of these kinds, with the formats in which each is written.
fn statuses(kinds: &[Kind], formats: &[ErrorFormat]) -> BTreeMap<StatusCode, Vec<ErrorFormat>> {
    let mut statuses: BTreeMap<StatusCode, Vec<ErrorFormat>> = BTreeMap::new();
    for &kind in kinds {
        for &format in formats {
            let written = statuses.entry(format.status(kind)).or_default();
            if !written.contains(&format) {
                written.push(format);
            }
        }
    }
    statuses
}

fn response(status: StatusCode, formats: &[ErrorFormat]) -> Response {
    let reference = |format: &ErrorFormat| Ref::from_schema_name(schema_name(*format));
    let schema: RefOr<Schema> = match formats {
        [only] => reference(only).into(),
        _ => Schema::from(formats.iter().map(reference).fold(OneOfBuilder::new(), OneOfBuilder::item)).into(),
    };
    let media_types = formats.iter().map(|format| format.content_type());
    let response = ResponseBuilder::new().description(meaning(status));
    let add = |response: ResponseBuilder, media_type| {
        response.content(media_type, Content::new(Some(schema.clone())))
    };
    media_types.fold(response, add).build()
}

fn schema_name(format: ErrorFormat) -> Cow<'static, str> {
    match format {
        ErrorFormat::Problem => Problem::name(),
        ErrorFormat::OpenAi => OpenAiError::name(),
        ErrorFormat::Anthropic => AnthropicError::name(),
        ErrorFormat::Ollama => OllamaError::name(),
    }
}

/// Schemas of all formats.
pub(super) fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (Problem::name().into(), Problem::schema()),
        (OpenAiError::name().into(), OpenAiError::schema()),
        (AnthropicError::name().into(), AnthropicError::schema()),
        (OllamaError::name().into(), OllamaError::schema()),
    ];
    Problem::schemas(&mut schemas);
    OpenAiError::schemas(&mut schemas);
    AnthropicError::schemas(&mut schemas);
    OllamaError::schemas(&mut schemas);
    schemas
}

fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request is malformed or invalid",
        401 => "The API key is missing or not valid",
        403 => "The registry denies access to the model",
        404 => "What the request names does not exist",
        408 => "The request was not sent in time",
        413 => "The request is too large",
        415 => "The body has an unsupported content type or encoding",
        422 => "A field or parameter is not valid",
        429 => "Too many requests; try again later",
        500 => "The server failed",
        502 => "The backend or the registry failed",
        503 => "The service or a part of it is not available now",
        504 => "The backend or the registry did not respond in time",
        529 => "The service is overloaded or shutting down; try again later",
        _ => "Error",
    }
}
