//! A route: one line of the list in `http/mod.rs`, and what the rest of the edge asks of it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use axum::routing::MethodRouter;
use utoipa::openapi::{PathItem, RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{HttpState, middleware::errors::ErrorFormat, routes};
use crate::{error::Kind, telemetry::labels::Purpose};

/// Callers that a route is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Open without a key.
    Public,
    /// Open without a key, unless `ANALYTICS_REQUIRE_KEY` is set.
    Statistics,
    /// Callers with an API key.
    Key,
}

/// Errors of routes that ask a backend about its models.
pub(super) const BACKEND: &[Kind] = &[Kind::BadGateway, Kind::Unavailable, Kind::Setup, Kind::GatewayTimeout];
/// Errors of routes that call a model.
pub(super) const MODEL: &[Kind] = &[
    Kind::NotFound,
    Kind::Unsupported,
    Kind::Busy,
    Kind::BadGateway,
    Kind::Unavailable,
    Kind::Setup,
    Kind::GatewayTimeout,
];
/// Errors of routes that download a model.
pub(super) const REGISTRY: &[Kind] =
    &[Kind::Forbidden, Kind::NotFound, Kind::BadGateway, Kind::Unavailable, Kind::GatewayTimeout];

pub(super) struct Route {
    pub(super) template: &'static str,
    pub(super) purpose: Purpose,
    pub(super) access: Access,
    pub(super) errors: ErrorFormat,
    /// Kinds of its errors, besides those that follow from its access and documentation.
    pub(super) failures: &'static [Kind],
    pub(super) methods: MethodRouter<Arc<HttpState>>,
    /// None for pages, which are for browsers.
    pub(super) documentation: Option<Documentation>,
}

/// OpenAPI description of a route.
pub(super) struct Documentation {
    pub(super) operations: PathItem,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    /// # Panics
    /// When a handler's documentation gives another path.
    pub(super) fn new(
        template: &'static str,
        purpose: Purpose,
        access: Access,
        errors: ErrorFormat,
        (schemas, mut paths, methods): UtoipaMethodRouter<Arc<HttpState>>,
    ) -> Self {
        let operations =
            paths.paths.remove(template).expect("handlers are documented under their route's path");
        assert!(paths.paths.is_empty(), "{template} has a handler that is documented under another path");
        let documentation = Some(Documentation { operations, schemas });
        Self { template, purpose, access, errors, failures: &[], methods, documentation }
    }

    /// The same with errors of its own.
    pub(super) fn with_errors(self, failures: &'static [Kind]) -> Self {
        Self { failures, ..self }
    }

    /// A public page that is not part of the API.
    pub(super) fn page(template: &'static str, methods: MethodRouter<Arc<HttpState>>) -> Self {
        let (purpose, access, errors) = (Purpose::Service, Access::Public, ErrorFormat::Problem);
        Self { template, purpose, access, errors, failures: &[], methods, documentation: None }
    }
}

/// Access and error format of the route with this template; none when there is no such route.
pub(super) fn find(template: &str) -> Option<(Access, ErrorFormat)> {
    static ROUTES: LazyLock<HashMap<&str, (Access, ErrorFormat)>> = LazyLock::new(|| {
        routes().into_iter().map(|route| (route.template, (route.access, route.errors))).collect()
    });
    ROUTES.get(template).copied()
}
