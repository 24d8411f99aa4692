//! Tests of `/analytics`: the figures match the load that was sent.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{
        KEY, TestServer, UNCACHED, eventually, json as body, problem, start, start_uncached, start_with,
    },
    ollama::{
        lines::chat_line,
        scripted::{Script, Step},
    },
};

fn hello(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream})
}

pub async fn ask(server: &TestServer, path: &str) -> Value {
    body(server.get(path).header("x-api-key", KEY).send().await.unwrap()).await
}

pub async fn stats(server: &TestServer) -> Value {
    ask(server, "/analytics/stats?since_minutes=60").await
}

/// Some of everything: 4 chats, 2 generated texts, 1 refused by the model, 1 wrong request.
pub async fn load(server: &TestServer) {
    for stream in [false, true, false, true] {
        server.post("/inference/chat", &hello(stream)).send().await.unwrap().bytes().await.unwrap();
    }
    for _ in 0..2 {
        server
            .post("/inference/generate", &json!({"prompt": "hi"}))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
    }
    server.ollama.on("/api/chat", Script::error(500, "no"));
    server.post("/inference/chat", &hello(false)).send().await.unwrap().bytes().await.unwrap();
    let wrong = json!({"messages": [], "temperature": "my secret prompt"});
    server.post("/inference/chat", &wrong).send().await.unwrap().bytes().await.unwrap();
}

#[tokio::test]
async fn stats_and_metrics_tell_the_load_that_was_sent() {
    let server = start_uncached().await;
    load(&server).await;
    let stats = stats(&server).await;
    assert_eq!((&stats["status"], &stats["period"]["since_minutes"]), (&json!("success"), &json!(60)));
    let metrics = &stats["metrics"];
    assert_eq!((&metrics["total_requests"], &metrics["total_errors"]), (&json!(8), &json!(2)));
    assert_eq!((&metrics["error_rate"], &metrics["retention_hours"]), (&json!(25.0), &json!(168)));
    assert_eq!(metrics["status_distribution"], json!({"2xx": 6, "4xx": 1, "5xx": 1}));
    let chat = &metrics["endpoint_breakdown"]["POST /inference/chat"];
    assert_eq!((&chat["requests"], &chat["errors"]), (&json!(6), &json!(2)));
    let time = |name: &str| chat[name].as_f64().unwrap();
    assert!(0.0 < time("min_time") && time("min_time") <= time("p50_time"));
    assert!(time("p50_time") <= time("p95_time") && time("p95_time") <= time("p99_time"));
    assert!(time("p99_time") <= time("max_time") && time("avg_time") <= time("max_time"));
    for name in ["avg", "p50", "p95", "p99"] {
        assert!(metrics[format!("{name}_response_time")].as_f64().unwrap() > 0.0, "{name}");
    }
    assert!(metrics["requests_per_minute"].as_f64().unwrap() > 0.0);
    let llm = &metrics["llm"]["qwen2.5:7b"];
    assert_eq!((&llm["requests"], &llm["errors"]), (&json!(6), &json!(1)));
    assert_eq!((&llm["prompt_tokens"], &llm["completion_tokens"]), (&json!(42), &json!(16)));
    let labels = "model=\"qwen2.5:7b\"";
    for (series, value) in [
        (
            "simpleton_requests_total{method=\"POST\",endpoint=\"/inference/chat\",status=\"200\"}"
                .to_owned(),
            4.0,
        ),
        (
            "simpleton_requests_total{method=\"POST\",endpoint=\"/inference/chat\",status=\"502\"}"
                .to_owned(),
            1.0,
        ),
        ("simpleton_errors_total{endpoint=\"/inference/chat\",error_type=\"invalid\"}".to_owned(), 1.0),
        (format!("simpleton_llm_requests_total{{{labels},endpoint=\"/inference/generate\"}}"), 2.0),
        (format!("simpleton_llm_tokens_total{{{labels},token_type=\"completion\"}}"), 16.0),
        (format!("simpleton_llm_time_to_first_token_seconds_count{{{labels}}}"), 6.0),
        (format!("simpleton_llm_time_per_output_token_seconds_count{{{labels}}}"), 6.0),
        ("simpleton_upstream_errors_total{backend=\"ollama\",error_type=\"bad_gateway\"}".to_owned(), 1.0),
        ("simpleton_llm_requests_running".to_owned(), 0.0),
        ("simpleton_breaker_open{breaker=\"cache\"}".to_owned(), 0.0),
    ] {
        assert_eq!(server.metric(&series).await, value, "{series}");
    }
    assert!(server.metric("simpleton_request_bytes_total{endpoint=\"/inference/chat\"}").await > 100.0);
    assert!(server.metric("simpleton_response_bytes_total{endpoint=\"/inference/chat\"}").await > 500.0);
    assert!(server.metric("process_resident_memory_bytes").await > 1e6);
}

