//! Alerts from their measurements to the webhook, with a scripted receiver.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::{Args, Command, FromArgMatches};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::{super::webhooks::QUEUE_LIMIT, *};
use crate::eventually::eventually;

const DEADLINE: Duration = Duration::from_secs(20);

impl Default for Settings {
    /// Default settings.
    fn default() -> Self {
        let command = Settings::augment_args(Command::new("test")).mut_args(|arg| arg.env(None::<&str>));
        let matches = command.no_binary_name(true).get_matches_from(Vec::<String>::new());
        Settings::from_arg_matches(&matches).expect("defaults are accepted")
    }
}

/// Behaviour of the receiver for one request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    /// Take the request and say nothing, for ever.
    Hang,
    /// Close the connection at once.
    Close,
}

/// The head and the body of each request.
type Got = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A receiver that does one thing after the other, and then answers 200.
struct Receiver {
    address: SocketAddr,
    got: Got,
    task: JoinHandle<()>,
}

impl Receiver {
    async fn start(does: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let got = Arc::new(Mutex::new(Vec::new()));
        let does = Arc::new(Mutex::new(VecDeque::from(does.to_vec())));
        let seen = Arc::clone(&got);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&does), Arc::clone(&seen)));
            }
        });
        Self { address, got, task }
    }

    fn url(&self) -> Secret {
        Secret::new(format!("http://{}/hook/very-secret?token=also", self.address))
    }

    fn got(&self) -> Vec<(String, Vec<u8>)> {
        self.got.lock().expect("no panic").clone()
    }

    /// Kind and state of each request, in order.
    fn told(&self) -> Vec<String> {
        let told = |(_, body): &(String, Vec<u8>)| {
            let body: Value = serde_json::from_slice(body).expect("JSON");
            let text = |name: &str| body["data"][name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("alert"), text("state"))
        };
        self.got().iter().map(told).collect()
    }

    async fn eventually(&self, requests: usize) {
        let what = format!("{requests} requests arrive");
        eventually(DEADLINE, &what, async || self.got().len() >= requests).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, does: Arc<Mutex<VecDeque<Does>>>, got: Got) {
    let mut buffer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(&piece[..read]),
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let length: usize = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if buffer.len() < end + 4 + length {
            continue;
        }
        let body = buffer[end + 4..end + 4 + length].to_vec();
        buffer.drain(..end + 4 + length);
        got.lock().expect("no panic").push((head, body));
        let next = does.lock().expect("no panic").pop_front().unwrap_or(Does::Answer(200));
        match next {
            Does::Answer(status) => {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Does::Hang => std::future::pending().await,
            Does::Close => return,
        }
    }
}

/// Alerts that tell a webhook, with pauses of milliseconds.
struct Fixture {
    alerts: Arc<Alerts>,
    task: JoinHandle<()>,
}

fn open(folder: &TempDir, url: Secret, settings: Settings) -> Fixture {
    let settings = Settings { alert_webhook_url: Some(url), ..settings };
    let metrics = Arc::new(Metrics::new(&[]));
    let pace = Pace {
        patience: Duration::from_millis(200),
        first: Duration::from_millis(10),
        longest: Duration::from_millis(50),
        give_up: Duration::from_secs(2),
    };
    let alerts = Arc::new(Alerts::at_pace(settings, folder.path(), metrics, pace).expect("a URL"));
    let delivering = Arc::clone(&alerts);
    let task = tokio::spawn(async move {
        delivering.delivery.as_ref().expect("a webhook").run(&CancellationToken::new()).await;
    });
    Fixture { alerts, task }
}

impl Fixture {
    /// One look at a service whose requests fail or do not, at this second.
    async fn look(&self, failing: bool, second: u64) {
        let signals = Signals { requests: 50, failures: if failing { 25 } else { 0 }, ..Signals::default() };
        let now = Now { running: Duration::from_secs(second), wall: Timestamp::now() };
        self.alerts.tell(self.alerts.look(&signals, now)).await;
    }

    fn count(&self, outcome: &str) -> u64 {
        let counts = &self.alerts.metrics.alerts.deliveries;
        let count = match outcome {
            "delivered" => &counts.delivered,
            "failed" => &counts.failed,
            _ => &counts.dropped,
        };
        count.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn settled(&self) {
        let empty = async || self.alerts.outbox.kept().waiting.is_empty();
        eventually(DEADLINE, "the queue is empty", empty).await;
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn each_change_is_delivered_once() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start(&[]).await);
    let fixture = open(&folder, receiver.url(), Settings::default());
    for second in 0..20 {
        fixture.look(true, second * 10).await;
    }
    for second in 20..40 {
        fixture.look(false, second * 10).await;
    }
    receiver.eventually(2).await;
    fixture.settled().await;
    assert_eq!(receiver.told(), ["high_error_rate firing", "high_error_rate resolved"]);
    assert_eq!(fixture.count("delivered"), 2);
    let (head, _) = &receiver.got()[0];
    assert!(head.starts_with("POST /hook/very-secret?token=also HTTP/1.1"), "{head}");
    assert!(!head.contains("webhook-signature"), "no secret, no signature");
}

#[tokio::test]
async fn a_receiver_that_fails_hangs_and_closes_gets_it_in_the_end_and_in_order() {
    let does = [Does::Answer(500), Does::Close, Does::Hang, Does::Answer(429), Does::Answer(503)];
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start(&does).await);
    let fixture = open(&folder, receiver.url(), Settings { alert_hold_s: 0, ..Settings::default() });
    // No caller waits for the receiver.
    let looks = async {
        fixture.look(true, 0).await;
        fixture.look(false, 10).await;
    };
    timeout(Duration::from_secs(5), looks).await.expect("the looks do not wait");
    receiver.eventually(7).await;
    fixture.settled().await;
    let told = receiver.told();
    assert_eq!(told[..6], vec!["high_error_rate firing"; 6]);
    assert_eq!(told[6..], ["high_error_rate resolved"]);
    assert_eq!((fixture.count("delivered"), fixture.count("failed")), (2, 0));
    // The same id in every attempt, so that a receiver can tell.
    let id = |at: usize| {
        let body: Value = serde_json::from_slice(&receiver.got()[at].1).expect("JSON");
        body["data"]["id"].clone()
    };
    assert_eq!(id(0), id(5));
    assert_ne!(id(5), id(6));
}

