//! `/models`: details, loading, removal and pulls, through a scripted Ollama.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, events, json as body, pointers_of, problem, start},
    ollama::scripted::{Script, Step},
};

fn get(server: &TestServer, path: &str) -> reqwest::RequestBuilder {
    server.get(path).header("x-api-key", KEY)
}

#[tokio::test]
async fn a_model_is_described() {
    let server = start().await;
    let show = json!({
        "parameters": "num_ctx 4096\nstop \"<|im_end|>\"", "template": "{{ .Prompt }}", "system": "Be brief.",
        "license": "Apache", "capabilities": ["completion"], "model_info": {"qwen2.context_length": 32768}
    });
    server.ollama.on("/api/show", Script::ok(vec![Step::Send(show.to_string())]));
    let model = body(get(&server, "/models/QWEN2.5:7b").send().await.unwrap()).await;
    assert_eq!((&model["name"], &model["source"]), (&json!("qwen2.5:7b"), &json!("ollama")));
    assert_eq!(model["parameters"], json!({"num_ctx": 4096, "stop": "<|im_end|>"}));
    assert_eq!((&model["template"], &model["system"]), (&json!("{{ .Prompt }}"), &json!("Be brief.")));
    assert_eq!((&model["context"]["trained"], &model["license"]), (&json!(32768), &json!("Apache")));
}

#[tokio::test]
async fn names_that_are_none_are_not_found() {
    let server = start().await;
    let long = format!("/models/{}", "x".repeat(10_000));
    for path in
        ["/models/..%2F..%2Fetc", "/models/a%5Cb", "/models/%00", "/models/%FF", "/models/a%20b", &long]
    {
        let (status, problem) = problem(get(&server, path)).await;
        assert_eq!(status, 404, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.len() < 200 && detail.starts_with("The name of the model must be"), "{detail}");
    }
    server.ollama.on("/api/delete", Script::error(404, "model not found"));
    let delete = server.client.delete(server.url("/models/absent")).header("x-api-key", KEY);
    let (status, told) = problem(delete).await;
    assert_eq!(status, 404, "{told}");
    assert_eq!(problem(server.get("/models/qwen2.5:7b")).await.0, 401);
}

#[tokio::test]
async fn a_model_is_loaded_and_unloaded() {
    let server = start().await;
    let path = "/models/qwen2.5:7b/load";
    let asked = || server.ollama.requests("/api/generate");
    let loaded =
        body(server.post(path, &json!({"context": 8192, "keep_alive": "10m"})).send().await.unwrap()).await;
    assert_eq!((&loaded["model"], &loaded["loaded"]), (&json!("qwen2.5:7b"), &json!(true)));
    let expected = json!({"model": "qwen2.5:7b", "prompt": "", "stream": false, "keep_alive": "600000ms", "options": {"num_ctx": 8192}});
    assert_eq!(asked().pop(), Some(expected));

    let empty = server.client.post(server.url(path)).header("x-api-key", KEY);
    assert_eq!(empty.send().await.unwrap().status(), 200, "a body is not needed");
    assert_eq!(asked().pop().unwrap()["options"], json!({}));

    let unload = server.client.post(server.url("/models/qwen2.5:7b/unload")).header("x-api-key", KEY);
    let unloaded = body(unload.send().await.unwrap()).await;
    assert_eq!(unloaded["loaded"], false);
    assert_eq!(asked().pop().unwrap()["keep_alive"], "0ms");

    let shouted = server.post("/models/QWEN2.5:7B/unload", &json!({})).send().await.unwrap();
    assert_eq!(body(shouted).await["model"], "qwen2.5:7b", "its own name");
    let unknown = server.post("/models/qwen2.5:7b/unload", &json!({"keep_alive": "10m"}));
    let (status, told) = problem(unknown).await;
    assert_eq!((status, pointers_of(&told)), (422, vec!["/keep_alive"]));

    for wrong in [json!({"context": 100}), json!({"context": -1}), json!({"context": "many"})] {
        let (status, problem) = problem(server.post(path, &wrong)).await;
        assert_eq!((status, pointers_of(&problem)), (422, vec!["/context"]), "{wrong}");
    }
}

#[tokio::test]
async fn models_in_memory_are_listed() {
    let server = start().await;
    let models = body(get(&server, "/models/loaded").send().await.unwrap()).await;
    let expected = json!([{
        "name": "qwen2.5:7b", "memory": 5_600_000_000_u64, "context": 4096, "expires_at": "2030-10-01T10:00:00Z"
    }]);
    assert_eq!(models["models"], expected);
}

#[tokio::test]
async fn a_removed_model_is_gone_from_the_list_at_once() {
    let server = start().await;
    let names = async || {
        let list = body(get(&server, "/models").send().await.unwrap()).await;
        list["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(names().await, ["qwen2.5:7b", "llava"]);
    server.ollama.on(
        "/api/tags",
        Script::ok(vec![Step::Send(crate::ollama::lines::tags(&[("llava:latest", "bb")]).to_string())]),
    );
    let delete = server.client.delete(server.url("/models/QWEN2.5:7B")).header("x-api-key", KEY);
    assert_eq!(body(delete.send().await.unwrap()).await, json!({"deleted": "qwen2.5:7b"}));
    assert_eq!(server.ollama.requests("/api/delete"), [json!({"model": "qwen2.5:7b"})]);
    assert_eq!(names().await, ["llava"]);
}

#[tokio::test]
async fn a_pull_shows_its_progress_or_its_end() {
    let server = start().await;
    let asked = json!({"model": "all-minilm"});
    let text = server.post("/models/pull", &asked).send().await.unwrap().text().await.unwrap();
    let steps: Vec<Value> = events(&text).into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps[0], json!({"status": "pulling manifest"}));
    assert_eq!(
        steps[1],
        json!({"status": "pulling abc", "digest": "sha256:abc", "total": 10, "completed": 5})
    );
    assert_eq!(steps.last(), Some(&json!({"status": "success"})));
    assert_eq!(server.ollama.requests("/api/pull"), [json!({"model": "all-minilm"})]);

    let whole = server.post("/models/pull", &json!({"model": "all-minilm", "stream": false}));
    assert_eq!(body(whole.send().await.unwrap()).await, json!({"status": "success"}));
}

#[tokio::test]
async fn a_pull_that_fails_says_why() {
    let server = start().await;
    let line = |value: Value| Step::Send(format!("{value}\n"));
    let error = || line(json!({"error": "pull model manifest: file does not exist"}));
    server.ollama.on("/api/pull", Script::ok(vec![line(json!({"status": "pulling manifest"})), error()]));
    let (status, told) = problem(server.post("/models/pull", &json!({"model": "absent"}))).await;
    assert_eq!(status, 502);
    assert!(told["detail"].as_str().unwrap().contains("file does not exist"), "{told}");

    let steps = [
        json!({"status": "pulling manifest"}),
        json!({"status": "pulling abc", "digest": "sha256:abc", "total": 10}),
    ];
    let steps = steps.map(line).into_iter().chain([error()]).collect();
    server.ollama.on("/api/pull", Script::ok(steps));
    let text =
        server.post("/models/pull", &json!({"model": "absent"})).send().await.unwrap().text().await.unwrap();
    let (name, told) = events(&text).pop().unwrap();
    assert_eq!((name.as_str(), &told["status"]), ("error", &json!(502)));

    let (status, told) = problem(server.post("/models/pull", &json!({"model": "../etc"}))).await;
    assert_eq!((status, pointers_of(&told)), (422, vec!["/model"]));
}
