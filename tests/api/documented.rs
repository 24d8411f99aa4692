//! The exchanges that the documentation of OpenAI and Ollama shows (`fixtures/openai.json`, `fixtures/ollama.json`):
//! each request is sent as it stands there, and its answer has the documented fields, in the documented order.

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, start_uncached},
    ollama::{
        lines::{last_line, show, tags},
        scripted::{Script, Step},
    },
};

/// Fields whose values are the documented ones, not only of the same type.
const SAME: &[&str] = &[
    "object",
    "type",
    "role",
    "status",
    "content",
    "text",
    "response",
    "done",
    "finish_reason",
    "instructions",
    "effort",
    "tool_choice",
    "error",
];

/// Documented fields that answers leave out or that are null: they are about OpenAI's own service, or about tokens that
/// the scripted backend does not count, or defaults, or null where Ollama leaves them out itself.
const LEFT_OUT: &[&str] = &[
    "annotations",
    "service_tier",
    "system_fingerprint",
    "shutdown_date",
    "cache_write_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "temperature",
    "top_p",
    "user",
    "strict",
    "images",
];

/// Checks that a value has all fields of the documented one, of the same types.
pub fn assert_fits(value: &Value, documented: &Value) {
    fits(value, documented, (&[], &[]));
}

fn fits(value: &Value, documented: &Value, (same, left_out): (&[&str], &[&str])) {
    match (value, documented) {
        (Value::Object(value), Value::Object(documented)) => {
            for (name, documented) in documented {
                match value.get(name) {
                    None | Some(Value::Null) if left_out.contains(&&**name) => {}
                    None => panic!("{name} is not in {value:?}"),
                    Some(value)
                        if same.contains(&&**name) && !documented.is_array() && !documented.is_object() =>
                    {
                        assert_eq!(value, documented, "{name}");
                    }
                    Some(value) => fits(value, documented, (same, left_out)),
                }
            }
        }
        (Value::Array(values), Value::Array(documented)) => {
            assert!(values.len() >= documented.len(), "{values:?}");
            values
                .iter()
                .zip(documented)
                .for_each(|(value, documented)| fits(value, documented, (same, left_out)));
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_))
        | (_, Value::Null) => {}
        _ => panic!("{value} is not like {documented}"),
    }
}

fn exchanges(api: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/{api}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The backend has the models of the documentation, and says what the documented model said, with fields that this
/// version does not know.
fn script(server: &TestServer, exchange: &Value, models: &[&str]) {
    let answers = |value: Value| Script::ok(vec![Step::Send(value.to_string())]);
    server
        .ollama
        .on("/api/tags", answers(tags(&models.iter().map(|name| (*name, *name)).collect::<Vec<_>>())));
    let mut shown = show(&["completion", "vision", "tools", "insert", "thinking"]);
    shown["model_info"] = exchange["response"]["model_info"].clone();
    server.ollama.on("/api/show", answers(shown));
    server.ollama.on("/api/show text-embedding-ada-002", answers(show(&["embedding"])));
    server.ollama.on("/api/show all-minilm", answers(show(&["embedding"])));
    if exchange["path"] == "/api/pull" {
        let lines = exchange["events"].as_array().into_iter().flatten().map(|line| format!("{line}\n"));
        let lines: String = lines.chain(["{\"status\":\"success\"}\n".to_owned()]).collect();
        server.ollama.on("/api/pull", Script::ok(vec![Step::Send(lines)]));
    }
    for (path, field) in [("/api/chat", "message"), ("/api/generate", "response")] {
        let lines = exchange["says"].as_array().into_iter().flatten().map(|said| {
            let said = if field == "response" { said[field].clone() } else { said.clone() };
            json!({"model": "m", "created_at": "2026-11-30T04:00:00Z", field: said, "done": false,
                "future": {"field": [1, null]}})
            .to_string()
                + "\n"
        });
        let is_cut = exchange["response"]["choices"][0]["finish_reason"] == "length";
        let end = last_line(9).replace("\"stop\"", if is_cut { "\"length\"" } else { "\"stop\"" });
        server.ollama.on(path, Script::ok(vec![Step::Send(lines.collect::<String>() + &end)]));
    }
}

/// The events of a stream, or its lines.
fn parts(text: &str) -> Vec<Value> {
    let data = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    data.filter(|data| data.starts_with('{')).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The first of each kind of events that follow each other.
fn kinds(events: &[Value]) -> Vec<(String, &Value)> {
    let mut kinds: Vec<(String, &Value)> = events
        .iter()
        .map(|event| {
            let choice = &event["choices"][0];
            let delta: Vec<&String> =
                choice["delta"].as_object().into_iter().flat_map(|delta| delta.keys()).collect();
            let transfer = event["digest"].is_string();
            let status = if transfer { &Value::Null } else { &event["status"] };
            (
                format!("{} {delta:?} {} {} {status}", event["type"], choice["finish_reason"], event["done"]),
                event,
            )
        })
        .collect();
    kinds.dedup_by(|(one, _), (other, _)| one == other);
    kinds
}

async fn check(api: &str) {
    let server = start_uncached().await;
    let exchanges = exchanges(api);
    let mut models: Vec<&str> =
        exchanges.iter().filter_map(|exchange| exchange["request"]["model"].as_str()).collect();
    // In memory, by the script.
    models.push("qwen2.5:7b");
    assert!(exchanges.len() > 10);
    for exchange in &exchanges {
        let title = exchange["title"].as_str().unwrap();
        script(&server, exchange, &models);
        let path = exchange["path"].as_str().unwrap();
        let request = match exchange["method"].as_str().unwrap() {
            "GET" => server.get(path).header("authorization", format!("Bearer {KEY}")),
            _ => server.post(path, &exchange["request"]),
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let ignored =
            response.headers().get("x-simpleton-ignored").map(|names| names.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        println!("{title}: {status} {ignored:?}\n{text}");
        assert_eq!(status, 200, "{title}");
        assert_eq!(ignored.as_deref(), exchange["ignored"].as_str(), "{title}");
        if let Some(documented) = exchange["events"].as_array() {
            let told = parts(&text);
            let (told, documented) = (kinds(&told), kinds(documented));
            for ((told_kind, told), (kind, documented)) in told.iter().zip(&documented) {
                assert_eq!(told_kind, kind, "{title}");
                fits(told, documented, (SAME, LEFT_OUT));
            }
            assert!(told.len() >= documented.len(), "{title}");
        } else {
            fits(&serde_json::from_str(&text).unwrap(), &exchange["response"], (SAME, LEFT_OUT));
        }
    }
}

#[tokio::test]
async fn openais_exchanges_go_as_documented() {
    check("openai").await;
}

#[tokio::test]
async fn ollamas_exchanges_go_as_documented() {
    check("ollama").await;
}
