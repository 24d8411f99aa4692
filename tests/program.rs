//! The program as a person runs it: the real binary, its own engine, signals.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program with an environment of its own.
fn simpleton(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simpleton"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.env("HOME", folder.path()).env("PATH", std::env::var_os("PATH").unwrap());
    command
}

fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn engine() -> PathBuf {
    let named = std::env::var_os("SIMPLETON_TEST_ENGINE").map(PathBuf::from);
    let usual = std::env::home_dir().unwrap().join(".local/share/simpleton/engine/llama-server");
    let path = named.unwrap_or(usual);
    assert!(path.is_file(), "llama-server is needed: run `make test`, which builds it");
    path
}

/// The same, started by a shell that sets a limit or a mask first.
fn after(preparation: &str, folder: &TempDir) -> Command {
    let program = simpleton(folder);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{preparation}; exec \"$0\" \"$@\"")]).arg(program.get_program());
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// A running server; killed when dropped.
struct Running {
    child: Child,
    url: String,
    key: String,
    folder: TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = simpleton(&folder);
        command.arg("serve");
        Self::of(command, folder)
    }

    fn of(mut command: Command, folder: TempDir) -> Self {
        command.env("PORT", "0").env("DATA_DIR", folder.path().join("data")).env("LLAMA_SERVER", engine());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut after = |mark: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(mark)).unwrap();
            line.split(mark).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
        };
        let url = after("is ready on ");
        // A key is printed to a terminal only.
        let key = fs::read_to_string(folder.path().join("data/api-key")).unwrap().trim().to_owned();
        Self { child, url, key, folder }
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        // An error only says that it is there already: each test has a thread, all one process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("{}{path}", self.url)).header("x-api-key", &self.key).body(body.to_string())
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The processes that have this server's data folder in their command line, besides itself.
    fn children(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(folder) {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
        found
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: not after 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

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

#[test]
fn all_problems_are_told_at_once_and_secrets_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "LOG_LEVEL=loud\nAPI_KEYS=short\nHOST=10.0.0.1\n").unwrap();
    let mut command = simpleton(&folder);
    command.args(["serve", "--port", "abc"]).env("MAX_BODY_MB", "0").env("HOST", "127.0.0.1");
    let (ok, _, told) = run(&mut command);
    assert!(!ok);
    for expected in [
        "PORT=abc (from flag): must be a whole number from 0 to 65535",
        "MAX_BODY_MB=0 (from environment): must be a whole number from 1 to 1024",
        "LOG_LEVEL=loud (from .env, line 1): must be one of",
        "API_KEYS=[redacted] (from .env, line 2): must be keys of 8 to 256",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert!(!told.contains("short"));
}

/// A value in `.env` means the same to the program and to `scripts/common.sh`, which reads it before there
/// is a program.
#[test]
fn a_dollar_sign_in_the_file_is_text_for_the_program_and_the_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let scripts = folder.path().join("scripts");
    fs::create_dir(&scripts).unwrap();
    fs::copy("scripts/common.sh", scripts.join("common.sh")).unwrap();
    for (line, value) in [
        ("OTEL_SERVICE_NAME=sk-longenough$ecret", "sk-longenough$ecret"),
        ("OTEL_SERVICE_NAME='sk-longenough$ecret'", "sk-longenough$ecret"),
        ("OTEL_SERVICE_NAME=\"sk-longenough$ecret\"", "sk-longenough$ecret"),
        ("OTEL_SERVICE_NAME=\"sk-${HOME}\\$(id)`id`\"", "sk-${HOME}$(id)`id`"),
        ("OTEL_SERVICE_NAME='a\\$b' # why", "a\\$b"),
        ("export OTEL_SERVICE_NAME = a\\$b#c # why\r", "a\\$b#c"),
        ("OTEL_SERVICE_NAME=\"a\\\"b\\\\c\" # why", "a\"b\\c"),
        ("OTEL_SERVICE_NAME=b'c'", "b'c'"),
        ("OTEL_SERVICE_NAME=old\nOTEL_SERVICE_NAME=#new", "#new"),
        ("OTEL_SERVICE_NAME=old\nOTEL_SERVICE_NAME= # default", "simpleton"),
    ] {
        fs::write(folder.path().join(".env"), format!("PORT=1\n{line}\n")).unwrap();
        let (ok, shown, told) = run(simpleton(&folder).arg("config"));
        assert!(ok, "{told}");
        let prefix = "OTEL_SERVICE_NAME ";
        let shown = shown.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().trim_start();
        assert!(shown.starts_with(&format!("{value} ")), "{line}: {shown}");
        let mut script = Command::new("bash");
        script.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder.path());
        script.args(["-c", "source scripts/common.sh; setting OTEL_SERVICE_NAME"]).current_dir(&folder);
        let expected = if value == "simpleton" { "" } else { value };
        assert_eq!(run(&mut script), (true, expected.to_owned(), String::new()), "{line}");
    }
}

