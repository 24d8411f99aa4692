//! `GET /analytics/alerts`: active alerts. They are evaluated in the background.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::alerts::Settings,
    http::HttpState,
    types::{Alert, AlertKind, Severity},
};

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AlertsReply {
    status: AlertsStatus,
    alerts: Vec<AlertReply>,
    alert_count: usize,
    thresholds: Thresholds,
}

/// `success` if there are no active alerts; otherwise their highest severity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AlertsStatus {
    Success,
    Warning,
    Critical,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AlertReply {
    r#type: AlertKind,
    severity: Severity,
    message: String,
    /// In the unit of `threshold`: a fraction (0 to 1) for an error rate, seconds for a response time.
    value: f64,
    threshold: f64,
    /// Time when it was first detected (RFC 3339).
    since: String,
}

#[derive(Serialize, ToSchema)]
struct Thresholds {
    /// Fraction (0 to 1) of the requests in the last 5 minutes that the server failed.
    error_rate: f64,
    /// Average over the last 5 minutes, in seconds.
    response_time: f64,
}

/// List active alerts
#[utoipa::path(get, path = "/analytics/alerts", tag = "Analytics", responses((status = 200, body = AlertsReply)))]
pub(in crate::http) async fn alerts(State(state): State<Arc<HttpState>>) -> Json<AlertsReply> {
    let (firing, settings) = (state.app.firing_alerts(), state.app.alert_settings());
    Json(AlertsReply::new(firing, settings))
}

impl AlertsReply {
    fn new(firing: Vec<Alert>, settings: &Settings) -> Self {
        let worst = firing.iter().map(|alert| alert.kind.severity()).max();
        Self {
            status: match worst {
                None => AlertsStatus::Success,
                Some(Severity::Warning) => AlertsStatus::Warning,
                Some(Severity::Critical) => AlertsStatus::Critical,
            },
            alert_count: firing.len(),
            alerts: firing.into_iter().map(AlertReply::from).collect(),
            thresholds: Thresholds {
                error_rate: settings.alert_error_rate_threshold,
                response_time: settings.alert_response_time_threshold,
            },
        }
    }
}

impl From<Alert> for AlertReply {
    fn from(Alert { kind, message, value, threshold, since }: Alert) -> Self {
        Self { r#type: kind, severity: kind.severity(), message, value, threshold, since: since.to_string() }
    }
}
