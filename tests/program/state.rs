//! The program's account of its own state, wherever it is asked.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{
    harness::{Running, run, simpleton},
    llama_server::llama_server,
};

#[test]
fn the_doctor_says_what_is_amiss_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = simpleton(&folder);
    command.arg("doctor").env("PORT", "0").env("PATH", "/nowhere");
    let (ok, found, _) = run(&mut command);
    assert!(!ok);
    assert!(found.contains("error  engine") && found.contains("simpleton engine install"), "{found}");
    assert!(found.contains("ok     models         simpleton-demo"), "{found}");
    command.env("LLAMA_SERVER", llama_server());
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
            .env("LLAMA_SERVER", llama_server())
            .env("DATA_DIR", server.folder.path().join("data"));
        command
    };
    let (ok, health, error) = run(program().arg("health"));
    assert!(ok && health.contains("\"status\":\"healthy\""), "{health}{error}");
    let (ok, found, error) = run(program().arg("doctor"));
    assert!(ok && found.contains("a healthy server is running on"), "{found}{error}");
}
