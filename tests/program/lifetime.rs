//! From the first start to the last signal.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    harness::{Running, after, answer, eventually, run, simpleton},
    llama_server::llama_server,
    terminal::Terminal,
};

#[tokio::test]
async fn a_fresh_start_answers_real_prompts() {
    let server = Running::start();
    let key_file = server.folder.path().join("data/api-key");
    assert_eq!(fs::read_to_string(&key_file).unwrap().trim(), server.key);
    assert_eq!(key_file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let prompt = json!({"prompt": "What is the capital of France?", "temperature": 0});
    let reply = answer(server.post("/inference/generate", &prompt)).await;
    assert_eq!(reply["response"], "The capital of France is Paris.", "{reply}");
    assert!(reply["eval_count"].as_u64().unwrap() > 3 && reply["total_duration"].as_u64().unwrap() > 0);

    let chat = json!({"messages": [{"role": "user", "content": "What is the capital of Italy?"}], "temperature": 0, "stream": true});
    let stream = server.post("/inference/chat", &chat).send().await.unwrap().text().await.unwrap();
    let text: String = stream
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .map(|chunk| chunk["message"]["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(text, "The capital of Italy is Rome.");
    assert!(stream.matches("data: ").count() > 1, "the text, and its end");

    // With nothing else installed, the demo model embeds as well as it can.
    let embedded = answer(server.post("/embeddings/", &json!({"input": ["Hello world", "Hi"]}))).await;
    assert_eq!(embedded["embeddings"].as_array().unwrap().len(), 2, "{embedded}");
}

#[tokio::test]
async fn the_address_that_signs_in_is_printed_to_a_terminal_only() {
    let folder = tempfile::tempdir().unwrap();
    let serve = || {
        let mut command = simpleton(&folder);
        command.arg("serve").env("PORT", "0").env("LOG_LEVEL", "trace").env("LLAMA_SERVER", llama_server());
        command
    };
    let path = folder.path().join("printed");
    let (out, err) = (File::create(&path).unwrap(), File::create(folder.path().join("logged")).unwrap());
    let mut child = serve().stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
    let printed = || fs::read_to_string(&path).unwrap();
    eventually("it has started", || printed().contains("  API key  ")).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(printed().contains("/dashboard\n") && !printed().contains("token"), "{}", printed());

    let mut terminal = Terminal::open(serve());
    terminal.wait_for("/dashboard#token=").await;
    terminal.wait_for("  (signs you in once, within 15 minutes)").await;
    terminal.press("\u{3}");
    assert_eq!(terminal.ends().await, Some(0));
}

/// Whatever the umask, and whoever made the folder. Models are no secret, but nobody else may change them.
#[tokio::test]
async fn nothing_in_the_data_folder_is_open_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = after("umask 000", &folder);
    command.arg("serve");
    let server = Running::of(command, folder);
    answer(server.post("/inference/generate", &json!({"prompt": "Who are you?", "temperature": 0}))).await;
    let history = data.join("state/history.db-wal");
    eventually("everything is there", || history.exists() && data.join("cache/responses.db-wal").exists())
        .await;
    let (mut open, mut seen) = (vec![data.clone()], 0);
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let others = if path.starts_with(data.join("models")) { 0o022 } else { 0o077 };
        let mode = metadata.permissions().mode() & 0o777;
        assert!(path == data || mode & others == 0, "{} has mode {mode:o}", path.display());
        seen += 1;
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 15, "{seen}");
}

/// `ulimit -f 0` is as a full disk: no file takes a byte.
#[test]
fn a_full_disk_at_the_first_start_is_said_to_be_full() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, _, told) =
        run(after("ulimit -f 0", &folder).args(["serve", "--data-dir", "data"]).env("PORT", "0"));
    assert!(!ok && told.contains("data/api-key; its disk is full, so free some space"), "{told}");
    assert!(!told.contains("readable"), "{told}");
}

#[tokio::test]
async fn sigterm_lets_replies_finish_and_leaves_nothing_behind() {
    let mut server = Running::start();
    let story = json!({"prompt": "Write a three-sentence story about a fox.", "stream": true});
    let mut reply = server.post("/inference/generate", &story).send().await.unwrap();
    let mut text = reply.chunk().await.unwrap().unwrap().to_vec();
    server.signal("-TERM");
    while let Some(piece) = reply.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    assert!(String::from_utf8_lossy(&text).contains("\"done\":true"));
    eventually("it ends", || server.child.try_wait().unwrap().is_some()).await;
    assert!(server.child.wait().unwrap().success());
    assert_eq!(server.children(), Vec::<String>::new());
}

#[tokio::test]
async fn kill_9_leaves_no_engine_behind() {
    let server = Running::start();
    answer(server.post("/inference/generate", &json!({"prompt": "Who are you?"}))).await;
    assert!(!server.children().is_empty(), "the engine's child runs");
    server.signal("-KILL");
    eventually("the kernel has ended the child", || server.children().is_empty()).await;
}
