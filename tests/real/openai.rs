//! OpenAI's API on the real model.

use serde_json::{Value, json};

use crate::harness::RealServer;

#[tokio::test(flavor = "multi_thread")]
async fn probabilities_gaps_and_token_ids_are_served() {
    let server = RealServer::start(&[]).await;
    let mut chat = json!({"messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0, "max_tokens": 8, "logprobs": true});
    for top in [0, 2] {
        chat["top_logprobs"] = json!(top);
        let (status, reply) = server.post("/v1/chat/completions", &chat).await;
        assert_eq!(status, 200, "{reply}");
        let choice = &reply["choices"][0];
        let tokens = choice["logprobs"]["content"].as_array().unwrap();
        let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        assert_eq!(choice["message"]["content"], text, "{reply}");
        assert!(tokens.iter().all(|token| token["logprob"].as_f64().unwrap() <= 0.0), "{reply}");
        assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == top), "{reply}");
    }
    let gap = json!({"prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))\n", "temperature": 0, "max_tokens": 16});
    let (status, reply) = server.post("/v1/completions", &gap).await;
    assert_eq!(status, 200, "{reply}");
    let text = reply["choices"][0]["text"].as_str().unwrap();
    assert!(text.contains("return a + b"), "{reply}");

    let prompt = json!({"prompt": "The capital of France is", "temperature": 0, "max_tokens": 3, "logprobs": 1, "n": 2});
    let (status, reply) = server.post("/v1/completions", &prompt).await;
    assert_eq!(status, 200, "{reply}");
    let choices = reply["choices"].as_array().unwrap();
    assert!(choices.len() == 2 && choices[0]["text"].as_str().unwrap().contains("Paris"), "{reply}");
    let told = &choices[0]["logprobs"];
    let lists = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
    assert!(lists.iter().all(|list| told[list].as_array().unwrap().len() == 3), "{reply}");

    // "The capital of France is" in Qwen's tokens.
    let tokens = json!({"prompt": [785, 6722, 315, 9625, 374], "temperature": 0, "max_tokens": 3});
    let (status, same) = server.post("/v1/completions", &tokens).await;
    assert_eq!((status, &same["choices"][0]["text"]), (200, &choices[0]["text"]), "{same}");

    let embed = json!({"input": [[7592, 2088]], "encoding_format": "base64"});
    let (status, reply) = server.post("/v1/embeddings", &embed).await;
    assert_eq!(status, 200, "{reply}");
    let (_, text) =
        server.post("/v1/embeddings", &json!({"input": "hello world", "encoding_format": "base64"})).await;
    assert_eq!(reply["data"][0]["embedding"], text["data"][0]["embedding"]);
    assert!(reply["data"][0]["embedding"].as_str().is_some_and(|base64| base64.len() == 2048), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_and_its_result_used() {
    let server = RealServer::start(&[]).await;
    let parameters =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = json!({"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": parameters}});
    let question = json!({"role": "user", "content": "What is the weather in Paris?"});
    let mut request = json!({"messages": [question], "tools": [tool], "tool_choice": "required", "temperature": 0, "max_tokens": 100});
    let (status, reply) = server.post("/v1/chat/completions", &request).await;
    assert_eq!(status, 200, "{reply}");
    let message = &reply["choices"][0]["message"];
    let call = &message["tool_calls"][0];
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].as_str().unwrap().contains("Paris"), "{reply}");
    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "17 degrees and rain"});
    let again = json!({"role": "user", "content": "Answer in one sentence."});
    request["messages"] = json!([question, message, result, again]);
    request["tool_choice"] = json!("auto");
    let (status, reply) = server.post("/v1/chat/completions", &request).await;
    assert_eq!(status, 200, "{reply}");
    assert!(reply["choices"][0]["message"]["content"].as_str().unwrap().contains("17 degrees"), "{reply}");
}
