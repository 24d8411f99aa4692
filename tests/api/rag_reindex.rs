//! Moving a collection to another embedding model.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{KEY, TestServer, events, eventually, json as body, pointers_of, problem, start, start_with},
    ollama::scripted::{Embeds, Script},
};

const REINDEX: &str = "/rag/collections/documents/reindex";
const NEW: &str = "all-minilm";
const TEXT: &str =
    "Cats sleep on warm roofs.\n\nDogs dig größere Löcher in gardens.\n\nFish swim in cold rivers.";

async fn post(server: &TestServer, path: &str, request: &Value) -> Value {
    let response = server.post(path, request).send().await.unwrap();
    let status = response.status();
    let reply = body(response).await;
    assert_eq!(status, 200, "{path} {request}: {reply}");
    reply
}

async fn get(server: &TestServer, path: &str) -> Value {
    body(server.get(path).header("x-api-key", KEY).send().await.unwrap()).await
}

async fn ingest(server: &TestServer, id: &str, text: &str) -> Value {
    let request = json!({
        "content": text, "document_id": id, "metadata": {"of": id}, "chunk_size": 40, "chunk_overlap": 10
    });
    post(server, "/rag/ingest", &request).await
}

async fn ingest_numbered(server: &TestServer, documents: usize) {
    for number in 0..documents {
        ingest(server, &format!("d{number}"), &format!("Document number {number}.")).await;
    }
}

async fn search(server: &TestServer, query: &str) -> Vec<Value> {
    let reply = post(server, "/rag/search", &json!({"query": query, "top_k": 100})).await;
    reply["results"].as_array().unwrap().clone()
}

/// Takes half a second for each text of the new model.
fn slow(server: &TestServer) {
    let delay = Some(Duration::from_millis(500));
    server.ollama.embeds(NEW, Embeds { delay, ..Embeds::default() });
}

/// Reads events until this many documents have been moved, and leaves.
async fn leave_after(server: &TestServer, documents: u64) {
    let request = json!({"embedding_model": NEW, "stream": true});
    let mut response = server.post(REINDEX, &request).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while let Some(part) = response.chunk().await.unwrap() {
        text += std::str::from_utf8(&part).unwrap();
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        if events(whole).iter().any(|(_, event)| event["completed"].as_u64() >= Some(documents)) {
            return;
        }
    }
    panic!("{text}");
}

#[tokio::test]
async fn a_collection_moves_to_another_model_and_its_chunks_keep_their_places() {
    let server = start().await;
    ingest(&server, "animals", TEXT).await;
    ingest(&server, "other", "Something else.").await;
    let markdown =
        json!({"content": "# Zoo\n\n## Dogs\n\nDogs bark.", "document_id": "zoo.md", "chunking": "markdown"});
    post(&server, "/rag/ingest", &markdown).await;
    let before = search(&server, "dogs dig").await;
    assert!(before.iter().any(|hit| hit["metadata"]["heading"] == "Zoo"), "{before:?}");
    let request = json!({"embedding_model": NEW});
    let moved = post(&server, REINDEX, &request).await;
    assert_eq!(
        moved,
        json!({
            "status": "success", "collection": "documents", "embedding_model": NEW, "total": 3, "completed": 3,
            "chunks_embedded": 5
        })
    );
    let collection = get(&server, "/rag/collections/documents").await;
    assert_eq!((&collection["embedding_model"], &collection["vectors_count"]), (&json!(NEW), &json!(5)));
    assert!(collection.get("reindexing").is_none(), "{collection}");
    // The scripted models have the same vectors, so that every hit has to be as before.
    assert_eq!(search(&server, "dogs dig").await, before);
    let asked = server.ollama.requests("/api/embed");
    assert_eq!(
        (&asked.last().unwrap()["model"], &asked.last().unwrap()["input"]),
        (&json!(NEW), &json!(["dogs dig"]))
    );
    let again = post(&server, REINDEX, &request).await;
    assert_eq!((&again["completed"], &again["chunks_embedded"]), (&json!(3), &json!(0)));
    assert_eq!(ingest(&server, "new", "New.").await["embedding_model"], NEW);
}

