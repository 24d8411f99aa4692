//! Ollama's API on the real model.

use serde_json::{Value, json};

use crate::harness::{MODEL, RealServer, text};

async fn served(server: &RealServer, path: &str, request: Value) -> Value {
    let (status, reply) = server.post(path, &request).await;
    assert_eq!(status, 200, "{reply}");
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn ollamas_options_gaps_and_vectors_are_served() {
    let server = RealServer::start(&[]).await;
    let question = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let options = json!({"temperature": 0, "num_predict": 12, "top_k": 0, "typical_p": 1.0, "repeat_last_n": 64,
        "num_ctx": 1024, "num_gpu": 0, "stop": ["\n"]});
    let chat =
        json!({"model": MODEL, "messages": question, "options": options, "stream": false, "logprobs": true});
    let reply = served(&server, "/api/chat", chat).await;
    assert!(text(&reply).contains("Paris"), "{reply}");
    // The token that ends the answer has no text.
    let (told, counted) = (reply["logprobs"].as_array().unwrap().len() as u64, reply["eval_count"].as_u64());
    assert!(counted == Some(told) || counted == Some(told + 1), "{reply}");
    assert!(reply["eval_duration"].as_u64().unwrap() > 0 && reply["prompt_eval_count"].as_u64().unwrap() > 5);

    let mirostat =
        json!({"mirostat": 2, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "seed": 1, "num_predict": 5});
    let ask = json!({"prompt": "Hi", "options": mirostat, "stream": false});
    let first = served(&server, "/api/generate", ask.clone()).await;
    assert!(!first["context"].as_array().unwrap().is_empty(), "{first}");
    assert_eq!(served(&server, "/api/generate", ask).await["response"], first["response"]);

    let gap = json!({"prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))\n", "stream": false,
        "options": {"temperature": 0, "num_predict": 16}});
    let filled = served(&server, "/api/generate", gap).await;
    assert!(filled["response"].as_str().unwrap().contains("return a + b"), "{filled}");

    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let typed =
        json!({"messages": question, "format": schema, "stream": false, "options": {"temperature": 0}});
    let reply = served(&server, "/api/chat", typed).await;
    let answer: Value = serde_json::from_str(&text(&reply)).unwrap();
    assert!(answer["city"].is_string(), "{reply}");

    let (status, error) = server.post("/api/chat", &json!({"messages": question, "think": true})).await;
    assert_eq!((status, &error["error"]), (400, &json!(format!("\"{MODEL}\" does not support thinking"))));
    let (status, error) = server.post("/api/chat", &json!({"model": "no:1b", "messages": question})).await;
    assert_eq!((status, &error["error"]), (404, &json!("model 'no:1b' not found")));

    let embed = json!({"model": "all-minilm", "input": ["hello world", "good ".repeat(2000)]});
    let reply = served(&server, "/api/embed", embed).await;
    for vector in reply["embeddings"].as_array().unwrap() {
        let length: f64 = vector.as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
    let legacy =
        served(&server, "/api/embeddings", json!({"model": "all-minilm", "prompt": "hello world"})).await;
    assert_eq!(legacy["embedding"], reply["embeddings"][0]);
}
