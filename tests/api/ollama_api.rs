//! Ollama's API, in front of a scripted Ollama.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{TestServer, eventually, json as body, start, start_uncached, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

pub fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

pub async fn chat(server: &TestServer, request: &Value) -> Response {
    server.post("/api/chat", request).send().await.unwrap()
}

/// A reply without what differs from run to run.
fn steady(mut reply: Value) -> Value {
    let created = reply["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() > 20, "{created}");
    reply.as_object_mut().unwrap().remove("created_at");
    reply
}

/// The lines of a stream.
pub async fn lines(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Status and text of an error, which has nothing else.
pub async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    let error = body(response).await;
    assert_eq!(error.as_object().unwrap().len(), 1, "{error}");
    (status, error["error"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_chat_has_ollamas_shape_and_its_options_are_passed_on() {
    let server = start().await;
    let request = json!({"model": "qwen2.5:7b", "stream": false, "messages": hello(), "format": "json",
        "keep_alive": "10m", "options": {"num_predict": 5, "temperature": 0, "top_k": 0, "top_p": 0.5, "min_p": 0.25,
            "typical_p": 0.5, "repeat_last_n": -1, "repeat_penalty": 1.5, "presence_penalty": 1, "frequency_penalty": -1,
            "mirostat": 2, "mirostat_tau": 4, "mirostat_eta": 0.5, "seed": 7, "stop": ["x"], "num_ctx": 4096}});
    let response = chat(&server, &request).await;
    assert_eq!(response.headers().get("x-simpleton-ignored"), None);
    assert_eq!(
        steady(body(response).await),
        json!({"model": "qwen2.5:7b", "message": {"role": "assistant", "content": "Hello wörld"}, "done": true,
            "done_reason": "stop", "total_duration": 5_000_000, "load_duration": 1_000_000, "prompt_eval_count": 7,
            "prompt_eval_duration": 2_000_000, "eval_count": 3, "eval_duration": 2_000_000})
    );
    let sent = &server.ollama.requests("/api/chat")[0];
    assert_eq!((&sent["format"], &sent["keep_alive"]), (&json!("json"), &json!("600000ms")));
    let mut options = request["options"].clone();
    options["temperature"] = json!(0.0);
    for (name, number) in [("mirostat_tau", 4.0), ("presence_penalty", 1.0), ("frequency_penalty", -1.0)] {
        options[name] = json!(number);
    }
    assert_eq!(sent["options"], options);
}

#[tokio::test]
async fn a_stream_is_the_default_and_has_a_line_for_each_event() {
    let server = start().await;
    let chunks = lines(chat(&server, &json!({"messages": hello()})).await).await;
    let text: String = chunks.iter().map(|chunk| chunk["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(text, "Hello wörld");
    let (last, rest) = chunks.split_last().unwrap();
    assert!(rest.iter().all(|chunk| chunk["done"] == false && chunk["model"] == "qwen2.5:7b"));
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!((&last["prompt_eval_count"], &last["eval_count"]), (&json!(7), &json!(3)));

    let generated = server.post("/api/generate", &json!({"model": "qwen2.5:7b", "prompt": "hi"}));
    let chunks = lines(generated.send().await.unwrap()).await;
    let text: String = chunks.iter().map(|chunk| chunk["response"].as_str().unwrap()).collect();
    assert_eq!(text, "Paris");
    assert_eq!(chunks.last().unwrap()["context"], json!([1, 2, 3]));
    let endpoint = "simpleton_requests_total{method=\"POST\",endpoint=\"/api/generate\",status=\"200\"}";
    eventually("it is counted", async || server.metric(endpoint).await == 1.0).await;
}

#[tokio::test]
async fn a_prompt_goes_with_its_system_prompt_and_suffix_or_raw() {
    let server = start().await;
    let ask = async |fields: Value| {
        let mut request = json!({"model": "qwen2.5:7b", "prompt": "a", "stream": false});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body(server.post("/api/generate", &request).send().await.unwrap()).await
    };
    let reply = ask(json!({"system": "Be brief.", "context": [1], "template": "{{ .Prompt }}"})).await;
    assert_eq!((&reply["response"], &reply["context"]), (&json!("Paris"), &json!([1, 2, 3])));
    assert_eq!(ask(json!({"raw": true})).await.get("context"), None);
    ask(json!({"suffix": "b"})).await;
    let sent = server.ollama.requests("/api/generate");
    assert_eq!((&sent[0]["system"], &sent[0]["context"]), (&json!("Be brief."), &json!([1])));
    assert_eq!(sent[0]["template"], "{{ .Prompt }}");
    assert_eq!((&sent[1]["raw"], &sent[2]["suffix"]), (&json!(true), &json!("b")));
}

#[tokio::test]
async fn an_empty_prompt_loads_the_model_and_unloads_it() {
    let server = start().await;
    for (path, request, reason) in [
        ("/api/generate", json!({"model": "qwen2.5:7b"}), "load"),
        ("/api/generate", json!({"model": "qwen2.5:7b", "prompt": "", "keep_alive": 0}), "unload"),
        ("/api/chat", json!({"model": "qwen2.5:7b", "messages": []}), "load"),
        ("/api/chat", json!({"model": "qwen2.5:7b", "messages": [], "keep_alive": 0}), "unload"),
    ] {
        let response = server.post(path, &request).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let reply = steady(body(response).await);
        assert_eq!((&reply["done"], &reply["done_reason"]), (&json!(true), &json!(reason)), "{reply}");
        assert_eq!(reply.get("eval_count"), None);
    }
    let request = json!({"model": "qwen2.5:7b", "options": {"num_ctx": 8192}});
    server.post("/api/generate", &request).send().await.unwrap();
    let sent = server.ollama.requests("/api/generate");
    assert_eq!((sent.len(), &sent[4]["options"]["num_ctx"]), (5, &json!(8192)));
}

#[tokio::test]
async fn tools_are_called_and_their_results_taken() {
    let server = start_uncached().await;
    let called = json!({"model": "m", "message": {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"city": "Paris"}}},
        {"id": "c2", "function": {"name": "time", "arguments": {}}}]}, "done": false});
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(format!("{called}\n{}", last_line(9)))]));
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}}});
    let mut request = json!({"messages": hello(), "tools": [tool("weather"), tool("time")], "stream": false});
    let reply = body(chat(&server, &request).await).await;
    let message = &reply["message"];
    assert_eq!(
        message,
        &json!({"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [
            {"function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}},
            {"id": "c2", "function": {"index": 1, "name": "time", "arguments": {}}}]})
    );
    assert_eq!(reply["done_reason"], "stop");
    request["stream"] = json!(null);
    let chunks = lines(chat(&server, &request).await).await;
    assert_eq!(chunks[0]["message"]["thinking"], "Hm.");
    let indexes: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["message"].get("tool_calls")?[0]["function"].get("index"))
        .collect();
    assert_eq!(indexes, [&json!(0), &json!(1)]);

    let turns = json!([hello()[0], message, {"role": "tool", "content": "noon", "tool_name": "time"},
        {"role": "tool", "content": "sunny"}]);
    assert_eq!(chat(&server, &json!({"messages": turns, "stream": false})).await.status(), 200);
    let sent = &server.ollama.requests("/api/chat")[2]["messages"];
    assert_eq!((&sent[2]["tool_name"], &sent[2]["content"]), (&json!("weather"), &json!("sunny")));
    assert_eq!((&sent[3]["tool_name"], &sent[3]["tool_call_id"]), (&json!("time"), &json!("c2")));
}

