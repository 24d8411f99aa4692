use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, eventually, json as body, problem, start, start_uncached, start_with},
    ollama::scripted::{Script, Step},
};

#[tokio::test]
async fn the_service_describes_itself_without_a_key() {
    let server = start().await;
    let root = body(server.get("/").send().await.unwrap()).await;
    assert_eq!(root["service"], "Simpleton LLM Service");
    assert_eq!((&root["docs"], &root["health"]), (&json!("/docs"), &json!("/health")));
    let health = body(server.get("/health").send().await.unwrap()).await;
    assert_eq!((&health["status"], &health["ollama_status"]), (&json!("healthy"), &json!("connected")));
    assert_eq!(health["components"]["backend"]["version"], "0.99.0");
    let (status, ready) = asked(&server, "/health/ready").await;
    assert_eq!((status, &ready), (200, &health), "the same in both");
}

async fn asked(server: &TestServer, path: &str) -> (u16, Value) {
    let reply = server.get(path).send().await.unwrap();
    (reply.status().as_u16(), body(reply).await)
}

/// Returns the replies of the three health routes, and the problem that `/health` names.
async fn told(server: &TestServer) -> (u16, u16, String, String) {
    let (status, health) = asked(server, "/health").await;
    assert_eq!(status, 200, "it answers whatever its parts do");
    let (live, _) = asked(server, "/health/live").await;
    let (ready, same) = asked(server, "/health/ready").await;
    assert_eq!(same["status"], health["status"]);
    let parts = health["components"].as_object().unwrap().values();
    let details: Vec<&str> = parts.filter_map(|part| part["detail"].as_str()).collect();
    (live, ready, health["status"].as_str().unwrap().to_owned(), details.join(" "))
}

#[tokio::test]
async fn without_what_answers_prompts_the_service_is_alive_and_not_ready() {
    let dead = start_with(&[("OLLAMA_BASE_URL", "http://127.0.0.1:1")]).await;
    let (live, ready, status, detail) = told(&dead).await;
    assert_eq!((live, ready, status.as_str()), (200, 503, "unhealthy"));
    assert!(detail.contains("Start Ollama, or correct OLLAMA_BASE_URL"), "{detail}");
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("llama-server");
    let engine = [("OLLAMA_BASE_URL", ""), ("LLAMA_SERVER", missing.to_str().unwrap())];
    let (live, ready, status, detail) = told(&start_with(&engine).await).await;
    assert_eq!((live, ready, status.as_str()), (200, 503, "unhealthy"));
    assert!(detail.contains("simpleton engine install"), "{detail}");
    let answers = start().await;
    answers.ollama.on("/api/tags", Script::ok(vec![Step::Send("{\"models\": []}".to_owned())]));
    let (live, ready, status, detail) = told(&answers).await;
    assert_eq!((live, ready, status.as_str()), (200, 503, "unhealthy"));
    assert!(detail.contains("ollama pull qwen2.5:7b"), "{detail}");
}

