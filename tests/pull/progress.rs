//! Progress of a pull in a terminal, by a running server.

use std::{
    fs,
    process::{Child, Stdio},
};

use crate::{
    eventually::eventually,
    harness::{DEADLINE, Model},
    program::{recorded, simpleton},
    registry::Registry,
    relay::Relay,
    terminal::Terminal,
};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_by_a_server_shows_its_progress_and_goes_on_after_ctrl_c() {
    let model = Model::large();
    let registry = Registry::with(&model, "library/large", "latest").await;
    let relay = Relay::start(registry.port, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let mut serve = simpleton(&folder, &relay.url());
    serve.arg("serve").env("PORT", "0").stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(serve.spawn().unwrap());
    let has_address =
        || fs::read_to_string(folder.path().join("lock")).is_ok_and(|lock| lock.lines().count() > 1);
    eventually(DEADLINE, "the server runs", async || has_address()).await;

    // Only the server knows the registry.
    let pull = || {
        let mut command = simpleton(&folder, "http://127.0.0.1:1");
        command.args(["model", "pull", "large"]);
        command
    };
    relay.allow(model.size() * 2 / 5);
    let mut terminal = Terminal::open(pull());
    terminal.wait_for("pulling manifest").await;
    let blobs = folder.path().join("models/blobs");
    eventually(DEADLINE, "a record of what is there", async || recorded(&blobs) >= model.size() / 4).await;
    terminal.wait_for(" % ███").await;
    terminal.wait_for("/s  ").await;
    terminal.wait_for(" left").await;
    terminal.press("\u{3}");
    terminal.wait_for("Interrupted. `simpleton model pull large` continues the download.").await;
    assert_eq!(terminal.ends().await, Some(130));
    relay.cut();
    relay.open();
    let terminal = Terminal::open(pull());
    // What is left may come too fast to be shown.
    terminal.wait_for("success").await;
    assert_eq!(terminal.ends().await, Some(0));
}
