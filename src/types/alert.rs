//! Alerts about the service, and the notifications sent when one fires or resolves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Type of an alert, named alike in the API, in metrics and in webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The server failed too many of the last requests.
    HighErrorRate,
    /// The last requests took too long on average.
    HighResponseTime,
    /// The backend does not answer.
    BackendDown,
    /// A model's process ends again and again.
    EngineCrashLoop,
    /// The cache's store cannot be used; answers are made without it.
    CacheUnavailable,
    /// The data folder's disk has little room left.
    DiskNearlyFull,
}

impl AlertKind {
    pub const ALL: [Self; 6] = [
        Self::HighErrorRate,
        Self::HighResponseTime,
        Self::BackendDown,
        Self::EngineCrashLoop,
        Self::CacheUnavailable,
        Self::DiskNearlyFull,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HighErrorRate => "high_error_rate",
            Self::HighResponseTime => "high_response_time",
            Self::BackendDown => "backend_down",
            Self::EngineCrashLoop => "engine_crash_loop",
            Self::CacheUnavailable => "cache_unavailable",
            Self::DiskNearlyFull => "disk_nearly_full",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::HighErrorRate => "High error rate",
            Self::HighResponseTime => "High response time",
            Self::BackendDown => "Backend down",
            Self::EngineCrashLoop => "A model keeps crashing",
            Self::CacheUnavailable => "Cache unavailable",
            Self::DiskNearlyFull => "Disk nearly full",
        }
    }

    /// Critical is what requests fail by; the rest makes them slow, or fail later.
    pub fn severity(self) -> Severity {
        match self {
            Self::HighErrorRate | Self::BackendDown | Self::EngineCrashLoop => Severity::Critical,
            Self::HighResponseTime | Self::CacheUnavailable | Self::DiskNearlyFull => Severity::Warning,
        }
    }
}

/// Severity of an alert, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub kind: AlertKind,
    /// One plain sentence with the figures.
    pub message: String,
    pub value: f64,
    pub threshold: f64,
    /// When it was first seen.
    pub since: Timestamp,
}

/// One change of an alert's state, which is delivered once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub alert: Alert,
    pub at: Timestamp,
    pub change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Firing,
    Resolved,
}

impl Change {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}
