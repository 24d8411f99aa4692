//! Settings: where they come from, what is refused, and what is never shown.

use std::{fs, process::Command};

use crate::harness::{run, simpleton};

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

/// The scripts as `simpleton engine install` runs them, with compilers that do nothing.
#[test]
fn the_engine_is_built_for_the_gpu_whose_tools_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (scripts, tools) = (folder.path().join("scripts"), folder.path().join("tools"));
    fs::create_dir_all(scripts.join("requirements")).unwrap();
    fs::create_dir(&tools).unwrap();
    for name in ["common.sh", "engine.sh", "requirements/engine-source.txt"] {
        fs::copy(format!("scripts/{name}"), scripts.join(name)).unwrap();
    }
    let built_for = |wanted: &str| {
        let mut script = Command::new("bash");
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        script.env_clear().env("PATH", path).env("HOME", folder.path()).env("ENGINE_GPU", wanted);
        run(script.arg(scripts.join("engine.sh")).arg("--gpu"))
    };
    let name = |name: &str| (true, format!("{name}\n"), String::new());
    assert_eq!(built_for("off"), name("CPU"));
    for tool in ["hipcc", "nvcc"] {
        std::os::unix::fs::symlink("/bin/true", tools.join(tool)).unwrap();
    }
    assert_eq!(built_for("auto"), name("CUDA"));
    assert_eq!(built_for("ROCm"), name("ROCm"));
    assert_eq!(built_for("OFF"), name("CPU"));
    fs::write(folder.path().join(".env"), "ENGINE_GPU=rocm\n").unwrap();
    assert_eq!(built_for(""), name("ROCm"));
    let (ok, _, told) = built_for("opencl");
    assert!(!ok && told.contains("auto, off, cuda, rocm, vulkan or metal"), "{told}");
}
