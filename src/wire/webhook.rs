//! Webhook payloads: one notification in the format of its receiver, and the signature by which
//! the receiver knows that it is ours. The signature is that of the Standard Webhooks
//! specification, <https://www.standardwebhooks.com/>, for which there are libraries.

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, Unit};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::types::{AlertKind, Change, Event, Notification, Secret, Severity};

/// Format of a webhook's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Any other receiver: our own object, as `docs/operations.md` describes it.
    Json,
    /// A topic of ntfy, <https://docs.ntfy.sh/publish/>.
    Ntfy,
    /// An incoming webhook of Slack, Mattermost or Rocket.Chat.
    Slack,
    /// Alertmanager's webhook format, version 4,
    /// <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
    Alertmanager,
}

impl Format {
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("json", Self::Json),
        ("ntfy", Self::Ntfy),
        ("slack", Self::Slack),
        ("alertmanager", Self::Alertmanager),
    ];
}

/// A request's body and the headers that go with it.
#[derive(Debug)]
pub struct Message {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// `host` is the machine's name, for people with several.
    pub fn new(format: Format, event: &Event, host: &str) -> Self {
        let Event::Alert(notification) = event;
        match format {
            Format::Json => json(&AlertEvent::new(event, notification, host)),
            Format::Slack => json(&SlackMessage { text: slack_text(notification, host) }),
            Format::Alertmanager => json(&Group::new(notification, host)),
            Format::Ntfy => ntfy(notification, host),
        }
    }

    /// Adds what the receiver checks the sender by. `sent` is the moment of this attempt.
    pub fn sign(&mut self, secret: &Secret, id: &str, sent: Timestamp) {
        let sent = sent.as_second().to_string();
        let signature = signature(secret, id, &sent, &self.body);
        self.headers.extend([
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", sent),
            ("webhook-signature", signature),
        ]);
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. A secret that begins with `whsec_`
/// is base64 after that, any other is taken as it is.
fn signature(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> String {
    let secret = secret.expose();
    let decoded = secret.strip_prefix("whsec_").and_then(|rest| BASE64_STANDARD.decode(rest).ok());
    let key = decoded.as_deref().unwrap_or(secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn json(value: &impl Serialize) -> Message {
    let body = serde_json::to_vec(value).expect("a notification has only texts and numbers");
    Message { headers: vec![("content-type", "application/json".to_owned())], body }
}

/// One line that says what is the matter, or what was.
fn text(Notification { alert, at, change }: &Notification) -> String {
    match change {
        Change::Firing => alert.message.clone(),
        Change::Resolved => {
            let took = at.since((Unit::Minute, alert.since)).unwrap_or_default();
            format!("Resolved after {} min. Now: {}", took.get_minutes().max(0), alert.message)
        }
    }
}

fn title(notification: &Notification, host: &str) -> String {
    let mark = match notification.change {
        Change::Firing => "",
        Change::Resolved => "Resolved: ",
    };
    format!("{mark}{} ({host})", notification.alert.kind.title())
}

/// Returns the emoji's name for chat receivers.
fn emoji(notification: &Notification) -> &'static str {
    match (notification.change, notification.alert.kind.severity()) {
        (Change::Resolved, _) => "white_check_mark",
        (Change::Firing, Severity::Critical) => "rotating_light",
        (Change::Firing, Severity::Warning) => "warning",
    }
}

fn ntfy(notification: &Notification, host: &str) -> Message {
    let priority = match (notification.change, notification.alert.kind.severity()) {
        (Change::Firing, Severity::Critical) => "urgent",
        (Change::Firing, Severity::Warning) => "high",
        (Change::Resolved, _) => "default",
    };
    Message {
        headers: vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("title", title(notification, host)),
            ("priority", priority.to_owned()),
            ("tags", emoji(notification).to_owned()),
        ],
        body: text(notification).into_bytes(),
    }
}

#[derive(Serialize)]
struct SlackMessage {
    text: String,
}

/// Slack's markup has three characters that must be escaped.
fn slack_text(notification: &Notification, host: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        ":{}: *{}*\n{}",
        emoji(notification),
        escape(&title(notification, host)),
        escape(&text(notification))
    )
}

#[derive(Serialize)]
struct AlertEvent<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: AlertData<'a>,
}

#[derive(Serialize)]
struct AlertData<'a> {
    id: String,
    alert: AlertKind,
    title: &'static str,
    state: &'static str,
    severity: &'static str,
    message: &'a str,
    value: f64,
    threshold: f64,
    since: Timestamp,
    resolved_at: Option<Timestamp>,
    service: &'static str,
    host: &'a str,
}

impl<'a> AlertEvent<'a> {
    fn new(event: &Event, notification: &'a Notification, host: &'a str) -> Self {
        let Notification { alert, at, change } = notification;
        Self {
            r#type: event.name(),
            timestamp: event.at(),
            data: AlertData {
                id: event.id(),
                alert: alert.kind,
                title: alert.kind.title(),
                state: change.as_str(),
                severity: event.severity().as_str(),
                message: &alert.message,
                value: alert.value,
                threshold: alert.threshold,
                since: alert.since,
                resolved_at: (*change == Change::Resolved).then_some(*at),
                service: "simpleton",
                host,
            },
        }
    }
}

/// A group of one alert.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'static str,
    group_labels: GroupLabels,
    common_labels: Labels<'a>,
    common_annotations: Annotations<'a>,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: [GroupAlert<'a>; 1],
}

#[derive(Serialize)]
struct GroupLabels {
    alertname: &'static str,
}

#[derive(Clone, Copy, Serialize)]
struct Labels<'a> {
    alertname: &'static str,
    instance: &'a str,
    job: &'static str,
    severity: &'static str,
}

