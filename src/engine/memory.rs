//! Memory budget: estimates of the memory of a model, and the memory of the machine. What a child really takes
//! depends on llama.cpp's version and the processor; the estimates only have to keep the machine alive.

use std::fs;

use super::{Role, settings::Settings, usage::Memory};
use crate::model_store::Entry;

const MB: u64 = 1_000_000;

/// Memory of llama-server itself with its compute buffers. Small models (5 to 46 MB of files) were measured at
/// 40 to 75 MB above their files.
const FIXED_BYTES: u64 = 128 * MB;

/// Estimated bytes of a child for this model.
pub(super) fn estimate(entry: &Entry, role: Role, settings: &Settings) -> u64 {
    let size = |path: &std::path::Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let mut files: u64 = entry.parts.iter().map(|part| size(&part.path)).sum();
    if role == Role::Chat {
        files += entry.projector.as_deref().map_or(0, size);
    }
    let tokens = settings.tokens(entry);
    let keys_and_values = match (role, entry.architecture.embedding_only) {
        // An encoder has no KV cache.
        (Role::Embed, true) => 0,
        _ => entry.architecture.kv_bytes_per_token.saturating_mul(tokens),
    };
    // Compute buffers grow with the model: a twentieth covers all measurements.
    files.saturating_add(files / 20).saturating_add(keys_and_values).saturating_add(FIXED_BYTES)
}

/// Memory limit in bytes of a child while it loads its model. Compute buffers differ too much between models to
/// be estimated closely.
pub(super) fn loading_ceiling(estimate: u64, budget: u64) -> u64 {
    within_budget(estimate.saturating_add((estimate / 2).max(1000 * MB)), estimate, budget)
}

/// Memory limit in bytes of a child with a loaded model: its reserved memory, and some for each request. A text
/// takes 130 bytes for each of its own until it is tokenised.
pub(super) fn ceiling(estimate: u64, loaded: Option<Memory>, tokens: u64, budget: u64) -> u64 {
    let base = loaded.map_or(0, |memory| memory.reserved).max(estimate);
    let requests = (256 * MB).saturating_add(tokens.saturating_mul(1000));
    within_budget(base.saturating_add(estimate / 4).saturating_add(requests), estimate, budget)
}

/// A child was admitted by its estimate.
fn within_budget(ceiling: u64, estimate: u64, budget: u64) -> u64 {
    ceiling.min(budget.max(estimate))
}

/// Memory budget in bytes of all children together.
pub(super) fn budget(settings: &Settings) -> u64 {
    match settings.engine_memory_mb {
        Some(megabytes) => megabytes.saturating_mul(MB),
        None => available() / 5 * 4,
    }
}

/// Memory of the machine, or of the container where that is less.
fn available() -> u64 {
    let machine = machine();
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    machine.min(container)
}

#[cfg(target_os = "linux")]
fn machine() -> u64 {
    let system = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "totalram is 32 bits wide on 32-bit machines")]
    u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit))
}

/// No limit where the system does not report its memory.
#[cfg(not(target_os = "linux"))]
fn machine() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_leaves_room_for_what_is_reserved_and_stays_within_the_budget() {
        let loaded = |reserved| Some(Memory { held: 50 * MB, reserved: reserved * MB, resident: 60 * MB });
        assert_eq!(ceiling(100 * MB, loaded(200), 8000, u64::MAX), 489 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, u64::MAX), 639 * MB);
        assert_eq!(ceiling(300 * MB, None, 8000, u64::MAX), 639 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, 400 * MB), 400 * MB);
        assert_eq!(ceiling(300 * MB, loaded(200), 8000, 100 * MB), 300 * MB);
        assert_eq!(loading_ceiling(100 * MB, u64::MAX), 1100 * MB);
        assert_eq!(loading_ceiling(8000 * MB, u64::MAX), 12_000 * MB);
    }
}
