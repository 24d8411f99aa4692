use serde_json::{Value, json};

use crate::{
    harness::{TestServer, json as body, pointers_of, problem, start},
    ollama::scripted::{Script, Step},
};

fn answer(server: &TestServer, vectors: &Value) {
    let json = json!({"model": "m", "embeddings": vectors, "total_duration": 42, "prompt_eval_count": 5});
    server.ollama.on("/api/embed", Script::ok(vec![Step::Send(json.to_string())]));
}

#[tokio::test]
async fn one_text_or_many_or_a_bare_list() {
    let server = start().await;
    answer(&server, &json!([[0.5, -1.25]]));
    for path in ["/embeddings/", "/embeddings"] {
        let reply = body(server.post(path, &json!({"input": "Hello world"})).send().await.unwrap()).await;
        assert_eq!(
            reply,
            json!({"model": "nomic-embed-text", "embeddings": [[0.5, -1.25]], "total_duration": 42})
        );
    }
    answer(&server, &json!([[1.0], [2.0]]));
    let reply = body(server.post("/embeddings/", &json!({"input": ["a", "b"]})).send().await.unwrap()).await;
    assert_eq!(reply["embeddings"], json!([[1.0], [2.0]]));
    let reply =
        body(server.post("/embeddings/batch?model=qwen2.5:7b", &json!(["a", "b"])).send().await.unwrap())
            .await;
    assert_eq!(reply["model"], "qwen2.5:7b");
    let sent = server.ollama.requests("/api/embed");
    assert_eq!(
        sent[2],
        json!({"model": "nomic-embed-text", "input": ["a", "b"], "truncate": false}),
        "one batched call"
    );
    assert_eq!(
        server.metric("simpleton_llm_tokens_total{model=\"nomic-embed-text\",token_type=\"prompt\"}").await,
        15.0
    );
}

#[tokio::test]
async fn all_apis_share_the_vectors_of_texts_that_fit() {
    let server = start().await;
    answer(&server, &json!([[0.5]]));
    for (path, is_hit) in [("/v1/embeddings", false), ("/api/embed", true), ("/embeddings/", true)] {
        let response =
            server.post(path, &json!({"input": "shared", "model": "qwen2.5:7b"})).send().await.unwrap();
        let status = response.headers()["cache-status"].to_str().unwrap();
        assert_eq!(status.contains("; hit"), is_hit, "{path}: {status}");
    }
    assert_eq!(server.ollama.requests("/api/embed").len(), 1);
}

#[tokio::test]
async fn wrong_input_is_named() {
    let server = start().await;
    let too_many: Vec<&str> = vec!["x"; 2049];
    for (request, pointer, detail) in [
        (json!({"input": []}), "/input", "1 to 2048"),
        (json!({"input": too_many}), "/input", "1 to 2048"),
        (json!({"input": ["a", ""]}), "/input/1", "empty"),
        (json!({"input": ""}), "/input", "empty"),
        (json!({"input": 5}), "/input", "a string or a list of strings"),
        (json!({"input": ["a", 5]}), "/input/1", "must be a string, not a number"),
        (json!({}), "/input", "is required"),
        (json!({"input": "a", "model": "../x"}), "/model", "model name"),
    ] {
        let (status, problem) = problem(server.post("/embeddings/", &request)).await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    let (status, problem) = problem(server.post("/embeddings/batch", &json!(["", "b"]))).await;
    assert_eq!((status, &problem["detail"]), (422, &json!("item 0 must not be empty.")));
    assert!(server.ollama.requests("/api/embed").is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_texts_is_refused() {
    let server = start().await;
    for vectors in
        [json!([]), json!([[1.0]]), json!([[1.0], [1.0, 2.0]]), json!([[], []]), json!([[1e39], [1.0]])]
    {
        answer(&server, &vectors);
        let (status, _) = problem(server.post("/embeddings/", &json!({"input": ["a", "b"]}))).await;
        assert_eq!(status, 502, "{vectors}");
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_unless_it_may_be_cut() {
    let server = start().await;
    let too_long = Script::error(400, "the input length exceeds the context length");
    server.ollama.on("/api/embed", too_long);
    for input in [json!(["long"]), json!(["long", "b"])] {
        let (status, problem) =
            problem(server.post("/embeddings/", &json!({"input": input, "model": "qwen2.5:7b"}))).await;
        assert_eq!((status, pointers_of(&problem)), (422, vec!["/input/0"]), "{problem}");
    }
    assert_eq!(server.ollama.requests("/api/embed")[0]["truncate"], false, "Ollama does not cut by itself");
    let cut = json!({"embeddings": [[0.5]], "prompt_eval_count": 512}).to_string();
    server.ollama.on("/api/embed truncate", Script::ok(vec![Step::Send(cut)]));
    let request = json!({"input": ["long", "longer"], "truncate": true, "model": "qwen2.5:7b"});
    let first = body(server.post("/embeddings/", &request).send().await.unwrap()).await;
    assert_eq!((&first["embeddings"], &first["truncated"]), (&json!([[0.5], [0.5]]), &json!([0, 1])));
    let asked = server.ollama.requests("/api/embed").len();
    let again = body(server.post("/embeddings/", &request).send().await.unwrap()).await;
    assert_eq!((&again["truncated"], server.ollama.requests("/api/embed").len()), (&json!([0, 1]), asked));
    let (status, _) =
        problem(server.post("/embeddings/", &json!({"input": "long", "model": "qwen2.5:7b"}))).await;
    assert_eq!(status, 422, "what was cut for one is not for others");
    let batch =
        body(server.post("/embeddings/batch?truncate=true", &json!(["long"])).send().await.unwrap()).await;
    assert_eq!(batch["truncated"], json!([0]));
}
