//! The closed sets that labels come from: whatever unauthenticated callers send, there are no more values than
//! these.

use crate::error::Kind;

/// A route, as requests to it are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLabel {
    pub template: &'static str,
    pub purpose: Purpose,
}

/// Purpose of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The work that clients come for.
    #[default]
    Api,
    /// Watching the service itself (health, metrics, analytics, documentation). Counted apart, because
    /// probes and scrapes would drown the rest.
    Service,
}

/// Endpoint label of requests that match no route.
pub const UNMATCHED: &str = "unmatched";

/// Model label of models that the backend does not list.
pub const OTHER_MODEL: &str = "other";

/// The log and metrics status of a request whose client left before the reply was complete.
pub const CLIENT_CLOSED_STATUS: u16 = 499;

pub(super) const METHODS: [&str; 8] = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "other"];

/// The method as a constant, `other` for what is none of HTTP's.
pub fn method(name: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == name).unwrap_or(METHODS[METHODS.len() - 1])
}

pub(crate) const ERROR_TYPES: [&str; 18] = [
    "malformed",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "unsupported_media_type",
    "too_large",
    "request_timeout",
    "invalid",
    "unsupported",
    "busy",
    "bad_gateway",
    "unavailable",
    "gateway_timeout",
    "shutdown",
    "setup",
    "internal",
    "client_closed",
];

/// The value of the label `error_type` for a request whose client left.
pub const CLIENT_CLOSED: &str = "client_closed";

/// The value of the label `error_type`.
pub fn error_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Malformed => "malformed",
        Kind::Unauthorized => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "not_found",
        Kind::MethodNotAllowed => "method_not_allowed",
        Kind::UnsupportedMediaType => "unsupported_media_type",
        Kind::TooLarge => "too_large",
        Kind::RequestTimeout => "request_timeout",
        Kind::Invalid => "invalid",
        Kind::Unsupported => "unsupported",
        Kind::Busy => "busy",
        Kind::BadGateway => "bad_gateway",
        Kind::Unavailable => "unavailable",
        Kind::GatewayTimeout => "gateway_timeout",
        Kind::ShuttingDown => "shutdown",
        Kind::Setup => "setup",
        Kind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_is_counted() {
        for kind in [
            Kind::Malformed,
            Kind::Setup,
            Kind::Internal,
            Kind::Busy,
            Kind::GatewayTimeout,
            Kind::ShuttingDown,
        ] {
            assert!(ERROR_TYPES.contains(&error_type(kind)));
        }
        assert!(ERROR_TYPES.contains(&CLIENT_CLOSED));
    }
}
