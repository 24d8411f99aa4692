//! Gauges of the embedded engine, and of the circuit breakers that leave a part alone for a while
//! because they keep failing.

use super::gauges::{Gauges, ModelGauge};
use crate::telemetry::text::Exposition;

pub(super) fn render(out: &mut Exposition, gauges: &Gauges) {
    out.family("simpleton_models_loaded", "gauge", "Models loaded by the embedded engine.");
    out.sample("simpleton_models_loaded", &[], gauges.models.len() as f64);
    for (name, help, value) in [
        (
            "simpleton_model_memory_bytes",
            "Estimated memory use of a loaded model.",
            (|model| model.memory_bytes as f64) as fn(&ModelGauge) -> f64,
        ),
        ("simpleton_model_slots", "Requests that a loaded model can answer in parallel.", |model| {
            model.slots as f64
        }),
        ("simpleton_model_slots_busy", "Slots of a loaded model that are in use.", |model| {
            model.slots_busy as f64
        }),
    ] {
        out.family(name, "gauge", help);
        for model in &gauges.models {
            out.sample(name, &[("model", &model.name), ("role", model.role)], value(model));
        }
    }
    let name = "simpleton_breaker_open";
    out.family(name, "gauge", "Whether a circuit breaker is open.");
    for (breaker, open) in &gauges.breakers {
        out.sample(name, &[("breaker", breaker)], f64::from(u8::from(*open)));
    }
}
