//! The dashboard in a real browser, Debian's Chromium, with the whole server and real models. Each test runs a script;
//! `scripts/dashboard.sh` builds the dashboard, and `scripts/clients.sh` installs what the scripts import.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

use std::{env, net::TcpListener, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

#[path = "../../testing/eventually.rs"]
mod eventually;
#[path = "../../testing/llama_server.rs"]
mod llama_server;
#[path = "../../testing/real_models.rs"]
mod real_models;
#[path = "../../testing/real_server.rs"]
mod real_server;

use eventually::eventually;
use real_server::{KEY, RealServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_and_the_right_one_signs_in() {
    run("signs_in.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_equal_the_load_and_the_cache_is_cleared() {
    run("overview.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_include_those_without_a_valid_key_on_request() {
    run("errors.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_and_fits_the_screen() {
    run("pages.mjs", &[], &[("COLORS", "light")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_the_dark() {
    run("pages.mjs", &[], &[("COLORS", "dark")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_is_found_again() {
    run("connection.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_appears_and_resolves() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let settings = [("OLLAMA_BASE_URL", &*url), ("ALERT_INTERVAL_S", "1"), ("ALERT_HOLD_S", "0")];
    run("alerts.mjs", &settings, &[("OLLAMA_PORT", &port.to_string())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_pulled_loaded_and_deleted() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    run("models.mjs", &[("MODEL_REGISTRY", &url)], &[("REGISTRY_PORT", &port.to_string())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_streams_and_what_a_model_says_cannot_run() {
    run("chat.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_captioned_and_read() {
    run("vision.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_added_and_asked() {
    run("documents.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_figures_leaves_the_memory_as_it_was_and_the_files_are_small() {
    run("memory.mjs", &[], &[]).await;
}

/// `make screenshots` runs it, which takes minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the screenshots of the README"]
async fn screenshots() {
    let settings = [("CACHE_TTL", "60"), ("ALERT_RESPONSE_TIME_THRESHOLD", "600")];
    run("screenshots.mjs", &settings, &[]).await;
}

/// Runs a script with a server of its own.
///
/// # Panics
/// When the script fails, or leaves a model at work.
async fn run(script: &str, settings: &[(&str, &str)], variables: &[(&str, &str)]) {
    let server = RealServer::start(settings).await;
    let folder = Path::new("tests/dashboard");
    assert!(
        folder.join("node_modules/.complete").is_file(),
        "run `make test` or scripts/clients.sh, which installs what the scripts import"
    );
    let mut command = Command::new("node");
    command.arg(folder.join(script)).envs(variables.iter().copied());
    command.env("SIMPLETON_URL", format!("http://{}", server.address)).env("SIMPLETON_KEY", KEY);
    command.env("HOME", env::temp_dir());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}\n{printed}", output.status);
    eventually(Duration::from_secs(30), "every model is at rest", async || {
        server.metric("simpleton_llm_requests_running").await == 0.0
    })
    .await;
}

/// A port that the script will listen on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
