//! Documents on bad days: killed, full disks, models that go, requests at once.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    harness::{KEY, TestServer, events, eventually, json as body, problem, start, start_uncached},
    kill::{serve, serve_by},
    ollama::scripted::{FakeOllama, Script, Step},
};

/// A request for a text of 640 chunks, in ten batches.
fn long(id: &str) -> Value {
    let text = (0..640).map(|number| format!("Word{number} stands alone.\n\n")).collect::<String>();
    json!({"content": text, "document_id": id, "chunk_size": 25, "chunk_overlap": 0, "stream": true})
}

fn short(id: &str, text: &str) -> Value {
    json!({"content": text, "document_id": id})
}

/// Vectors of 64 texts, after a while.
fn slow() -> Script {
    let vectors = json!({"embeddings": vec![vec![0.5; 64]; 64]}).to_string();
    Script::ok(vec![Step::Pause(Duration::from_millis(200)), Step::Send(vectors)])
}

fn client() -> Client {
    // An error only says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn post(client: &Client, url: &str, path: &str, request: &Value) -> RequestBuilder {
    client.post(format!("{url}{path}")).header("x-api-key", KEY).body(request.to_string())
}

async fn content(client: &Client, url: &str, id: &str) -> Value {
    let get = client.get(format!("{url}/rag/documents/{id}/content")).header("x-api-key", KEY);
    body(get.send().await.unwrap()).await["content"].clone()
}

