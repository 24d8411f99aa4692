//! The dashboard as the server sees it: its files, signing in and out, and what it shows of the settings and models.

use serde_json::{Value, json};

use crate::harness::{KEY, TestServer, json as body, problem, start, start_with};

#[tokio::test]
async fn settings_are_shown_without_their_secrets() {
    let secrets = [
        ("API_KEYS", "test-key-0123456789,second-key-0123"),
        ("REDIS_URL", "redis://user:hidden-password@127.0.0.1:1"),
        ("LOG_LEVEL", "warn"),
    ];
    let server = start_with(&secrets).await;
    assert_eq!(problem(server.get("/settings")).await.0, 401);
    let text = server.get("/settings").header("x-api-key", KEY).send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("hidden-password") && !text.contains("second-key"), "{text}");
    let reply: Value = serde_json::from_str(&text).unwrap();
    let settings = reply["settings"].as_array().unwrap();
    let setting = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap();
    let keys = setting("API_KEYS");
    assert_eq!((&keys["value"], &keys["secret"]), (&json!("[redacted]"), &json!(true)));
    assert_eq!(setting("REDIS_URL")["value"], "redis://[redacted]@127.0.0.1:1");
    let level = setting("LOG_LEVEL");
    let shown = (&level["section"], &level["value"], &level["default"], &level["source"], &level["secret"]);
    let expected = ["Monitoring", "warn", "info", "environment"].map(Value::from);
    assert_eq!(shown, (&expected[0], &expected[1], &expected[2], &expected[3], &json!(false)));
    assert!(level["description"].as_str().unwrap().contains("severe"));
    let unset = setting("QDRANT_URL");
    assert_eq!(
        (&unset["value"], &unset["default"], &unset["source"]),
        (&Value::Null, &Value::Null, &json!("default"))
    );
    assert_eq!(settings.len(), simpleton::config::load(&simpleton::config::Sources::default()).0.len());
}

async fn suggested(server: &TestServer) -> Value {
    body(server.get("/models/suggested").header("x-api-key", KEY).send().await.unwrap()).await
}

#[tokio::test]
async fn models_are_suggested_that_the_memory_has_room_for() {
    let engine = [("OLLAMA_BASE_URL", ""), ("ENGINE_MEMORY_MB", "4000")];
    let reply = suggested(&start_with(&engine).await).await;
    assert_eq!(reply["memory"]["for_models"], 4_000_000_000_u64, "{reply}");
    assert!(reply["memory"]["total"].as_u64().unwrap() > 100_000_000, "{reply}");
    let models = reply["models"].as_array().unwrap();
    let model = |name: &str| models.iter().find(|model| model["name"] == name).unwrap();
    for (name, fits) in
        [("llama3.2:1b", true), ("all-minilm", true), ("moondream", true), ("qwen3:8b", false)]
    {
        let model = model(name);
        assert_eq!((&model["fits"], &model["installed"]), (&json!(fits), &json!(false)), "{model}");
        assert!(model["memory"].as_u64().unwrap() > model["size"].as_u64().unwrap(), "{model}");
    }
    assert_eq!(model("all-minilm")["capabilities"], json!(["embedding"]));
}

#[tokio::test]
async fn over_ollama_models_are_suggested_without_a_promise() {
    use crate::ollama::{
        lines,
        scripted::{Script, Step},
    };
    let server = start().await;
    let models = lines::tags(&[("llava:7b", "aa"), ("phi4:latest", "bb")]);
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(models.to_string())]));
    let reply = suggested(&server).await;
    assert_eq!(reply["memory"], Value::Null);
    for model in reply["models"].as_array().unwrap() {
        let installed = ["llava:7b", "phi4"].contains(&model["name"].as_str().unwrap());
        let told = (&model["memory"], &model["fits"], &model["installed"]);
        assert_eq!(told, (&Value::Null, &Value::Null, &json!(installed)), "{model}");
    }
}
