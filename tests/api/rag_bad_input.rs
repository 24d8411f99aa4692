//! Requests about documents that are refused, each with the field that is wrong.

use serde_json::{Value, json};

use simpleton::server::Server;

use crate::{
    harness::{KEY, config, problem, start},
    ollama::scripted::Script,
};

#[tokio::test]
async fn wrong_fields_are_named() {
    let server = start().await;
    let long = "x".repeat(10_000);
    let deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
    let ingest = |fields: Value| {
        let mut request = json!({"content": "A text."});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("/rag/ingest", request)
    };
    let search = |fields: Value| {
        let mut request = json!({"query": "words"});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        ("/rag/search", request)
    };
    let wrong = [
        (("/rag/ingest", json!({})), "/content"),
        (ingest(json!({"content": ""})), "/content"),
        (ingest(json!({"content": " \n\t "})), "/content"),
        (ingest(json!({"content": 5})), "/content"),
        (ingest(json!({"metadata": []})), "/metadata"),
        (ingest(json!({"metadata": deep})), "/metadata"),
        (ingest(json!({"metadata": {"a": "x".repeat(1 << 20)}})), "/metadata"),
        (ingest(json!({"metadata": {"chunk_index": 1}})), "/metadata/chunk_index"),
        (ingest(json!({"metadata": {"$serde_json::private::RawValue": "1"}})), "/metadata"),
        (ingest(json!({"collection": "a/b"})), "/collection"),
        (ingest(json!({"collection": ".."})), "/collection"),
        (ingest(json!({"collection": long})), "/collection"),
        (ingest(json!({"collection": ""})), "/collection"),
        (ingest(json!({"document_id": "a\nb"})), "/document_id"),
        (ingest(json!({"document_id": long})), "/document_id"),
        (ingest(json!({"chunk_size": 0})), "/chunk_size"),
        (ingest(json!({"chunk_size": 1_000_000_000})), "/chunk_size"),
        (ingest(json!({"chunk_size": 10, "chunk_overlap": 10})), "/chunk_overlap"),
        (ingest(json!({"chunk_overlap": -1})), "/chunk_overlap"),
        (ingest(json!({"chunking": "magic"})), "/chunking"),
        (ingest(json!({"chunk_unit": "bytes"})), "/chunk_unit"),
        // Ollama does not count tokens.
        (ingest(json!({"chunk_unit": "tokens"})), "/chunk_unit"),
        (ingest(json!({"chunks": 1})), "/chunks"),
        (search(json!({"query": " "})), "/query"),
        (search(json!({"top_k": 0})), "/top_k"),
        (search(json!({"top_k": -1})), "/top_k"),
        (search(json!({"top_k": 1_000_000_000})), "/top_k"),
        (search(json!({"mode": "best"})), "/mode"),
        (search(json!({"diversity": 2})), "/diversity"),
        (search(json!({"score_threshold": -0.1})), "/score_threshold"),
        (search(json!({"filter": {"a": {"like": "x"}}})), "/filter/a/like"),
        (("/rag/query", json!({"query": ""})), "/query"),
        (("/rag/query", json!({"query": "a", "temperature": 9})), "/temperature"),
        (
            ("/rag/query", json!({"query": "a", "messages": [{"role": "king", "content": "x"}]})),
            "/messages/0/role",
        ),
    ];
    for ((path, request), pointer) in wrong {
        let (status, problem) = problem(server.post(path, &request)).await;
        let shown = request.to_string().chars().take(100).collect::<String>();
        assert_eq!(status, 422, "{shown}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{shown}: {problem}");
    }
}

#[tokio::test]
async fn wrong_fields_are_named_together() {
    let server = start().await;
    let request = json!({
        "content": " ", "metadata": 1, "title": "x".repeat(1001), "collection": "a/b", "document_id": "..",
        "chunk_size": 0,
    });
    let (status, problem) = problem(server.post("/rag/ingest", &request)).await;
    let pointers =
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap());
    let pointers: Vec<&str> = pointers.collect();
    let all = ["/content", "/metadata", "/title", "/collection", "/document_id", "/chunk_size"];
    assert_eq!((status, pointers), (422, all.to_vec()), "{problem}");
}

#[tokio::test]
async fn what_is_missing_is_not_found() {
    let server = start().await;
    for (path, request) in
        [("/rag/search", json!({"query": "a"})), ("/rag/query", json!({"query": "a", "collection": "none"}))]
    {
        let (status, problem) = problem(server.post(path, &request)).await;
        assert_eq!(status, 404, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("no collection"), "{problem}");
    }
    let strange = ["..%2F..", "a%2Fb", "%00", "%FF", "%F0%9F%98%80", &"x".repeat(5_000)];
    for name in strange {
        for path in ["collections", "documents"] {
            let get = server.get(&format!("/rag/{path}/{name}")).header("x-api-key", KEY);
            assert_eq!(problem(get).await.0, 404, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn an_unknown_model_is_a_404_whether_or_not_something_is_found() {
    let server = start().await;
    let ingest = json!({"content": "The lighthouse was built in 1854.", "document_id": "a"});
    assert_eq!(server.post("/rag/ingest", &ingest).send().await.unwrap().status(), 200);
    server.ollama.on("/api/chat", Script::error(404, "model 'nosuch' not found"));
    server.ollama.on("/api/show", Script::error(404, "model 'nosuch' not found"));
    for question in ["lighthouse", "zebra"] {
        for (path, request) in [
            ("/rag/query", json!({"query": question, "mode": "keyword", "model": "nosuch"})),
            (
                "/inference/chat",
                json!({"messages": [{"role": "user", "content": question}], "model": "nosuch",
                    "documents": {"mode": "keyword"}}),
            ),
        ] {
            let (status, problem) = problem(server.post(path, &request)).await;
            assert_eq!(status, 404, "{request}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains("ollama pull nosuch"), "{problem}");
        }
    }
}

#[tokio::test]
async fn a_failing_model_leaves_the_old_version() {
    let server = start().await;
    let request = json!({"content": "Old text.", "document_id": "a"});
    assert_eq!(server.post("/rag/ingest", &request).send().await.unwrap().status(), 200);
    server.ollama.on("/api/embed", Script::error(500, "out of memory"));
    let request = json!({"content": "New text.", "document_id": "a"});
    let (status, problem) = problem(server.post("/rag/ingest", &request)).await;
    assert_eq!(status, 502, "{problem}");
    let get = server.get("/rag/documents/a/content").header("x-api-key", KEY);
    assert!(get.send().await.unwrap().text().await.unwrap().contains("Old text."));
}

#[tokio::test]
async fn settings_that_contradict_each_other_stop_the_start() {
    let data_dir = tempfile::tempdir().unwrap();
    let settings = [
        ("PORT", "0"),
        ("DATA_DIR", data_dir.path().to_str().unwrap()),
        ("OLLAMA_BASE_URL", "http://127.0.0.1:1"),
        ("CHUNK_SIZE", "100"),
        ("CHUNK_OVERLAP", "100"),
    ];
    let error = Server::prepare(&config(&settings)).await.err().unwrap();
    assert_eq!(error.message(), "CHUNK_OVERLAP is 100, but must be less than CHUNK_SIZE, which is 100.");
}
