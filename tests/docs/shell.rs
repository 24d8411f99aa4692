//! A server as somebody starts it in a terminal, in a home of its own, and a shell beside it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

use crate::{llama_server::llama_server, real_models::real_model};

const MARK: &str = "the-command-has-ended";

pub(crate) struct Terminal {
    server: Child,
    /// Output at the start.
    pub(crate) printed: String,
    shell: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    port: u16,
    pub(crate) home: TempDir,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        install(home.path());
        let mut server = within(home.path(), port, "script");
        // With a terminal of its own, where a key may be shown; without the log.
        server.args(["-qefc", "simpleton serve 2> \"$HOME/log\"", "/dev/null"]).stdout(Stdio::piped());
        let mut server = server.spawn().expect("script is needed, of util-linux");
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        while !printed.contains("-d '") {
            let line = lines.next().expect("the start is printed whole").unwrap();
            printed.push_str(line.trim_end());
            printed.push('\n');
        }
        let mut shell = within(home.path(), port, "bash");
        shell.args(["--noprofile", "--norc"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        // A pattern that matches nothing is an error, as in zsh.
        writeln!(input, "exec 2> \"$HOME/errors\"; shopt -s failglob").unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap()).lines();
        Self { server, printed, shell, input, output, port, home }
    }

    /// Returns the output of a command, with the port and the home that the pages have.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let here = command.replace("localhost:8000", &format!("localhost:{}", self.port));
        writeln!(self.input, "{here}\nprintf '\\n%s %d\\n' {MARK} $?").unwrap();
        let mut printed = String::new();
        let status = loop {
            let line = self.output.next().expect("the shell runs").unwrap();
            match line.strip_prefix(MARK) {
                Some(status) => break status.trim().to_owned(),
                None => printed = printed + &line + "\n",
            }
        };
        let errors = fs::read_to_string(self.home.path().join("errors")).unwrap();
        assert_eq!(status, "0", "{command}\n{printed}\n{errors}");
        self.as_printed(&printed)
    }

    pub(crate) fn as_printed(&self, text: &str) -> String {
        let text = text.replace(&format!("127.0.0.1:{}", self.port), "127.0.0.1:8000");
        text.replace(self.home.path().to_str().unwrap(), "~")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let pid =
            fs::read_to_string(self.home.path().join(".local/share/simpleton/lock")).unwrap_or_default();
        if let Some(pid) =
            pid.lines().next().unwrap_or_default().parse().ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        } else {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// The engine, the embedding model, and a folder that looks like a clone without settings.
fn install(home: &Path) {
    let data = home.join(".local/share/simpleton");
    fs::create_dir_all(data.join("engine")).unwrap();
    symlink(llama_server(), data.join("engine/llama-server")).unwrap();
    fs::create_dir(home.join("clone")).unwrap();
    for entry in fs::read_dir(".").unwrap() {
        let name = entry.unwrap().file_name();
        if ![".env", ".git", "target"].iter().any(|left_out| name == *left_out) {
            symlink(Path::new(".").canonicalize().unwrap().join(&name), home.join("clone").join(&name))
                .unwrap();
        }
    }
    for name in ["all-minilm", "qwen2.5-coder:0.5b"] {
        let mut import = within(home, 0, "simpleton");
        let imported = import.args(["model", "import", name]).arg(real_model(name)).output().unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    }
}

fn within(home: &Path, port: u16, program: &str) -> Command {
    let folder = Path::new(env!("CARGO_BIN_EXE_simpleton")).parent().unwrap();
    let path = env::var("PATH").unwrap();
    let mut command = Command::new(program);
    command.env_clear().current_dir(home.join("clone")).stdin(Stdio::null()).stderr(Stdio::null());
    command.env("PATH", format!("{}:{path}", folder.display())).env("HOME", home).env("SHELL", "/bin/bash");
    command.env("PORT", port.to_string());
    command
}