#[tokio::test]
async fn a_chunk_that_is_longer_than_the_new_model_reads_is_divided() {
    let server = start().await;
    ingest(&server, "animals", TEXT).await;
    server.ollama.embeds(NEW, Embeds { longest: 12, ..Embeds::default() });
    post(&server, REINDEX, &json!({"embedding_model": NEW})).await;
    let text: Vec<char> = TEXT.chars().collect();
    let hits = search(&server, "cats fish").await;
    assert!(hits.len() > 6, "{hits:?}");
    let mut seen = vec![false; text.len()];
    for hit in hits {
        let at = |name: &str| usize::try_from(hit["metadata"][name].as_u64().unwrap()).unwrap();
        let range = at("char_start")..at("char_end");
        let content: String = text[range.clone()].iter().collect();
        assert_eq!(
            (hit["content"].as_str().unwrap(), &hit["metadata"]["of"]),
            (content.as_str(), &json!("animals"))
        );
        assert!(content.len() <= 12, "{content}");
        range.for_each(|at| seen[at] = true);
    }
    let missed: String = (0..text.len()).filter(|at| !seen[*at]).map(|at| text[at]).collect();
    assert_eq!(missed.trim(), "", "nothing is left out");
}

#[tokio::test]
async fn progress_is_streamed() {
    let server = start().await;
    ingest_numbered(&server, 3).await;
    slow(&server);
    let request = json!({"embedding_model": NEW, "stream": true});
    let text = server.post(REINDEX, &request).send().await.unwrap().text().await.unwrap();
    let events = events(&text);
    let ((_, last), steps) = events.split_last().unwrap();
    assert_eq!(
        (&last["status"], &last["completed"], &last["chunks_embedded"]),
        (&json!("success"), &json!(3), &json!(3))
    );
    assert!(steps.len() >= 2, "{text}");
    for (name, step) in steps {
        assert_eq!(
            (name.as_str(), &step["status"], &step["total"]),
            ("message", &json!("reindexing"), &json!(3))
        );
    }
    assert_eq!(steps[0].1["completed"], 0);
}

#[tokio::test]
async fn it_goes_on_when_its_client_has_left_and_when_the_server_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("DATA_DIR", folder.path().to_str().unwrap()), ("SHUTDOWN_TIMEOUT_S", "1")];
    let server = start_with(&settings).await;
    ingest_numbered(&server, 6).await;
    slow(&server);
    leave_after(&server, 2).await;
    let running = "simpleton_llm_requests_running";
    eventually("the model is left alone", async || server.metric(running).await == 0.0).await;
    let collection = get(&server, "/rag/collections/documents").await;
    assert_eq!(
        (&collection["embedding_model"], &collection["reindexing"]),
        (&json!("nomic-embed-text"), &json!(NEW))
    );
    assert_eq!(search(&server, "document number").await.len(), 6);
    server.stop().await;

    let server = start_with(&settings).await;
    assert_eq!(search(&server, "document number").await.len(), 6);
    let request = json!({"embedding_model": NEW, "stream": true});
    let text = server.post(REINDEX, &request).send().await.unwrap().text().await.unwrap();
    let events = events(&text);
    let moved = events[0].1["completed"].as_u64().unwrap();
    assert!((2..6).contains(&moved), "{text}");
    let (_, last) = events.last().unwrap();
    assert_eq!((&last["status"], &last["completed"]), (&json!("success"), &json!(6)), "{text}");
    assert!(last["chunks_embedded"].as_u64() <= Some(4), "{text}");
    assert_eq!(search(&server, "document number").await.len(), 6);
}

#[tokio::test]
async fn two_requests_for_one_model_are_one_move_and_another_model_is_refused_meanwhile() {
    let server = start().await;
    ingest_numbered(&server, 4).await;
    slow(&server);
    let request = json!({"embedding_model": NEW});
    let other = async {
        eventually("it has begun", async || {
            get(&server, "/rag/collections/documents").await["reindexing"] == NEW
        })
        .await;
        problem(server.post(REINDEX, &json!({"embedding_model": "nomic-embed-text"}))).await
    };
    let (first, second, (status, problem)) =
        tokio::join!(post(&server, REINDEX, &request), post(&server, REINDEX, &request), other);
    assert_eq!(status, 422, "{problem}");
    assert_eq!(pointers_of(&problem), ["/embedding_model"]);
    assert!(
        problem["detail"].as_str().unwrap().contains("another request is moving the collection"),
        "{problem}"
    );
    let chunks = [&first, &second].map(|moved| moved["chunks_embedded"].as_u64().unwrap());
    assert_eq!(chunks.iter().sum::<u64>(), 4, "{first} {second}");
    assert_eq!((&first["completed"], &second["completed"]), (&json!(4), &json!(4)));
}

