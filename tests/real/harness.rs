//! Requests to a server with the real model.

use serde_json::{Value, json};

use crate::real_server::KEY;
pub(crate) use crate::real_server::{MODEL, RealServer};

impl RealServer {
    /// Status and JSON of the answer to a POST.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let request =
            self.client.post(url).header("x-api-key", KEY).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// Reply to a chat at temperature 0 with other fields of the request.
    pub(crate) async fn chat(&self, messages: Value, fields: Value) -> Value {
        let mut body = json!({"messages": messages, "temperature": 0});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (status, reply) = self.post("/inference/chat", &body).await;
        assert_eq!(status, 200, "{reply}");
        assert_eq!(reply["model"], MODEL, "the largest model is the default");
        reply
    }

    /// Text of the answer to one question.
    pub(crate) async fn ask(&self, question: &str) -> String {
        text(&self.chat(json!([{"role": "user", "content": question}]), json!({})).await)
    }
}

pub(crate) fn text(reply: &Value) -> String {
    reply["message"]["content"].as_str().unwrap().to_owned()
}
