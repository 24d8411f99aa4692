//! Alerts as a client and a webhook see them.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, UNCACHED, eventually, json as body, start, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{FakeOllama, Script, Step},
    },
};

/// Looks each second, and has nothing to say of the disk of the machine that tests run on.
const QUICK: [(&str, &str); 3] =
    [("ALERT_INTERVAL_S", "1"), ("ALERT_HOLD_S", "1"), ("ALERT_DISK_FREE_MB", "0")];

async fn alerts(server: &TestServer) -> Value {
    body(server.get("/analytics/alerts").send().await.unwrap()).await
}

/// Waits until the server has looked so many times more, from beginning to end: each look asks the backend.
async fn looks(server: &TestServer, more: usize) {
    let asked = || server.ollama.requests("/api/version").len();
    let before = asked();
    eventually("it looks", async || asked() > before + more).await;
}

async fn types(server: &TestServer) -> Vec<String> {
    let alerts = alerts(server).await;
    assert_eq!(alerts["alert_count"], alerts["alerts"].as_array().unwrap().len());
    let alerts = alerts["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["type"].as_str().unwrap().to_owned()).collect()
}

/// A webhook, which answers with an empty 200.
async fn webhook() -> (FakeOllama, String) {
    let webhook = FakeOllama::start().await;
    webhook.on("/hook?token=hush", Script::ok(vec![]));
    let url = format!("{}/hook?token=hush", webhook.url());
    (webhook, url)
}

/// Alert and state of what the webhook has got, in order.
fn told(webhook: &FakeOllama) -> Vec<String> {
    let text = |event: &Value, name: &str| event["data"][name].as_str().unwrap().to_owned();
    let events = webhook.requests("/hook?token=hush");
    events.iter().map(|event| format!("{} {}", text(event, "alert"), text(event, "state"))).collect()
}

#[tokio::test]
async fn without_an_alert_the_answer_is_a_success_with_the_thresholds() {
    let settings = [("ALERT_ERROR_RATE_THRESHOLD", "0.25"), ("ALERT_RESPONSE_TIME_THRESHOLD", "2.5")];
    let server = start_with(&settings).await;
    let expected = json!({
        "status": "success", "alerts": [], "alert_count": 0,
        "thresholds": {"error_rate": 0.25, "response_time": 2.5},
    });
    assert_eq!(alerts(&server).await, expected);
    assert_eq!(alerts(&start().await).await["thresholds"], json!({"error_rate": 0.1, "response_time": 5.0}));
}

#[tokio::test]
async fn failing_requests_raise_an_alert_that_nobody_has_to_ask_for() {
    let (webhook, url) = webhook().await;
    let server = start_with(&[&QUICK[..], &[("ALERT_WEBHOOK_URL", &url)]].concat()).await;
    server.ollama.on("/api/chat", Script::error(500, "no"));
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..12 {
        assert_eq!(server.post("/inference/chat", &hello).send().await.unwrap().status(), 502);
    }
    // The webhook is told although nobody has asked for alerts.
    eventually("the webhook is told", async || !told(&webhook).is_empty()).await;
    let answer = alerts(&server).await;
    assert_eq!(answer["status"], "critical", "that of what is worst");
    let alert = &answer["alerts"][0];
    let mut fields: Vec<&String> = alert.as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["message", "severity", "since", "threshold", "type", "value"]);
    assert_eq!((&alert["type"], &alert["severity"]), (&json!("high_error_rate"), &json!("critical")));
    assert!(alert["value"].as_f64().unwrap() > 0.9 && alert["threshold"] == 0.1, "{alert}");
    assert!(alert["message"].as_str().unwrap().contains("(threshold 10.0 %)"), "{alert}");
    assert_eq!(server.metric("simpleton_alert_firing{alert=\"high_error_rate\"}").await, 1.0);
    // Looks go on; the change is told once.
    looks(&server, 2).await;
    assert_eq!(told(&webhook), ["high_error_rate firing"]);
    assert_eq!(server.metric("simpleton_alert_notices_total{outcome=\"delivered\"}").await, 1.0);
}

/// A minute's worth of chats, of which some end with an error after their first byte.
async fn broken_streams(server: &TestServer, broken: usize) {
    let hello = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true});
    for n in 0..12 {
        let mut steps = vec![Step::Send(chat_line("word"))];
        steps.push(if n < broken { Step::Cut } else { Step::Send(last_line(1)) });
        server.ollama.on("/api/chat", Script::ok(steps));
        let reply = server.post("/inference/chat", &hello).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let told = reply.text().await.unwrap();
        assert_eq!(told.contains("event: error"), n < broken, "{told}");
    }
}

#[tokio::test]
async fn a_clients_mistakes_raise_no_alert_and_streams_that_break_do() {
    let server = start_with(&[&QUICK[..], &[UNCACHED]].concat()).await;
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    for n in 0..23 {
        let wrong = json!({"messages": []});
        server.post("/inference/chat", if n < 16 { &wrong } else { &hello }).send().await.unwrap();
        // Nor does what is asked of the service about itself.
        server.get("/analytics/errors?limit=x").header("x-api-key", KEY).send().await.unwrap();
    }
    looks(&server, 2).await;
    assert_eq!(types(&server).await, [""; 0]);
    broken_streams(&server, 9).await;
    eventually("it fires", async || types(&server).await == ["high_error_rate"]).await;
    let alert = alerts(&server).await["alerts"][0].clone();
    assert_eq!(alert["value"], 9.0 / 35.0, "{alert}");
}

