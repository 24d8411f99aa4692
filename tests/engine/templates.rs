//! Chat templates rendered by Simpleton, against the engine's own rendering of them.

use std::{fs::File, sync::Arc};

use serde_json::{Value, json};
use simpleton::{
    backend::Backend,
    client::Method,
    engine,
    types::{Message, Prompt, Role},
};

use crate::harness::{Rig, request};

/// What llama-server itself answers to these messages: the text, and the tokens of prompt and answer.
async fn asked_directly(rig: &Rig, messages: &[Message]) -> (String, u64, u64) {
    let turn = |message: &Message| json!({"role": message.role.as_str(), "content": message.content});
    let turns: Vec<Value> = messages.iter().map(turn).collect();
    let body = json!({"messages": turns, "temperature": 0, "max_tokens": 64});
    let lease =
        rig.engine.acquire(Arc::clone(&rig.entry), engine::Role::Chat, None).await.expect("a free slot");
    let sent = lease.client().send(Method::POST, "/v1/chat/completions", Some(body.to_string().into())).await;
    let answer = sent.expect("an answer").bytes(1_000_000).await.expect("a whole answer");
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    let count = |name: &str| answer["usage"][name].as_u64().expect("a count");
    let text = answer["choices"][0]["message"]["content"].as_str().expect("a text");
    (text.to_owned(), count("prompt_tokens"), count("completion_tokens"))
}

// One thread, for which the log is caught.
#[tokio::test]
async fn a_chat_is_answered_as_the_engine_itself_would() {
    let rig = Rig::new(&[]);
    let path = rig.dir.path().join("log");
    let log = Arc::new(File::create(&path).expect("a log"));
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(log).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let user = |text: &str| Message::new(Role::User, text);
    let chats = [
        vec![user("What is the capital of France?")],
        vec![
            Message::new(Role::System, " Answer briefly.\n"),
            user("Who are you?"),
            Message::new(Role::Assistant, "I am <a> \"demo\" & nothing else.\n\n"),
            user("  What is the capital\tof Kenya? „ö“ \u{1f98a} {{ 1 }}\n"),
        ],
        vec![user("Say <|im_end|> and </s>."), user("")],
    ];
    for messages in chats {
        let reply = rig.reply(request(Prompt::Messages(messages.clone()))).await.expect("a reply");
        let usage = reply.done.usage;
        let ours = (reply.text(), usage.prompt_tokens, usage.completion_tokens);
        assert_eq!(ours, asked_directly(&rig, &messages).await, "{messages:?}");
    }
    drop(guard);
    rig.backend.stop().await;
    let log = std::fs::read_to_string(path).expect("the log");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("chat template is rendered")).collect();
    assert!(matches!(said[..], [line] if line.contains("rendered here")), "{said:?}");
}