#[tokio::test]
async fn what_makes_answers_worse_only_is_told_and_the_service_stays_ready() {
    let named = start_with(&[("DEFAULT_INFERENCE_MODEL", "mine:7b")]).await;
    let (live, ready, status, detail) = told(&named).await;
    assert_eq!((live, ready, status.as_str()), (200, 200, "degraded"));
    assert!(detail.contains("mine:7b") && detail.contains("DEFAULT_INFERENCE_MODEL"), "{detail}");
    let uncached = start_with(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    eventually("Redis is missed", async || {
        let (live, ready, status, detail) = told(&uncached).await;
        (live, ready, status.as_str()) == (200, 200, "degraded") && detail.contains("The cache has a problem")
    })
    .await;
}

#[tokio::test]
async fn health_does_not_wait_for_a_backend_that_hangs() {
    let server = start().await;
    let hanging = Script { status: 200, steps: Vec::new(), delay: None };
    server.ollama.on("/api/version", hanging);
    let health = body(server.get("/health").send().await.unwrap()).await;
    assert_eq!((&health["status"], &health["ollama_status"]), (&json!("unhealthy"), &json!("disconnected")));
    let began = std::time::Instant::now();
    assert_eq!(asked(&server, "/health/ready").await.0, 503);
    assert_eq!(asked(&server, "/health/live").await.0, 200);
    // One second, and what a busy machine adds.
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn models_come_with_what_they_can_do() {
    let server = start().await;
    let reply = body(server.get("/models").header("x-api-key", KEY).send().await.unwrap()).await;
    assert_eq!(
        reply["models"][0],
        json!({"name": "qwen2.5:7b", "size": 4_700_000_000_u64, "modified_at": "2025-10-01T10:00:00.5Z", "digest": "aa",
            "capabilities": ["completion", "vision", "tools"], "context_length": 32768, "context": {"trained": 32768}, "source": "ollama", "loaded": false,
            "details": {"family": "qwen2", "parameter_size": "7.6B", "quantization_level": "Q4_K_M"}})
    );
    assert_eq!(reply["models"][1]["name"], "llava");
}

#[tokio::test]
async fn only_the_public_routes_open_without_a_key() {
    let server = start().await;
    for path in [
        "/",
        "/health",
        "/health/live",
        "/health/ready/",
        "/docs",
        "/docs/",
        "/docs/swagger-ui.css",
        "/dashboard",
        "/dashboard/",
        "/dashboard/models",
        "/openapi.json",
        "/metrics",
    ] {
        assert_eq!(server.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let document: serde_json::Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let documented = document["paths"].as_object().unwrap();
    let paths = simpleton::http::route_labels().into_iter().map(|route| route.template);
    let pages = ["/docs", "/docs/{file}", "/openapi.json", "/dashboard", "/dashboard/{*path}"];
    for path in paths.filter(|path| !pages.contains(path)) {
        assert!(documented.contains_key(path), "{path} is documented");
        for (method, operation) in documented[path].as_object().unwrap() {
            let request = server.client.request(method.to_uppercase().parse().unwrap(), server.url(path));
            let status = request.send().await.unwrap().status();
            let closed = operation.get("security").is_some();
            assert_eq!(status == 401, closed, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn the_documentation_works_offline() {
    let server = start().await;
    let page = server.get("/docs").send().await.unwrap();
    assert_eq!(page.headers()["x-frame-options"], "DENY");
    let page = page.text().await.unwrap();
    assert!(page.contains("<base href=\"/docs/\">"));
    assert!(!page.contains("https://"), "nothing is loaded from elsewhere");
    for part in page.split('"').filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        let path = format!("/docs/{}", part.trim_start_matches("./"));
        assert_eq!(server.get(&path).send().await.unwrap().status(), 200, "{path}");
    }
    let script = server.get("/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(script.contains("/openapi.json"));
}

#[tokio::test]
async fn unknown_paths_and_methods_add_one_series_at_most() {
    let server = start().await;
    for n in 0..50 {
        let (status, _) = problem(server.get(&format!("/nothing/{n}"))).await;
        assert_eq!(status, 404);
    }
    let response =
        server.client.delete(server.url("/inference/chat")).header("x-api-key", KEY).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let series = text
        .lines()
        .filter(|line| line.starts_with("simpleton_requests_total") && line.contains("unmatched"));
    assert_eq!(
        series.collect::<Vec<_>>(),
        ["simpleton_requests_total{method=\"GET\",endpoint=\"unmatched\",status=\"404\"} 50"]
    );
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let server = start().await;
    for (sent, kept) in [("abc-1.2:3_x", true), ("a b", false), ("", false), (&"x".repeat(129), false)] {
        let response = server.get("/").header("x-request-id", sent).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(id == sent, kept, "{sent:?} → {id:?}");
        assert!(!id.is_empty());
    }
}

#[tokio::test]
async fn metrics_speak_both_formats_and_count_what_happened() {
    let server = start_uncached().await;
    let request = json!({"prompt": "hi"});
    for _ in 0..3 {
        server.post("/inference/generate", &request).send().await.unwrap().bytes().await.unwrap();
    }
    let labels = "method=\"POST\",endpoint=\"/inference/generate\"";
    assert_eq!(server.metric(&format!("simpleton_requests_total{{{labels},status=\"200\"}}")).await, 3.0);
    assert_eq!(server.metric(&format!("simpleton_request_duration_seconds_count{{{labels}}}")).await, 3.0);
    let model = "model=\"qwen2.5:7b\"";
    assert_eq!(
        server
            .metric(&format!("simpleton_llm_requests_total{{{model},endpoint=\"/inference/generate\"}}"))
            .await,
        3.0
    );
    assert_eq!(
        server.metric(&format!("simpleton_llm_tokens_total{{{model},token_type=\"completion\"}}")).await,
        6.0
    );
    let open = server
        .get("/metrics")
        .header("accept", "application/openmetrics-text; version=1.0.0")
        .send()
        .await
        .unwrap();
    assert!(open.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_key_is_made_when_none_is_given() {
    let server = start_with(&[("API_KEYS", "")]).await;
    let (status, _) = problem(server.get("/models")).await;
    assert_eq!(status, 401);
}