#[test]
fn misspelt_names_are_told_at_the_start_and_a_fault_in_the_file_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, "PORTT=9000\nHOST=192.0.2.1\nAPI_KEY=a-secret-key\nFOO=bar\n").unwrap();
    let mut command = simpleton(&folder);
    command.env("PORTT", "1").env("PORT", "8000").env("HOST", "192.0.2.1");
    command.env("ENGINE_PARALEL", "2").env("CACHE_TTL", "1h").env("REQUEST_TIMEOUT_S", "2m");
    // Nothing listens on an address that is not this machine's: the start ends by itself.
    let (ok, _, told) = run(command.arg("serve").env("OLLAMA_BASE_URL", "http://127.0.0.1:1"));
    assert!(!ok && told.contains("cannot listen on 192.0.2.1:8000"), "{told}");
    for expected in [
        "PORTT (.env, line 1) is not a setting and is ignored; did you mean PORT?",
        // Also where the right one has a value.
        "PORTT (environment) is not a setting and is ignored; did you mean PORT?",
        "API_KEY (.env, line 3) is not a setting and is ignored; did you mean API_KEYS?",
        "ENGINE_PARALEL (environment) is not a setting and is ignored; did you mean ENGINE_PARALLEL?",
        "Unknown names in .env are ignored: FOO (line 4).",
    ] {
        assert_eq!(told.matches(expected).count(), 1, "{expected} in {told}");
    }
    assert!(!told.contains("a-secret-key") && !told.contains("bar"), "{told}");

    fs::write(&file, "PORT=9000\n\nREDIS_URL=secret.example:6379/0\n").unwrap();
    let (ok, _, told) = run(simpleton(&folder).arg("serve"));
    assert!(!ok && told.contains("(from .env, line 3): must be like redis://"), "{told}");
    fs::write(&file, "PORT=9000\n\nAPI_KEYS a-secret-key\n").unwrap();
    let (ok, _, told) = run(simpleton(&folder).arg("config"));
    assert!(!ok && told.contains("line 3 is not NAME=value") && !told.contains("secret"), "{told}");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let (ok, _, told) = run(simpleton(&folder).arg("config"));
    assert!(!ok && told.contains("not a regular file"), "a pipe does not hold the start: {told}");
}

#[test]
fn a_secret_in_a_flag_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    for flags in [["--api-keys", "a-secret-key"], ["--redis-url", "redis://:a-secret-key@127.0.0.1"]] {
        let (ok, _, told) = run(simpleton(&folder).arg("serve").args(flags));
        assert!(!ok && told.contains("set it in the environment or in .env"), "{told}");
        assert!(!told.contains("a-secret-key"), "{told}");
    }
    let (ok, help, _) = run(simpleton(&folder).args(["serve", "--help"]));
    assert!(ok && !help.contains("--api-keys") && help.contains("API_KEYS"), "{help}");
}

#[test]
fn config_shows_every_value_with_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "API_KEYS=a-secret-key\nPORT=9001\n").unwrap();
    let mut command = simpleton(&folder);
    command
        .args(["config", "--log-level", "debug"])
        .env("OLLAMA_BASE_URL", "http://user:hunter2@host:11434")
        .env("HOST", "");
    let (ok, shown, _) = run(&mut command);
    assert!(ok);
    let line = |name: &str| {
        shown.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("PORT"), ["PORT", "9001", ".env"]);
    assert_eq!(line("HOST"), ["HOST", "127.0.0.1", "default"], "an empty variable is unset");
    assert_eq!(line("LOG_LEVEL"), ["LOG_LEVEL", "debug", "flag"]);
    assert_eq!(line("API_KEYS"), ["API_KEYS", "[redacted]", ".env"]);
    assert_eq!(line("OLLAMA_BASE_URL"), ["OLLAMA_BASE_URL", "http://[redacted]@host:11434", "environment"]);
    assert!(!shown.contains("a-secret-key") && !shown.contains("hunter2"));
}

