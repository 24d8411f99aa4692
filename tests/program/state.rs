//! The program's account of its own state, wherever it is asked.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

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

/// `simpleton doctor` with one more setting: whether it is content, and its lines.
fn doctor(folder: &TempDir, name: &str, value: &str) -> (bool, String) {
    let mut command = simpleton(folder);
    command.arg("doctor").env("PORT", "0").env("DATA_DIR", folder.path().join("data"));
    let (ok, found, _) = run(command.env("LLAMA_SERVER", llama_server()).env(name, value));
    (ok, found)
}

#[test]
fn the_doctor_tries_redis_and_shows_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, found) = doctor(&folder, "REDIS_URL", "redis://me:hunter2@127.0.0.1:1/0");
    let line = "error  Redis          Redis cannot be reached (redis://[redacted]@127.0.0.1:1/0); start it, or correct REDIS_URL: ";
    assert!(!ok && found.contains(line) && found.matches("Connection refused").count() == 1, "{found}");
    assert!(!found.contains("hunter2"), "{found}");
    // It accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let (ok, found) = doctor(&folder, "REDIS_URL", &url);
    assert!(!ok && found.contains(&format!("Redis did not respond in time ({url}); ")), "{found}");
    let mut command = simpleton(&folder);
    command.arg("doctor").env("PORT", "0").env("LLAMA_SERVER", llama_server());
    let (ok, found, _) = run(command.env("REDIS_URL", &url).env("CACHE_ENABLED", "false"));
    assert!(ok && !found.contains("Redis"), "{found}");
}

#[test]
fn the_doctor_looks_at_the_file_of_the_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let in_file = folder.path().join("file/history.db");
    std::fs::write(folder.path().join("file"), "").unwrap();
    for path in [in_file.as_path(), folder.path()] {
        let path = path.to_str().unwrap();
        let (ok, found) = doctor(&folder, "METRICS_FILE", path);
        let line = format!("error  statistics     {path} cannot be written; ");
        assert!(!ok && found.contains(&line), "{found}");
    }
    let (ok, found) = doctor(&folder, "METRICS_FILE", "new/history.db");
    assert!(ok && found.contains("ok     statistics     no statistics yet"), "{found}");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn the_doctor_looks_at_the_file_of_the_documents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data/state/documents.db");
    let (ok, found) = doctor(&folder, "PORT", "0");
    assert!(ok && found.contains("ok     documents      no documents yet"), "{found}");
    assert!(!file.exists());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "This is not a database.".repeat(100)).unwrap();
    let (ok, found) = doctor(&folder, "PORT", "0");
    let line = "error  documents      documents.db is damaged, or is not a file of Simpleton's: documents cannot be stored or searched. Stop the server and restore documents.db from a backup, or move it, ";
    assert!(!ok && found.contains(line), "{found}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("This is not a database."));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (ok, found) = doctor(&folder, "PORT", "0");
    assert!(!ok && found.contains("documents.db cannot be written; correct its permissions"), "{found}");
    // With Qdrant it is not used.
    let (_, found) = doctor(&folder, "QDRANT_URL", "http://127.0.0.1:1");
    assert!(found.contains("error  Qdrant") && !found.contains("documents.db"), "{found}");
}

/// The directory may be on a disk that is not mounted, which a new directory would hide.
#[test]
fn a_models_directory_that_is_missing_is_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let problem = format!(
        "The models directory {missing} does not exist; correct MODELS_DIR, or mount or create the directory."
    );
    let (ok, found) = doctor(&folder, "MODELS_DIR", &missing);
    assert!(!ok && found.contains(&format!("error  MODELS_DIR     {problem}")), "{found}");
    assert!(found.contains("ok     models         simpleton-demo"), "{found}");
    // Nothing listens on an address that is not this machine's: the start ends by itself.
    let mut command = simpleton(&folder);
    command.arg("serve").env("HOST", "192.0.2.1").env("MODELS_DIR", &missing);
    let (_, _, log) = run(command.env("LLAMA_SERVER", llama_server()));
    assert!(log.contains("WARN") && log.contains(&problem), "{log}");
    assert!(!folder.path().join("missing").exists());
    let (ok, found) = doctor(&folder, "MODELS_DIR", folder.path().to_str().unwrap());
    assert!(ok && found.contains("ok     MODELS_DIR     "), "{found}");
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
    let (mut server, told) = start_of(&mut program(), 5);
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
        [
            format!("  open     {url}/dashboard"),
            format!("  docs     {url}/docs"),
            format!("  API key  created just now, saved in {key}"),
        ]
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
fn a_password_and_a_key_for_ollama_are_refused_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = simpleton(&folder);
    doctor.arg("doctor").env("OLLAMA_BASE_URL", "http://user:secret@127.0.0.1:1");
    let (ok, found, _) = run(doctor.env("OLLAMA_API_KEY", "another-secret"));
    assert!(!ok && found.contains("a request can have only one of them"), "{found}");
    assert!(!found.contains("secret@") && !found.contains("another"), "{found}");
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
