//! Figures over time against real files, with a clock of our own.

mod faults;
mod upgrade;

use std::{
    fs,
    sync::Mutex as StdMutex,
    time::{Instant as StdInstant, UNIX_EPOCH},
};

use tempfile::TempDir;

use super::*;
use crate::{
    eventually::eventually,
    request_context::Context,
    telemetry::{
        aggregates::{Clock, Tokens},
        labels::Purpose,
        record::{Failure, ModelCall, RequestFacts, RequestRecord},
        sink::Sink,
    },
    types::{KeyId, Usage},
};

const RETENTION_HOURS: u64 = 168;
/// 2026-01-01, 10:30 UTC.
const MORNING: u64 = 1_767_263_400;

#[derive(Clone)]
struct TestClock(Arc<StdMutex<SystemTime>>);

impl TestClock {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(StdMutex::new(UNIX_EPOCH + Duration::from_secs(seconds))))
    }

    fn now(&self) -> SystemTime {
        *self.0.lock().expect("a clock")
    }

    fn forward(&self, minutes: u64) {
        *self.0.lock().expect("a clock") += Duration::from_secs(minutes * 60);
    }

    fn back(&self, minutes: u64) {
        *self.0.lock().expect("a clock") -= Duration::from_secs(minutes * 60);
    }

    fn aggregator(&self) -> Arc<Aggregator> {
        let clock = self.clone();
        let clock: Clock = Arc::new(move || clock.now());
        Arc::new(Aggregator::with_clock(Arc::default(), Arc::default(), clock))
    }
}

/// A server's part: it observes, and keeps.
struct Server {
    clock: TestClock,
    aggregator: Arc<Aggregator>,
    history: History,
}

impl Server {
    fn start(folder: &TempDir, clock: &TestClock) -> Self {
        let aggregator = clock.aggregator();
        let file = tables::database(folder.path().join("state").join("history.db"));
        let history = History::over(file, None, RETENTION_HOURS, Arc::clone(&aggregator));
        Self { clock: clock.clone(), aggregator, history }
    }

    fn observe(&self, requests: u64) {
        for n in 0..requests {
            self.aggregator.request_ended(&request(200, Duration::from_millis(10 + n), self.clock.now()));
        }
    }

    async fn requests(&self, minutes: u64) -> u64 {
        self.history.aggregates(minutes).await.aggregates.requests()
    }

    async fn written(&self) {
        until("it is written", async || self.aggregator.to_write().parts.is_empty()).await;
    }
}

fn request(status: u16, duration: Duration, ended_at: SystemTime) -> RequestRecord {
    let failed = (status >= 400).then(|| Failure { kind: "busy", message: "Too much.".to_owned() });
    RequestRecord {
        purpose: Purpose::Api,
        context: Arc::new(Context::new(Some(&format!("id-{}", duration.as_nanos())), None, None)),
        method: "POST",
        endpoint: "/inference/chat",
        path: "/inference/chat".to_owned(),
        status,
        duration,
        ended_at,
        ended: StdInstant::now(),
        facts: RequestFacts {
            key: Some(KeyId::new([1, 2, 3, 4])),
            bytes_in: 10,
            bytes_out: 100,
            error: failed,
            ..RequestFacts::default()
        },
    }
}

fn call(ended_at: SystemTime) -> ModelCall {
    ModelCall {
        context: Arc::new(Context::new(None, None, None)),
        model: "qwen2.5:7b".into(),
        backend: "ollama",
        method: "POST",
        endpoint: "/inference/chat",
        key: KeyId::new([1, 2, 3, 4]),
        usage: Some(Usage { prompt_tokens: 7, completion_tokens: 3, ..Usage::default() }),
        queue: None,
        first_token: Some(Duration::from_millis(100)),
        duration: Duration::from_millis(300),
        error: None,
        ended_at,
        ended: StdInstant::now(),
    }
}

async fn until(what: &str, check: impl AsyncFnMut() -> bool) {
    eventually(Duration::from_secs(30), what, check).await;
}

