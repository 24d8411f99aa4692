//! Chats that are answered from documents.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{TestServer, events, json as body, pointers_of, problem, start, start_with},
    ollama::{
        lines::embeddings,
        scripted::{Script, Step},
    },
};

/// A server with a document of three chunks.
async fn start_with_animals() -> TestServer {
    let server = start().await;
    ingest_animals(&server).await;
    server
}

async fn ingest_animals(server: &TestServer) {
    let request = json!({
        "content": "Cats sleep on warm roofs.\n\nDogs dig holes in gardens.\n\nFish swim in cold rivers.",
        "document_id": "animals", "collection": "zoo", "metadata": {"year": 1843}, "chunk_size": 30, "chunk_overlap": 0
    });
    assert_eq!(server.post("/rag/ingest", &request).send().await.unwrap().status(), 200);
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[tokio::test]
async fn a_chat_is_answered_from_documents_with_its_sources() {
    let server = start_with_animals().await;
    let documents =
        json!({"collection": "zoo", "top_k": 1, "mode": "hybrid", "filter": {"year": {"gt": 1800}}});
    let mut request = json!({
        "messages": [{"role": "system", "content": "Be brief."}, user("Where do dogs dig?")],
        "documents": documents, "temperature": 0, "seed": 7, "keep_alive": "10m", "stop": "\n\n"
    });
    let reply = body(server.post("/inference/chat", &request).send().await.unwrap()).await;
    assert_eq!(reply["message"], json!({"role": "assistant", "content": "Hello wörld"}), "{reply}");
    let sources = reply["sources"].as_array().unwrap();
    assert_eq!((sources.len(), &sources[0]["number"]), (1, &json!(1)));
    assert_eq!(sources[0]["content"], "Dogs dig holes in gardens.");
    assert_eq!(sources[0]["metadata"]["year"], 1843);
    let asked = &server.ollama.requests("/api/chat")[0];
    assert_eq!((&asked["options"]["seed"], &asked["keep_alive"]), (&json!(7), &json!("600000ms")));
    let (system, question) = (&asked["messages"][0]["content"], &asked["messages"][1]["content"]);
    assert!(system.as_str().unwrap().starts_with("Be brief.\n\n"), "{system}");
    assert!(question.as_str().unwrap().contains("Dogs dig holes in gardens."), "{question}");

    // The same question by the other route has the same sources.
    let query = json!({
        "query": "Where do dogs dig?", "collection": "zoo", "top_k": 1, "mode": "hybrid",
        "filter": {"year": {"gt": 1800}}
    });
    let queried = body(server.post("/rag/query", &query).send().await.unwrap()).await;
    assert_eq!(queried["sources"], reply["sources"]);

    request["stream"] = json!(true);
    let response = server.post("/inference/chat", &request).send().await.unwrap();
    assert!(response.headers()["cache-status"].to_str().unwrap().contains("hit"));
    let events = events(&response.text().await.unwrap());
    let ((_, last), others) = events.split_last().unwrap();
    assert_eq!((&last["done"], &last["sources"]), (&json!(true), &reply["sources"]));
    assert!(others.iter().all(|(_, event)| event.get("sources").is_none()));

    let plain = json!({"messages": [user("hi")]});
    let reply = body(server.post("/inference/chat", &plain).send().await.unwrap()).await;
    assert!(reply.get("sources").is_none(), "{reply}");
}

#[tokio::test]
async fn what_is_not_in_the_documents_is_not_asked() {
    let server = start_with_animals().await;
    let documents = json!({"collection": "zoo", "score_threshold": 0.9});
    let request = json!({"messages": [user("Quantum chromodynamics?")], "documents": documents});
    let reply = body(server.post("/inference/chat", &request).send().await.unwrap()).await;
    assert_eq!(reply["sources"], json!([]), "{reply}");
    let said = reply["message"]["content"].as_str().unwrap();
    assert_eq!(said, "The documents do not contain an answer to this question.");
    assert!(server.ollama.requests("/api/chat").is_empty());
}

#[tokio::test]
async fn an_image_of_the_question_stays_beside_the_excerpts() {
    let server = start_with_animals().await;
    let image =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let question = json!({"role": "user", "content": "Where do dogs dig?", "images": [image]});
    let request = json!({"model": "llava", "messages": [question], "documents": {"collection": "zoo"}});
    let reply = body(server.post("/inference/chat", &request).send().await.unwrap()).await;
    assert_eq!(reply["sources"][0]["content"], "Dogs dig holes in gardens.", "{reply}");
    let asked = &server.ollama.requests("/api/chat")[0]["messages"][1];
    assert_eq!(asked["images"].as_array().unwrap().len(), 1, "{asked}");
}

#[tokio::test]
async fn wrong_fields_are_named_and_what_makes_no_sense_is_refused() {
    let server = start_with_animals().await;
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let with = |fields: Value| {
        let mut request = json!({"messages": [user("dogs")]});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    let wrong = [
        (with(json!({"documents": "zoo"})), vec!["/documents"]),
        (with(json!({"documents": []})), vec!["/documents"]),
        (with(json!({"documents": {"top": 3}})), vec!["/documents/top"]),
        (with(json!({"documents": {"mode": "best"}})), vec!["/documents/mode"]),
        (with(json!({"documents": {"filter": {"year": {"like": 1}}}})), vec!["/documents/filter/year/like"]),
        (
            with(
                json!({"temperature": 9, "documents": {"top_k": 0, "collection": "a/b", "score_threshold": 2}}),
            ),
            vec!["/temperature", "/documents/score_threshold", "/documents/collection", "/documents/top_k"],
        ),
        (with(json!({"documents": {}, "tools": [tool], "format": "json"})), vec!["/tools", "/format"]),
        (with(json!({"documents": {"collection": "zoo"}, "messages": [user("  ")]})), vec!["/messages"]),
        (
            with(json!({
                "documents": {"collection": "zoo"},
                "messages": [user("dogs"), {"role": "assistant", "content": "They"}]
            })),
            vec!["/messages"],
        ),
    ];
    for (request, pointers) in wrong {
        let (status, problem) = problem(server.post("/inference/chat", &request)).await;
        assert_eq!(status, 422, "{request}: {problem}");
        assert_eq!(pointers_of(&problem), pointers, "{request}: {problem}");
    }
    let request = with(json!({"documents": {"collection": "none"}}));
    let (status, problem) = problem(server.post("/inference/chat", &request)).await;
    assert_eq!(status, 404, "{problem}");
    let reply = with(json!({"documents": null}));
    assert_eq!(server.post("/inference/chat", &reply).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_begins_before_its_documents_are_found() {
    let server = start_with(&[("STREAM_HEADERS_AFTER_S", "1"), ("STREAM_PING_S", "1")]).await;
    ingest_animals(&server).await;
    let text = "Where do dogs dig?";
    let steps = vec![
        Step::Pause(Duration::from_secs(3)),
        Step::Send(embeddings(&json!({"input": [text]})).to_string()),
    ];
    server.ollama.on("/api/embed", Script::ok(steps));
    for (path, mut request) in [
        ("/inference/chat", json!({"messages": [user(text)], "documents": {"collection": "zoo"}})),
        ("/rag/query", json!({"query": text, "collection": "zoo"})),
    ] {
        request["stream"] = json!(true);
        let response = server.post(path, &request).header("cache-control", "no-cache").send().await.unwrap();
        assert!(response.headers().get("cache-status").is_none(), "{path}: nothing is known of it yet");
        let text = response.text().await.unwrap();
        assert!(text.starts_with(": ping\n\n"), "{path}: {text}");
        let last = text.lines().rfind(|line| line.starts_with("data: ")).unwrap();
        assert!(last.contains("Dogs dig holes in gardens."), "{path}: {last}");
    }
}
