//! `/analytics/cache`: contents and hit rates of the cache, and clearing it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{Succeeded, one_of};
use crate::{
    app::CacheReport,
    cache::EntryType,
    error,
    http::{
        HttpState,
        closed_set::{stores, words},
        extract::Query,
        middleware::errors::Result,
    },
    telemetry::aggregates::percent,
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CacheReply {
    status: Succeeded,
    cache: CacheBody,
}

#[derive(Serialize, ToSchema)]
struct CacheBody {
    enabled: bool,
    /// `available`, or a description of the problem.
    status: String,
    #[schema(schema_with = stores)]
    backend: &'static str,
    total_keys: u64,
    hits: u64,
    misses: u64,
    /// Percentage (0 to 100) of lookups that were hits, since the server started.
    hit_rate: f64,
    memory_used_mb: f64,
    memory_peak_mb: f64,
    /// Size of the entries on disk or in Redis.
    stored_mb: f64,
    evictions: u64,
    errors: u64,
    by_type: BTreeMap<EntryType, TypeBody>,
}

#[derive(Serialize, ToSchema)]
struct TypeBody {
    keys: u64,
    hits: u64,
    misses: u64,
    /// Percentage (0 to 100).
    hit_rate: f64,
}

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct ClearQuery {
    /// Type of entries to clear. Defaults to all.
    #[param(schema_with = types)]
    prefix: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ClearReply {
    status: Succeeded,
    message: String,
    /// Number of entries removed.
    deleted: u64,
}

/// Get cache statistics
#[utoipa::path(get, path = "/analytics/cache", tag = "Analytics",
    responses((status = 200, body = CacheReply)))]
pub(in crate::http) async fn cache(State(state): State<Arc<HttpState>>) -> Json<CacheReply> {
    Json(CacheReply { status: Succeeded::Success, cache: state.app.cache_report().await.into() })
}

/// Clear the cache, or one type of entry
#[utoipa::path(delete, path = "/analytics/cache", tag = "Analytics", params(ClearQuery),
    responses((status = 200, body = ClearReply)))]
pub(in crate::http) async fn clear_cache(
    State(state): State<Arc<HttpState>>,
    Query(query): Query<ClearQuery>,
) -> Result<Json<ClearReply>> {
    let entry_type = query.prefix.as_deref().map(entry_type).transpose()?.flatten();
    let deleted = state.app.clear_cache(entry_type).await?;
    let what = entry_type.map_or("all", EntryType::as_str);
    Ok(Json(ClearReply { status: Succeeded::Success, message: format!("Cleared {what} entries."), deleted }))
}

fn types() -> RefOr<Schema> {
    words(EntryType::ALL.map(EntryType::as_str))
}

/// A prefix is a text, not a pattern.
fn entry_type(prefix: &str) -> error::Result<Option<EntryType>> {
    let word = one_of("prefix", prefix, EntryType::ALL.map(EntryType::as_str))?;
    Ok(EntryType::ALL.into_iter().find(|entry_type| entry_type.as_str() == word))
}

impl From<CacheReport> for CacheBody {
    fn from(CacheReport { enabled, backend, stats, hits, misses }: CacheReport) -> Self {
        let rate = |hits: u64, misses: u64| percent(hits, hits + misses);
        let megabytes = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let by_type = EntryType::ALL.into_iter().map(|entry_type| {
            let (keys, hits, misses) = (stats.entries[entry_type], hits[entry_type], misses[entry_type]);
            (entry_type, TypeBody { keys, hits, misses, hit_rate: rate(hits, misses) })
        });
        let (all_hits, all_misses) = (hits.sum(), misses.sum());
        Self {
            by_type: by_type.collect(),
            enabled,
            backend,
            total_keys: stats.entries.sum(),
            hits: all_hits,
            misses: all_misses,
            hit_rate: rate(all_hits, all_misses),
            memory_used_mb: megabytes(stats.memory_bytes),
            memory_peak_mb: megabytes(stats.memory_peak_bytes),
            stored_mb: megabytes(stats.stored_bytes),
            evictions: stats.evictions,
            errors: stats.errors,
            status: stats.status,
        }
    }
}