#[tokio::test]
async fn figures_are_there_at_once_and_after_a_restart() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let server = Server::start(&folder, &clock);
    server.observe(10);
    server.aggregator.request_ended(&request(503, Duration::from_secs(2), clock.now()));
    server.aggregator.call_ended(&call(clock.now()));
    let check = async |server: &Server, when: &str| {
        let covered = server.history.aggregates(60).await;
        let aggregates = covered.aggregates;
        assert_eq!((aggregates.requests(), aggregates.errors()), (11, 1), "{when}");
        assert_eq!(aggregates.tokens(), Tokens { prompt_tokens: 7, completion_tokens: 3 }, "{when}");
        let durations = aggregates.durations();
        assert!((durations.quantile(0.5) - 0.015).abs() < 0.015 * 0.02, "{when}: {durations:?}");
        assert_eq!((durations.max(), durations.min()), (2.0, 0.010), "{when}");
        let key = &aggregates.keys[&[1, 2, 3, 4]];
        assert_eq!((key.requests, key.errors, key.bytes_in, key.tokens.completion_tokens), (11, 1, 110, 3));
        assert_eq!(covered.from, minute_of(clock.now()), "nothing is older");
        let failures = server.history.failures(10, true).await;
        assert_eq!(failures.iter().map(|failure| failure.status).collect::<Vec<_>>(), [503], "{when}");
    };
    check(&server, "at once").await;
    server.written().await;
    check(&server, "when it is written").await;
    server.observe(0);
    server.history.stop().await;
    let server = Server::start(&folder, &clock);
    check(&server, "after a restart").await;
    // A minute that goes on after a restart is one minute.
    server.observe(5);
    assert_eq!(server.requests(60).await, 16);
    server.history.stop().await;
    assert_eq!(Server::start(&folder, &clock).requests(60).await, 16);
}

#[tokio::test]
async fn servers_that_share_a_file_add_up() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let servers = [Server::start(&folder, &clock), Server::start(&folder, &clock)];
    servers[0].observe(3);
    servers[1].observe(4);
    for server in &servers {
        server.written().await;
    }
    servers[0].observe(10);
    servers[0].written().await;
    for server in &servers {
        assert_eq!(server.requests(5).await, 17);
    }
    assert!(servers.iter().all(|server| server.history.standing().trouble.is_none()));
}

/// Writes minutes as the server would have, without waiting for them to pass.
async fn minutes(folder: &TempDir, clock: &TestClock, count: u64) -> SqliteConnection {
    let file = tables::database(folder.path().join("history.db"));
    let mut connection = file.open().await.expect("a file");
    for _ in 0..count {
        let aggregator = clock.aggregator();
        aggregator.request_ended(&request(200, Duration::from_millis(10), clock.now()));
        let unwritten = aggregator.unwritten();
        tables::write(&mut connection, &unwritten.parts, &[]).await.expect("written");
        clock.forward(1);
    }
    connection
}

async fn sum(connection: &mut SqliteConnection, span: Span) -> u64 {
    let rows = tables::aggregates(connection, span).await.expect("rows");
    let mut sum = Aggregates::default();
    Found { rows, ..Found::default() }.each(span.from, |_, aggregates| sum.merge(aggregates));
    sum.requests()
}

#[tokio::test]
async fn folding_and_expiring_change_no_sum_that_can_be_asked_for() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let mut connection = minutes(&folder, &clock, 3000).await;
    let now = clock.now();
    // The first hour of a time that goes back more than a day is told whole.
    let expected = |minutes: u64| match minutes {
        0..=1440 => minutes,
        _ => minutes + (MORNING / 60 + 3000 - minutes) % 60,
    };
    for round in ["as written", "folded", "again", "expired"] {
        for minutes in [1, 5, 59, 60, 61, 90, 119, 1000, 1439, 1440, 1441, 1500, 2000, 2900] {
            let (coarse, fine) = (Span::coarse(now, minutes), Span::fine(now, minutes));
            // Whole hours are there only when they have been folded.
            if minutes <= 1440 || round != "as written" {
                assert_eq!(sum(&mut connection, coarse).await, expected(minutes), "{minutes}, {round}");
            }
            if minutes <= 1440 {
                assert_eq!(sum(&mut connection, fine).await, minutes, "{minutes} fine, {round}");
            }
        }
        match round {
            "expired" => {}
            "again" => tables::expire(&mut connection, now, RETENTION_HOURS).await.expect("expired"),
            _ => tables::fold(&mut connection, now).await.expect("folded"),
        }
    }
    let count = async |connection: &mut SqliteConnection, table: &'static str| -> i64 {
        sqlx::query_scalar(table).fetch_one(connection).await.expect("a count")
    };
    assert_eq!(count(&mut connection, "SELECT count(*) FROM minute").await, 1500);
    assert_eq!(count(&mut connection, "SELECT count(*) FROM hour").await, 50);
    // A week later nothing is left, and nothing is lost that had not been folded before its time.
    let later = now + Duration::from_secs((RETENTION_HOURS + 52) * 3600);
    tables::expire(&mut connection, later, RETENTION_HOURS).await.expect("expired");
    assert_eq!(count(&mut connection, "SELECT count(*) FROM minute").await, 0);
    assert_eq!(count(&mut connection, "SELECT count(*) FROM hour").await, 0);
}

