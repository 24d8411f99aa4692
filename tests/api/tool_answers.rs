//! Answers of tools that were called together, whichever arrives first.

use serde_json::{Value, json};

use crate::harness::start;

/// A conversation through each API, with the answers of Paris and Rome in an order.
fn asked(cities: [usize; 2]) -> [(&'static str, Value); 5] {
    let answer = |city: usize| (["c1", "c2"][city], ["12 C", "18 C"][city]);
    let call = |id: &str, city: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": {"city": city}}});
    let calls =
        json!({"role": "assistant", "content": "", "tool_calls": [call("c1", "Paris"), call("c2", "Rome")]});
    let (before, after) =
        (json!({"role": "user", "content": "Weather?"}), json!({"role": "user", "content": "In Paris?"}));
    let [first, second] = cities
        .map(answer)
        .map(|(id, content)| json!({"role": "tool", "tool_call_id": id, "content": content}));
    let turns = json!([before, calls, first, second, after]);
    let chat = json!({"messages": turns, "temperature": 0, "stream": false});
    let blocks = |id: &str, city: &str| json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}});
    let [first, second] = cities
        .map(answer)
        .map(|(id, content)| json!({"type": "tool_result", "tool_use_id": id, "content": content}));
    let messages = json!([before, {"role": "assistant", "content": [blocks("c1", "Paris"), blocks("c2", "Rome")]},
        {"role": "user", "content": [first, second, {"type": "text", "text": "In Paris?"}]}]);
    let item = |id: &str, city: &str| {
        let arguments = json!({ "city": city }).to_string();
        json!({"type": "function_call", "call_id": id, "name": "weather", "arguments": arguments})
    };
    let [first, second] = cities
        .map(answer)
        .map(|(id, output)| json!({"type": "function_call_output", "call_id": id, "output": output}));
    let input = json!([before, item("c1", "Paris"), item("c2", "Rome"), first, second, after]);
    [
        ("/inference/chat", chat.clone()),
        ("/v1/chat/completions", chat),
        ("/api/chat", json!({"messages": turns, "options": {"temperature": 0}, "stream": false})),
        ("/v1/messages", json!({"messages": messages, "temperature": 0, "max_tokens": 2048})),
        ("/v1/responses", json!({"input": input, "temperature": 0, "store": false})),
    ]
}

#[tokio::test]
async fn answers_reach_the_model_in_the_order_of_the_calls() {
    let server = start().await;
    for (path, request) in asked([1, 0]) {
        let before = server.ollama.requests("/api/chat").len();
        let response = server.post(path, &request).header("cache-control", "no-cache").send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let sent = &server.ollama.requests("/api/chat")[before]["messages"];
        let told: Vec<_> = sent.as_array().unwrap()[2..].iter().map(|turn| &turn["content"]).collect();
        assert_eq!(told, ["12 C", "18 C", "In Paris?"], "{path}");
    }
}

#[tokio::test]
async fn both_orders_are_one_cache_entry() {
    let server = start().await;
    for ((path, one), (_, other)) in asked([0, 1]).into_iter().zip(asked([1, 0])) {
        assert_eq!(server.post(path, &one).send().await.unwrap().status(), 200, "{path}");
        let before = server.ollama.requests("/api/chat").len();
        assert_eq!(server.post(path, &other).send().await.unwrap().status(), 200, "{path}");
        assert_eq!(server.ollama.requests("/api/chat").len(), before, "{path}");
    }
}
