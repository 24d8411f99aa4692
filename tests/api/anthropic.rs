//! Anthropic's API, in front of a scripted Ollama. `fixtures/anthropic/` has the exchanges of Anthropic's documentation.

use std::{fs, time::Duration};

use reqwest::Response;
use serde_json::{Value, json};

use crate::{
    documented::assert_fits,
    harness::{KEY, TestServer, events, eventually, json as body, start, start_uncached, start_with},
    ollama::{
        lines::{chat_line, last_line},
        scripted::{Script, Step},
    },
};

pub const VERSION: &str = "anthropic-version";

pub fn hello() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

/// A request with these fields besides.
pub fn asking(fields: Value) -> Value {
    let mut request = json!({"max_tokens": 50, "messages": hello()});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

pub async fn create(server: &TestServer, request: &Value) -> Response {
    server.post("/v1/messages", request).header(VERSION, "2023-06-01").send().await.unwrap()
}

pub async fn stream(server: &TestServer, fields: Value) -> Vec<(String, Value)> {
    let mut request = asking(fields);
    request["stream"] = json!(true);
    let response = create(server, &request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = events(&response.text().await.unwrap());
    assert!(events.iter().all(|(name, event)| event["type"] == **name), "{events:?}");
    events
}

/// Status, type and message of a refusal, whose form is checked.
pub async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let id = response.headers()["request-id"].to_str().unwrap().to_owned();
    let refusal = body(response).await;
    assert_fits(&refusal, &fixtures()["error"]);
    assert_eq!((&refusal["type"], &refusal["request_id"]), (&json!("error"), &json!(id)));
    let text = |name: &str| refusal["error"][name].as_str().unwrap().to_owned();
    (status, text("type"), text("message"))
}

fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/fixtures/anthropic/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub fn fixtures() -> Value {
    serde_json::from_str(&fixture("shapes.json")).unwrap()
}

/// Names of the events in their order: deltas of one type that follow each other count once, and pings not at all.
fn order(events: &[(String, Value)]) -> Vec<String> {
    let mut names: Vec<String> = events
        .iter()
        .filter(|(name, _)| name != "ping")
        .map(|(name, event)| {
            let (block, delta) = (&event["content_block"]["type"], &event["delta"]["type"]);
            let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{name} {} {}{}", event["index"], part(block), part(delta))
        })
        .collect();
    names.dedup();
    names
}

/// Answers with these lines of Ollama's.
fn answer(server: &TestServer, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(text + &last_line(9))]));
}

fn line(message: Value) -> Value {
    json!({"model": "m", "message": message, "done": false})
}

fn weather_call() -> Value {
    line(json!({"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"city": "Paris"}}}]}))
}

pub fn weather() -> Value {
    json!([{"type": "custom", "name": "weather", "description": "Weather of a city", "input_schema":
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}])
}

#[tokio::test]
async fn a_message_has_anthropics_shape() {
    let server = start().await;
    let request = json!({"model": "qwen2.5:7b", "max_tokens": 5, "temperature": 0, "top_p": 0.5, "top_k": 3,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "user", "content": "ho"}], "stop_sequences": ["x"]});
    let response = create(&server, &request).await;
    assert_eq!(response.headers()["request-id"], response.headers()["x-request-id"]);
    let reply = body(response).await;
    assert_fits(&reply, &fixtures()["message"]);
    let id = reply["id"].as_str().unwrap();
    assert!(id.starts_with("msg_"));
    let usage = json!({"input_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 3});
    assert_eq!(
        reply,
        json!({"id": id, "type": "message", "role": "assistant", "model": "qwen2.5:7b", "content":
            [{"type": "text", "text": "Hello wörld"}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage})
    );
    let sent = &server.ollama.requests("/api/chat")[0];
    let system = json!({"role": "system", "content": "Be brief.\nBe kind."});
    assert_eq!(sent["messages"], json!([system, {"role": "user", "content": "hi\nho"}]));
    assert_eq!(
        sent["options"],
        json!({"temperature": 0.0, "top_p": 0.5, "top_k": 3, "stop": ["x"], "num_predict": 5})
    );
}

#[tokio::test]
async fn streams_have_the_events_of_the_documentation_in_their_order() {
    let server = start_uncached().await;
    let text = |text: &str| line(json!({"role": "assistant", "content": text}));
    let thought = |text: &str| line(json!({"role": "assistant", "content": "", "thinking": text}));
    for (name, lines, fields) in [
        ("text.sse", vec![text("Hello"), text("!")], json!({})),
        ("tool_use.sse", vec![text("Okay"), text(", let's"), weather_call()], json!({"tools": weather()})),
        ("thinking.sse", vec![thought("Let"), thought(" me"), text("27")], json!({})),
    ] {
        answer(&server, &lines);
        let told = stream(&server, fields).await;
        let documented = events(&fixture(name));
        assert_eq!(order(&told), order(&documented), "{name}");
        for (name, event) in &documented {
            let like = |(other, told): &&(String, Value)| {
                other == name
                    && told["index"] == event["index"]
                    && told["delta"]["type"] == event["delta"]["type"]
            };
            assert_fits(&told.iter().find(like).unwrap().1, event);
        }
        assert_eq!((&*told[0].0, &*told[1].0), ("message_start", "ping"));
        let [.., (_, end), _] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&end["usage"]["input_tokens"], &end["usage"]["output_tokens"]), (&json!(7), &json!(9)));
    }
}

#[tokio::test]
async fn thoughts_are_blocks_with_a_signature() {
    let server = start_uncached().await;
    let thought = line(json!({"role": "assistant", "content": "", "thinking": "Hm."}));
    let said = line(json!({"role": "assistant", "content": "Yes"}));
    answer(&server, &[thought, said]);
    let budget = |display: &str| {
        asking(
            json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024, "display": display}}),
        )
    };
    let reply = body(create(&server, &budget("summarized")).await).await;
    assert_fits(&reply["content"][0], &fixtures()["thinking"]);
    assert_eq!(
        reply["content"],
        json!([{"type": "thinking", "thinking": "Hm.", "signature": "unsigned"}, {"type": "text", "text": "Yes"}])
    );
    assert_eq!(server.ollama.requests("/api/chat")[0]["think"], true);
    let hidden = body(create(&server, &budget("omitted")).await).await;
    assert_eq!(hidden["content"][0], json!({"type": "thinking", "thinking": "", "signature": "unsigned"}));
    for (thinking, config, think) in [
        (json!({"type": "disabled"}), json!({}), json!(false)),
        (json!({"type": "adaptive"}), json!({"effort": "high"}), Value::Null),
        (json!({"type": "enabled", "budget_tokens": 1024}), json!({"effort": "max"}), json!("high")),
    ] {
        let request = json!({"max_tokens": 2000, "thinking": thinking, "output_config": config});
        create(&server, &asking(request)).await;
        let sent = server.ollama.requests("/api/chat");
        assert_eq!(sent.last().unwrap()["think"], think, "{thinking}");
    }
    // Sent back, as clients do.
    let turns = json!([hello()[0], {"role": "assistant", "content": reply["content"]}, hello()[0]]);
    let response = create(&server, &asking(json!({"messages": turns}))).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "messages.content.thinking");
    let sent = server.ollama.requests("/api/chat");
    assert_eq!(sent.last().unwrap()["messages"][1], json!({"role": "assistant", "content": "Yes"}));
}

