//! Ollama's API, in front of a scripted Ollama.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, eventually, json as body, start, start_uncached, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

async fn chat(server: &TestServer, request: &Value) -> Response {
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
async fn lines(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Status and text of an error, which has nothing else.
async fn refusal(response: Response) -> (u16, String) {
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
    assert_eq!((&sent[2]["tool_name"], &sent[2]["tool_call_id"]), (&json!("time"), &json!("c2")));
    assert_eq!(sent[3]["tool_name"], "weather");
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
async fn bad_input_is_refused_by_its_name() {
    let server = start().await;
    let chat_with = |field: &str, value: Value| {
        let mut request = json!({"messages": hello()});
        request[field] = value;
        ("/api/chat", request)
    };
    let option = |name: &str, value: Value| chat_with("options", json!({ name: value }));
    let said = |role: &str| json!([{"role": role, "content": "5"}]);
    let prompt = |fields: Value| ("/api/generate", fields);
    let cycle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}});
    for ((path, request), named) in [
        (chat_with("temperature", json!(1)), "temperature"),
        (chat_with("mesages", json!([])), "mesages"),
        (chat_with("n", json!(2)), "n is unknown"),
        (chat_with("messages", json!("hi")), "messages"),
        (chat_with("messages", said("tool")), "messages/0/role"),
        (chat_with("messages", json!([{"role": "user"}])), "messages/0/content"),
        (chat_with("messages", json!([{"role": "robot", "content": "a"}])), "messages/0/role"),
        (chat_with("format", json!("xml")), "format"),
        (chat_with("format", cycle), "format"),
        (chat_with("think", json!("much")), "think"),
        (chat_with("keep_alive", json!("soon")), "keep_alive"),
        (chat_with("top_logprobs", json!(3)), "top_logprobs"),
        (chat_with("top_logprobs", json!(21)), "top_logprobs"),
        (chat_with("logprobs", json!(true)), "logprobs"),
        (chat_with("model", json!("../../etc/passwd")), "model"),
        (
            chat_with("tools", json!([{"type": "function", "function": {"name": ""}}])),
            "tools/0/function/name",
        ),
        (chat_with("_debug_render_only", json!(true)), "_debug_render_only"),
        (option("num_predict", json!(0)), "options/num_predict"),
        (option("num_predict", json!(i64::MAX)), "options/num_predict"),
        (option("num_ctx", json!(-5)), "options/num_ctx"),
        (option("temperature", json!(1e300)), "options/temperature"),
        (option("top_k", json!(-1)), "options/top_k"),
        (option("repeat_last_n", json!(1_i64 << 40)), "options/repeat_last_n"),
        (option("mirostat", json!(3)), "options/mirostat"),
        (option("stop", json!(vec!["a"; 17])), "options/stop"),
        (option("tempature", json!(1)), "temperature"),
        (prompt(json!({"prompt": "a", "raw": true, "template": "{{ .Prompt }}"})), "raw"),
        (prompt(json!({"prompt": "a", "raw": true, "system": "b"})), "raw"),
        (prompt(json!({"prompt": "", "suffix": "b"})), "prompt"),
        (prompt(json!({"prompt": 5})), "prompt"),
        (("/api/embed", json!({"input": ["a", ""]})), "input/1"),
        (("/api/embed", json!({"input": {"a": 1}})), "input"),
        (("/api/embed", json!({"input": vec!["a"; 2049]})), "input"),
        (("/api/embeddings", json!({"input": "a"})), "input"),
        (("/api/show", json!({})), "model is required"),
        (("/api/show", json!({"model": "a b"})), "model"),
    ] {
        let (status, error) = refusal(server.post(path, &request).send().await.unwrap()).await;
        assert!(status == 400 && error.contains(named), "{path} {request}: {status} {error}");
    }
    let sent = server.ollama.requests("/api/chat").len() + server.ollama.requests("/api/generate").len();
    assert_eq!(sent, 0);
    // Odd, but not wrong.
    let properties: serde_json::Map<String, Value> =
        (0..10_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for request in [
        json!({"messages": [{"role": "user", "content": ""}], "stream": false, "model": ""}),
        json!({"messages": hello(), "stream": false, "options": {"num_predict": i32::MAX, "num_ctx": i32::MAX}}),
        json!({"messages": hello(), "stream": false, "options": null, "tools": null, "format": null, "think": null}),
    ] {
        assert_eq!(chat(&server, &request).await.status(), 200, "{request}");
    }
    let large =
        json!({"messages": hello(), "stream": false, "format": {"type": "object", "properties": properties}});
    let response = chat(&server, &large).await;
    // The scripted answer is no JSON; what matters is that it is one clear answer.
    assert!([400, 502].contains(&response.status().as_u16()));
    refusal(response).await;
}

#[tokio::test]
async fn errors_have_ollamas_envelope_everywhere() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    let no_key = server.client.post(server.url("/api/chat")).body("{}").send().await.unwrap();
    assert_eq!(refusal(no_key).await.0, 401);
    let bearer = server.get("/api/tags").bearer_auth(KEY).send().await.unwrap();
    assert_eq!(bearer.status(), 200);
    for (method, path, status) in
        [("POST", "/api/nothing", 404), ("GET", "/api/chat", 405), ("POST", "/api/tags", 405)]
    {
        let request = server.client.request(method.parse().unwrap(), server.url(path)).bearer_auth(KEY);
        assert_eq!(refusal(request.send().await.unwrap()).await.0, status, "{path}");
    }
    for (text, status) in [("{".to_owned(), 400), (String::new(), 400), (" ".repeat(2 << 20), 413)] {
        let response = server.post_text("/api/chat", text).send().await.unwrap();
        assert_eq!(refusal(response).await.0, status);
    }
    server.ollama.on("/api/chat", Script::error(404, "model 'x' not found"));
    let missing = chat(&server, &json!({"model": "x:1b", "messages": hello()})).await;
    assert_eq!(refusal(missing).await, (404, "model 'x:1b' not found".to_owned()));
    server.ollama.on("/api/show", Script::error(404, "model 'x' not found"));
    let missing = server.post("/api/show", &json!({"name": "x"})).send().await.unwrap();
    assert_eq!(refusal(missing).await, (404, "model 'x' not found".to_owned()));
    server.ollama.on("/api/chat", Script::error(503, "busy"));
    let busy = chat(&server, &json!({"messages": hello()})).await;
    assert!(busy.headers().contains_key("retry-after"));
    assert_eq!(refusal(busy).await.0, 503);
}

