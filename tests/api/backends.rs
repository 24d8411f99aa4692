//! Tests of requests to backends and of their replies, whichever backend it is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{TestServer, json as body, pointers_of, problem, start, start_uncached, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[tokio::test]
async fn answers_of_tools_say_which_call_they_answer() {
    let server = start().await;
    let call = |id: &str, name: &str| json!({"id": id, "function": {"name": name, "arguments": {}}});
    let answer = |id: &str, content: &str| json!({"role": "tool", "content": content, "tool_call_id": id});
    let request = json!({"messages": [
        user("weather and time?"),
        {"role": "assistant", "content": "", "tool_calls": [call("c1", "weather"), call("c2", "time")]},
        answer("c2", "noon"),
        answer("c1", "sunny"),
    ]});
    server.post("/inference/chat", &request).send().await.unwrap();
    let sent = &server.ollama.requests("/api/chat")[0]["messages"];
    assert_eq!(sent[1]["tool_calls"][1]["id"], "c2");
    assert_eq!(
        sent[2],
        json!({"role": "tool", "content": "sunny", "tool_call_id": "c1", "tool_name": "weather"})
    );
    assert_eq!(
        sent[3],
        json!({"role": "tool", "content": "noon", "tool_call_id": "c2", "tool_name": "time"})
    );
}

#[tokio::test]
async fn an_ollama_that_requires_a_key_gets_it() {
    let server = start_with(&[("OLLAMA_API_KEY", "key-of-ollama")]).await;
    let request = json!({"messages": [user("hi")]});
    assert_eq!(server.post("/inference/chat", &request).send().await.unwrap().status(), 200);
    for path in ["/api/version", "/api/tags", "/api/show", "/api/chat"] {
        let sent = server.ollama.header(path, "authorization");
        assert_eq!(sent.as_deref(), Some("Bearer key-of-ollama"), "{path}");
    }
    for status in [401, 403] {
        server.ollama.on("/api/chat", Script::error(status, "unauthorized"));
        let request = json!({"messages": [user("hi again")]});
        let (status, problem) = problem(server.post("/inference/chat", &request)).await;
        assert_eq!(status, 502, "{problem}");
        assert!(problem["detail"].as_str().unwrap().ends_with("set OLLAMA_API_KEY."), "{problem}");
    }
}

#[tokio::test]
async fn arguments_are_an_object_whoever_gives_them() {
    let server = start_uncached().await;
    let calls = |arguments: Value| {
        let call = json!({"id": "1", "function": {"name": "f", "arguments": arguments}});
        json!({"messages": [user("hi"), {"role": "assistant", "content": "", "tool_calls": [call]}, user("?")]})
    };
    for (given, sent) in [
        (json!(""), json!({})),
        (Value::Null, json!({})),
        (json!("{\"a\": 1}"), json!({"a": 1})),
        (json!({"a": 1}), json!({"a": 1})),
    ] {
        server.post("/inference/chat", &calls(given.clone())).send().await.unwrap();
        let requests = server.ollama.requests("/api/chat");
        let message = &requests.last().unwrap()["messages"][1];
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], sent, "{given}");
    }
    for given in [json!([1]), json!(5), json!(true), json!("[1]"), json!("hi"), json!("{")] {
        let (status, problem) = problem(server.post("/inference/chat", &calls(given.clone()))).await;
        assert_eq!(
            (status, pointers_of(&problem)),
            (422, vec!["/messages/1/tool_calls/0/function/arguments"])
        );
    }
    for (given, got) in [
        (json!(""), Some(json!({}))),
        (Value::Null, Some(json!({}))),
        (json!("{\"a\":1}"), Some(json!({"a": 1}))),
        (json!([1]), None),
    ] {
        let call = json!({"message": {"role": "assistant", "content": "",
            "tool_calls": [{"function": {"name": "f", "arguments": given}}]}, "done": false});
        server
            .ollama
            .on("/api/chat", Script::ok(vec![Step::Send(format!("{call}\n")), Step::Send(last_line(1))]));
        let response =
            server.post("/inference/chat", &json!({"messages": [user("hi")]})).send().await.unwrap();
        assert_eq!(response.status(), if got.is_some() { 200 } else { 502 });
        let reply = body(response).await;
        let arguments = reply["message"]["tool_calls"][0]["function"].get("arguments");
        assert_eq!(arguments, got.as_ref(), "{given}");
    }
}

