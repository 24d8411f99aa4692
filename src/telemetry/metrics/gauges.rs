//! Gauges that are measured at each scrape; `app/` fills them in.

use crate::types::PerType;

/// Gauges measured at each scrape.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub cache_entries: PerType<u64>,
    pub cache_memory_bytes: u64,
    pub cache_stored_bytes: u64,
    pub cache_evictions: u64,
    pub cache_errors: u64,
    pub cache_available: bool,
    /// None while the store does not say.
    pub documents: Option<DocumentCounts>,
    /// Requests in line for a slot of the embedded engine.
    pub waiting: usize,
    /// Loaded in the embedded engine.
    pub models: Vec<ModelGauge>,
    /// Which parts can be left alone for a while, and whether they are now.
    pub breakers: Vec<(&'static str, bool)>,
}

/// Contents of the document store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentCounts {
    pub documents: u64,
    pub chunks: u64,
    pub bytes: u64,
}

/// A model that the engine has loaded, in one role.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelGauge {
    pub name: String,
    /// `chat` or `embed`.
    pub role: &'static str,
    pub slots: usize,
    pub slots_busy: usize,
    /// An estimate.
    pub memory_bytes: u64,
}
