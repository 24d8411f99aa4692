//! How large a context a model gets, and the memory that it then takes.

use super::{Role, memory, settings::Settings};
use crate::{model_store::Entry, types::MemoryEstimate};

/// Tokens below which a context is not lowered to save memory: less is of little use.
const MIN_CONTEXT: u32 = 2048;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// Tokens of one slot.
    pub(super) context: u32,
    pub(super) slots: u32,
    pub(super) memory: MemoryEstimate,
}

impl Fit {
    /// The context is the requested one, else the model's own (`num_ctx`), else that of the settings; never more than
    /// the model was trained for. Unless it was requested, it is halved until the model fits the budget.
    pub(super) fn new(
        entry: &Entry,
        role: Role,
        requested: Option<u32>,
        settings: &Settings,
        budget: u64,
    ) -> Self {
        let slots = settings.engine_parallel;
        let with = |context: u32| Self {
            context,
            slots,
            memory: memory::estimate(entry, role, u64::from(context) * u64::from(slots)),
        };
        let trained = u32::try_from(entry.architecture.context_length).ok().filter(|trained| *trained > 0);
        let at_most = |context: u32| trained.map_or(context, |trained| context.min(trained));
        if let Some(requested) = requested {
            return with(at_most(requested));
        }
        let context = at_most(entry.modelfile.context.unwrap_or(settings.engine_context));
        with(halved_to_fit(context, |context| with(context).memory.total() <= budget))
    }

    /// Tokens of all slots.
    pub(super) fn tokens(&self) -> u64 {
        u64::from(self.context) * u64::from(self.slots)
    }
}

/// The context, halved until it fits or would be of little use.
pub(super) fn halved_to_fit(mut context: u32, fits: impl Fn(u32) -> bool) -> u32 {
    while !fits(context) && context / 2 >= MIN_CONTEXT {
        context /= 2;
    }
    context
}
