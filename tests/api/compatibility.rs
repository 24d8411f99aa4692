//! The tables of docs/compatibility.md are true: each of their examples is sent.

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::{json as body, start},
    ollama::scripted::{Script, Step},
};

/// A row of a table.
struct Row {
    path: String,
    parameter: String,
    support: String,
    example: Value,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md")).unwrap();
    let mut rows = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        let Some((_, path)) = heading.split_once("`POST ") else { continue };
        let table = section.lines().filter(|line| line.starts_with("| `"));
        for line in table {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [parameter, support, example, ..] = cells[..] else { panic!("{line}") };
            let example = serde_json::from_str(example.trim_matches('`')).expect(line);
            rows.push(Row {
                path: path.trim_end_matches('`').to_owned(),
                parameter: parameter.trim_start_matches("| ").to_owned(),
                support: support.to_owned(),
                example,
            });
        }
    }
    rows
}

#[tokio::test]
async fn every_parameter_is_served_ignored_or_refused_as_the_table_says() {
    let server = start().await;
    let vectors = json!({"embeddings": [[0.5, -1.25]]});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(vectors.to_string())]));
    let created = json!({"status": "success"});
    server.ollama.on("/api/create", Script::ok(vec![Step::Send(format!("{created}\n"))]));
    let rows = rows();
    for Row { path, parameter, support, example } in &rows {
        let mut request = match path.as_str() {
            "/v1/chat/completions" => json!({"messages": [{"role": "user", "content": "Hi"}]}),
            "/v1/completions" => json!({"prompt": "a"}),
            "/v1/embeddings" | "/v1/responses" => json!({"input": "a"}),
            "/v1/messages" => json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
            "/api/chat" => json!({"messages": [{"role": "user", "content": "Hi"}], "stream": false}),
            "/api/generate" => json!({"prompt": "a", "stream": false}),
            "/api/embed" => json!({"input": "a"}),
            "/api/embeddings" => json!({"prompt": "a"}),
            "/api/show" => json!({"model": "qwen2.5:7b"}),
            "/api/pull" => json!({"model": "all-minilm", "stream": false}),
            "/api/copy" => json!({"source": "llava", "destination": "mine"}),
            "/api/create" => json!({"model": "mine", "from": "llava", "stream": false}),
            _ => panic!("{path}"),
        };
        request.as_object_mut().unwrap().extend(example.as_object().unwrap().clone());
        let response = server.post(path, &request).send().await.unwrap();
        let status = response.status().as_u16();
        let ignored =
            response.headers().get("x-simpleton-ignored").map(|names| names.to_str().unwrap().to_owned());
        // A copy is answered by its status alone.
        let reply: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
        let name = parameter.split('`').nth(1).unwrap();
        match support.as_str() {
            "served" | "served, for models that see images" => {
                assert_eq!((status, ignored), (200, None), "{parameter}: {reply}")
            }
            "ignored" => assert_eq!((status, ignored.as_deref()), (200, Some(name)), "{parameter}: {reply}"),
            "refused" | "served, not over Ollama" | "served, of stored responses" => {
                assert_eq!(status, 400, "{parameter}: {reply}");
                let first = name.split('.').next().unwrap();
                let error = &reply["error"];
                // Ollama's errors are only texts.
                let is_named = match error["param"].as_str().or(error["message"].as_str()) {
                    Some(param) => param.starts_with(first),
                    None => error.as_str().is_some_and(|text| text.contains(first)),
                };
                assert!(is_named || name.starts_with("top_"), "{parameter}: {reply}");
            }
            _ => panic!("{support}"),
        }
    }
    assert!(rows.len() > 100, "{}", rows.len());
}

/// Every parameter that a body accepts is in the table.
#[tokio::test]
async fn no_parameter_is_missing_from_the_tables() {
    let server = start().await;
    let document: Value = body(server.get("/openapi.json").send().await.unwrap()).await;
    let rows = rows();
    let mut checked = 0;
    for (path, schema) in [
        ("/v1/chat/completions", "ChatCompletionBody"),
        ("/v1/completions", "CompletionBody"),
        ("/v1/embeddings", "EmbeddingsBody"),
        ("/v1/messages", "MessagesBody"),
        ("/v1/responses", "ResponseBody"),
        ("/api/chat", "OllamaChatBody"),
        ("/api/generate", "OllamaGenerateBody"),
        ("/api/embed", "OllamaEmbedBody"),
        ("/api/embeddings", "OllamaEmbeddingsBody"),
        ("/api/show", "OllamaShowBody"),
        ("/api/pull", "OllamaPullBody"),
        ("/api/copy", "OllamaCopyBody"),
        ("/api/create", "OllamaCreateBody"),
    ] {
        let properties = |schema: &str| {
            let schema = &document["components"]["schemas"][schema];
            schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let options = if path == "/api/chat" { properties("OllamaOptions") } else { Vec::new() };
        let options = options.into_iter().map(|name| format!("options.{name}"));
        for name in properties(schema).into_iter().chain(options) {
            let listed = format!("`{name}`");
            assert!(
                rows.iter().any(|row| row.path == path && row.parameter.starts_with(&listed)),
                "{path} {name}"
            );
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}