#[tokio::test]
async fn thinking_is_asked_for_and_comes_back() {
    let server = start().await;
    for (path, field, asked) in
        [("/inference/chat", "messages", json!([user("hi")])), ("/inference/generate", "prompt", json!("hi"))]
    {
        for think in [json!(true), json!(false), json!("low"), json!("medium"), json!("high")] {
            server.post(path, &json!({field: asked, "think": think})).send().await.unwrap();
            let sent = server.ollama.requests(&path.replace("/inference", "/api"));
            assert_eq!(sent.last().unwrap()["think"], think);
        }
        for wrong in [json!("yes"), json!(1), json!({})] {
            let (status, problem) = problem(server.post(path, &json!({field: asked, "think": wrong}))).await;
            assert_eq!((status, pointers_of(&problem)), (422, vec!["/think"]), "{problem}");
        }
    }
    server.ollama.on(
        "/api/generate",
        Script::ok(vec![
            Step::Send("{\"response\":\"\",\"thinking\":\"hm\",\"done\":false}\n".to_owned()),
            Step::Send("{\"response\":\"4\",\"done\":false}\n".to_owned()),
            Step::Send(last_line(2)),
        ]),
    );
    let reply =
        body(server.post("/inference/generate", &json!({"prompt": "2+2?"})).send().await.unwrap()).await;
    assert_eq!((&reply["thinking"], &reply["response"]), (&json!("hm"), &json!("4")));
}

/// How often the backend was asked when the same was asked twice.
async fn asked_twice(server: &TestServer, request: &Value) -> usize {
    let before = server.ollama.requests("/api/chat").len();
    for _ in 0..2 {
        assert_eq!(server.post("/inference/chat", request).send().await.unwrap().status(), 200);
    }
    server.ollama.requests("/api/chat").len() - before
}

#[tokio::test]
async fn what_the_context_cut_off_or_was_only_thought_is_not_kept() {
    let server = start().await;
    let ask = |text: &str, max: Option<u32>| json!({"messages": [user(text)], "max_tokens": max});
    let cut = last_line(3).replace("\"done_reason\":\"stop\"", "\"done_reason\":\"length\"");
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("Once")), Step::Send(cut)]));
    assert_eq!(asked_twice(&server, &ask("a", Some(3))).await, 1, "max_tokens explains it");
    assert_eq!(asked_twice(&server, &ask("b", None)).await, 2);
    assert_eq!(asked_twice(&server, &ask("c", Some(4))).await, 2);
    let reply = body(server.post("/inference/chat", &ask("d", None)).send().await.unwrap()).await;
    assert_eq!(reply["done_reason"], "length");
    let thought = json!({"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false});
    server
        .ollama
        .on("/api/chat", Script::ok(vec![Step::Send(format!("{thought}\n")), Step::Send(last_line(3))]));
    assert_eq!(asked_twice(&server, &ask("e", None)).await, 2);
    server.ollama.on("/api/chat", Script::chat(&["all"], Duration::ZERO));
    assert_eq!(asked_twice(&server, &ask("f", None)).await, 1);
}

#[tokio::test]
async fn what_is_not_ollama_is_not_a_missing_model() {
    let server = start().await;
    let request = json!({"messages": [user("hi")]});
    server.ollama.on("/api/chat", Script::error(404, "model 'qwen2.5:7b' not found"));
    assert_eq!(problem(server.post("/inference/chat", &request)).await.0, 404);
    let page = Script { status: 404, ..Script::ok(vec![Step::Send("<h1>nginx</h1>".to_owned())]) };
    server.ollama.on("/api/chat", page);
    let (status, problem) = problem(server.post("/inference/chat", &request)).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        status == 502 && detail.contains("OLLAMA_BASE_URL") && !detail.contains("ollama pull"),
        "{problem}"
    );
}

