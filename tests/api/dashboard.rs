//! The dashboard as the server sees it: its files, signing in and out, and what it shows of the settings and models.

use serde_json::{Value, json};

use crate::harness::{KEY, problem, start_with};

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
