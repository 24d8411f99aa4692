//! Metrics of alerts: which are firing, and the outcomes of their notifications.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{telemetry::text::Exposition, types::AlertKind};

#[derive(Default)]
pub struct AlertMetrics {
    firing: Mutex<HashSet<AlertKind>>,
    pub deliveries: Arc<DeliveryMetrics>,
}

/// Events for a webhook.
#[derive(Default)]
pub struct DeliveryMetrics {
    /// Taken by the receiver.
    pub delivered: AtomicU64,
    /// Refused by the receiver, or not taken for an hour.
    pub failed: AtomicU64,
    /// Not even tried: too many were waiting.
    pub dropped: AtomicU64,
}

impl AlertMetrics {
    pub fn set_firing(&self, kind: AlertKind, firing: bool) {
        let mut all = self.firing.lock().unwrap_or_else(PoisonError::into_inner);
        if firing {
            all.insert(kind)
        } else {
            all.remove(&kind)
        };
    }

    pub(super) fn render(&self, out: &mut Exposition) {
        out.family("simpleton_alert_firing", "gauge", "Whether an alert is firing.");
        let all = self.firing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for kind in AlertKind::ALL {
            let firing = f64::from(u8::from(all.contains(&kind)));
            out.sample("simpleton_alert_firing", &[("alert", kind.as_str())], firing);
        }
        let DeliveryMetrics { delivered, failed, dropped } = &*self.deliveries;
        let name = "simpleton_alert_notices_total";
        out.family(name, "counter", "Alert messages for the webhook, by outcome.");
        for (outcome, count) in [("delivered", delivered), ("failed", failed), ("dropped", dropped)] {
            out.sample(name, &[("outcome", outcome)], count.load(Relaxed) as f64);
        }
    }
}
