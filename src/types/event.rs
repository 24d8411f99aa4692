//! Events of the service, for receivers outside: what happened, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::{Change, Notification, Severity};

/// Something that happened, which is delivered once. Saved as the fields of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Event {
    Alert(Notification),
}

impl Event {
    /// The same for every attempt to deliver this event, and different for every other event.
    pub fn id(&self) -> String {
        let Self::Alert(Notification { alert, change, .. }) = self;
        format!("{}-{}-{}", alert.kind.as_str(), alert.since.as_millisecond(), change.as_str())
    }

    /// Source and what happened to it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alert(Notification { change: Change::Firing, .. }) => "alert.firing",
            Self::Alert(Notification { change: Change::Resolved, .. }) => "alert.resolved",
        }
    }

    /// Kind of its source, as in "the alert webhook".
    pub fn source(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
        }
    }

    pub fn at(&self) -> Timestamp {
        let Self::Alert(Notification { at, .. }) = self;
        *at
    }

    pub fn severity(&self) -> Severity {
        let Self::Alert(Notification { alert, .. }) = self;
        alert.kind.severity()
    }
}

impl From<Notification> for Event {
    fn from(change: Notification) -> Self {
        Self::Alert(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of version 0.1.0 may have a change that waits for its webhook.
    #[test]
    fn events_of_before_are_read_and_written_as_they_were() {
        let saved = r#"{"alert":{"kind":"backend_down","message":"Gone.","value":0.0,"threshold":1.0,"since":"1970-01-01T00:00:00Z"},"at":"1970-01-01T00:00:10Z","change":"firing"}"#;
        let event: Event = serde_json::from_str(saved).expect("an event");
        assert_eq!(serde_json::to_string(&event).expect("JSON"), saved);
        assert_eq!((event.name(), event.id().as_str()), ("alert.firing", "backend_down-0-firing"));
        assert_eq!((event.severity(), event.at().as_second()), (Severity::Critical, 10));
    }
}
