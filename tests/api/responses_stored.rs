//! Stored responses of OpenAI's API: retrieved, listed, deleted and continued.

use serde_json::{Value, json};

use crate::{
    harness::{KEY, events, eventually, json as body, start, start_with},
    kill::serve,
    ollama::{
        lines::chat_line,
        scripted::{FakeOllama, Script, Step},
    },
    responses::{created, id_of, refusal, respond, stored, streamed},
};

const OTHER_KEY: &str = "other-key-0123456789";

#[tokio::test]
async fn a_conversation_goes_on_from_what_is_stored() {
    let server = start().await;
    let first = created(&server, &json!({"input": "one", "instructions": "Be brief."})).await;
    let request = json!({"input": "two", "previous_response_id": first["id"], "stream": true});
    let events = streamed(respond(&server, &request).await).await;
    let second = &events.last().unwrap()["response"];
    assert_eq!(second["previous_response_id"], first["id"]);
    created(&server, &json!({"input": "three", "previous_response_id": second["id"]})).await;
    let said = |at: usize| -> Vec<String> {
        let messages = server.ollama.requests("/api/chat")[at]["messages"].take();
        let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
        messages.as_array().unwrap().iter().map(text).collect()
    };
    assert_eq!(said(0), ["Be brief.", "one"]);
    assert_eq!(said(2), ["one", "Hello wörld", "two", "Hello wörld", "three"], "without the instructions");
    // An item alone, by its id.
    let reference = json!({"type": "item_reference", "id": second["output"][0]["id"]});
    created(&server, &json!({"input": [reference, {"role": "user", "content": "four"}]})).await;
    assert_eq!(said(3), ["Hello wörld", "four"]);

    let (status, items) = stored(&server, "GET", &format!("{}/input_items", id_of(second)), KEY).await;
    assert_eq!((status, items["data"].as_array().unwrap().len()), (200, 1));
    assert_eq!(items["data"][0]["content"], json!([{"type": "input_text", "text": "two"}]));
    let (status, deleted) = stored(&server, "DELETE", id_of(&first), KEY).await;
    assert_eq!((status, deleted), (200, json!({"id": first["id"], "object": "response", "deleted": true})));
    let gone = json!({"input": "x", "previous_response_id": second["id"]});
    let code = json!("previous_response_not_found");
    assert_eq!(refusal(&server, &gone).await, (400, "previous_response_id".to_owned(), code));
    assert_eq!(stored(&server, "GET", id_of(&first), KEY).await.0, 404);
    assert_eq!(stored(&server, "GET", id_of(second), KEY).await.0, 200);
}