#[tokio::test]
async fn what_a_model_cannot_do_is_said_in_ollamas_words() {
    let server = start().await;
    server
        .ollama
        .on("/api/show", Script::ok(vec![Step::Send(json!({"capabilities": ["completion"]}).to_string())]));
    let tool = json!({"type": "function", "function": {"name": "f"}});
    let request = json!({"model": "qwen2.5:7b", "messages": hello(), "tools": [tool]});
    let (status, error) = refusal(chat(&server, &request).await).await;
    assert!(status == 400 && error.starts_with("\"qwen2.5:7b\" does not support tools"), "{error}");
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
async fn what_has_no_effect_is_named() {
    let server = start().await;
    let request = json!({"messages": hello(), "stream": false, "truncate": true, "shift": false,
        "options": {"num_gpu": 1, "num_thread": 8, "use_mmap": null, "seed": 1}});
    let response = chat(&server, &request).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "options.num_gpu, options.num_thread, truncate");
}

#[tokio::test]
async fn one_entry_serves_every_api() {
    let server = start().await;
    let native = json!({"messages": hello(), "temperature": 0});
    server.post("/inference/chat", &native).send().await.unwrap().text().await.unwrap();
    for stream in [false, true] {
        let request = json!({"messages": hello(), "options": {"temperature": 0}, "stream": stream});
        let response = chat(&server, &request).await;
        assert!(response.headers()["cache-status"].to_str().unwrap().contains("; hit"));
        assert!(response.text().await.unwrap().contains("w\u{f6}rld"));
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
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
