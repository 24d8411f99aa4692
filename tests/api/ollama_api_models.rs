//! Models of Ollama's API: listed, shown, pulled, copied, created and deleted.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, json as body, start},
    ollama::scripted::{Script, Step},
    ollama_api::{lines, refusal},
};

#[tokio::test]
async fn models_are_listed_shown_and_told_when_they_are_in_memory() {
    let server = start().await;
    let get = async |path: &str| body(server.get(path).bearer_auth(KEY).send().await.unwrap()).await;
    let tags = get("/api/tags").await;
    let models = tags["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["qwen2.5:7b", "llava:latest"]);
    let details = json!({"parent_model": "", "format": "gguf", "family": "qwen2", "families": ["qwen2"],
        "parameter_size": "7.6B", "quantization_level": "Q4_K_M"});
    assert_eq!((&models[0]["model"], &models[0]["details"]), (&json!("qwen2.5:7b"), &details));
    assert_eq!((&models[0]["digest"], &models[0]["size"]), (&json!("aa"), &json!(4_700_000_000_u64)));

    let running = &get("/api/ps").await["models"][0];
    assert_eq!((&running["name"], &running["context_length"]), (&json!("qwen2.5:7b"), &json!(4096)));
    assert_eq!((&running["digest"], &running["details"]), (&json!("aa"), &details));
    assert_eq!((&running["expires_at"], &running["size_vram"]), (&json!("2030-10-01T10:00:00Z"), &json!(0)));
    let in_use = crate::ollama::lines::running().to_string();
    let in_use = in_use.replace("expires_at", "not_yet").replace("\"size_vram\":0", "\"size_vram\":7");
    server.ollama.on("/api/ps", Script::ok(vec![Step::Send(in_use)]));
    let running = &get("/api/ps").await["models"][0];
    assert!(running["expires_at"].as_str().unwrap() > "2100" && running["size_vram"] == 7, "{running}");

    let shown = json!({"capabilities": ["completion", "tools"], "model_info": {"general.architecture": "qwen2",
        "qwen2.context_length": 32768}, "template": "{{ .Prompt }}{{ .Suffix }}", "system": "Be brief.",
        "parameters": "stop \"a\"\nstop \"b\"\nnum_ctx 512", "license": "MIT"});
    server.ollama.on("/api/show", Script::ok(vec![Step::Send(shown.to_string())]));
    let response =
        server.post("/api/show", &json!({"model": "llava", "verbose": true})).send().await.unwrap();
    assert_eq!(response.headers()["x-simpleton-ignored"], "verbose");
    let shown = body(response).await;
    assert_eq!(shown["model_info"]["qwen2.context_length"], 32768);
    assert_eq!(
        (&shown["template"], &shown["license"]),
        (&json!("{{ .Prompt }}{{ .Suffix }}"), &json!("MIT"))
    );
    assert!(shown["capabilities"].as_array().unwrap().contains(&json!("insert")), "{shown}");
    let parameters: Vec<Vec<&str>> =
        shown["parameters"].as_str().unwrap().lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(parameters.contains(&vec!["stop", "\"b\""]) && parameters.contains(&vec!["num_ctx", "512"]));
    let modelfile = shown["modelfile"].as_str().unwrap();
    assert!(modelfile.contains("\nFROM llava:latest\n") && modelfile.contains("PARAMETER num_ctx 512"));
    assert!(modelfile.contains("SYSTEM \"\"\"Be brief.\"\"\""), "{modelfile}");

    let version = get("/api/version").await["version"].as_str().unwrap().to_owned();
    assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
}

#[tokio::test]
async fn models_of_ollama_are_pulled_copied_created_and_deleted() {
    let server = start().await;
    let progress =
        server.post("/api/pull", &json!({"name": "all-minilm", "insecure": true})).send().await.unwrap();
    assert_eq!(progress.headers()["x-simpleton-ignored"], "insecure");
    let steps = lines(progress).await;
    assert_eq!(steps[0], json!({"status": "pulling manifest"}));
    assert!(
        steps.contains(
            &json!({"status": "pulling abc", "digest": "sha256:abc", "total": 10, "completed": 10})
        )
    );
    assert_eq!(steps.last().unwrap(), &json!({"status": "success"}));
    let whole =
        server.post("/api/pull", &json!({"model": "all-minilm", "stream": false})).send().await.unwrap();
    assert_eq!(body(whole).await, json!({"status": "success"}));
    server
        .ollama
        .on("/api/pull", Script::ok(vec![Step::Send("{\"error\":\"file does not exist\"}\n".to_owned())]));
    let (status, error) =
        refusal(server.post("/api/pull", &json!({"model": "x"})).send().await.unwrap()).await;
    assert!(status == 502 && error.contains("file does not exist"), "{status} {error}");

    let copy = json!({"source": "llava", "destination": "mine"});
    assert_eq!(server.post("/api/copy", &copy).send().await.unwrap().status(), 200);
    assert_eq!(server.ollama.requests("/api/copy")[0], copy);
    server.ollama.on("/api/create", Script::ok(vec![Step::Send("{\"status\":\"success\"}\n".to_owned())]));
    let own =
        json!({"model": "own", "from": "llava", "system": "Be brief.", "parameters": {"temperature": 0}});
    assert_eq!(
        lines(server.post("/api/create", &own).send().await.unwrap()).await.last().unwrap()["status"],
        "success"
    );
    assert_eq!(server.ollama.requests("/api/create")[0], own);
    let delete = async |body: Value| {
        let request = server.client.delete(server.url("/api/delete")).bearer_auth(KEY).body(body.to_string());
        request.send().await.unwrap()
    };
    assert_eq!(delete(json!({"model": "mine"})).await.status(), 200);
    server.ollama.on("/api/delete", Script::error(404, "model 'x' not found"));
    assert_eq!(refusal(delete(json!({"model": "x"})).await).await, (404, "model 'x' not found".to_owned()));
    let blob = format!("/api/blobs/sha256:{}", "a".repeat(64));
    let (status, error) = refusal(server.post_text(&blob, "x").send().await.unwrap()).await;
    assert!(status == 400 && error.contains("Ollama itself"), "{error}");
}
