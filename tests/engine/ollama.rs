//! Ollama's API over the engine: models are uploaded, made, asked, copied and deleted.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    manifest::demo,
    service::{Service, answer},
};

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

/// Status and text of an error.
async fn refusal(service: &Service, path: &str, body: Value) -> (u16, String) {
    let response = service.post(path).body(body.to_string()).send().await.expect("an answer");
    let status = response.status().as_u16();
    let error: Value = serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
    (status, error["error"].as_str().expect("an error").to_owned())
}

fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_uploaded_made_asked_copied_and_deleted() {
    // A body may be larger than other requests'.
    let service = Service::start(&[("MAX_BODY_MB", "1"), ("CACHE_ENABLED", "false")]).await;
    let file = demo();
    assert!(file.len() > 1 << 20);
    let digest = digest_of(&file);
    let blob = format!("/api/blobs/{digest}");
    let other = format!("/api/blobs/{}", digest_of(b"other"));
    assert_eq!(status(service.head(&other)).await, 404);
    assert_eq!(status(service.post(&other).body(b"something".to_vec())).await, 400);
    assert_eq!(status(service.head(&other)).await, 404);
    // The demo has this file already; one byte more is another file.
    assert_eq!(status(service.post(&blob).body(Vec::new())).await, 200);
    let mut larger = file.clone();
    larger.push(0);
    let digest = digest_of(&larger);
    let blob = format!("/api/blobs/{digest}");
    assert_eq!(status(service.post(&blob).body(larger)).await, 201);
    assert_eq!(status(service.head(&blob)).await, 200);

    let made = json!({"model": "made", "files": {"demo.gguf": digest}, "stream": false});
    assert_eq!(service.ask("/api/create", made).await, json!({"status": "success"}));
    let own = json!({"model": "own", "from": "made", "system": "Be brief.", "parameters": {"num_predict": 3, "temperature": 0, "num_gpu": 0},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "license": ["MIT"]});
    let response = service.post("/api/create").body(own.to_string()).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.headers()["x-simpleton-ignored"], "parameters.num_gpu");
    let lines = response.text().await.expect("lines");
    assert_eq!(lines.lines().last(), Some(r#"{"status":"success"}"#), "{lines}");

    let shown = service.ask("/api/show", json!({"model": "own"})).await;
    assert_eq!((&shown["system"], &shown["license"]), (&json!("Be brief."), &json!("MIT")));
    assert_eq!(shown["messages"][1], json!({"role": "assistant", "content": "Hello!"}));
    let architecture = shown["model_info"]["general.architecture"].as_str().expect("a name");
    for fact in ["context_length", "embedding_length", "block_count"] {
        assert!(shown["model_info"][format!("{architecture}.{fact}")].as_u64().expect(fact) > 0);
    }
    let modelfile = shown["modelfile"].as_str().expect("a text");
    assert!(modelfile.contains("FROM own:latest") && !modelfile.contains('/'), "{modelfile}");

    let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let reply =
        service.ask("/api/chat", json!({"model": "own:latest", "messages": question, "stream": false})).await;
    assert_eq!((&reply["model"], &reply["done_reason"]), (&json!("own:latest"), &json!("length")), "{reply}");
    for duration in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(reply[duration].as_u64().expect("nanoseconds") > 0, "{duration}: {reply}");
    }
    let ask = async |fields: Value| {
        let mut request = json!({"model": "own", "stream": false, "options": {"num_predict": 20}});
        request.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        service.ask("/api/generate", request).await
    };
    let template = "{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}{{ .Response }}!";
    let templated = ask(json!({"prompt": "b", "system": "a", "template": template})).await;
    let raw = ask(json!({"prompt": "a b", "raw": true})).await;
    assert_eq!(templated["response"], raw["response"]);
    let messages = json!({"prompt": "b", "template": "{{ range .Messages }}{{ .Content }}{{ end }}"});
    let (refused, error) = refusal(&service, "/api/generate", messages).await;
    assert!(refused == 400 && error.contains("template"), "{error}");

    let running = answer(service.get("/api/ps")).await;
    assert!(running["models"][0]["size"].as_u64().expect("bytes") > 0, "{running}");

    let copy = json!({"source": "own", "destination": "me/copy"});
    assert_eq!(status(service.post("/api/copy").body(copy.to_string())).await, 200);
    let names = async || {
        let tags = answer(service.get("/api/tags")).await;
        let models = tags["models"].as_array().expect("a list").clone();
        models.iter().map(|model| model["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["made:latest", "me/copy:latest", "own:latest", "simpleton-demo:latest"]);
    for model in ["own", "me/copy", "made"] {
        assert_eq!(
            status(service.delete("/api/delete").body(json!({"model": model}).to_string())).await,
            200
        );
    }
    assert_eq!(names().await, ["simpleton-demo:latest"]);
    assert_eq!(status(service.head(&blob)).await, 404);
    let gone = service.delete("/api/delete").body(json!({"name": "own"}).to_string());
    assert_eq!(status(gone).await, 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_model_is_made_from_a_path_of_the_server() {
    let service = Service::start(&[]).await;
    let digest = digest_of(b"x");
    for (fields, status, named) in [
        (json!({"from": "/etc/passwd"}), 400, "from"),
        (json!({"from": "./model.gguf"}), 400, "from"),
        (json!({"from": "~/model.gguf"}), 400, "from"),
        (json!({"from": "model.gguf"}), 404, "not found"),
        (json!({"from": "https://example.com/a/b/c/model.gguf"}), 400, "from"),
        (json!({"files": {"/etc/passwd": digest}}), 400, "relative"),
        (json!({"files": {"../a.gguf": digest}}), 400, "relative"),
        (json!({"files": {"a.gguf": "/etc/passwd"}}), 400, "digest"),
        (json!({"files": {"a.gguf": digest}}), 404, "not on the server"),
        (json!({"modelfile": "FROM /etc/passwd"}), 400, "modelfile"),
        (json!({"path": "/etc/passwd"}), 400, "path"),
        (json!({"from": "simpleton-demo", "adapters": {"a": digest}}), 400, "adapters"),
        (json!({"from": "simpleton-demo", "quantize": "q4_K_M"}), 400, "quantize"),
        (json!({"from": "simpleton-demo", "template": "{{ .Prompt }}"}), 400, "template"),
        (json!({"from": "simpleton-demo", "parameters": {"temperature": 9}}), 400, "parameters/temperature"),
        (json!({"from": "simpleton-demo", "parameters": {"tempature": 1}}), 400, "parameters/tempature"),
        (
            json!({"from": "simpleton-demo", "messages": [{"role": "tool", "content": "5"}]}),
            400,
            "messages/0/role",
        ),
        (json!({"from": "simpleton-demo", "files": {"a.gguf": digest}}), 400, "files"),
        (json!({}), 400, "neither 'from' or 'files'"),
    ] {
        let mut request = json!({"model": "mine"});
        request.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let (refused, error) = refusal(&service, "/api/create", request).await;
        assert!(refused == status && error.contains(named), "{fields}: {refused} {error}");
    }
    let (status, error) =
        refusal(&service, "/api/create", json!({"model": "simpleton-demo", "from": "simpleton-demo"})).await;
    assert!(status == 400 && error.contains("demo"), "{error}");
    service.stop().await;
}
