//! A route: one line of the list in `http/mod.rs`, and what the rest of the edge asks of it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use axum::routing::MethodRouter;
use utoipa::openapi::{PathItem, RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{HttpState, middleware::errors::ErrorFormat, routes};
use crate::telemetry::labels::Purpose;

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

pub(super) struct Route {
    pub(super) template: &'static str,
    pub(super) purpose: Purpose,
    pub(super) access: Access,
    pub(super) errors: ErrorFormat,
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
        Self { template, purpose, access, errors, methods, documentation }
    }

    /// A public page that is not part of the API.
    pub(super) fn page(template: &'static str, methods: MethodRouter<Arc<HttpState>>) -> Self {
        let (purpose, access, errors) = (Purpose::Service, Access::Public, ErrorFormat::Problem);
        Self { template, purpose, access, errors, methods, documentation: None }
    }
}

/// Access and error format of the route with this template; none when there is no such route.
pub(super) fn find(template: &str) -> Option<(Access, ErrorFormat)> {
    static ROUTES: LazyLock<HashMap<&str, (Access, ErrorFormat)>> = LazyLock::new(|| {
        routes().into_iter().map(|route| (route.template, (route.access, route.errors))).collect()
    });
    ROUTES.get(template).copied()
}
