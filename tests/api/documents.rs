//! `/documents/parse`: documents in forms and in JSON, scanned ones, and hostile ones.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    RequestBuilder,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::harness::{KEY, TestServer, eventually, json as body, pointers_of, problem, start, start_with};

const TABLE: &[u8] = include_bytes!("../fixtures/documents/table.pdf");
const DOCX: &[u8] = include_bytes!("../fixtures/documents/tides.docx");
const SCAN: &[u8] = include_bytes!("../fixtures/documents/scan.pdf");
const FAX: &[u8] = include_bytes!("../fixtures/documents/fax.pdf");
const LOCKED: &[u8] = include_bytes!("../fixtures/documents/locked.pdf");

/// A form with a file.
fn upload(server: &TestServer, file: impl Into<Vec<u8>>, name: &str) -> RequestBuilder {
    let part = Part::bytes(file.into()).file_name(name.to_owned());
    keyed(server).multipart(Form::new().part("file", part))
}

fn keyed(server: &TestServer) -> RequestBuilder {
    server.client.post(server.url("/documents/parse")).header("x-api-key", KEY)
}

fn encoded(server: &TestServer, file: &[u8], name: &str) -> RequestBuilder {
    server.post("/documents/parse", &json!({"content_base64": STANDARD.encode(file), "name": name}))
}