#[tokio::test]
async fn a_receiver_that_refuses_is_not_asked_again() {
    let (folder, receiver) =
        (tempfile::tempdir().expect("a folder"), Receiver::start(&[Does::Answer(404)]).await);
    let fixture = open(&folder, receiver.url(), Settings { alert_hold_s: 0, ..Settings::default() });
    fixture.look(true, 0).await;
    fixture.settled().await;
    fixture.look(false, 10).await;
    receiver.eventually(2).await;
    fixture.settled().await;
    assert_eq!(receiver.told(), ["high_error_rate firing", "high_error_rate resolved"]);
    assert_eq!((fixture.count("delivered"), fixture.count("failed")), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_given_up_and_the_queue_stays_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = Secret::new("http://127.0.0.1:1/hook");
    let fixture = open(&folder, nobody, Settings { alert_hold_s: 0, ..Settings::default() });
    for round in 0..60 {
        fixture.look(true, round * 20).await;
        fixture.look(false, round * 20 + 10).await;
    }
    assert!(fixture.alerts.outbox.kept().waiting.len() <= QUEUE_LIMIT);
    assert!(fixture.count("dropped") >= 120 - QUEUE_LIMIT as u64 - 1);
    eventually(DEADLINE, "the first is given up", async || fixture.count("failed") > 0).await;
}

#[tokio::test]
async fn a_restart_fires_nothing_anew_and_delivers_what_was_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&[]).await;
    {
        let nobody = Secret::new("http://127.0.0.1:1/hook");
        let before = open(&folder, nobody, Settings::default());
        before.look(true, 0).await;
        assert_eq!(before.alerts.firing().len(), 1);
    }
    let after = open(&folder, receiver.url(), Settings::default());
    assert_eq!(after.alerts.firing().len(), 1, "it goes on");
    receiver.eventually(1).await;
    after.settled().await;
    for second in 0..5 {
        after.look(true, second * 10).await;
    }
    let since = after.alerts.firing()[0].since;
    drop(after);
    let last = open(&folder, receiver.url(), Settings::default());
    assert_eq!(last.alerts.firing()[0].since, since);
    for second in 0..20 {
        last.look(false, second * 10).await;
    }
    receiver.eventually(2).await;
    last.settled().await;
    assert_eq!(receiver.told(), ["high_error_rate firing", "high_error_rate resolved"]);
}

/// As tests/fixtures/ tells of it.
#[tokio::test]
async fn an_upgrade_goes_on_with_the_alerts_of_an_older_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = "tests/fixtures/data-folder-0.1.0/alerts.json";
    std::fs::copy(old, folder.path().join("alerts.json")).expect("a copy");
    let alerts = open(&folder, Secret::new("http://127.0.0.1:1/hook"), Settings::default()).alerts.clone();
    let firing = alerts.firing();
    assert_eq!(firing.iter().map(|alert| alert.kind).collect::<Vec<_>>(), [AlertKind::BackendDown]);
    assert_eq!(firing[0].since.as_second(), 1_795_940_612);
}

#[tokio::test]
async fn what_is_sent_is_signed_and_can_be_verified() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::start(&[]).await);
    let secret = "a-secret-of-the-operator";
    let settings = Settings { alert_webhook_secret: Some(Secret::new(secret)), ..Settings::default() };
    let fixture = open(&folder, receiver.url(), settings);
    fixture.look(true, 0).await;
    receiver.eventually(1).await;
    let (head, body) = receiver.got().remove(0);
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name} in {head}")).to_owned()
    };
    // As docs/operations.md tells the receiver to do it, in another's words: openssl.
    let signed =
        [format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(), &body].concat();
    let path = folder.path().join("signed");
    std::fs::write(&path, signed).expect("a file");
    let output = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("key:{secret}"), "-binary"])
        .arg(&path)
        .output()
        .expect("openssl");
    let expected = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, output.stdout);
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
    assert!(!head.contains(secret) && !String::from_utf8_lossy(&body).contains(secret));
}

#[test]
fn settings_show_neither_the_address_nor_the_secret() {
    let settings = Settings {
        alert_webhook_url: Some(webhook_url("https://hooks.example.org/T0/B0/xyz?token=1").expect("a URL")),
        alert_webhook_secret: Some(webhook_secret("0123456789abcdef").expect("a secret")),
        ..Settings::default()
    };
    let shown = format!("{settings:?}");
    assert!(!shown.contains("xyz") && !shown.contains("0123456789abcdef"), "{shown}");
    assert!(webhook_url("ftp://example.org").is_err());
    assert!(webhook_secret("short").is_err());
}