#[tokio::test]
async fn searches_ingests_and_deletions_go_on_meanwhile() {
    let server = start().await;
    ingest_numbered(&server, 4).await;
    slow(&server);
    let others = async {
        eventually("it has begun", async || {
            get(&server, "/rag/collections/documents").await["reindexing"] == NEW
        })
        .await;
        assert_eq!(search(&server, "document number").await.len(), 4);
        for id in ["d0", "d3"] {
            let delete = server.client.delete(server.url(&format!("/rag/documents/{id}")));
            assert_eq!(delete.header("x-api-key", KEY).send().await.unwrap().status(), 200);
        }
        ingest(&server, "d1", "Document with other words.").await;
        ingest(&server, "new", "Document that came late.").await;
        let collection = get(&server, "/rag/collections/documents").await;
        assert_eq!(collection["embedding_model"], "nomic-embed-text", "it is still under way");
        assert_eq!(search(&server, "document").await.len(), 3);
    };
    let request = json!({"embedding_model": NEW});
    let (moved, ()) = tokio::join!(post(&server, REINDEX, &request), others);
    assert_eq!((&moved["total"], &moved["completed"]), (&json!(3), &json!(3)));
    let mut found: Vec<String> = search(&server, "document")
        .await
        .iter()
        .map(|hit| hit["content"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, ["Document number 2.", "Document that came late.", "Document with other words."]);
}

#[tokio::test]
async fn a_document_that_was_embedded_by_the_old_model_is_embedded_by_the_new_one() {
    let server = start().await;
    ingest(&server, "a", "An old document.").await;
    let delay = Some(Duration::from_secs(3));
    server.ollama.embeds("nomic-embed-text", Embeds { delay, ..Embeds::default() });
    let moves = async {
        eventually("it is being embedded", async || server.ollama.requests("/api/embed").len() == 2).await;
        post(&server, REINDEX, &json!({"embedding_model": NEW})).await
    };
    let (ingested, moved) = tokio::join!(ingest(&server, "b", "A new document."), moves);
    assert_eq!((&moved["total"], &ingested["embedding_model"]), (&json!(1), &json!(NEW)));
    assert_eq!(search(&server, "document").await.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_the_old_model_serves() {
    let server = start().await;
    let unknown = json!({"embedding_model": NEW});
    let (status, problem_) = problem(server.post("/rag/collections/none/reindex", &unknown)).await;
    assert_eq!(status, 404, "{problem_}");
    assert!(server.ollama.requests("/api/embed").is_empty(), "no model is loaded for it");
    ingest_numbered(&server, 2).await;
    for (request, pointer) in [
        (json!({}), "/embedding_model"),
        (json!({"embedding_model": ""}), "/embedding_model"),
        (json!({"embedding_model": 5}), "/embedding_model"),
        (json!({"embedding_model": NEW, "steam": true}), "/steam"),
    ] {
        let (status, problem) = problem(server.post(REINDEX, &request)).await;
        assert_eq!((status, pointers_of(&problem)), (422, vec![pointer]), "{request}: {problem}");
    }
    for stream in [false, true] {
        for (answer, status, said) in [
            (
                Script::error(400, "this model does not support embeddings"),
                422,
                "does not support embeddings",
            ),
            (Script::error(404, "model not found"), 404, "is not on the Ollama server"),
            (Script::error(500, "out of memory"), 502, "status 500"),
        ] {
            server.ollama.on(&format!("/api/embed {NEW}"), answer);
            let request = json!({"embedding_model": NEW, "stream": stream});
            let (found, problem) = problem(server.post(REINDEX, &request)).await;
            assert_eq!(found, status, "{problem}");
            assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        }
    }
    let collection = get(&server, "/rag/collections/documents").await;
    assert_eq!(
        (&collection["embedding_model"], collection.get("reindexing")),
        (&json!("nomic-embed-text"), None)
    );
    assert_eq!(search(&server, "document").await.len(), 2);
}

#[tokio::test]
async fn a_model_that_goes_in_the_middle_leaves_the_old_one_and_the_move_can_be_discarded() {
    let server = start().await;
    ingest_numbered(&server, 4).await;
    slow(&server);
    let request = json!({"embedding_model": NEW, "stream": true});
    let gone = async {
        eventually("one is moved", async || server.ollama.requests("/api/embed").len() >= 7).await;
        server.ollama.on(&format!("/api/embed {NEW}"), Script::error(404, "model not found"));
    };
    let moving = async { server.post(REINDEX, &request).send().await.unwrap().text().await.unwrap() };
    let (text, ()) = tokio::join!(moving, gone);
    let events = events(&text);
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["status"]), ("error", &json!(404)), "{text}");
    let collection = get(&server, "/rag/collections/documents").await;
    assert_eq!(
        (&collection["embedding_model"], &collection["reindexing"]),
        (&json!("nomic-embed-text"), &json!(NEW))
    );
    assert_eq!(search(&server, "document").await.len(), 4);
    let back = post(&server, REINDEX, &json!({"embedding_model": "nomic-embed-text"})).await;
    assert_eq!((&back["completed"], &back["chunks_embedded"]), (&json!(4), &json!(0)));
    let collection = get(&server, "/rag/collections/documents").await;
    assert!(collection.get("reindexing").is_none(), "{collection}");
}