#[tokio::test]
async fn a_document_is_parsed_as_a_form_and_as_json() {
    let server = start().await;
    let form = body(upload(&server, TABLE, "table.pdf").send().await.unwrap()).await;
    assert!(form["text"].as_str().unwrap().starts_with("Heights of the tide\n\nThe harbour"), "{form}");
    assert!(form["markdown"].as_str().unwrap().starts_with("# Heights of the tide\n\nThe harbour"), "{form}");
    assert_eq!((&form["pages"][0]["number"], &form["pages"][1]["number"]), (&json!(1), &json!(2)));
    assert!(form["tables"][0]["markdown"].as_str().unwrap().starts_with("| Port | High water |"), "{form}");
    assert_eq!((&form["metadata"]["format"], &form["language"]), (&json!("pdf"), &json!("en")));
    assert_eq!(body(encoded(&server, TABLE, "").send().await.unwrap()).await, form);
    // The name decides where the content leaves it open.
    let csv = body(upload(&server, "a;b\n1;2\n", "../../data.CSV").send().await.unwrap()).await;
    assert_eq!(csv["text"], "| a | b |\n| --- | --- |\n| 1 | 2 |");
    assert_eq!(csv["pages"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_422_that_says_why() {
    let server = start().await;
    let cut = &DOCX[..DOCX.len() / 2];
    for (file, name, detail) in [
        (&b""[..], "a.txt", "is empty"),
        (b" \n", "a.txt", "has no text"),
        (&[0, 1, 2, 255].repeat(50), "a.bin", "is not a document with text"),
        (LOCKED, "a.pdf", "is protected by a password"),
        (cut, "a.docx", "is damaged or cut off"),
        (b"\x89PNG\r\n\x1a\n", "a.png", "/vision/ocr"),
    ] {
        for (request, pointer) in
            [(upload(&server, file, name), "/file"), (encoded(&server, file, name), "/content_base64")]
        {
            let (status, problem) = problem(request).await;
            assert_eq!((status, pointers_of(&problem)), (422, vec![pointer]), "{name}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(detail), "{name}: {problem}");
        }
    }
}

#[tokio::test]
async fn requests_that_are_wrong() {
    let server = start_with(&[("MAX_BODY_MB", "1")]).await;
    let parse = |request: &Value| server.post("/documents/parse", request);
    for (request, status, detail) in [
        (parse(&json!({})), 422, "content_base64 is required"),
        (parse(&json!({"content_base64": "%%"})), 422, "is not valid base64"),
        (parse(&json!({"content_base64": "http://example.com/a.pdf"})), 422, "URLs are not fetched"),
        (parse(&json!({"content_base64": "aGk=", "nane": "a"})), 422, "name"),
        (keyed(&server).multipart(Form::new().text("fil", "x")), 422, "is missing: send the document"),
        (upload(&server, vec![b'a'; 2 * 1024 * 1024], "a.txt"), 413, "1 MB"),
        (keyed(&server).body("x").header("content-type", "application/pdf"), 415, "Send JSON"),
    ] {
        let (got, problem) = problem(request).await;
        assert_eq!(got, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
}

/// A program in Tesseract's place.
fn tesseract(folder: &Path, reading: &str) -> String {
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo 'tesseract 5.9.9';; --list-langs) echo eng;; *) {reading};; esac\n"
    );
    let path = folder.join("tesseract");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn scanned_pages_are_read_by_tesseract() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let program = tesseract(folder.path(), &format!("cat > {}; echo 'The scanned page'", image.display()));
    let server = start_with(&[("TESSERACT", &program)]).await;
    let read = body(upload(&server, SCAN, "scan.pdf").send().await.unwrap()).await;
    assert_eq!(read["text"], "The scanned page\n\nA page with real text.");
    assert_eq!(read["pages"][1], json!({"number": 2, "char_start": 18, "char_end": 40}));
    assert_eq!(read["metadata"]["ocr_pages"], json!([1]));
    let (width, height) =
        image::load_from_memory(&fs::read(image).unwrap()).unwrap().into_luma8().dimensions();
    assert!(width > 900 && height > width, "{width} × {height}");
}

#[tokio::test]
async fn scanned_pages_without_tesseract() {
    let server = start_with(&[("TESSERACT", "/nowhere/tesseract")]).await;
    let (status, problem) = problem(upload(&server, FAX, "fax.pdf")).await;
    assert_eq!((status, pointers_of(&problem)), (422, vec!["/file"]));
    assert!(problem["detail"].as_str().unwrap().contains("apt-get install tesseract-ocr"), "{problem}");
    // The other pages have text.
    let read = body(upload(&server, SCAN, "scan.pdf").send().await.unwrap()).await;
    assert_eq!(read["text"], "A page with real text.");
}

/// Deep nesting keeps the parser of web pages busy for hours.
fn slow_page() -> Vec<u8> {
    format!("<html>{}text", "<div>".repeat(1_000_000)).into_bytes()
}

#[tokio::test]
async fn a_slow_document_costs_its_own_request_only() {
    let server = start_with(&[("EXTRACT_TIMEOUT_S", "2")]).await;
    let (slow, quick) = tokio::join!(problem(upload(&server, slow_page(), "a.html")), async {
        upload(&server, "# Quick", "a.md").send().await.unwrap().status()
    });
    assert_eq!((slow.0, quick.as_u16()), (422, 200));
    assert!(slow.1["detail"].as_str().unwrap().contains("takes more than 2 s to read"), "{}", slow.1);
}

#[tokio::test]
async fn a_document_that_needs_too_much_memory_costs_its_own_request_only() {
    let server = start_with(&[("EXTRACT_MEMORY_MB", "64")]).await;
    let large = "<p>word</p>".repeat(900_000);
    let (status, problem) = problem(upload(&server, format!("<html>{large}"), "a.html")).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("more than 64 MB of memory"), "{problem}");
    assert_eq!(upload(&server, "# Quick", "a.md").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_child() {
    let server = start().await;
    let request = tokio::spawn(upload(&server, slow_page(), "a.html").send());
    eventually("the child runs", async || children() > 0).await;
    request.abort();
    eventually("the child is gone", async || children() == 0).await;
}

/// Running extractions of this process.
fn children() -> usize {
    let own = std::process::id().to_string();
    let running = fs::read_dir("/proc").unwrap().filter(|entry| {
        let Ok(entry) = entry else { return false };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_ours =
            status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == own));
        is_ours && command.windows(13).any(|part| part == b"extract-child")
    });
    running.count()
}
