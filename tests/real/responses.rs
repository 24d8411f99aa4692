//! OpenAI's Responses API on the real model.

use serde_json::{Value, json};

use crate::harness::RealServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_continued_and_a_tool_is_called() {
    let server = RealServer::start(&[]).await;
    let respond = async |request: Value| {
        let (status, response) = server.post("/v1/responses", &request).await;
        assert_eq!(status, 200, "{response}");
        response
    };
    let text = |response: &Value| response["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    let first = respond(json!({"input": "My name is Ada. What is the capital of France?", "temperature": 0,
        "include": ["message.output_text.logprobs"], "top_logprobs": 2}))
    .await;
    assert!(text(&first).contains("Paris"), "{first}");
    let tokens = first["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    let written: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(written, text(&first));
    assert!(tokens.iter().all(|token| token["top_logprobs"].as_array().unwrap().len() == 2));
    let second =
        respond(json!({"input": "What is my name?", "previous_response_id": first["id"], "temperature": 0}))
            .await;
    assert!(text(&second).contains("Ada"), "{second}");
    assert!(second["usage"]["input_tokens"].as_u64() > first["usage"]["input_tokens"].as_u64(), "{second}");

    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let format = json!({"format": {"type": "json_schema", "name": "city", "schema": schema, "strict": true}});
    let answer = respond(json!({"input": "The capital of France?", "text": format, "temperature": 0})).await;
    let answer: Value = serde_json::from_str(&text(&answer)).unwrap();
    assert!(answer["city"].is_string(), "{answer}");

    let tool = json!({"type": "function", "name": "get_weather", "description": "Weather in a city", "parameters": schema});
    let question = "What is the weather in Paris?";
    let called =
        respond(json!({"input": question, "tools": [tool], "temperature": 0, "max_output_tokens": 60})).await;
    let call =
        &called["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call").unwrap();
    assert!(call["arguments"].as_str().unwrap().contains("Paris"), "{called}");
    let output =
        json!({"type": "function_call_output", "call_id": call["call_id"], "output": "18 degrees, rain"});
    let ask = json!({"role": "user", "content": "Answer in one sentence."});
    let told = respond(json!({"input": [output, ask], "tools": [tool], "previous_response_id": called["id"],
        "temperature": 0, "max_output_tokens": 60}))
    .await;
    assert!(text(&told).contains("18"), "{told}");
}
