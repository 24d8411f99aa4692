//! The document store as operators see it: metrics, health, and Qdrant on bad days.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    harness::{KEY, TestServer, eventually, json as body, problem, start, start_with},
    scripted_qdrant::{Halt, Qdrant},
};

async fn post(server: &TestServer, path: &str, request: &Value) -> (u16, Value) {
    let response = server.post(path, request).send().await.unwrap();
    (response.status().as_u16(), body(response).await)
}

async fn get(server: &TestServer, path: &str) -> Value {
    body(server.get(path).header("x-api-key", KEY).send().await.unwrap()).await
}

fn version(word: &str) -> Value {
    json!({
        "content": format!("{word} cats sleep.\n\n{word} dogs dig."), "document_id": "a", "chunk_size": 20,
        "chunk_overlap": 0
    })
}

/// The version that is there, which has to be there wholly.
async fn whole(server: &TestServer) -> String {
    let (status, found) =
        post(server, "/rag/search", &json!({"query": "cats dogs", "mode": "keyword"})).await;
    assert_eq!(status, 200, "{found}");
    let texts: Vec<&str> =
        found["results"].as_array().unwrap().iter().map(|hit| hit["content"].as_str().unwrap()).collect();
    let word = texts[0].split(' ').next().unwrap();
    assert!(texts.len() == 2 && texts.iter().all(|text| text.starts_with(word)), "{texts:?}");
    let content = get(server, "/rag/documents/a/content").await;
    assert!(content["content"].as_str().unwrap().starts_with(word), "{content}");
    word.to_owned()
}

#[tokio::test]
async fn metrics_and_health_tell_what_is_stored() {
    let server = start().await;
    let data = get(&server, "/analytics/health").await["components"]["documents"].clone();
    assert_eq!(
        (&data["status"], &data["backend"], &data["documents"]),
        (&json!("available"), &json!("embedded"), &json!(0))
    );
    assert_eq!(post(&server, "/rag/ingest", &version("old")).await.0, 200);
    assert_eq!(post(&server, "/rag/search", &json!({"query": "cats"})).await.0, 200);
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::text("# Birds\n\nBirds sing.").file_name("birds.md"));
    let upload = server.client.post(server.url("/rag/upload")).header("x-api-key", KEY).multipart(form);
    assert_eq!(upload.send().await.unwrap().status(), 200);
    for (series, value) in [
        ("simpleton_documents", 2.0),
        ("simpleton_document_chunks", 3.0),
        ("simpleton_document_extract_seconds_count", 1.0),
        ("simpleton_document_embed_seconds_count", 2.0),
        ("simpleton_document_search_seconds_count", 1.0),
        ("simpleton_document_store_errors_total{operation=\"search\"}", 0.0),
    ] {
        assert_eq!(server.metric(series).await, value, "{series}");
    }
    assert!(server.metric("simpleton_document_store_bytes").await > 0.0);
    let health = get(&server, "/health").await;
    assert_eq!(health["components"]["documents"], json!({"name": "embedded", "status": "healthy"}));
    let delete = server.client.delete(server.url("/rag/documents/a")).header("x-api-key", KEY);
    assert_eq!(delete.send().await.unwrap().status(), 200);
    assert_eq!(server.metric("simpleton_documents").await, 1.0);
}

#[tokio::test]
async fn a_damaged_file_degrades_the_service_and_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/documents.db");
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(&file, "This is not a database.".repeat(100)).unwrap();
    let server = start_with(&[("DATA_DIR", folder.path().to_str().unwrap())]).await;
    let health = get(&server, "/health").await;
    let documents = &health["components"]["documents"];
    assert_eq!(
        (&health["status"], &documents["status"]),
        (&json!("degraded"), &json!("degraded")),
        "{health}"
    );
    assert!(documents["detail"].as_str().unwrap().contains("their file is damaged"), "{documents}");
    assert_eq!(server.get("/health/ready").send().await.unwrap().status(), 200);
    let (status, problem) = problem(server.post("/rag/search", &json!({"query": "cats"}))).await;
    assert_eq!(status, 503, "{problem}");
    let analytics = get(&server, "/analytics/health").await;
    assert_eq!(
        (&analytics["status"], &analytics["components"]["documents"]["status"]),
        (&json!("degraded"), &json!("degraded"))
    );
    assert!(analytics["components"]["documents"]["errors"].as_u64() >= Some(1), "{analytics}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("This is not a database."));
}

