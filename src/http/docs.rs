//! `/openapi.json`, made from the list of routes, and `/docs`, Swagger UI out of the binary: no network is
//! needed to read it.

mod errors;

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    body::Bytes,
    extract::Path,
    http::{HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa::openapi::{
    Components, Info, License, OpenApi, PathItem, Paths, RefOr, Schema,
    path::{Operation, Parameter, ParameterIn},
    schema::{SchemaType, Type},
    security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_swagger_ui::Config;

use super::{
    middleware::errors::{Result, nothing_here},
    route::{Access, Documentation, Route},
    routes,
};
use crate::error::{Error, Kind};

fn document() -> OpenApi {
    let (mut paths, mut components) = (Paths::new(), components());
    for Route { template, access, errors, failures, documentation, .. } in routes() {
        let Some(Documentation { mut operations, schemas }) = documentation else { continue };
        for (method, operation) in operations_of(&mut operations) {
            operation.operation_id = Some(operation_id(method, template));
            if access == Access::Key {
                // Sent in one of two ways.
                operation.security =
                    Some(["key", "bearer"].map(|name| SecurityRequirement::new(name, [""; 0])).to_vec());
            }
            operation.parameters.iter_mut().flatten().for_each(forbid_null);
            describe_successes(operation);
            let kinds = errors::kinds(operation, template, access, failures);
            errors::describe(operation, &kinds, errors.of_both_apis(template), &mut components);
        }
        paths.paths.insert(template.to_owned(), operations);
        components.schemas.extend(schemas);
    }
    let mut info = Info::new("Simpleton", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    let mut document = OpenApi::new(info, paths);
    document.components = Some(components);
    document
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let methods = [
        ("get", &mut item.get),
        ("head", &mut item.head),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A query has no null: an absent parameter is left out.
fn forbid_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        && let SchemaType::Array(types) = &object.schema_type
    {
        let first = types.iter().find(|of| **of != Type::Null).cloned();
        object.schema_type = first.map_or(SchemaType::AnyValue, SchemaType::Type);
    }
}

/// Method and path in words, such as `post_inference_chat`: no two operations share both.
fn operation_id(method: &str, template: &str) -> String {
    let path = if template == "/" { "root" } else { template };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn components() -> Components {
    let mut components = Components::new();
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme("key", header);
    components.add_security_scheme("bearer", bearer);
    components.schemas.extend(errors::schemas());
    components
}

/// Every response must have a description.
fn describe_successes(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = "Successful response".to_owned();
        }
    }
}

static API: LazyLock<OpenApi> = LazyLock::new(document);

/// The OpenAPI document as pretty JSON, as `docs/openapi.json` holds it.
pub fn openapi() -> String {
    let json = API.to_pretty_json().expect("the document is plain data");
    json + "\n"
}

/// The documentation of a route's method; none for a page.
fn operation(template: &str, method: &Method) -> Option<&'static Operation> {
    let item = API.paths.paths.get(template)?;
    match *method {
        Method::GET => item.get.as_ref(),
        Method::HEAD => item.head.as_ref().or(item.get.as_ref()),
        Method::POST => item.post.as_ref(),
        Method::DELETE => item.delete.as_ref(),
        _ => None,
    }
}

/// The parameters that may stand in the query of a documented route; none for a page, whose query is the
/// browser's business.
pub(super) fn query_parameters(template: &str, method: &Method) -> Option<Vec<&'static str>> {
    let in_query = |parameter: &'static RefOr<Parameter>| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.as_str()),
        _ => None,
    };
    Some(operation(template, method)?.parameters.iter().flatten().filter_map(in_query).collect())
}

/// Whether a documented operation may answer with this status. What is not documented may answer with any.
pub(super) fn allows(template: &str, method: &Method, status: StatusCode) -> bool {
    operation(template, method)
        .is_none_or(|operation| operation.responses.responses.contains_key(status.as_str()))
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

/// Of the dashboard's origin: a page that frames it could have its reader click in it.
const UNFRAMED: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

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
    Ok((UNFRAMED, [(header::CONTENT_TYPE, file.content_type)], bytes).into_response())
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
