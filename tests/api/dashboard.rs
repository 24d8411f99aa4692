//! The dashboard as the server sees it: its files, signing in and out, and what it shows of the settings and models.

use std::{fs, io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use reqwest::{
    Method, RequestBuilder, Response,
    header::{ACCEPT, ACCEPT_ENCODING, ETAG, HeaderMap, IF_NONE_MATCH},
    redirect::Policy,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{KEY, TestServer, json as body, problem, start, start_changed, start_with};

const INDEX: &str =
    "<!doctype html><script type=\"module\" src=\"/dashboard/assets/index-1a2b.js\"></script>";
const SCRIPT: &str = "console.log('hello')";

const STRICT: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
];

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A dashboard as `scripts/dashboard.sh` builds it.
fn built() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    fs::create_dir(folder.path().join("assets")).unwrap();
    write("index.html.gz", &gzip(INDEX));
    write("assets/index-1a2b.js.gz", &gzip(SCRIPT));
    write("assets/inter-3c4d.woff2", b"wOF2");
    write(".stamp", b"stamp");
    folder
}

async fn start_built(folder: &TempDir) -> TestServer {
    start_changed(&[], |config| config.server.dashboard = Some(folder.path().to_owned())).await
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    Some(response.headers().get(name)?.to_str().unwrap())
}

fn assert_strict(response: &Response) {
    for (name, value) in STRICT {
        assert_eq!(header(response, name), Some(value), "{name} of {}", response.url());
    }
}

#[tokio::test]
async fn the_page_is_checked_each_time_and_hashed_files_are_kept_for_good() {
    let folder = built();
    let server = start_built(&folder).await;
    for path in ["/dashboard", "/dashboard/", "/dashboard/models", "/dashboard/models/llama3.2"] {
        let page = server.get(path).send().await.unwrap();
        assert_strict(&page);
        assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(header(&page, "cache-control"), Some("no-cache"), "{path}");
        assert_eq!(header(&page, "content-encoding"), None, "{path}");
        let etag = page.headers()[ETAG].clone();
        assert_eq!(page.text().await.unwrap(), INDEX, "{path}");
        let known = server.get(path).header(IF_NONE_MATCH, &etag).send().await.unwrap();
        assert_strict(&known);
        assert_eq!((known.status().as_u16(), &known.headers()[ETAG]), (304, &etag), "{path}");
        assert_eq!(known.text().await.unwrap(), "");
    }
    fs::write(folder.path().join("index.html.gz"), gzip("another")).unwrap();
    let changed =
        server.get("/dashboard").header(IF_NONE_MATCH, "W/\"0123456789abcdef\"").send().await.unwrap();
    assert_eq!(changed.text().await.unwrap(), "another");
    let font = server.get("/dashboard/assets/inter-3c4d.woff2").send().await.unwrap();
    assert_strict(&font);
    assert_eq!(header(&font, "content-type"), Some("font/woff2"));
    assert_eq!(header(&font, "cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(font.bytes().await.unwrap().as_ref(), b"wOF2");
}

#[tokio::test]
async fn texts_are_sent_compressed_to_clients_that_accept_it() {
    let folder = built();
    let server = start_built(&folder).await;
    let ask = async |encodings: &str| {
        let request = server.get("/dashboard/assets/index-1a2b.js").header(ACCEPT_ENCODING, encodings);
        let script = request.send().await.unwrap();
        assert_strict(&script);
        assert_eq!(header(&script, "content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(header(&script, "vary"), Some("accept-encoding"));
        let encoding = header(&script, "content-encoding").map(str::to_owned);
        (encoding, script.bytes().await.unwrap().to_vec())
    };
    assert_eq!(ask("gzip, deflate, br").await, (Some("gzip".to_owned()), gzip(SCRIPT)));
    for encodings in ["br", "gzip;q=0", "identity"] {
        assert_eq!(ask(encodings).await, (None, SCRIPT.as_bytes().to_vec()), "{encodings}");
    }
    let head = server.client.head(server.url("/dashboard")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap().as_str()), (200, ""));
}

#[tokio::test]
async fn unknown_and_hidden_files_are_not_found() {
    let folder = built();
    let server = start_built(&folder).await;
    for path in
        ["assets/index-0000.js", "assets/", "favicon.ico", ".stamp", "..%2F..%2Fetc%2Fpasswd.txt", "x.php"]
    {
        let (status, told) = problem(server.get(&format!("/dashboard/{path}"))).await;
        assert_eq!(status, 404, "{path}: {told}");
    }
    let refused = server.client.post(server.url("/dashboard")).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, Some("GET,HEAD")));
}

#[tokio::test]
async fn a_program_without_the_dashboard_says_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_built(&folder).await;
    for path in ["/dashboard", "/dashboard/models"] {
        let page = server.get(path).send().await.unwrap();
        assert_strict(&page);
        assert_eq!((page.status().as_u16(), header(&page, "cache-control")), (200, Some("no-store")));
        let text = page.text().await.unwrap();
        assert!(text.contains("scripts/dashboard.sh") && text.contains("href=\"/docs\""), "{text}");
        // Its own policy would forbid them.
        assert!(!text.contains("<style") && !text.contains("<script") && !text.contains("style="), "{text}");
    }
    assert_eq!(problem(server.get("/dashboard/assets/a.js")).await.0, 404);
}

