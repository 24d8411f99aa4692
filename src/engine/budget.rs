//! Memory budget for models that are not installed yet: whether they would fit.

use super::{
    fit::halved_to_fit,
    memory::{self, estimate_of},
    settings::Settings,
};
use crate::types::MemoryEstimate;

/// Memory of the machine, and the part of it that models may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Bytes of the machine, or of the container where that is less; none where the system does not say.
    pub total: Option<u64>,
    /// Bytes that all loaded models together may use.
    pub for_models: u64,
    /// Tokens of one slot, unless that does not fit.
    context: u32,
    slots: u32,
}

/// Facts about a model on which its memory depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSize {
    /// Bytes of its files.
    pub weights: u64,
    /// Bytes in the KV cache for one token, in all layers, at 16 bits per value; 0 for an encoder.
    pub kv_bytes_per_token: u64,
    /// Tokens it was trained for.
    pub context_length: u32,
}

impl MemoryBudget {
    pub(super) fn new(settings: &Settings, for_models: u64) -> Self {
        let total = Some(memory::available()).filter(|total| *total < u64::MAX);
        let (context, slots) = (settings.engine_context, settings.engine_parallel);
        Self { total, for_models, context, slots }
    }

    /// Memory that the model would take, with a context that is lowered to fit as for an installed one.
    pub fn estimate(&self, size: ModelSize) -> MemoryEstimate {
        let with = |context: u32| {
            let tokens = u64::from(context) * u64::from(self.slots);
            estimate_of(size.weights, size.kv_bytes_per_token.saturating_mul(tokens))
        };
        with(halved_to_fit(self.context.min(size.context_length), |context| {
            with(context).total() <= self.for_models
        }))
    }

    pub fn fits(&self, estimate: MemoryEstimate) -> bool {
        estimate.total() <= self.for_models
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_fits_with_a_smaller_context_or_not_at_all() {
        const GB: u64 = 1_000_000_000;
        let budget =
            |gigabytes| MemoryBudget { total: None, for_models: gigabytes * GB, context: 8192, slots: 4 };
        let size = ModelSize { weights: 2 * GB, kv_bytes_per_token: 100_000, context_length: 32_768 };
        let of = |gigabytes, size| {
            let budget = budget(gigabytes);
            let estimate = budget.estimate(size);
            (estimate.kv_cache / 400_000, budget.fits(estimate))
        };
        assert_eq!(of(16, size), (8192, true));
        assert_eq!(of(4, size), (4096, true));
        assert_eq!(of(2, size), (2048, false));
        assert_eq!(of(16, ModelSize { context_length: 512, ..size }), (512, true));
        assert_eq!(of(16, ModelSize { kv_bytes_per_token: 0, ..size }), (0, true));
    }
}