/// The names under which models are counted.
async fn counted(server: &TestServer) -> Vec<String> {
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("simpleton_llm_requests_total{model=\""));
    let mut names: Vec<String> = lines.filter_map(|line| Some(line.split_once('"')?.0.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn a_model_is_one_however_it_is_spelt() {
    let server = start().await;
    for name in [
        "llava",
        "LLaVA",
        "llava:latest",
        "llava:LATEST",
        "LLAVA:laTEST",
        "library/llava",
        "Registry.ollama.ai/library/llava",
    ] {
        let request = json!({"messages": [user("hi")], "model": name});
        let reply = body(server.post("/inference/chat", &request).send().await.unwrap()).await;
        assert_eq!(reply["model"], "llava", "{name}");
    }
    let sent = server.ollama.requests("/api/chat");
    assert_eq!((sent.len(), &sent[0]["model"]), (1, &json!("llava")), "all of them are one question");
    assert_eq!(counted(&server).await, ["llava"]);
    let embedding = json!({"input": "hi", "model": "QWEN2.5:7B"});
    let answer = json!({"embeddings": [[0.5]]}).to_string();
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(answer)]));
    let reply = body(server.post("/embeddings/", &embedding).send().await.unwrap()).await;
    assert_eq!(reply["model"], "qwen2.5:7b");
    // What is not on the list is the backend's to refuse, and one name all the same.
    for name in ["Other", "OTHER:latest", "oTHER"] {
        server
            .post("/inference/chat", &json!({"messages": [user("hi")], "model": name}))
            .send()
            .await
            .unwrap();
    }
    assert!(server.ollama.requests("/api/chat").iter().skip(1).all(|sent| sent["model"] == "other"));
}

#[tokio::test]
async fn a_name_that_is_none_is_left_out() {
    let server = start().await;
    let tag = |name: &str| json!({"name": name, "digest": "d\u{1b}[31m", "details": {"family": "a\u{1b}]0;x\u{7}"}});
    let tags = json!({"models": [tag("ok:latest"), tag("bad\u{1b}[31m"), tag("a\nb"), tag("../x"), tag("")]});
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(tags.to_string())]));
    let models =
        body(server.get("/models").header("x-api-key", crate::harness::KEY).send().await.unwrap()).await;
    let models = models["models"].as_array().unwrap();
    assert_eq!(models.iter().map(|model| &model["name"]).collect::<Vec<_>>(), ["ok"]);
    assert!(
        !models[0].to_string().contains("u001b") && !models[0].to_string().contains('\u{1b}'),
        "{models:?}"
    );
    server.post("/inference/chat", &json!({"messages": [user("hi")], "model": "ok"})).send().await.unwrap();
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(!text.contains('\u{1b}') && text.contains("model=\"ok\""));
}

#[tokio::test]
async fn a_text_stands_for_no_image() {
    let server = start().await;
    for (text, sent) in
        [("[img-12] [img] hi", "[\u{200b}img-12] [\u{200b}img] hi"), ("[image] [1] x", "[image] [1] x")]
    {
        server.post("/inference/chat", &json!({"messages": [user(text)]})).send().await.unwrap();
        server.post("/inference/generate", &json!({"prompt": text})).send().await.unwrap();
        assert_eq!(server.ollama.requests("/api/chat").last().unwrap()["messages"][0]["content"], sent);
        assert_eq!(server.ollama.requests("/api/generate").last().unwrap()["prompt"], sent);
    }
    server.post("/inference/generate", &json!({"prompt": "[img-0]", "raw": true})).send().await.unwrap();
    assert_eq!(server.ollama.requests("/api/generate").last().unwrap()["prompt"], "[img-0]");
}

/// An Ollama that does not measure, or a proxy that leaves it out.
#[tokio::test]
async fn a_reply_without_durations_says_what_the_request_took() {
    let server = start().await;
    let pause = Step::Pause(Duration::from_millis(5));
    let last = |field: Value| {
        let mut line = json!({"model": "m", "done": true});
        line.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        Script::ok(vec![pause.clone(), Step::Send(format!("{line}\n"))])
    };
    server.ollama.on("/api/chat", last(json!({"message": {"role": "assistant", "content": "Hi"}})));
    server.ollama.on("/api/generate", last(json!({"response": "Hi"})));
    let vectors = json!({"embeddings": [[0.1, 0.2]]}).to_string();
    server.ollama.on("/api/embed", Script::ok(vec![pause.clone(), Step::Send(vectors)]));
    for (path, request) in [
        ("/inference/chat", json!({"messages": [{"role": "user", "content": "hi"}]})),
        ("/inference/generate", json!({"prompt": "hi"})),
        ("/embeddings/", json!({"model": "qwen2.5:7b", "input": "hi"})),
    ] {
        let reply = body(server.post(path, &request).send().await.unwrap()).await;
        assert!(reply["total_duration"].as_u64().unwrap() >= 5_000_000, "{path}: {reply}");
        assert_eq!(reply.get("eval_duration"), None, "{path}: {reply}");
    }
}