#[tokio::test]
async fn tools_are_called_and_their_results_taken() {
    let server = start_uncached().await;
    let paris = weather_call();
    answer(&server, &[paris.clone(), paris]);
    let tool_choice = json!({"type": "auto", "disable_parallel_tool_use": true});
    let reply =
        body(create(&server, &asking(json!({"tools": weather(), "tool_choice": tool_choice}))).await).await;
    let call = &reply["content"][0];
    assert_fits(call, &fixtures()["tool_use"]);
    assert!(call["id"].as_str().unwrap().starts_with("toolu_"));
    assert_eq!((reply["content"].as_array().unwrap().len(), &reply["stop_reason"]), (1, &json!("tool_use")));
    assert_eq!((&call["name"], &call["input"]), (&json!("weather"), &json!({"city": "Paris"})));
    let told = stream(&server, json!({"tools": weather()})).await;
    let delta = told.iter().find(|(_, event)| event["delta"]["type"] == "input_json_delta").unwrap();
    assert_eq!(delta.1["delta"]["partial_json"], r#"{"city":"Paris"}"#);

    let result =
        |content: Value| json!({"type": "tool_result", "tool_use_id": call["id"], "content": content});
    let answered = json!([result(json!([{"type": "text", "text": "sunny"}, {"type": "text", "text": "warm"}])),
        {"type": "text", "text": "And?"}]);
    let said = json!([{"type": "text", "text": "Let me see."}, call]);
    let turns =
        json!([hello()[0], {"role": "assistant", "content": said}, {"role": "user", "content": answered}]);
    let response = create(&server, &asking(json!({"messages": turns, "tools": weather()}))).await;
    assert_eq!((response.status().as_u16(), response.headers().get("x-simpleton-ignored")), (200, None));
    let sent = server.ollama.requests("/api/chat").last().unwrap()["messages"].clone();
    let roles: Vec<&str> =
        sent.as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
    assert_eq!((&sent[1]["content"], &sent[1]["tool_calls"][0]["id"]), (&json!("Let me see."), &call["id"]));
    assert_eq!((&sent[2]["tool_call_id"], &sent[2]["tool_name"]), (&call["id"], &json!("weather")));
    assert_eq!((&sent[2]["content"], &sent[3]["content"]), (&json!("sunny\nwarm"), &json!("And?")));
}

#[tokio::test]
async fn images_of_results_follow_in_the_users_turn() {
    let server = start().await;
    let image =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}});
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "look", "input": {}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": id}, image]});
    let turns = json!([hello()[0], {"role": "assistant", "content": [call("a"), call("b")]},
        {"role": "user", "content": [result("a"), result("b"), {"type": "text", "text": "?"}, image]}]);
    let response = create(&server, &asking(json!({"model": "llava", "messages": turns}))).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let sent = &server.ollama.requests("/api/chat")[0]["messages"];
    let told: Vec<(&str, &str, usize)> = sent.as_array().unwrap()[2..]
        .iter()
        .map(|turn| {
            let images = turn["images"].as_array().map_or(0, Vec::len);
            (turn["role"].as_str().unwrap(), turn["content"].as_str().unwrap(), images)
        })
        .collect();
    assert_eq!(told, [("tool", "a", 0), ("tool", "b", 0), ("user", "?", 3)]);
}