#[tokio::test]
async fn browsers_are_sent_to_the_dashboard_and_programs_are_not() {
    let server = start().await;
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let ask = async |accept: &str| client.get(server.url("/")).header(ACCEPT, accept).send().await.unwrap();
    let browser = ask("text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8").await;
    assert_eq!((browser.status().as_u16(), header(&browser, "location")), (303, Some("/dashboard")));
    assert_eq!(header(&browser, "vary"), Some("accept, user-agent"));
    for accept in ["*/*", "application/json", "application/json, text/plain, */*"] {
        let reply = ask(accept).await;
        assert_eq!(
            (reply.status().as_u16(), header(&reply, "vary")),
            (200, Some("accept, user-agent")),
            "{accept}"
        );
        assert_eq!(body(reply).await["service"], "Simpleton LLM Service", "{accept}");
    }
    let ollama = client.get(server.url("/")).header("user-agent", "ollama/0.9").header(ACCEPT, "text/html");
    assert_eq!(ollama.send().await.unwrap().text().await.unwrap(), "Ollama is running");
}

fn sign_in(server: &TestServer, token: &str) -> RequestBuilder {
    server.client.post(server.url("/dashboard/session")).body(json!({"token": token}).to_string())
}

fn with_key(server: &TestServer, method: Method, path: &str, key: &str) -> RequestBuilder {
    server.client.request(method, server.url(path)).bearer_auth(key)
}

