//! `/rag/upload`: files as documents.

use std::time::Duration;

use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::{
    harness::{
        KEY, TestServer, events, eventually, json as body, pointers_of, problem, start, start_uncached,
        start_with,
    },
    ollama::scripted::{Script, Step},
};

const TABLE: &[u8] = include_bytes!("../fixtures/documents/table.pdf");
const LOCKED: &[u8] = include_bytes!("../fixtures/documents/locked.pdf");

fn with_file(file: impl Into<Vec<u8>>, name: &str) -> Form {
    Form::new().part("file", Part::bytes(file.into()).file_name(name.to_owned()))
}

fn upload(server: &TestServer, form: Form) -> RequestBuilder {
    server.client.post(server.url("/rag/upload")).header("x-api-key", KEY).multipart(form)
}

async fn uploaded(server: &TestServer, form: Form) -> Value {
    let response = upload(server, form).send().await.unwrap();
    let status = response.status();
    let reply = body(response).await;
    assert_eq!(status, 200, "{reply}");
    reply
}

/// Metadata of the best hit for some words.
async fn found(server: &TestServer, words: &str) -> Value {
    let request = json!({"query": words, "mode": "keyword", "top_k": 1});
    let reply = body(server.post("/rag/search", &request).send().await.unwrap()).await;
    reply["results"][0].clone()
}

async fn document(server: &TestServer, id: &str) -> Value {
    let path = format!("/rag/documents/{id}");
    body(server.get(&path).header("x-api-key", KEY).send().await.unwrap()).await
}