#[tokio::test]
async fn silences_are_broken_by_pings_and_a_client_that_leaves_stops_the_model() {
    let server = start_with(&[("STREAM_HEADERS_AFTER_S", "0"), ("STREAM_PING_S", "1")]).await;
    let steps = vec![Step::Send(chat_line("a")), Step::Hang];
    server.ollama.on("/api/chat", Script { delay: Some(Duration::from_millis(500)), ..Script::ok(steps) });
    let mut response = create(&server, &asking(json!({"stream": true}))).await;
    let mut text = String::new();
    // One before the message, one at its beginning, and one for a silence.
    while text.matches("event: ping").count() < 3 {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("text_delta"), "{text}");
    assert!(text.starts_with("event: ping\ndata: {\"type\":\"ping\"}\n\n"), "{text}");
    assert_eq!(server.ollama.aborted(), 0);
    drop(response);
    eventually("the backend is told", async || server.ollama.aborted() == 1).await;
}

#[tokio::test]
async fn what_has_no_effect_is_named() {
    let server = start().await;
    let request = asking(json!({"metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": null,
        "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}));
    let response = server.post("/v1/messages?beta=true", &request).header("anthropic-beta", "a,b");
    let response = response.send().await.unwrap();
    assert_eq!(
        response.headers()["x-simpleton-ignored"],
        "anthropic-beta, beta, metadata, service_tier, system.cache_control"
    );
    let plain = create(&server, &asking(json!({}))).await;
    assert_eq!(plain.headers().get("x-simpleton-ignored"), None);
}

#[tokio::test]
async fn the_version_decides_whose_models_they_are() {
    let server = start().await;
    let list = async |query: &str| {
        let request = server.get(&format!("/v1/models{query}")).header("x-api-key", KEY);
        body(request.header(VERSION, "2023-06-01").send().await.unwrap()).await
    };
    let all = list("").await;
    assert_fits(&all, &fixtures()["models"]);
    let ids: Vec<&str> =
        all["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    let (first, last) = (ids[0], *ids.last().unwrap());
    assert!(ids.len() > 1, "{all}");
    assert_eq!(
        (&all["has_more"], &all["first_id"], &all["last_id"]),
        (&json!(false), &json!(first), &json!(last))
    );
    let page = list("?limit=1").await;
    assert_eq!(
        (&page["data"][0], &page["has_more"], &page["last_id"]),
        (&all["data"][0], &json!(true), &json!(first))
    );
    let next = list(&format!("?limit=1&after_id={first}&beta=true")).await;
    assert_eq!((&next["first_id"], &next["has_more"]), (&json!(ids[1]), &json!(ids.len() > 2)));
    let before = list(&format!("?limit=1000&before_id={last}")).await;
    assert_eq!(before["data"].as_array().unwrap().len(), ids.len() - 1);
    let empty = list(&format!("?after_id={last}")).await;
    assert_eq!(empty, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
    for (query, message) in [
        ("?after_id=none", "after_id must be the id of a model"),
        ("?limit=1001", "limit must be between 1 and 1000"),
        ("?limit=a", "limit must be a whole number"),
        ("?before_id=a&after_id=b", "before_id cannot be combined"),
    ] {
        let told = list(query).await["error"]["message"].clone();
        assert!(told.as_str().unwrap().starts_with(message), "{told}");
    }
    let one = list(&format!("/{first}")).await;
    assert_eq!(one, all["data"][0]);
    let openais = server.get("/v1/models?limit=1").header("x-api-key", KEY).send().await.unwrap();
    assert_eq!(body(openais).await["error"]["param"], "limit");
}

#[tokio::test]
async fn one_entry_serves_every_api() {
    let server = start().await;
    let openais = json!({"messages": hello(), "temperature": 0, "max_tokens": 50});
    server.post("/v1/chat/completions", &openais).send().await.unwrap().text().await.unwrap();
    for stream in [false, true] {
        let request = asking(json!({"temperature": 0, "stream": stream}));
        let response = create(&server, &request).await;
        assert!(response.headers()["cache-status"].to_str().unwrap().contains("; hit"));
        assert!(response.text().await.unwrap().contains("w\u{f6}rld"));
    }
    assert_eq!(server.ollama.requests("/api/chat").len(), 1);
    let series = |path: &str| {
        format!("simpleton_requests_total{{method=\"POST\",endpoint=\"{path}\",status=\"200\"}}")
    };
    assert_eq!(server.metric(&series("/v1/messages")).await, 2.0);
}