#[tokio::test]
async fn input_items_come_in_pages() {
    let server = start().await;
    let message = |text: &str| json!({"role": "user", "content": text});
    let input: Vec<Value> = ["a", "b", "c"].map(message).into();
    let response = created(&server, &json!({"input": input})).await;
    let page = async |query: &str| {
        let (status, page) =
            stored(&server, "GET", &format!("{}/input_items?{query}", id_of(&response)), KEY).await;
        assert_eq!(status, 200, "{page}");
        let texts: Vec<String> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
            .collect();
        (
            texts.concat(),
            page["has_more"].as_bool().unwrap(),
            page["last_id"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (texts, has_more, _) = page("").await;
    assert_eq!((texts.as_str(), has_more), ("cba", false));
    let (texts, has_more, last) = page("order=asc&limit=2").await;
    assert_eq!((texts.as_str(), has_more), ("ab", true));
    let (texts, has_more, _) = page(&format!("order=asc&after={last}")).await;
    assert_eq!((texts.as_str(), has_more), ("c", false));
    for query in ["limit=0", "limit=101", "order=up", "after=none", "page=2"] {
        let (status, error) =
            stored(&server, "GET", &format!("{}/input_items?{query}", id_of(&response)), KEY).await;
        assert_eq!((status, &error["error"]["param"]), (400, &json!(query.split('=').next())), "{error}");
    }
}

#[tokio::test]
async fn a_response_is_for_its_own_key_only() {
    let server = start_with(&[("API_KEYS", &format!("{KEY},{OTHER_KEY}"))]).await;
    let response = created(&server, &json!({"input": "secret"})).await;
    let id = id_of(&response);
    let none = "resp_0123456789abcdef0123456789abcdef";
    for (method, path) in [
        ("GET", String::new()),
        ("DELETE", String::new()),
        ("POST", "/cancel".to_owned()),
        ("GET", "/input_items".to_owned()),
    ] {
        let (status, others) = stored(&server, method, &format!("{id}{path}"), OTHER_KEY).await;
        assert_eq!(
            (status, &others["error"]["code"]),
            (404, &json!("response_not_found")),
            "{method} {path}"
        );
        for unknown in [none, "resp_1", "nothing"] {
            let missing = stored(&server, method, &format!("{unknown}{path}"), KEY).await;
            assert_eq!((missing.0, &missing.1["error"]["code"]), (404, &json!("response_not_found")));
        }
    }
    let item = json!({"type": "item_reference", "id": response["output"][0]["id"]});
    for (request, param) in [
        (json!({"input": "x", "previous_response_id": id}), "previous_response_id"),
        (json!({"input": [item]}), "input[0].id"),
    ] {
        let send = server
            .client
            .post(server.url("/v1/responses"))
            .bearer_auth(OTHER_KEY)
            .body(request.to_string())
            .send();
        let refused = send.await.unwrap();
        assert_eq!(refused.status(), 400);
        assert_eq!(body(refused).await["error"]["param"], param);
    }
    assert_eq!(stored(&server, "GET", id, KEY).await.0, 200);
}

#[tokio::test]
async fn what_is_not_to_be_stored_is_not() {
    let server = start().await;
    let response = created(&server, &json!({"input": "hi", "store": false})).await;
    assert_eq!(response["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 404);
    // A client that has left has no response.
    server.ollama.on("/api/chat", Script::ok(vec![Step::Send(chat_line("a")), Step::Hang]));
    let mut stream = respond(&server, &json!({"input": "hi", "stream": true})).await;
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let id = events(&first)[0].1["response"]["id"].as_str().unwrap().to_owned();
    drop(stream);
    eventually("the backend is stopped", async || server.ollama.aborted() == 1).await;
    assert_eq!(stored(&server, "GET", &id, KEY).await.0, 404);
}

#[tokio::test]
async fn a_server_that_stores_nothing_says_so() {
    let server = start_with(&[("RESPONSES_MAX_MB", "0")]).await;
    let response = respond(&server, &json!({"input": "hi"})).await;
    assert_eq!(response.headers()["x-simpleton-ignored"], "store");
    let response = body(response).await;
    assert_eq!(response["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 404);
    let plain = respond(&server, &json!({"input": "hi", "store": false})).await;
    assert_eq!(plain.headers().get("x-simpleton-ignored"), None);
    for (request, param) in [
        (json!({"input": "hi", "store": true}), "store"),
        (json!({"input": "hi", "background": true}), "background"),
        (json!({"input": "hi", "previous_response_id": response["id"]}), "previous_response_id"),
    ] {
        assert_eq!(refusal(&server, &request).await.1, param);
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_stored_is_answered_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let file = folder.path().join("state/responses.db");
    std::fs::write(&file, "This is not a database.".repeat(100)).unwrap();
    let server = start_with(&[("DATA_DIR", folder.path().to_str().unwrap())]).await;
    for (path, good) in [("/health", "healthy"), ("/analytics/health", "available")] {
        let health = body(server.get(path).send().await.unwrap()).await;
        let component = &health["components"]["responses"];
        assert_eq!((&health["status"], &component["status"]), (&json!("degraded"), &json!("degraded")));
        assert!(component["detail"].as_str().unwrap().contains("their file is damaged"), "{health}");
        let sound = body(start().await.get(path).send().await.unwrap()).await;
        assert_eq!(sound["components"]["responses"], json!({"status": good}));
    }
    let response = respond(&server, &json!({"input": "hi", "store": true})).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-simpleton-ignored"]),
        (200, &"store".parse().unwrap())
    );
    let response = body(response).await;
    assert_eq!((&response["store"], &response["status"]), (&json!(false), &json!("completed")));
    let events = streamed(respond(&server, &json!({"input": "hi", "stream": true})).await).await;
    assert_eq!(events.last().unwrap()["response"]["store"], false);
    assert_eq!(stored(&server, "GET", id_of(&response), KEY).await.0, 503);
    let background = respond(&server, &json!({"input": "hi", "background": true})).await;
    assert_eq!(background.status(), 503);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("This is not a database."));
}

#[tokio::test]
async fn stored_responses_outlive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut server, url) = serve(folder.path(), &ollama.url()).await;
    let ask = async |url: &str, request: Value| {
        body(
            client
                .post(format!("{url}/v1/responses"))
                .bearer_auth(KEY)
                .body(request.to_string())
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let response = ask(&url, json!({"input": "hi"})).await;
    ollama.on("/api/chat", Script { delay: None, ..Script::ok(Vec::new()) });
    let background = ask(&url, json!({"input": "hi", "background": true})).await;
    server.kill().await.unwrap();
    let (_server, url) = serve(folder.path(), &ollama.url()).await;
    let get = async |id: &str| {
        body(client.get(format!("{url}/v1/responses/{id}")).bearer_auth(KEY).send().await.unwrap()).await
    };
    assert_eq!(get(id_of(&response)).await, response);
    let lost = get(id_of(&background)).await;
    assert_eq!((&lost["status"], &lost["error"]["code"]), (&json!("failed"), &json!("server_error")));
}