#[tokio::test]
async fn images_are_base64_in_images() {
    let server = start().await;
    let png =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let request = json!({"model": "llava", "messages": [{"role": "user", "images": [png]}], "stream": false});
    assert_eq!(chat(&server, &request).await.status(), 200);
    assert_eq!(server.ollama.requests("/api/chat")[0]["messages"][0]["images"].as_array().unwrap().len(), 1);
    let broken = json!({"model": "llava", "prompt": "?", "images": ["AAAA"]});
    let (status, error) = refusal(server.post("/api/generate", &broken).send().await.unwrap()).await;
    assert!(status == 400 && error.contains("images/0"), "{error}");
}

#[tokio::test]
async fn a_failure_in_a_stream_is_its_last_line() {
    let server = start().await;
    let steps = vec![Step::Send(chat_line("a")), Step::Send("{\"error\":\"no memory\"}\n".to_owned())];
    server.ollama.on("/api/chat", Script::ok(steps));
    let chunks = lines(chat(&server, &json!({"messages": hello()})).await).await;
    assert_eq!(chunks[0]["message"]["content"], "a");
    let last = chunks.last().unwrap().as_object().unwrap();
    assert!(last.len() == 1 && last["error"].as_str().is_some_and(|text| !text.is_empty()), "{last:?}");
}

