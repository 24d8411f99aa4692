//! Chats: facts, schemas, tools, turns, company.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{MODEL, RealServer, text};

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_in_words_in_json_and_with_tools() {
    let server = RealServer::start(&[]).await;
    assert!(server.ask("What is the capital of France?").await.contains("Paris"));

    let schema = json!({
        "type": "object", "required": ["city", "population"],
        "properties": {"city": {"type": "string"}, "population": {"type": "integer", "minimum": 1000}}
    });
    let asked = json!([{"role": "user", "content": "Name a large city in Japan and its population."}]);
    let reply = server.chat(asked, json!({ "format": schema })).await;
    let answer: Value = serde_json::from_str(&text(&reply)).unwrap();
    assert!(answer["city"].is_string() && answer["population"].as_i64() >= Some(1000), "{answer}");

    let parameters =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let function =
        json!({"name": "get_weather", "description": "Get the weather of a city", "parameters": parameters});
    let tools = json!({"tools": [{"type": "function", "function": function}]});
    let question = json!({"role": "user", "content": "What is the weather in Paris?"});
    let reply = server.chat(json!([question]), tools.clone()).await;
    let calls = &reply["message"]["tool_calls"];
    assert_eq!(
        calls[0]["function"],
        json!({"name": "get_weather", "arguments": {"city": "Paris"}}),
        "{reply}"
    );
    assert_eq!((&reply["done_reason"], text(&reply).as_str()), (&json!("tool_calls"), ""));

    let result = json!({"role": "tool", "tool_name": "get_weather", "content": "17 degrees and rain"});
    let ask = json!({"role": "user", "content": "Answer in one sentence."});
    let reply = server.chat(json!([question, reply["message"], result, ask]), tools).await;
    assert!(text(&reply).contains("17"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_remembers_twelve_turns() {
    let server = RealServer::start(&[]).await;
    let mut messages =
        vec![json!({"role": "user", "content": "My name is Ada. Please remember it. Answer with OK."})];
    for turn in 0..11 {
        let reply = server.chat(json!(messages), json!({"max_tokens": 24})).await;
        messages.push(reply["message"].clone());
        let question = if turn < 10 {
            format!("What is {turn} plus 1? Answer with a number.")
        } else {
            "What is my name?".to_owned()
        };
        messages.push(json!({"role": "user", "content": question}));
    }
    let reply = server.chat(json!(messages), json!({})).await;
    assert!(text(&reply).contains("Ada"), "{reply}");
    assert_eq!(messages.len(), 23);
    let cached = server.metric(&format!("simpleton_llm_cached_tokens_total{{model=\"{MODEL}\"}}")).await;
    let prompts = server
        .metric(&format!("simpleton_llm_tokens_total{{model=\"{MODEL}\",token_type=\"prompt\"}}"))
        .await;
    assert!(cached > prompts / 2.0, "{cached} of {prompts}: each turn goes on where the last one ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_eight_chats_at_once() {
    let server = RealServer::start(&[]).await;
    let capitals = [
        ("France", "Paris"),
        ("Germany", "Berlin"),
        ("Italy", "Rome"),
        ("Spain", "Madrid"),
        ("Japan", "Tokyo"),
        ("England", "London"),
        ("China", "Beijing"),
        ("Russia", "Moscow"),
    ];
    let answers = join_all(capitals.map(|(country, _)| {
        let question = format!("What is the capital of {country}?");
        let server = &server;
        async move { server.ask(&question).await }
    }));
    for ((country, capital), answer) in capitals.iter().zip(answers.await) {
        assert!(answer.contains(capital), "{country}: {answer}");
    }
}