async fn found(server: &TestServer, words: &str) -> Vec<String> {
    let request = json!({"query": words, "mode": "keyword", "top_k": 1000});
    let reply = body(server.post("/rag/search", &request).send().await.unwrap()).await;
    let results = reply["results"].as_array().unwrap();
    results.iter().map(|hit| hit["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_kill_during_an_ingestion_leaves_the_old_version() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let client = client();
    let (mut server, url) = serve(folder.path(), &ollama.url()).await;
    let ingest =
        async |url: &str, request: &Value| post(&client, url, "/rag/ingest", request).send().await.unwrap();
    assert_eq!(ingest(&url, &short("a", "Old text.")).await.status(), 200);
    ollama.on("/api/embed", slow());
    let mut response = ingest(&url, &long("a")).await;
    response.chunk().await.unwrap().unwrap();
    server.kill().await.unwrap();

    let (_server, url) = serve(folder.path(), &ollama.url()).await;
    assert_eq!(content(&client, &url, "a").await, "Old text.");
    let search = json!({"query": "stands alone", "mode": "keyword"});
    let reply = body(post(&client, &url, "/rag/search", &search).send().await.unwrap()).await;
    assert_eq!(reply["results"], json!([]), "nothing of the new version");
    let told = ingest(&url, &long("a")).await.text().await.unwrap();
    assert_eq!(events(&told).last().unwrap().1["status"], "success", "{told}");
}

#[tokio::test]
async fn of_two_ingestions_at_once_one_version_stays() {
    let server = start().await;
    let text = |word: &str| (0..40).map(|n| format!("{word}{n} comes first.\n\n")).collect::<String>();
    let request =
        |word: &str| json!({"content": text(word), "document_id": "a", "chunk_size": 30, "chunk_overlap": 0});
    for _ in 0..5 {
        let (one, two) = (request("cat"), request("dog"));
        let (one, two) =
            tokio::join!(server.post("/rag/ingest", &one).send(), server.post("/rag/ingest", &two).send());
        assert_eq!((one.unwrap().status().as_u16(), two.unwrap().status().as_u16()), (200, 200));
        let chunks = found(&server, "first").await;
        let of = |word: &str| chunks.iter().filter(|chunk| chunk.starts_with(word)).count();
        assert!(matches!((of("cat"), of("dog")), (40, 0) | (0, 40)), "{chunks:?}");
    }
}

#[tokio::test]
async fn searches_go_on_during_a_large_ingestion() {
    let server = start_uncached().await;
    let old = short("a", "An old text stands alone.");
    assert_eq!(server.post("/rag/ingest", &old).send().await.unwrap().status(), 200);
    server.ollama.on("/api/embed", slow());
    let mut response = server.post("/rag/ingest", &long("a")).send().await.unwrap();
    let mut told = String::new();
    let mut searches = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        told.push_str(std::str::from_utf8(&piece).unwrap());
        let chunks = found(&server, "stands alone").await;
        match told.contains("storing") {
            false => assert_eq!(chunks, ["An old text stands alone."]),
            true => assert!(matches!(chunks.len(), 1 | 640), "{}", chunks.len()),
        }
        searches += 1;
    }
    assert!(searches > 3, "{searches}");
    assert_eq!(found(&server, "stands alone").await.len(), 640);
}

#[tokio::test]
async fn a_model_that_goes_in_the_middle_leaves_the_old_version() {
    let server = start_uncached().await;
    let old = short("a", "Old text.");
    assert_eq!(server.post("/rag/ingest", &old).send().await.unwrap().status(), 200);
    server.ollama.on("/api/embed", slow());
    let mut response = server.post("/rag/ingest", &long("a")).send().await.unwrap();
    let mut told = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    server
        .ollama
        .on("/api/embed", Script::error(404, "model \"nomic-embed-text\" not found, try pulling it first"));
    told.push_str(&response.text().await.unwrap());
    let told = events(&told);
    let (name, problem) = told.last().unwrap();
    assert_eq!((name.as_str(), &problem["status"]), ("error", &json!(404)), "{told:?}");
    assert_eq!(found(&server, "text").await, ["Old text."]);
}

/// A full disk itself is tested with the store.
#[tokio::test]
async fn a_file_that_cannot_grow_refuses_new_documents_and_keeps_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = FakeOllama::start().await;
    let client = client();
    let mut limited = Command::new("/bin/sh");
    // 1 or 2 megabytes, by the shell's unit.
    limited.args(["-c", "ulimit -f 2048; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_simpleton")]);
    let (mut server, url) = serve_by(limited, folder.path(), &ollama.url()).await;
    let first = short("first", "The first text.");
    assert_eq!(post(&client, &url, "/rag/ingest", &first).send().await.unwrap().status(), 200);
    let mut number = 0;
    let mut refused = Value::Null;
    eventually("the file is full", async || {
        number += 1;
        let text = format!("Text {number}. {}", "word ".repeat(40_000));
        let request = json!({"content": text, "document_id": format!("d{number}"), "chunk_size": 50_000});
        let (status, reply) = {
            let response = post(&client, &url, "/rag/ingest", &request).send().await.unwrap();
            (response.status().as_u16(), body(response).await)
        };
        assert!(matches!(status, 200 | 503), "{reply}");
        refused = reply;
        status == 503
    })
    .await;
    assert!(refused["detail"].as_str().unwrap().contains("cannot be read or written"), "{refused}");
    assert_eq!(content(&client, &url, "first").await, "The first text.");
    let path = format!("{url}/rag/documents/d{number}");
    let (status, _) = problem(client.get(path).header("x-api-key", KEY)).await;
    assert_eq!(status, 404, "nothing of the refused one is there");
    assert_eq!(server.try_wait().unwrap(), None, "it runs");
}

#[tokio::test]
async fn two_hundred_megabytes_are_refused() {
    let server = start().await;
    let megabytes = || vec![b'a'; 200 << 20];
    let form = Form::new().part("file", Part::bytes(megabytes()).file_name("a.txt"));
    let upload = server.client.post(server.url("/rag/upload")).header("x-api-key", KEY).multipart(form);
    for request in [upload, server.post_text("/rag/ingest", megabytes())] {
        let (status, problem) = problem(request).await;
        assert_eq!(status, 413, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("32 MB"), "{problem}");
    }
}
