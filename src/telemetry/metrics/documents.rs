//! Metrics of documents and of their store.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    gauges::Gauges,
    histogram::{Histogram, SECONDS},
};
use crate::telemetry::text::Exposition;

/// Kind of call to the document store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    Search,
    /// Documents, their texts and chunks, and lists of them.
    Read,
    Put,
    Delete,
    Reindex,
    /// Of its state, and of the number and size of what is stored.
    Check,
}

impl StoreOperation {
    const ALL: [Self; 6] = [Self::Search, Self::Read, Self::Put, Self::Delete, Self::Reindex, Self::Check];

    fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Read => "read",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Reindex => "reindex",
            Self::Check => "check",
        }
    }
}

pub struct DocumentMetrics {
    extraction: Histogram,
    embedding: Histogram,
    search: Histogram,
    /// In the order of `StoreOperation::ALL`.
    errors: [AtomicU64; StoreOperation::ALL.len()],
}

impl Default for DocumentMetrics {
    fn default() -> Self {
        Self {
            extraction: Histogram::new(SECONDS),
            embedding: Histogram::new(SECONDS),
            search: Histogram::new(SECONDS),
            errors: Default::default(),
        }
    }
}

impl DocumentMetrics {
    pub fn extracted(&self, took: Duration) {
        self.extraction.record(took);
    }

    pub fn embedded(&self, took: Duration) {
        self.embedding.record(took);
    }

    pub fn searched(&self, took: Duration) {
        self.search.record(took);
    }

    pub fn store_failed(&self, operation: StoreOperation) {
        if let Some(at) = StoreOperation::ALL.iter().position(|known| *known == operation) {
            self.errors[at].fetch_add(1, Relaxed);
        }
    }

    /// Failures of the store so far.
    pub fn store_errors(&self) -> u64 {
        self.errors.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(super) fn render(&self, out: &mut Exposition, gauges: &Gauges) {
        let counts = gauges.documents;
        for (name, help, value) in [
            ("simpleton_documents", "Documents in the store.", counts.map(|counts| counts.documents)),
            ("simpleton_document_chunks", "Chunks in the store.", counts.map(|counts| counts.chunks)),
            (
                "simpleton_document_store_bytes",
                "Size of the document store on disk; with Qdrant, size of the vectors.",
                counts.map(|counts| counts.bytes),
            ),
        ] {
            out.family(name, "gauge", help);
            value.into_iter().for_each(|value| out.sample(name, &[], value as f64));
        }
        for (name, help, histogram) in [
            (
                "simpleton_document_extract_seconds",
                "Time to extract the text of a document, including OCR and waiting.",
                &self.extraction,
            ),
            ("simpleton_document_embed_seconds", "Time to embed a batch of chunks.", &self.embedding),
            (
                "simpleton_document_search_seconds",
                "Time to search the document store, without embedding the query.",
                &self.search,
            ),
        ] {
            out.family(name, "histogram", help);
            histogram.render(out, name, &[]);
        }
        let name = "simpleton_document_store_errors_total";
        out.family(name, "counter", "Failed calls to the document store, by operation.");
        for (operation, count) in StoreOperation::ALL.iter().zip(&self.errors) {
            out.sample(name, &[("operation", operation.as_str())], count.load(Relaxed) as f64);
        }
    }
}