#[tokio::test]
async fn a_silent_stream_sends_nothing() {
    let server = start_with(&[("STREAM_HEADERS_AFTER_S", "1"), ("STREAM_PING_S", "1")]).await;
    let pause = || Step::Pause(Duration::from_millis(2500));
    let steps = vec![
        pause(),
        Step::Send(chat_line("a")),
        pause(),
        Step::Send(chat_line("b")),
        Step::Send(last_line(2)),
    ];
    server.ollama.on("/api/chat", Script::ok(steps));
    let chunks = lines(chat(&server, &json!({"messages": hello()})).await).await;
    assert_eq!(chunks.len(), 3, "{chunks:?}");
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_backend() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut response = chat(&server, &json!({"messages": hello()})).await;
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    eventually("the backend is stopped", async || server.ollama.aborted() == 1).await;
}

#[tokio::test]
async fn embeddings_are_lists_of_numbers() {
    let server = start().await;
    let vectors = json!({"embeddings": [[0.5, -1.25]], "prompt_eval_count": 2, "total_duration": 9, "load_duration": 4});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(vectors.to_string())]));
    let request =
        json!({"input": "hi", "model": "all-minilm", "options": {"temperature": 0, "num_thread": 2}});
    let response = server.post("/api/embed", &request).send().await.unwrap();
    assert_eq!(response.headers()["x-simpleton-ignored"], "options.temperature, options.num_thread");
    assert_eq!(
        body(response).await,
        json!({"model": "all-minilm", "embeddings": [[0.5, -1.25]], "total_duration": 9, "load_duration": 4,
            "prompt_eval_count": 2})
    );
    let request = json!({"model": "all-minilm", "prompt": "hi"});
    let reply = body(server.post("/api/embeddings", &request).send().await.unwrap()).await;
    assert_eq!(reply, json!({"embedding": [0.5, -1.25]}));
    for (path, request, empty) in [
        ("/api/embed", json!({"model": "all-minilm", "input": []}), "embeddings"),
        ("/api/embeddings", json!({"model": "all-minilm", "prompt": ""}), "embedding"),
    ] {
        let reply = body(server.post(path, &request).send().await.unwrap()).await;
        assert_eq!(reply[empty], json!([]), "{reply}");
    }
}

#[tokio::test]
async fn clients_of_ollama_are_told_that_it_runs() {
    let server = start().await;
    for (name, value) in [
        ("user-agent", "ollama/0.12.0 (amd64 linux) Go/go1.24"),
        ("user-agent", "ollama-python/0.6.0 (x86_64 linux) Python/3.12"),
        ("accept", "text/plain"),
    ] {
        let response = server.get("/").header(name, value).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "Ollama is running", "{value}");
        let head = server.client.head(server.url("/")).header(name, value).send().await.unwrap();
        assert_eq!(head.status(), 200);
    }
    let others =
        server.get("/").header("user-agent", "curl/8.5.0").header("accept", "*/*").send().await.unwrap();
    assert_eq!(body(others).await["service"], "Simpleton LLM Service");
    assert_eq!(server.client.head(server.url("/")).send().await.unwrap().status(), 200);
}