#[tokio::test]
async fn a_file_is_found_with_its_page_and_headings() {
    let server = start().await;
    let form = with_file(TABLE, "table.pdf")
        .text("document_id", "tides")
        .text("metadata", r#"{"year": 1987}"#)
        .text("chunk_size", "300")
        .text("collection", "");
    let reply = uploaded(&server, form).await;
    assert_eq!((&reply["document_id"], &reply["collection"]), (&json!("tides"), &json!("documents")));
    assert_eq!(reply["chunk_ids"].as_array().unwrap().len(), reply["chunks_created"]);
    let hit = found(&server, "harbour lies open").await;
    let metadata = &hit["metadata"];
    assert_eq!((&metadata["page"], &metadata["year"]), (&json!(1), &json!(1987)), "{hit}");
    assert_eq!(metadata["heading"], "Heights of the tide", "{hit}");
    let content =
        body(server.get("/rag/documents/tides/content").header("x-api-key", KEY).send().await.unwrap()).await;
    let text: Vec<char> = content["content"].as_str().unwrap().chars().collect();
    let at = |name: &str| usize::try_from(metadata[name].as_u64().unwrap()).unwrap();
    assert_eq!(text[at("char_start")..at("char_end")].iter().collect::<String>(), hit["content"]);
}

#[tokio::test]
async fn a_title_is_the_documents_own_or_the_files_name_without_a_path() {
    let server = start().await;
    for (id, file, name, title) in [
        ("a", "---\ntitle: Own\n---\n\nText.", "a.md", json!("Own")),
        ("b", "Some words.", "../../etc/notes.txt", json!("notes.txt")),
        ("c", "More words.", "C:\\Users\\Ada\\notes.txt", json!("notes.txt")),
        ("d", "Other words.", "/", Value::Null),
    ] {
        uploaded(&server, with_file(file, name).text("document_id", id)).await;
        let document = document(&server, id).await;
        assert_eq!(document.get("title").unwrap_or(&Value::Null), &title, "{name}");
    }
    uploaded(&server, with_file("Last words.", "x.txt").text("document_id", "e").text("title", "Given"))
        .await;
    assert_eq!(document(&server, "e").await["title"], "Given");
}

#[tokio::test]
async fn markdown_and_code_are_split_where_they_divide() {
    let server = start().await;
    let markdown = "# Tides\n\nThe tide rises.\n\n## Spring\n\nSpring tides are high.\n";
    let first = uploaded(&server, with_file(markdown, "a.md").text("chunk_size", "45")).await;
    assert_eq!(first["chunks_created"], 2, "{first}");
    assert_eq!(found(&server, "spring").await["metadata"]["heading"], "Tides > Spring");
    let code = "fn a() {\n    one();\n}\n\nfn b() {\n    two();\n}\n";
    let second = uploaded(&server, with_file(code, "a.rs").text("chunk_size", "40")).await;
    assert_eq!(second["chunks_created"], 2, "{second}");
    assert_eq!(found(&server, "two").await["content"], "fn b() {\n    two();\n}");

    // So is a text that is sent as Markdown.
    let request = json!({"content": "# Fish\n\nFish swim.\n\n## Deep\n\nEels dive.", "chunking": "markdown", "chunk_size": 25});
    assert_eq!(server.post("/rag/ingest", &request).send().await.unwrap().status(), 200);
    assert_eq!(found(&server, "eels").await["metadata"]["heading"], "Fish > Deep");
}

#[tokio::test]
async fn wrong_fields_of_a_form_are_named() {
    let server = start().await;
    let file = || with_file("Some words.", "a.txt");
    let deep = "[".repeat(40) + &"]".repeat(40);
    for (form, pointers) in [
        (Form::new().text("title", "x"), vec!["/file"]),
        (file().text("colection", "a"), vec!["/colection"]),
        (file().text("metadata", "{"), vec!["/metadata"]),
        (file().text("metadata", "[1]"), vec!["/metadata"]),
        (file().text("metadata", format!("{{\"a\": {deep}}}")), vec!["/metadata"]),
        (file().text("metadata", r#"{"a": 1, "a": 2}"#), vec!["/metadata/a"]),
        (file().text("metadata", r#"{"char_start": 1}"#), vec!["/metadata/char_start"]),
        (
            file().text("chunking", "magic").text("chunk_size", "many").text("chunk_overlap", "1.5"),
            vec!["/chunking", "/chunk_size", "/chunk_overlap"],
        ),
        (file().text("chunk_size", "10").text("chunk_overlap", "10"), vec!["/chunk_overlap"]),
        (file().text("chunk_unit", "bytes"), vec!["/chunk_unit"]),
        (file().text("chunk_unit", "tokens"), vec!["/chunk_unit"]),
        (file().text("title", "x".repeat(1001)), vec!["/title"]),
        (file().text("collection", "a/b"), vec!["/collection"]),
        (file().text("document_id", "x".repeat(10_000)), vec!["/document_id"]),
    ] {
        let (status, problem) = problem(upload(&server, form)).await;
        assert_eq!((status, pointers_of(&problem)), (422, pointers), "{problem}");
    }
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
    let (status, problem) = problem(upload(&server, file().text("metadata", large))).await;
    assert_eq!((status, pointers_of(&problem)), (413, vec!["/metadata"]), "{problem}");
    assert!(server.ollama.requests("/api/embed").is_empty());
}

#[tokio::test]
async fn files_without_text_are_refused() {
    let server = start().await;
    for (file, name, detail) in [
        (&b""[..], "a.txt", "is empty"),
        (b" \n\t", "a.txt", "has no text"),
        ("\u{a0}\u{2003}".as_bytes(), "a.txt", "text"),
        (&[0, 1, 2, 255].repeat(50), "a.txt", "is not a document with text"),
        (LOCKED, "a.pdf", "is protected by a password"),
        (b"PK\x03\x04 nothing", "a.docx", "damaged"),
    ] {
        let (status, problem) = problem(upload(&server, with_file(file, name))).await;
        assert_eq!((status, pointers_of(&problem)), (422, vec!["/file"]), "{name}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{name}: {problem}");
    }
}

#[tokio::test]
async fn texts_in_any_encoding_are_taken_in() {
    let server = start().await;
    let words = "Größe der Flut";
    let utf16 =
        [&[0xff, 0xfe][..], &words.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat();
    let latin: Vec<u8> = words.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let damaged = [words.repeat(20).as_bytes(), b"\xff"].concat();
    for (id, file) in [("utf-16", utf16), ("latin", latin), ("damaged", damaged)] {
        uploaded(&server, with_file(file, "a.txt").text("document_id", id)).await;
        let path = format!("/rag/documents/{id}/content");
        let content = body(server.get(&path).header("x-api-key", KEY).send().await.unwrap()).await;
        assert!(content["content"].as_str().unwrap().starts_with(words), "{id}: {content}");
    }
    // JSON is UTF-8, always.
    let request = server.post_text("/rag/ingest", &b"{\"content\": \"\xff\"}"[..]);
    assert_eq!(problem(request).await.0, 400);
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    let (status, problem) = problem(upload(&server, with_file(vec![b'a'; 2 << 20], "a.txt"))).await;
    assert_eq!(status, 413, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("1 MB"), "{problem}");
}

#[tokio::test]
async fn a_text_without_a_space_is_taken_in_whole() {
    let server = start_with(&[("CHUNK_SIZE", "100000"), ("CHUNK_OVERLAP", "0")]).await;
    let text = "a".repeat(1_000_000);
    let reply = uploaded(&server, with_file(text, "a.txt").text("document_id", "a")).await;
    assert_eq!(reply["chunks_created"].as_u64().unwrap() + reply["chunks_unchanged"].as_u64().unwrap(), 10);
    assert_eq!(document(&server, "a").await["content_bytes"], 1_000_000);
}

#[tokio::test]
async fn a_failing_model_leaves_the_old_version_of_a_file() {
    let server = start().await;
    let file = |text: &str| with_file(text.to_owned(), "a.txt").text("document_id", "a");
    uploaded(&server, file("Old text.")).await;
    server.ollama.on("/api/embed", Script::error(500, "out of memory"));
    assert_eq!(problem(upload(&server, file("New text."))).await.0, 502);
    assert_eq!(found(&server, "text").await["content"], "Old text.");
}

#[tokio::test]
async fn progress_is_streamed_and_ends_with_the_reply() {
    let server = start().await;
    let text = (0..200).map(|number| format!("Word{number} stands alone.\n\n")).collect::<String>();
    let form = with_file(text.clone(), "a.txt").text("chunk_size", "25").text("stream", "true");
    let response = upload(&server, form.text("document_id", "a")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let told = events(&response.text().await.unwrap());
    let statuses: Vec<&str> = told.iter().map(|(_, event)| event["status"].as_str().unwrap()).collect();
    let expected = [vec!["extracting"], vec!["embedding"; 5], vec!["storing", "success"]].concat();
    assert_eq!(statuses, expected);
    assert_eq!(told[1].1, json!({"status": "embedding", "chunks": 200, "embedded": 0}));
    assert_eq!(told[3].1["embedded"], 128);
    let reply = &told.last().unwrap().1;
    assert_eq!((&reply["chunks_created"], &reply["document_id"]), (&json!(200), &json!("a")));

    let request = json!({"content": text, "document_id": "a", "chunk_size": 25, "stream": true});
    let told = server.post("/rag/ingest", &request).send().await.unwrap().text().await.unwrap();
    assert!(told.starts_with("data: {\"status\":\"embedding\","), "{told}");
    assert_eq!(events(&told).last().unwrap().1["chunks_unchanged"], 200);
}

#[tokio::test]
async fn a_failure_is_a_problem_before_the_first_vectors_and_an_event_after_them() {
    let server = start_uncached().await;
    let request = json!({"content": "Some words.", "document_id": "a", "stream": true});
    server.ollama.on("/api/embed", Script::error(500, "out of memory"));
    assert_eq!(problem(server.post("/rag/ingest", &request)).await.0, 502);
    let refused = json!({"content": "Some words.", "metadata": [], "stream": true});
    assert_eq!(problem(server.post("/rag/ingest", &refused)).await.0, 422);

    server.ollama.on("/api/embed", slow());
    let mut response = server.post("/rag/ingest", &long("a")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().unwrap();
    server.ollama.on("/api/embed", Script::error(500, "out of memory"));
    let mut text = String::from_utf8(first.to_vec()).unwrap();
    text.push_str(&response.text().await.unwrap());
    let told = events(&text);
    let (name, problem) = told.last().unwrap();
    assert_eq!((name.as_str(), &problem["status"]), ("error", &json!(502)), "{text}");
    let path = "/rag/documents/a";
    assert_eq!(problem_of(&server, path).await, 404, "nothing of it is stored");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_ingestion_and_the_old_version_stays() {
    let server = start_uncached().await;
    uploaded(&server, with_file("Old text.", "a.txt").text("document_id", "a")).await;
    server.ollama.on("/api/embed", slow());
    let mut response = server.post("/rag/ingest", &long("a")).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    let asked = || server.ollama.requests("/api/embed").len();
    eventually("the next batch is asked for", async || asked() >= 3).await;
    drop(response);
    eventually("the call to the model is ended", async || server.ollama.aborted() > 0).await;
    server.ollama.on("/api/embed", Script::error(500, "no more"));
    let path = "/rag/documents/a/content";
    let content = body(server.get(path).header("x-api-key", KEY).send().await.unwrap()).await;
    assert_eq!(content["content"], "Old text.");
    assert!(asked() < 10, "{}", asked());
}

/// A text of 640 chunks in ten batches.
fn long(id: &str) -> Value {
    let text = (0..640).map(|number| format!("Word{number} stands alone.\n\n")).collect::<String>();
    json!({"content": text, "document_id": id, "chunk_size": 25, "chunk_overlap": 0, "stream": true})
}

/// Vectors of 64 texts, after a while.
fn slow() -> Script {
    let vectors = json!({"embeddings": vec![[1.0, 0.5]; 64]}).to_string();
    Script::ok(vec![Step::Pause(Duration::from_millis(300)), Step::Send(vectors)])
}

async fn problem_of(server: &TestServer, path: &str) -> u16 {
    problem(server.get(path).header("x-api-key", KEY)).await.0
}