#[tokio::test]
async fn a_store_that_never_answers_delays_health_by_a_second_only() {
    // It accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let server = start_with(&[("QDRANT_URL", &url)]).await;
    let asked = std::time::Instant::now();
    let health = get(&server, "/health").await;
    assert!(asked.elapsed().as_secs_f64() < 3.0, "{:?}", asked.elapsed());
    let documents = &health["components"]["documents"];
    assert_eq!(
        (&documents["name"], &documents["status"]),
        (&json!("qdrant"), &json!("degraded")),
        "{health}"
    );
    assert!(documents["detail"].as_str().unwrap().contains("does not respond"), "{documents}");
    // What needs no documents works.
    assert_eq!(post(&server, "/inference/generate", &json!({"prompt": "hi"})).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qdrant_stopped_in_the_middle_is_unavailable_and_the_old_version_is_whole_when_it_is_back() {
    let mut qdrant = Qdrant::start(None).await;
    let server = start_with(&[("QDRANT_URL", &qdrant.url())]).await;
    assert_eq!(post(&server, "/rag/ingest", &version("old")).await.0, 200);
    let size = qdrant.size();
    let search = json!({"query": "cats"});
    qdrant.halt(None);
    assert_eq!(post(&server, "/rag/search", &search).await.0, 200);
    assert!(qdrant.requests() > 4, "the fourth request of a search is in its middle");
    let chat = json!({"messages": [{"role": "user", "content": "cats"}], "documents": {}});
    let reindex = json!({"embedding_model": "all-minilm"});
    for (path, request) in [
        ("/rag/ingest", &version("new")),
        ("/rag/search", &search),
        ("/rag/query", &search),
        ("/inference/chat", &chat),
        ("/rag/collections/documents/reindex", &reindex),
    ] {
        // At the first request, and in the middle.
        for at in [0, 3] {
            qdrant.halt(Some(Halt { at, is_applied: false }));
            let request = server.post(path, request);
            let asking = tokio::spawn(problem(request));
            qdrant.has_halted().await;
            qdrant.stop();
            let (status, told) = asking.await.unwrap();
            assert_eq!(status, 503, "{path} {at}: {told}");
            assert!(told["detail"].as_str().unwrap().starts_with("Qdrant "), "{path} {at}: {told}");
            // Neither 404 nor an empty list.
            for path in ["/rag/collections", "/rag/documents", "/rag/documents/a"] {
                let get = server.get(path).header("x-api-key", KEY);
                assert_eq!(problem(get).await.0, 503, "{path}");
            }
            let health = get(&server, "/health").await;
            assert_eq!(
                (&health["status"], &health["components"]["documents"]["status"]),
                (&json!("degraded"), &json!("degraded"))
            );
            qdrant.restart().await;
            eventually("it is asked again", async || {
                get(&server, "/health").await["components"]["documents"]["status"] == "healthy"
            })
            .await;
            assert_eq!(whole(&server).await, "old", "{path} {at}");
        }
    }
    assert!(server.metric("simpleton_document_store_errors_total{operation=\"read\"}").await > 0.0);
    let (status, moved) = post(&server, "/rag/collections/documents/reindex", &reindex).await;
    assert_eq!((status, &moved["completed"]), (200, &json!(1)), "{moved}");
    assert_eq!(post(&server, "/rag/ingest", &version("new")).await.0, 200);
    assert_eq!(whole(&server).await, "new");
    assert_eq!(qdrant.size(), size, "nothing is left of what was interrupted");
}

#[tokio::test]
async fn sql_in_filters_and_the_syntax_of_searches_are_text() {
    let server = start().await;
    let hostile = "'; DROP TABLE document; --";
    let request =
        json!({"content": "Cats sleep.", "document_id": "a", "metadata": {"author": hostile, hostile: 1}});
    assert_eq!(post(&server, "/rag/ingest", &request).await.0, 200);
    for (filter, hits) in [
        (json!({"author": hostile}), 1),
        (json!({hostile: {"gte": 1}}), 1),
        (json!({"author": "' OR '1'='1"}), 0),
        (json!({"author": {"in": ["x", "x') OR 1=1 --"]}}), 0),
        (json!({"x' OR '1'='1": {"exists": true}}), 0),
    ] {
        let (status, found) = post(&server, "/rag/search", &json!({"query": "cats", "filter": filter})).await;
        assert_eq!((status, &found["total_results"]), (200, &json!(hits)), "{filter}: {found}");
    }
    let strange = [
        "\"cats",
        "cats*",
        "NEAR(cats sleep)",
        "-cats",
        "content:cats",
        "cats AND (",
        "^cats + NOT",
        "' OR 1=1",
    ];
    for query in strange {
        for mode in ["keyword", "hybrid"] {
            let (status, found) = post(&server, "/rag/search", &json!({"query": query, "mode": mode})).await;
            assert_eq!(status, 200, "{query} {mode}: {found}");
            let expected = u64::from(query.contains("cats") || mode == "hybrid");
            assert_eq!(found["total_results"].as_u64(), Some(expected), "{query} {mode}: {found}");
        }
    }
}