#[tokio::test]
async fn a_sign_in_address_opens_one_session_that_is_worth_a_key_until_it_is_signed_out() {
    let server = start().await;
    let reply = sign_in(&server, &server.sign_in_token).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let session = body(reply).await;
    let expires: jiff::Timestamp = session["expires_at"].as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(jiff::Timestamp::now());
    assert!(left.as_secs() > 11 * 3600 && left.as_secs() <= 12 * 3600, "{session}");
    let key = session["key"].as_str().unwrap();

    let (status, told) = problem(sign_in(&server, &server.sign_in_token)).await;
    assert_eq!(status, 401, "it works once");
    assert!(told["detail"].as_str().unwrap().contains("Sign in with an API key"), "{told}");

    assert_eq!(with_key(&server, Method::GET, "/models", key).send().await.unwrap().status(), 200);
    let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
    let chat = with_key(&server, Method::POST, "/inference/chat", key).body(chat.to_string());
    assert_eq!(chat.send().await.unwrap().status(), 200);
    let header = server.get("/settings").header("x-api-key", key);
    assert_eq!(header.send().await.unwrap().status(), 200, "in either header");
    // What it does is the first API key's.
    let usage = body(with_key(&server, Method::GET, "/analytics/usage", key).send().await.unwrap()).await;
    assert_eq!(usage["usage"].as_array().map(Vec::len), Some(1), "{usage}");

    let ended = with_key(&server, Method::DELETE, "/dashboard/session", key).send().await.unwrap();
    assert_eq!((ended.status().as_u16(), body(ended).await), (200, json!({"signed_out": true})));
    for (method, path) in [(Method::GET, "/models"), (Method::DELETE, "/dashboard/session")] {
        assert_eq!(problem(with_key(&server, method, path, key)).await.0, 401, "{path}");
    }
    assert_eq!(with_key(&server, Method::GET, "/models", KEY).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn wrong_tokens_are_refused() {
    let server = start().await;
    for token in ["", "wrong", KEY, &server.sign_in_token.to_uppercase(), &server.sign_in_token[1..]] {
        assert_eq!(problem(sign_in(&server, token)).await.0, 401, "{token}");
    }
    let post = |text: String| server.client.post(server.url("/dashboard/session")).body(text);
    for (text, status) in [
        (String::new(), 400),
        ("{".to_owned(), 400),
        (json!({}).to_string(), 422),
        (json!({"token": 1}).to_string(), 422),
        (json!({"token": "a", "more": 1}).to_string(), 422),
        (json!({"token": "a".repeat(2000)}).to_string(), 413),
    ] {
        assert_eq!(problem(post(text.clone())).await.0, status, "{text}");
    }
    // A token is no key, and a key is no session.
    assert_eq!(problem(with_key(&server, Method::GET, "/models", &server.sign_in_token)).await.0, 401);
    assert_eq!(problem(with_key(&server, Method::DELETE, "/dashboard/session", KEY)).await.0, 401);
    assert_eq!(sign_in(&server, &server.sign_in_token).send().await.unwrap().status(), 200, "not used up");
}

/// A body that never ends costs its own connection only, and not for long.
#[tokio::test]
async fn a_sign_in_that_is_not_sent_to_its_end_is_given_up() {
    let server = start_with(&[("REQUEST_TIMEOUT_S", "1")]).await;
    let endless = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(endless);
    let request = server.client.post(server.url("/dashboard/session")).body(body);
    let (status, _) =
        tokio::time::timeout(Duration::from_secs(20), problem(request)).await.expect("an answer");
    assert_eq!(status, 408);
}

#[tokio::test]
async fn settings_are_shown_without_their_secrets() {
    let secrets = [
        ("API_KEYS", "test-key-0123456789,second-key-0123"),
        ("REDIS_URL", "redis://user:hidden-password@127.0.0.1:1"),
        ("LOG_LEVEL", "warn"),
    ];
    let server = start_with(&secrets).await;
    assert_eq!(problem(server.get("/settings")).await.0, 401);
    let text = server.get("/settings").header("x-api-key", KEY).send().await.unwrap().text().await.unwrap();
    assert!(!text.contains("hidden-password") && !text.contains("second-key"), "{text}");
    let reply: Value = serde_json::from_str(&text).unwrap();
    let settings = reply["settings"].as_array().unwrap();
    let setting = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap();
    let keys = setting("API_KEYS");
    assert_eq!((&keys["value"], &keys["secret"]), (&json!("[redacted]"), &json!(true)));
    assert_eq!(setting("REDIS_URL")["value"], "redis://[redacted]@127.0.0.1:1");
    let level = setting("LOG_LEVEL");
    let shown = (&level["section"], &level["value"], &level["default"], &level["source"], &level["secret"]);
    let expected = ["Monitoring", "warn", "info", "environment"].map(Value::from);
    assert_eq!(shown, (&expected[0], &expected[1], &expected[2], &expected[3], &json!(false)));
    assert!(level["description"].as_str().unwrap().contains("severe"));
    let unset = setting("QDRANT_URL");
    assert_eq!(
        (&unset["value"], &unset["default"], &unset["source"]),
        (&Value::Null, &Value::Null, &json!("default"))
    );
    assert_eq!(settings.len(), simpleton::config::load(&simpleton::config::Sources::default()).0.len());
}

async fn suggested(server: &TestServer) -> Value {
    body(server.get("/models/suggested").header("x-api-key", KEY).send().await.unwrap()).await
}

#[tokio::test]
async fn models_are_suggested_that_the_memory_has_room_for() {
    let engine = [("OLLAMA_BASE_URL", ""), ("ENGINE_MEMORY_MB", "4000")];
    let reply = suggested(&start_with(&engine).await).await;
    assert_eq!(reply["memory"]["for_models"], 4_000_000_000_u64, "{reply}");
    assert!(reply["memory"]["total"].as_u64().unwrap() > 100_000_000, "{reply}");
    let models = reply["models"].as_array().unwrap();
    let model = |name: &str| models.iter().find(|model| model["name"] == name).unwrap();
    for (name, fits) in
        [("llama3.2:1b", true), ("all-minilm", true), ("moondream", true), ("qwen3:8b", false)]
    {
        let model = model(name);
        assert_eq!((&model["fits"], &model["installed"]), (&json!(fits), &json!(false)), "{model}");
        assert!(model["memory"].as_u64().unwrap() > model["size"].as_u64().unwrap(), "{model}");
    }
    assert_eq!(model("all-minilm")["capabilities"], json!(["embedding"]));
}

#[tokio::test]
async fn over_ollama_models_are_suggested_without_a_promise() {
    use crate::ollama::{
        lines,
        scripted::{Script, Step},
    };
    let server = start().await;
    let models = lines::tags(&[("llava:7b", "aa"), ("phi4:latest", "bb")]);
    server.ollama.on("/api/tags", Script::ok(vec![Step::Send(models.to_string())]));
    let reply = suggested(&server).await;
    assert_eq!(reply["memory"], Value::Null);
    for model in reply["models"].as_array().unwrap() {
        let installed = ["llava:7b", "phi4"].contains(&model["name"].as_str().unwrap());
        let told = (&model["memory"], &model["fits"], &model["installed"]);
        assert_eq!(told, (&Value::Null, &Value::Null, &json!(installed)), "{model}");
    }
}

/// Pages have the headers of every reply, too.
#[tokio::test]
async fn pages_are_counted_as_the_services_own() {
    let folder = built();
    let server = start_built(&folder).await;
    for path in ["/dashboard", "/dashboard/models", "/dashboard/models"] {
        let headers: HeaderMap = server.get(path).send().await.unwrap().headers().clone();
        assert!(headers.contains_key("x-request-id"));
    }
    let series = "simpleton_requests_total{method=\"GET\",endpoint=\"/dashboard/{*path}\",status=\"200\"}";
    assert_eq!(server.metric(series).await, 2.0);
    let stats = body(server.get("/analytics/stats").send().await.unwrap()).await;
    assert_eq!(stats["metrics"]["total_requests"], 0);
}
