//! Models on the command line.

use std::io::{BufRead, BufReader, Write};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Running, run, simpleton};

#[test]
fn models_are_imported_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let gguf = std::path::absolute("models/demo/simpleton-demo.gguf").unwrap();
    let model = |arguments: &[&str]| run(simpleton(&folder).arg("model").args(arguments));
    let (ok, said, error) = model(&["import", "mine:v1", gguf.to_str().unwrap()]);
    assert!(ok && said.contains("installed mine:v1"), "{said}{error}");
    let listed = model(&["list"]).1;
    assert!(listed.starts_with("In ") && listed.contains("mine:v1"), "{listed}");
    let (ok, _, error) = model(&["import", "mine:v1", gguf.to_str().unwrap()]);
    assert!(!ok && error.contains("The model mine:v1 already exists; use --force to replace it."), "{error}");
    assert!(model(&["import", "--force", "mine:v1", gguf.to_str().unwrap()]).0);
    let (ok, _, error) = model(&["import", "other", "missing.gguf"]);
    assert!(!ok && error == "The file missing.gguf does not exist.\n", "{error}");
    assert!(model(&["remove", "mine:v1"]).0);
    assert!(!model(&["list"]).1.contains("mine:v1"));
    let (ok, _, error) = model(&["import", "mine", "/dev/null"]);
    assert!(!ok && error.contains("GGUF"), "{error}");
    let (ok, _, error) = model(&["import", "../escape", gguf.to_str().unwrap()]);
    assert!(!ok && error.contains("model name"), "{error}");
}

/// Answers each connection with what `answer` has for its path, until it is dropped with the test.
fn serve_json(answer: fn(&str) -> &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = request.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
            let body = answer(&path);
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn the_models_that_are_listed_are_those_of_the_backend_in_use() {
    let url = serve_json(|path| match path {
        "/api/tags" => r#"{"models": [{"name": "qwen2.5:7b", "size": 4683087332}]}"#,
        _ => r#"{"capabilities": ["completion", "tools"]}"#,
    });
    let folder = tempfile::tempdir().unwrap();
    let model = |arguments: &[&str]| {
        run(simpleton(&folder).arg("model").args(arguments).env("OLLAMA_BASE_URL", &url))
    };
    let (ok, listed, told) = model(&["list"]);
    assert!(ok && listed.starts_with(&format!("Models on the Ollama server at {url}:\n")), "{listed}{told}");
    assert!(listed.contains("qwen2.5:7b      4.7 GB  completion, tools"), "{listed}");
    assert!(!listed.contains("simpleton-demo") && !folder.path().join(".local").exists());
    let gguf = std::path::absolute("models/demo/simpleton-demo.gguf").unwrap();
    let (ok, said, _) = model(&["import", "mine", gguf.to_str().unwrap()]);
    assert!(ok && said.contains("the server uses Ollama's models"), "{said}");
}

/// A bare Debian has none.
#[tokio::test(flavor = "multi_thread")]
async fn without_ca_certificates_only_downloads_fail() {
    let folder = tempfile::tempdir().unwrap();
    let bare = |folder: &TempDir| {
        let mut command = simpleton(folder);
        command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", folder.path().join("none"));
        command
    };
    let (ok, _, told) = run(bare(&folder).args(["model", "pull", "qwen2.5:7b"]));
    assert!(!ok && told.contains("package ca-certificates"), "{told}");
    let mut command = bare(&folder);
    command.arg("serve");
    let server = Running::of(command, folder);
    let question = json!({"prompt": "What is the capital of France?", "temperature": 0});
    let reply = server.post("/inference/generate", &question).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}
