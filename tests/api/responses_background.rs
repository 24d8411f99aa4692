//! Responses of OpenAI's API that are made in the background.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{KEY, eventually, json as body, start},
    ollama::{
        lines::chat_line,
        scripted::{Script, Step},
    },
    responses::{created, id_of, refusal, respond, stored},
};

#[tokio::test]
async fn a_response_in_the_background_goes_on_without_its_client() {
    let server = start().await;
    let script = Script::chat(&["Hello", " you"], Duration::from_millis(300));
    server.ollama.on("/api/chat", script);
    let queued = created(&server, &json!({"input": "hi", "background": true})).await;
    assert!(queued["status"] == "queued" && queued["background"] == true && queued["output"] == json!([]));
    let id = id_of(&queued);
    eventually("it is begun", async || stored(&server, "GET", id, KEY).await.1["status"] != "queued").await;
    let unfinished = json!({"input": "more", "previous_response_id": id});
    assert_eq!(refusal(&server, &unfinished).await.1, "previous_response_id");
    eventually("it is completed", async || stored(&server, "GET", id, KEY).await.1["status"] == "completed")
        .await;
    let (_, completed) = stored(&server, "GET", id, KEY).await;
    assert_eq!(completed["output"][0]["content"][0]["text"], "Hello you");
    assert_eq!(completed["usage"]["output_tokens"], 2);
    let (status, same) = stored(&server, "POST", &format!("{id}/cancel"), KEY).await;
    assert_eq!((status, same), (200, completed));
    eventually("its tokens are counted", async || {
        let usage = server.get("/analytics/usage?by=endpoint").header("x-api-key", KEY).send().await.unwrap();
        body(usage).await["usage"][0]["completion_tokens"] == 2
    })
    .await;
    created(&server, &unfinished).await;
}

#[tokio::test]
async fn a_response_in_the_background_can_be_cancelled_and_deleted() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let request = json!({"input": "hi", "background": true});
    let cancelled = created(&server, &request).await;
    eventually("it is asked", async || server.ollama.requests("/api/chat").len() == 1).await;
    let (status, response) = stored(&server, "POST", &format!("{}/cancel", id_of(&cancelled)), KEY).await;
    assert_eq!((status, &response["status"]), (200, &json!("cancelled")));
    eventually("the backend is stopped", async || server.ollama.aborted() == 1).await;
    let deleted = created(&server, &request).await;
    eventually("it is asked", async || server.ollama.requests("/api/chat").len() == 2).await;
    assert_eq!(stored(&server, "DELETE", id_of(&deleted), KEY).await.0, 200);
    assert_eq!(stored(&server, "GET", id_of(&deleted), KEY).await.0, 404);
    eventually("the backend is stopped", async || server.ollama.aborted() == 2).await;

    server.ollama.on("/api/chat", Script::error(500, "no memory"));
    let failed = created(&server, &request).await;
    let get = async || stored(&server, "GET", id_of(&failed), KEY).await.1;
    eventually("it has failed", async || get().await["status"] == "failed").await;
    assert_eq!(get().await["error"]["code"], "server_error");
}

#[tokio::test]
async fn only_so_many_responses_are_in_the_background() {
    let server = start().await;
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    for number in 0..16 {
        created(&server, &json!({"input": number.to_string(), "background": true})).await;
    }
    let refused = respond(&server, &json!({"input": "one more", "background": true})).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(body(refused).await["error"]["code"], "rate_limit_exceeded");
}