#[tokio::test]
async fn what_is_asked_for_is_held_within_bounds() {
    let server = start().await;
    let minutes = "must be a whole number from 1 to 10080";
    let limit = "must be a whole number from 1 to 1000";
    for (path, detail) in [
        ("/analytics/stats?since_minutes=1000000000000", minutes),
        ("/analytics/stats?since_minutes=99999999999999999999999999", minutes),
        ("/analytics/stats?since_minutes=0", minutes),
        ("/analytics/stats?since_minutes=-5", minutes),
        ("/analytics/stats?since_minutes=1.5", minutes),
        ("/analytics/stats?since_minutes=10081", minutes),
        ("/analytics/errors?limit=-5", limit),
        ("/analytics/errors?limit=0", limit),
        ("/analytics/errors?limit=1001", limit),
        ("/analytics/errors?limit=x", limit),
        ("/analytics/usage?by=phone", "must be one of key, model, endpoint"),
        ("/analytics/usage?since_minutes=0", minutes),
        ("/analytics/series?metric=x", "must be one of requests, errors"),
        ("/analytics/series?endpoint=POST", "must be the method and route"),
        ("/analytics/series?endpoint=POST%20/inference", "must be the method and route"),
        ("/analytics/series?metric=cache_hits&endpoint=POST%20/inference/chat", "is not possible with"),
        ("/analytics/series?since_minutes=0", minutes),
        ("/analytics/series?step=0", "must be a whole number from 1 to 60"),
        ("/analytics/series?step=61", "must be a whole number from 1 to 60"),
        ("/analytics/series?since_minutes=1441&step=7", "must be a multiple of 60"),
    ] {
        let (status, problem) = problem(server.get(path).header("x-api-key", KEY)).await;
        assert_eq!(status, 422, "{path}");
        let told = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(told.starts_with(detail), "{path}: {told}");
    }
    for path in [
        "/analytics/stats",
        "/analytics/stats?since_minutes=10080",
        "/analytics/errors?limit=1000",
        "/analytics/usage?by=model",
        "/analytics/series?metric=p95_response_time&since_minutes=10080",
        "/analytics/series?since_minutes=1441&step=120",
    ] {
        assert_eq!(server.get(path).header("x-api-key", KEY).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn unauthenticated_callers_are_counted_apart() {
    let server = start().await;
    server.get("/").send().await.unwrap();
    for n in 0..30 {
        server.get(&format!("/wp-admin/{n}")).send().await.unwrap();
        server.get("/models").header("x-api-key", format!("guess-{n}-0123456789")).send().await.unwrap();
    }
    // A path that does not exist, from somebody who may be here, is somebody's mistake.
    let (status, _) = problem(server.get("/no/such/path").header("x-api-key", KEY)).await;
    assert_eq!(status, 404);
    let stats = stats(&server).await;
    let metrics = &stats["metrics"];
    assert_eq!((&metrics["total_requests"], &metrics["total_errors"]), (&json!(1), &json!(1)));
    assert_eq!(metrics["unauthenticated"], json!({"requests": 60, "by_status": {"401": 30, "404": 30}}));
    assert_eq!(metrics["status_distribution"], json!({"4xx": 1}));
    let errors = ask(&server, "/analytics/errors?limit=1000").await;
    assert_eq!(errors["count"], 61);
    let ours = ask(&server, "/analytics/errors?limit=1000&unauthenticated=false").await;
    assert_eq!((&ours["count"], &ours["errors"][0]["path"]), (&json!(1), &json!("/no/such/path")));
}

#[tokio::test]
async fn errors_say_what_went_wrong_and_nothing_that_was_said() {
    let server = start_uncached().await;
    load(&server).await;
    server.post_text("/inference/chat", "{\"messages\": my secret prompt").send().await.unwrap();
    server.ollama.on("/api/chat", Script::error(400, "cannot parse: my secret prompt"));
    server.post("/inference/chat", &hello(false)).header("x-request-id", "mine-1").send().await.unwrap();
    server.get("/models").header("x-api-key", "my-secret-wrong-key").send().await.unwrap();
    let text = ask(&server, "/analytics/errors?limit=100").await.to_string();
    for secret in ["secret", "my secret prompt", KEY] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let errors = ask(&server, "/analytics/errors").await;
    let told: Vec<_> = errors["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["status"].as_u64().unwrap(), error["error"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (401, "The API key is not valid; use one of the keys that the server accepts."),
            (422, "Ollama refused the request."),
            (400, "The body is not valid JSON."),
            (422, "Refused: /temperature must be a number, not a string."),
            (502, "Ollama answered with status 500; see its log for the cause."),
        ]
    );
    let mine = &errors["errors"][1];
    assert_eq!((&mine["request_id"], &mine["method"]), (&json!("mine-1"), &json!("POST")));
    assert_eq!((&mine["path"], &mine["kind"]), (&json!("/inference/chat"), &json!("invalid")));
    assert!(mine["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&errors["status"], &errors["count"]), (&json!("success"), &json!(5)));
}

#[tokio::test]
async fn usage_is_told_by_key_model_and_endpoint() {
    let other = "other-key-0123456789";
    let server = start_with(&[("API_KEYS", &format!("{KEY},{other}")), UNCACHED]).await;
    load(&server).await;
    let request = server
        .client
        .post(server.url("/inference/generate"))
        .header("authorization", format!("Bearer {other}"));
    request.body("{\"prompt\": \"hi\"}").send().await.unwrap().bytes().await.unwrap();
    let usage = async |by: &str| {
        ask(&server, &format!("/analytics/usage?since_minutes=60&by={by}")).await["usage"].clone()
    };
    let keys = usage("key").await;
    let of = |at: usize, name: &str| keys[at][name].as_u64().unwrap();
    assert_eq!((of(0, "prompt_tokens"), of(0, "completion_tokens"), of(0, "errors")), (42, 16, 2));
    assert_eq!((of(1, "requests"), of(1, "prompt_tokens"), of(1, "completion_tokens")), (1, 7, 2));
    assert!(of(1, "bytes_in") == 16 && of(1, "bytes_out") > 50, "{keys}");
    let name = keys[1]["name"].as_str().unwrap();
    assert!(name.len() == 8 && !keys.to_string().contains("key-0123"), "{keys}");
    let models = usage("model").await;
    let of_model = ["name", "requests", "errors"].map(|field| &models[0][field]);
    assert_eq!(of_model, [&json!("qwen2.5:7b"), &json!(8), &json!(1)], "calls that failed count too");
    let endpoints = usage("endpoint").await;
    let generate = endpoints.as_array().unwrap().iter().find(|row| row["name"] == "POST /inference/generate");
    assert_eq!(
        (&generate.unwrap()["requests"], &generate.unwrap()["prompt_tokens"]),
        (&json!(3), &json!(21))
    );
}

/// Prometheus scrapes and a container is probed every few seconds, whether or not anybody else comes.
#[tokio::test]
async fn the_services_own_routes_are_counted_apart() {
    let server = start().await;
    load(&server).await;
    let before = stats(&server).await["metrics"].clone();
    let own = ["/", "/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"];
    for path in own.into_iter().chain(["/analytics/stats", "/analytics/alerts", "/analytics/errors"]) {
        for _ in 0..5 {
            server.get(path).header("x-api-key", KEY).send().await.unwrap().bytes().await.unwrap();
        }
    }
    // What is refused there is no error of the API either.
    assert_eq!(problem(server.get("/analytics/errors?limit=x").header("x-api-key", KEY)).await.0, 422);
    let after = stats(&server).await["metrics"].clone();
    for figure in [
        "total_requests",
        "total_errors",
        "error_rate",
        "avg_response_time",
        "p50_response_time",
        "status_distribution",
        "endpoint_breakdown",
    ] {
        assert_eq!(after[figure], before[figure], "{figure}");
    }
    let service = &after["service"];
    let scrapes = &service["endpoint_breakdown"]["GET /metrics"];
    assert_eq!((&scrapes["requests"], &service["total_errors"]), (&json!(5), &json!(1)));
    // One look at the figures was before, and this one is not over.
    assert_eq!(service["total_requests"], 52);
    // Where somebody asks by endpoint or by key, too.
    let usage = ask(&server, "/analytics/usage?since_minutes=60&by=endpoint").await;
    assert!(!usage.to_string().contains("/metrics"), "{usage}");
    let usage = ask(&server, "/analytics/usage?since_minutes=60&by=key").await;
    assert_eq!(usage["usage"][0]["requests"], 8, "{usage}");
    let series = ask(&server, "/analytics/series?metric=requests&since_minutes=120&step=120").await;
    let points = series["points"].as_array().unwrap().iter().filter_map(|point| point["value"].as_f64());
    assert_eq!(points.sum::<f64>(), 8.0, "{series}");
    // Each endpoint has as many as the totals say.
    for (endpoint, figures) in after["endpoint_breakdown"].as_object().unwrap() {
        let path =
            format!("/analytics/series?since_minutes=120&step=120&endpoint={}", endpoint.replace(' ', "%20"));
        let series = ask(&server, &path).await;
        let points = series["points"].as_array().unwrap().iter().filter_map(|point| point["value"].as_f64());
        assert_eq!(Some(points.sum::<f64>()), figures["requests"].as_f64(), "{series}");
    }
    // Prometheus has them by endpoint, as any other.
    let scraped = "simpleton_requests_total{method=\"GET\",endpoint=\"/metrics\",status=\"200\"}";
    assert_eq!(server.metric(scraped).await, 5.0);
}

#[tokio::test]
async fn figures_can_be_closed() {
    let server = start_with(&[("ANALYTICS_REQUIRE_KEY", "true")]).await;
    for path in ["/analytics/stats", "/metrics"] {
        assert_eq!(server.get(path).send().await.unwrap().status(), 401, "{path}");
        assert_eq!(server.get(path).header("x-api-key", KEY).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(server.get("/analytics/health").send().await.unwrap().status(), 200);
    let open = start().await;
    for path in ["/analytics/stats", "/metrics", "/analytics/health"] {
        assert_eq!(open.get(path).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn monitoring_can_be_switched_off_and_says_so() {
    let server = start_with(&[("MONITORING_ENABLED", "false")]).await;
    load(&server).await;
    let metrics = stats(&server).await["metrics"].clone();
    assert_eq!((&metrics["total_requests"], &metrics["cache"]["misses"]), (&json!(0), &json!(0)));
    assert_eq!(ask(&server, "/analytics/errors").await["count"], 0);
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("simpleton_requests_total{"), "{text}");
    let health = ask(&server, "/analytics/health").await;
    assert_eq!(health["components"]["monitoring"]["status"], "disabled");
    let health = ask(&start().await, "/analytics/health").await;
    assert_eq!(
        (&health["status"], &health["components"]["monitoring"]["status"]),
        (&json!("healthy"), &json!("enabled"))
    );
    assert_eq!(health["components"]["storage"]["status"], "available");
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told_and_the_service_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // A folder in the file's place stops root as well.
    let server = start_with(&[("METRICS_FILE", folder.path().to_str().unwrap())]).await;
    load(&server).await;
    eventually("it is told", async || ask(&server, "/analytics/health").await["status"] == "degraded").await;
    let storage = ask(&server, "/analytics/health").await["components"]["storage"].clone();
    assert!(storage["detail"].as_str().unwrap().contains("in memory only"), "{storage}");
    assert!(!storage.to_string().contains(folder.path().to_str().unwrap()), "no path of ours: {storage}");
    let metrics = stats(&server).await["metrics"].clone();
    assert!(metrics["total_requests"].as_u64().unwrap() >= 8);
}

#[tokio::test]
async fn clients_that_leave_are_counted_once_and_leave_nothing_behind() {
    let server = start_uncached().await;
    let mut steps = Vec::new();
    for _ in 0..200 {
        steps.extend([Step::Send(chat_line("word")), Step::Pause(Duration::from_millis(2))]);
    }
    steps.push(Step::Hang);
    server.ollama.on("/api/chat", Script::ok(steps));
    // Spread over the whole life of a request: half of them at any moment, also before the server
    // has seen them, half of them when they have read a part of the reply.
    let leave = async |n: u64| {
        let request = server.post("/inference/chat", &hello(n.is_multiple_of(2))).send();
        if n.is_multiple_of(2) {
            let mut reply = request.await.unwrap();
            for _ in 0..=n % 7 {
                reply.chunk().await.unwrap().unwrap();
            }
        } else {
            let stay = Duration::from_micros(n.wrapping_mul(7_919) % 60_000);
            let reply = tokio::time::timeout(stay, request).await;
            assert!(reply.is_err(), "the reply has no end");
        }
    };
    for round in 0..20 {
        futures_util::future::join_all((0..50).map(|n| leave(round * 50 + n))).await;
    }
    // The request that asks is itself in progress.
    eventually("nobody is left", async || server.metric("simpleton_requests_in_progress").await == 1.0).await;
    eventually("no call is left", async || server.metric("simpleton_llm_requests_running").await == 0.0)
        .await;
    let left = "simpleton_requests_total{method=\"POST\",endpoint=\"/inference/chat\",status=\"499\"}";
    let counted = server.metric(left).await;
    // Of the other half, some have left before they had sent anything.
    assert!((500.0..=1000.0).contains(&counted), "{counted}");
    let metrics = stats(&server).await["metrics"].clone();
    assert_eq!(metrics["client_closed"].as_f64(), Some(counted));
    let chat = &metrics["endpoint_breakdown"]["POST /inference/chat"];
    assert_eq!(
        (chat["requests"].as_f64(), &chat["errors"]),
        (Some(counted), &json!(0)),
        "each once, none a failure"
    );
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about() {
    let server = start().await;
    load(&server).await;
    server.get("/nowhere").send().await.unwrap();
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let mut promtool = tokio::process::Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is needed: run `make test`, which installs it");
    let mut input = promtool.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, text.as_bytes()).await.unwrap();
    drop(input);
    let output = promtool.wait_with_output().await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
