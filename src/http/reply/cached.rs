//! Cache headers of a response: `Cache-Status` (RFC 9211) and `Age` (RFC 9111).

use std::sync::atomic::Ordering::Relaxed;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::types::CacheStatus;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Sets the headers. `stored` is only known for a complete reply: a stream is stored when it ends.
pub(in crate::http) fn mark(headers: &mut HeaderMap, cache_status: &CacheStatus) {
    let with_stored = |stored: &std::sync::atomic::AtomicBool, plain: &'static str, kept: &'static str| {
        HeaderValue::from_static(if stored.load(Relaxed) { kept } else { plain })
    };
    let status = match cache_status {
        CacheStatus::Hit { age, ttl } => {
            headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
            HeaderValue::try_from(format!("simpleton; hit; ttl={}", ttl.as_secs()))
                .unwrap_or_else(|_| HeaderValue::from_static("simpleton; hit"))
        }
        CacheStatus::Miss { stored } => {
            with_stored(stored, "simpleton; fwd=miss", "simpleton; fwd=miss; stored")
        }
        CacheStatus::Refreshed { stored } => {
            with_stored(stored, "simpleton; fwd=request", "simpleton; fwd=request; stored")
        }
        CacheStatus::Collapsed => HeaderValue::from_static("simpleton; fwd=miss; collapsed"),
        CacheStatus::Partial => HeaderValue::from_static("simpleton; fwd=partial; stored"),
        CacheStatus::Bypass => HeaderValue::from_static("simpleton; fwd=bypass"),
    };
    headers.insert(CACHE_STATUS, status);
}
