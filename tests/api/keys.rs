//! How a key is sent.

use crate::{
    harness::{KEY, start},
    raw::Raw,
};

const OTHER_KEY: &str = "other-key-0123456789";

#[tokio::test]
async fn two_keys_in_one_request_are_refused() {
    let server = start().await;
    for (headers, status) in [
        (format!("x-api-key: {KEY}\r\nx-api-key: {KEY}"), 200),
        (format!("x-api-key: {KEY}\r\nauthorization: Bearer {KEY}"), 200),
        (format!("x-api-key: {KEY}\r\nauthorization: Basic {OTHER_KEY}"), 200),
        (format!("x-api-key:\r\nauthorization: Bearer {KEY}"), 200),
        (format!("x-api-key: {KEY}\r\nx-api-key: {OTHER_KEY}"), 400),
        (format!("x-api-key: {OTHER_KEY}\r\nx-api-key: {KEY}"), 400),
        (format!("authorization: Bearer {KEY}\r\nauthorization: bearer {OTHER_KEY}"), 400),
        (format!("x-api-key: {KEY}\r\nauthorization: Bearer {OTHER_KEY}"), 400),
        (format!("x-api-key: {OTHER_KEY}\r\nauthorization: Bearer {KEY}"), 400),
    ] {
        let mut client = Raw::connect(server.address).await;
        client.send(format!("GET /models HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n")).await;
        let answer = client.read_to("}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
        assert!(status == 200 || answer.contains("Two different API keys"), "{answer}");
    }
}
