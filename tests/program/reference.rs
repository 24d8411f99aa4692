//! Shell completions and man pages.

use std::{fs, path::Path, process::Command};

use crate::harness::{run, simpleton};

fn script(shell: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    // A damaged configuration is no reason to lack completions.
    fs::write(folder.path().join(".env"), "PORT=none\n").unwrap();
    let (ok, script, told) = run(simpleton(&folder).args(["completions", shell]));
    assert!(ok && told.is_empty(), "{told}");
    script
}

/// Replies that bash offers at the end of a command line.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("simpleton.bash");
    fs::write(&path, script("bash")).unwrap();
    let complete = r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _simpleton "$1" "${@: -1}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", complete]).arg(&path).args(words);
    let (ok, replies, told) = run(&mut bash);
    assert!(ok, "{told}");
    replies.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_settings() {
    assert_eq!(offered(&["simpleton", "mod"]), ["model"]);
    assert_eq!(offered(&["simpleton", "model", "pu"]), ["pull"]);
    assert_eq!(offered(&["simpleton", "serve", "--engine-par"]), ["--engine-parallel"]);
    assert!(!offered(&["simpleton", "serve", "--"]).contains(&"--api-keys".to_owned()));
}

#[test]
fn each_shell_accepts_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let path = folder.path().join(shell);
        let script = script(shell);
        assert!(script.contains("engine-parallel"), "{shell}");
        fs::write(&path, script).unwrap();
        if let Ok(output) = Command::new(shell).arg("-n").arg(&path).output() {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn there_is_a_man_page_for_each_command_which_groff_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("pages");
    let (ok, _, told) = run(simpleton(&folder).arg("man").arg(&pages));
    assert!(ok, "{told}");
    let read = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(read("simpleton.1").contains("simpleton\\-serve(1)"));
    let serve = read("simpleton-serve.1");
    assert!(serve.contains("ENGINE_PARALLEL") && serve.contains("~/.local/share/simpleton"), "{serve}");
    assert!(!serve.contains(folder.path().to_str().unwrap()));
    for page in fs::read_dir(&pages).unwrap().map(|page| page.unwrap().path()) {
        renders(&page);
    }
    fs::write(folder.path().join("file"), "").unwrap();
    let (ok, _, told) = run(simpleton(&folder).args(["man", "file"]));
    assert!(!ok && told.contains("cannot be written to file"), "{told}");
}

/// Checked where groff is installed.
fn renders(page: &Path) {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-z"]).arg(page);
    if let Ok(output) = groff.output() {
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", page.display());
    }
}