#[test]
fn the_doctor_says_what_is_amiss_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = simpleton(&folder);
    command.arg("doctor").env("PORT", "0").env("PATH", "/nowhere");
    let (ok, found, _) = run(&mut command);
    assert!(!ok);
    assert!(found.contains("error  engine") && found.contains("simpleton engine install"), "{found}");
    assert!(found.contains("ok     models         simpleton-demo"), "{found}");
    command.env("LLAMA_SERVER", engine());
    let (ok, found, _) = run(&mut command);
    assert!(ok, "{found}");
}

/// Output of a server on a free port at its start, until it is killed.
fn start_of(command: &mut Command, lines: usize) -> (Child, Vec<String>) {
    let mut child = command.arg("serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(lines);
    (child, told.collect())
}

/// The start, `simpleton health`, `/health` and doctor say the same.
#[test]
fn without_an_engine_everybody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let program = || {
        let mut command = simpleton(&folder);
        command.env("PORT", &port).env("PATH", "/nowhere").env("DATA_DIR", folder.path().join("data"));
        command
    };
    let (mut server, told) = start_of(&mut program(), 4);
    let url = format!("http://127.0.0.1:{port}");
    let key = folder.path().join("data/api-key").display().to_string();
    let amiss = "The embedded engine (llama-server) is not installed: run `simpleton engine install`";
    assert_eq!(told[0], format!("Simpleton 0.1.0 is running on {url}"));
    assert!(
        told[1].starts_with("  problem  prompts cannot be answered: ") && told[1].contains(amiss),
        "{told:?}"
    );
    // No curl that would get a 503, and no key for whatever keeps this output.
    assert_eq!(
        told[2..],
        [format!("  docs     {url}/docs"), format!("  API key  created just now, saved in {key}")]
    );
    let (ok, health, error) = run(program().arg("health"));
    assert!(!ok && health.contains("\"status\":\"unhealthy\"") && error.contains(amiss), "{health}{error}");
    let (ok, found, _) = run(program().arg("doctor"));
    assert!(!ok && found.contains("is unhealthy") && found.matches(amiss).count() == 2, "{found}");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// The operator is told why; `/health` needs no key, and does not tell.
#[test]
fn an_ollama_that_is_not_there_is_told_with_its_address_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let program = || {
        let mut command = simpleton(&folder);
        command.env("PORT", "0").env("OLLAMA_BASE_URL", "http://user:secret@127.0.0.1:1");
        command.env("DATA_DIR", folder.path().join("data"));
        command
    };
    let (mut server, told) = start_of(&mut program(), 2);
    server.kill().unwrap();
    server.wait().unwrap();
    let (_, _, listed) = run(program().args(["model", "list"]));
    let (_, found, _) = run(program().arg("doctor"));
    for told in [&told[1], &listed, &found] {
        assert!(told.contains("http://127.0.0.1:1: ") && told.contains("Connection refused"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
    assert!(
        told[1].contains("Ollama cannot be reached. Start Ollama, or correct OLLAMA_BASE_URL."),
        "{told:?}"
    );
}

#[test]
fn with_an_engine_everybody_is_content() {
    let server = Running::start();
    let port = server.url.rsplit_once(':').unwrap().1;
    let program = || {
        let mut command = simpleton(&server.folder);
        command
            .env("PORT", port)
            .env("LLAMA_SERVER", engine())
            .env("DATA_DIR", server.folder.path().join("data"));
        command
    };
    let (ok, health, error) = run(program().arg("health"));
    assert!(ok && health.contains("\"status\":\"healthy\""), "{health}{error}");
    let (ok, found, error) = run(program().arg("doctor"));
    assert!(ok && found.contains("a healthy server is running on"), "{found}{error}");
}

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