#[derive(Clone, Copy, Serialize)]
struct Annotations<'a> {
    summary: &'static str,
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAlert<'a> {
    status: &'static str,
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

/// Alertmanager's value for a time that is not known yet.
const NOT_YET: &str = "0001-01-01T00:00:00Z";

impl<'a> Group<'a> {
    fn new(notification: &'a Notification, host: &'a str) -> Self {
        let Notification { alert, at, change } = notification;
        let (alertname, status) = (alert.kind.as_str(), change.as_str());
        let severity = alert.kind.severity().as_str();
        let labels = Labels { alertname, instance: host, job: "simpleton", severity };
        let annotations = Annotations { summary: alert.kind.title(), description: &alert.message };
        let hash = Sha256::digest(format!("{alertname}\0{host}"));
        let fingerprint = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let ends_at = match change {
            Change::Firing => NOT_YET.to_owned(),
            Change::Resolved => at.to_string(),
        };
        Self {
            version: "4",
            group_key: format!("{{}}:{{alertname=\"{alertname}\"}}"),
            truncated_alerts: 0,
            status,
            receiver: "simpleton",
            group_labels: GroupLabels { alertname },
            common_labels: labels,
            common_annotations: annotations,
            external_url: "",
            alerts: [GroupAlert {
                status,
                labels,
                annotations,
                starts_at: alert.since.to_string(),
                ends_at,
                generator_url: "",
                fingerprint,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::types::Alert;

    fn notification(change: Change) -> Notification {
        let since: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        Notification {
            alert: Alert {
                kind: AlertKind::HighErrorRate,
                message: "20.0 % of 50 requests failed <&>.".to_owned(),
                value: 0.2,
                threshold: 0.1,
                since,
            },
            at: "2026-03-01T12:07:30Z".parse().expect("a time"),
            change,
        }
    }

    fn body(format: Format, change: Change) -> Value {
        serde_json::from_slice(&Message::new(format, &notification(change).into(), "box").body).expect("JSON")
    }

    #[test]
    fn our_own_object_says_everything() {
        assert_eq!(
            body(Format::Json, Change::Resolved),
            json!({
                "type": "alert.resolved",
                "timestamp": "2026-03-01T12:07:30Z",
                "data": {
                    "id": "high_error_rate-1772366400000-resolved", "alert": "high_error_rate",
                    "title": "High error rate", "state": "resolved", "severity": "critical",
                    "message": "20.0 % of 50 requests failed <&>.", "value": 0.2, "threshold": 0.1,
                    "since": "2026-03-01T12:00:00Z", "resolved_at": "2026-03-01T12:07:30Z",
                    "service": "simpleton", "host": "box",
                },
            })
        );
        assert_eq!(body(Format::Json, Change::Firing)["data"]["resolved_at"], Value::Null);
    }

    #[test]
    fn slack_gets_one_text_with_its_markup_escaped() {
        let firing = ":rotating_light: *High error rate (box)*\n20.0 % of 50 requests failed &lt;&amp;&gt;.";
        assert_eq!(body(Format::Slack, Change::Firing), json!({ "text": firing }));
        let over = ":white_check_mark: *Resolved: High error rate (box)*\nResolved after 7 min. Now: 20.0 % of 50 requests failed &lt;&amp;&gt;.";
        assert_eq!(body(Format::Slack, Change::Resolved), json!({ "text": over }));
    }

    #[test]
    fn ntfy_gets_a_plain_text_and_headers() {
        let message = Message::new(Format::Ntfy, &notification(Change::Firing).into(), "box");
        assert_eq!(message.body, b"20.0 % of 50 requests failed <&>.");
        let header = |name: &str| {
            let found = message.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("title"), Some("High error rate (box)"));
        assert_eq!((header("priority"), header("tags")), (Some("urgent"), Some("rotating_light")));
    }

    #[test]
    fn alertmanagers_receivers_find_every_field_they_know() {
        let firing = body(Format::Alertmanager, Change::Firing);
        let labels = json!({"alertname": "high_error_rate", "instance": "box", "job": "simpleton", "severity": "critical"});
        let annotations =
            json!({"summary": "High error rate", "description": "20.0 % of 50 requests failed <&>."});
        let fingerprint = firing["alerts"][0]["fingerprint"].as_str().expect("a fingerprint");
        assert!(
            fingerprint.len() == 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()),
            "{fingerprint}"
        );
        assert_eq!(
            firing,
            json!({
                "version": "4", "groupKey": "{}:{alertname=\"high_error_rate\"}", "truncatedAlerts": 0,
                "status": "firing", "receiver": "simpleton", "groupLabels": {"alertname": "high_error_rate"},
                "commonLabels": labels, "commonAnnotations": annotations, "externalURL": "",
                "alerts": [{
                    "status": "firing", "labels": labels, "annotations": annotations,
                    "startsAt": "2026-03-01T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
                    "fingerprint": fingerprint,
                }],
            })
        );
        let resolved = body(Format::Alertmanager, Change::Resolved);
        assert_eq!(
            (&resolved["status"], &resolved["alerts"][0]["endsAt"]),
            (&json!("resolved"), &json!("2026-03-01T12:07:30Z"))
        );
        assert_eq!(resolved["alerts"][0]["fingerprint"], fingerprint);
    }

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_of_any_form_signs() {
        for secret in ["plain words", "whsec_not base64!", &"x".repeat(500)] {
            let mut message = Message { headers: Vec::new(), body: b"{}".to_vec() };
            message.sign(&Secret::new(secret), "id", Timestamp::UNIX_EPOCH);
            let names: Vec<&str> = message.headers.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
            assert_eq!(message.headers[1].1, "0");
        }
    }
}