#[tokio::test]
async fn a_minute_that_comes_late_is_added_to_its_hour() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let mut connection = minutes(&folder, &clock, 120).await;
    tables::fold(&mut connection, clock.now()).await.expect("folded");
    clock.back(120);
    let mut connection = minutes(&folder, &clock, 10).await;
    clock.forward(110);
    for _ in 0..2 {
        assert_eq!(sum(&mut connection, Span::coarse(clock.now(), 2000)).await, 130);
        tables::fold(&mut connection, clock.now()).await.expect("folded again");
    }
}

#[tokio::test]
async fn a_clock_that_is_put_back_loses_and_doubles_nothing() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let server = Server::start(&folder, &clock);
    server.observe(20);
    server.written().await;
    clock.back(60);
    server.observe(5);
    assert_eq!(server.requests(120).await, 25, "at once");
    server.written().await;
    assert_eq!(server.requests(120).await, 25, "when it is written");
    // The same minute comes a second time, and then for good.
    clock.forward(60);
    server.observe(7);
    server.written().await;
    assert_eq!(server.requests(120).await, 32);
    let series = server.history.series(120, 60).await;
    let counts: Vec<u64> = series.aggregates.iter().map(|(_, aggregates)| aggregates.requests()).collect();
    assert_eq!(counts, [0, 5, 27]);
    server.history.stop().await;
    assert_eq!(Server::start(&folder, &clock).requests(120).await, 32);
    assert_eq!(server.aggregator.recent(5).requests, 32, "alerts look at time that only goes forward");
}

#[tokio::test]
async fn a_series_has_every_step_and_each_request_once() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let server = Server::start(&folder, &clock);
    for minute in 0..90 {
        server.observe(minute % 3);
        clock.forward(1);
    }
    for (minutes, step) in [(120, 1), (120, 7), (120, 60), (1440, 15), (2880, 60), (10_080, 1440)] {
        let series = server.history.series(minutes, step).await;
        let step = i64::try_from(step).expect("a small number");
        let starts: Vec<i64> = series.aggregates.iter().map(|(start, _)| *start).collect();
        assert!(starts.windows(2).all(|two| two[1] - two[0] == step), "{minutes} in {step}");
        assert!(starts.iter().all(|start| start % step == 0));
        let total: u64 = series.aggregates.iter().map(|(_, aggregates)| aggregates.requests()).sum();
        assert_eq!(total, 90, "{minutes} in {step}");
    }
}

#[tokio::test]
async fn failures_are_kept_in_bounds_and_unauthenticated_callers_do_not_push_others_out() {
    let (folder, clock) = (TempDir::new().expect("a folder"), TestClock::at(MORNING));
    let server = Server::start(&folder, &clock);
    server.aggregator.request_ended(&request(502, Duration::from_millis(1), clock.now()));
    for n in 0..5_000 {
        let mut refused = request(401, Duration::from_millis(n + 2), clock.now());
        refused.facts.key = None;
        server.aggregator.request_ended(&refused);
    }
    server.written().await;
    let all = server.history.failures(1000, true).await;
    assert_eq!(all.len(), 101, "the last hundred unauthenticated of one write, and ours");
    assert_eq!(all[0].request_id, "id-5001000000", "the newest first");
    let ours = server.history.failures(1000, false).await;
    assert_eq!(ours.iter().map(|failure| failure.status).collect::<Vec<_>>(), [502]);
    let aggregates = server.history.aggregates(5).await.aggregates;
    assert_eq!((aggregates.requests(), aggregates.errors(), aggregates.unauthenticated[&401]), (1, 1, 5_000));
}
