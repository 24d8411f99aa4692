//! `simpleton run`, in a terminal and elsewhere.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    harness::{Running, run, simpleton},
    llama_server::llama_server,
    terminal::Terminal,
};

/// The program with the engine.
fn program(folder: &TempDir) -> Command {
    let mut command = simpleton(folder);
    command.env("LLAMA_SERVER", llama_server()).env("DATA_DIR", folder.path().join("data"));
    command
}

fn sample(name: &str) -> String {
    std::path::absolute(format!("models/demo/samples/{name}.png")).unwrap().display().to_string()
}

#[test]
fn a_prompt_is_answered_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |command: &mut Command| {
        run(command.args(["run", "simpleton-demo", "What is the capital", "of France?"]))
    };
    let (ok, said, told) = ask(&mut program(&folder));
    assert!(ok && said.contains("Paris") && said.ends_with('\n') && told.is_empty(), "{said}{told}");
    let server = Running::start();
    let (ok, said, told) = ask(&mut program(&server.folder));
    assert!(ok && said.contains("Paris") && told.is_empty(), "{said}{told}");
    assert!(!server.children().is_empty(), "the server's engine has answered");
}

#[test]
fn standard_input_and_images_are_part_of_the_prompt() {
    let server = Running::start();
    let ask = |arguments: &[&str], input: &str| {
        let mut command = program(&server.folder);
        command
            .arg("run")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, told) = ask(&["simpleton-demo"], "What is the capital of Italy?\n");
    assert!(code == Some(0) && said.contains("Rome"), "{said}{told}");
    let image = sample("red_circle");
    let (code, said, told) = ask(&["simpleton-demo", "What objects are in this image?", &image], "");
    assert!(code == Some(0) && said.to_lowercase().contains("circle"), "{said}{told}");
    let (code, _, told) = ask(&["simpleton-demo"], " \n");
    assert!(code == Some(1) && told.starts_with("The prompt is empty"), "{told}");
    let (code, said, told) = ask(&["simpleton-dem", "Hi"], "");
    assert!(code == Some(1) && said.is_empty() && told.contains("did you mean simpleton-demo"), "{told}");
}

const PROMPT: &str = ">>> ";

#[tokio::test]
async fn a_conversation_has_commands_a_history_and_several_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&folder);
    command.args(["run", "simpleton-demo"]);
    let mut terminal = Terminal::open(command);
    terminal.wait_for(PROMPT).await;
    terminal.press("What is the capital of France?\r");
    terminal.wait_for("Paris").await;
    terminal.wait_for(PROMPT).await;
    terminal.press("/clear\r");
    terminal.wait_for("is forgotten").await;
    terminal.wait_for(PROMPT).await;
    // Arrow keys: two entries back, and the last word replaced.
    terminal.press("\u{1b}[A\u{1b}[A\u{17}Italy?\r");
    terminal.wait_for("Rome").await;
    terminal.wait_for(PROMPT).await;
    terminal.press("/nonsense\r");
    terminal.wait_for("There is no command /nonsense").await;
    terminal.wait_for(PROMPT).await;
    terminal.press("\u{3}");
    terminal.wait_for("Use Ctrl-D or /bye").await;
    terminal.wait_for(PROMPT).await;
    terminal.press("\"\"\"What is the capital\r");
    terminal.wait_for("... ").await;
    terminal.press("of Spain?\"\"\"\r");
    terminal.wait_for("Madrid").await;
    terminal.wait_for(PROMPT).await;
    terminal.press("/bye\r");
    assert_eq!(terminal.ends().await, Some(0));
    let history = folder.path().join("data/prompts.history");
    assert!(fs::read_to_string(&history).unwrap().contains("capital of Italy?"));
    assert_eq!(fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_chat_goes_on_when_the_server_that_it_uses_ends() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut command = program(&folder);
        command.args(["run", "simpleton-demo"]);
        Terminal::open(command)
    };
    // The second chat uses the server of the first one.
    let mut first = open();
    first.wait_for(PROMPT).await;
    let mut second = open();
    second.wait_for(PROMPT).await;
    second.press("What is the capital of France?\r");
    second.wait_for("Paris").await;
    second.wait_for(PROMPT).await;
    first.press("/bye\r");
    assert_eq!(first.ends().await, Some(0));
    second.press("What is the capital of Italy?\r");
    second.wait_for("Rome").await;
    second.wait_for(PROMPT).await;
    second.press("/bye\r");
    assert_eq!(second.ends().await, Some(0));
}

/// An Ollama server whose answers begin with an escape sequence and do not end.
fn endless_ollama() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(|| {
                let mut stream = stream.unwrap();
                let request = BufReader::new(stream.try_clone().unwrap()).lines().next().unwrap().unwrap();
                let body = match request.split(' ').nth(1).unwrap() {
                    "/api/tags" => r#"{"models": [{"name": "endless", "size": 1}]}"#,
                    "/api/chat" => {
                        let line = r#"{"message": {"role": "assistant", "content": "red \u001b[31mfox"}, "done": false}"#;
                        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                        stream.write_all(format!("{head}{line}\n").as_bytes()).unwrap();
                        // Until the client leaves.
                        while let Ok(1..) = stream.read(&mut [0; 1024]) {}
                        return;
                    }
                    _ => r#"{"capabilities": ["completion"]}"#,
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            });
        }
    });
    url
}

#[tokio::test]
async fn ctrl_c_ends_the_answer_and_ctrl_d_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&folder);
    command.args(["run", "endless"]).env("OLLAMA_BASE_URL", endless_ollama());
    let mut terminal = Terminal::open(command);
    for _ in 0..2 {
        terminal.wait_for(PROMPT).await;
        terminal.press("Write about a fox.\r");
        terminal.wait_for("red \\u{1b}[31mfox").await;
        terminal.press("\u{3}");
    }
    terminal.wait_for(PROMPT).await;
    terminal.press("\u{4}");
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_a_single_answer_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(&folder);
    command.args(["run", "endless", "Write about a fox."]).env("OLLAMA_BASE_URL", endless_ollama());
    let mut terminal = Terminal::open(command);
    terminal.wait_for("fox").await;
    terminal.press("\u{3}");
    assert_eq!(terminal.ends().await, Some(130));
}