/// The end of an alert is told with what is true then, in the log and to the webhook.
#[tokio::test]
async fn the_end_of_an_alert_quotes_the_figures_of_the_end() {
    let (webhook, url) = webhook().await;
    let server = start_with(&[&QUICK[..], &[("ALERT_WEBHOOK_URL", &url)]].concat()).await;
    server.ollama.on("/api/chat", Script::error(500, "no"));
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..10 {
        server.post("/inference/chat", &hello).send().await.unwrap();
    }
    eventually("it fires", async || told(&webhook) == ["high_error_rate firing"]).await;
    server.ollama.on("/api/chat", Script::chat(&["hi"], std::time::Duration::ZERO));
    for _ in 0..110 {
        server.post("/inference/chat", &hello).send().await.unwrap().bytes().await.unwrap();
    }
    eventually("it is over", async || told(&webhook).len() == 2).await;
    let last = webhook.requests("/hook?token=hush").pop().unwrap();
    assert_eq!((&last["data"]["state"], &last["data"]["value"]), (&json!("resolved"), &json!(10.0 / 120.0)));
    let message = last["data"]["message"].as_str().unwrap();
    assert!(message.starts_with("8.3 % of 120 requests in the last 5 minutes failed"), "{message}");
}

#[tokio::test]
async fn a_restart_forgets_no_failure_of_the_last_minutes() {
    let (webhook, url) = webhook().await;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let settings = [&QUICK[..], &[("ALERT_WEBHOOK_URL", &url), ("DATA_DIR", data_dir)]].concat();
    let server = start_with(&settings).await;
    broken_streams(&server, 8).await;
    eventually("the webhook is told", async || told(&webhook) == ["high_error_rate firing"]).await;
    let since = alerts(&server).await["alerts"][0]["since"].clone();
    server.stop().await;

    let server = start_with(&settings).await;
    // Long enough for it to be over, had the failures been forgotten.
    looks(&server, 4).await;
    let alert = alerts(&server).await["alerts"][0].clone();
    assert_eq!((&alert["type"], &alert["since"]), (&json!("high_error_rate"), &since));
    assert_eq!(alert["value"], 8.0 / 12.0, "{alert}");
    assert_eq!(told(&webhook), ["high_error_rate firing"], "nothing is told anew, and no end");
    // The live view tells of this process only.
    let mut live = server.get("/analytics/live").header("x-api-key", KEY).send().await.unwrap();
    let event = String::from_utf8(live.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.contains("\"requests_per_second\":0.0,"), "{event}");
}

#[tokio::test]
async fn unauthenticated_callers_raise_no_alert() {
    let server = start_with(&QUICK).await;
    for n in 0..50 {
        server.get(&format!("/nowhere/{n}")).send().await.unwrap();
        server.client.post(server.url("/inference/chat")).body("{}").send().await.unwrap();
    }
    looks(&server, 2).await;
    assert_eq!(types(&server).await, [""; 0]);
}

#[tokio::test]
async fn a_backend_that_goes_and_comes_back_is_told_twice_and_not_again_after_a_restart() {
    let (webhook, url) = webhook().await;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let settings = [&QUICK[..], &[("ALERT_WEBHOOK_URL", &url), ("DATA_DIR", data_dir)]].concat();
    let server = start_with(&settings).await;
    server.ollama.on("/api/version", Script::error(500, "no"));
    eventually("the webhook is told", async || told(&webhook) == ["backend_down firing"]).await;
    let since = alerts(&server).await["alerts"][0]["since"].clone();
    server.stop().await;

    // The same after a restart: its fake backend answers again, and until that has held, it goes on.
    let server = start_with(&settings).await;
    server.ollama.on("/api/version", Script::error(500, "no"));
    assert_eq!(alerts(&server).await["alerts"][0]["since"], since);
    looks(&server, 3).await;
    assert_eq!(told(&webhook), ["backend_down firing"], "nothing is told anew");
    server.ollama.on("/api/version", Script::ok(vec![Step::Send(json!({"version": "1"}).to_string())]));
    eventually("it is over", async || types(&server).await.is_empty()).await;
    eventually("the end is told", async || told(&webhook).len() > 1).await;
    assert_eq!(told(&webhook), ["backend_down firing", "backend_down resolved"]);
}

#[tokio::test]
async fn a_webhook_that_hangs_delays_neither_requests_nor_the_end() {
    let webhook = FakeOllama::start().await;
    webhook.on("/hook", Script { status: 200, steps: Vec::new(), delay: None });
    let url = format!("{}/hook", webhook.url());
    let server =
        start_with(&[QUICK[0], ("ALERT_WEBHOOK_URL", &url), ("ALERT_DISK_FREE_MB", "1000000000")]).await;
    eventually("it is being told", async || !webhook.requests("/hook").is_empty()).await;
    assert_eq!(types(&server).await, ["disk_nearly_full"]);
    tokio::time::timeout(std::time::Duration::from_secs(8), server.stop()).await.expect("it does not wait");
}

#[tokio::test]
async fn a_cache_without_its_redis_is_an_alert() {
    let settings = [&QUICK[..], &[("REDIS_URL", "redis://127.0.0.1:1")]].concat();
    let server = start_with(&settings).await;
    eventually("it fires", async || types(&server).await == ["cache_unavailable"]).await;
}
