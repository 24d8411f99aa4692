//! Bodies that come slowly, and the memory that they hold meanwhile.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{KEY, start_with},
    raw::Raw,
};

const OTHER_KEY: &str = "other-key-0123456789";

fn announce(bytes: usize, key: &str) -> String {
    format!(
        "POST /inference/chat HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{{\"prompt\": \""
    )
}

#[tokio::test]
async fn a_body_that_drips_is_refused_when_its_time_is_over() {
    let server = start_with(&[("REQUEST_TIMEOUT_S", "1")]).await;
    for bytes in [1000, 1024 * 1024] {
        let mut client = Raw::connect(server.address).await;
        client.send(announce(bytes, KEY)).await;
        let (mut reader, mut writer) = client.0.into_split();
        let drip = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut answer = [0; 1024];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("too slowly"), "{answer}");
        drip.abort();
    }
}

#[tokio::test]
async fn bodies_of_one_key_keep_no_other_out() {
    let keys = format!("{KEY},{OTHER_KEY}");
    let settings =
        [("MAX_BODY_MB", "1"), ("MAX_BODIES_MB", "4"), ("REQUEST_TIMEOUT_S", "10"), ("API_KEYS", &keys)];
    let server = start_with(&settings).await;
    let mut dripping = Vec::new();
    for _ in 0..8 {
        let mut client = Raw::connect(server.address).await;
        client.send(announce(1024 * 1024, KEY)).await;
        dripping.push(client);
    }
    let text = "word ".repeat(60_000);
    let request = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    let request =
        server.client.post(server.url("/inference/chat")).header("x-api-key", OTHER_KEY).body(request);
    let answer = tokio::time::timeout(Duration::from_secs(8), request.send()).await;
    assert_eq!(answer.expect("it need not wait").unwrap().status(), 200);
}
