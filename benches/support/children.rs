//! The programs that are measured, started as children and ended with the benchmark.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::Result;

pub const KEY: &str = "bench-key-0123456789";

/// A running program. Dropping it ends it, with the children that it has.
pub struct Program {
    child: Child,
}

impl Program {
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn().map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output of a child that was started with a pipe.
    pub fn output(&mut self) -> Result<ChildStdout> {
        Ok(self.child.stdout.take().ok_or("no standard output")?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A program may have ended on its own; waiting shows that.
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// The program that is measured: `SIMPLETON`, or the one that was built with the benchmark.
pub fn simpleton() -> Command {
    Command::new(std::env::var_os("SIMPLETON").unwrap_or_else(|| env!("CARGO_BIN_EXE_simpleton").into()))
}

/// Installs a model file for the `Simpleton` that is started in this folder.
pub fn import(folder: &Path, name: &str, file: &Path) -> Result<()> {
    let mut command = simpleton();
    let import = command.args(["model", "import", name]).arg(file).env("DATA_DIR", folder.join("data"));
    let output = import.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said.into()) }
}

/// `simpleton serve` on a free port, with these variables and nothing else of our environment.
pub struct Simpleton {
    pub program: Program,
    pub address: SocketAddr,
    /// Standard output beyond the address, kept open so that the server can write to it.
    _output: BufReader<ChildStdout>,
}

impl Simpleton {
    pub fn start(folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let log = File::create(folder.join("simpleton.log"))?;
        let mut command = simpleton();
        command
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|p| ("PATH", p)));
        command.env("DATA_DIR", folder.join("data")).env("PORT", "0").env("API_KEYS", KEY);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(log);
        let mut program = Program::start(&mut command)?;
        let (mut output, mut line) = (BufReader::new(program.output()?), String::new());
        output.read_line(&mut line)?;
        let (_, address) = line.trim().rsplit_once("http://").ok_or_else(|| {
            let log = fs::read_to_string(folder.join("simpleton.log")).unwrap_or_default();
            format!("simpleton did not start: {line}{log}")
        })?;
        Ok(Self { address: address.parse()?, program, _output: output })
    }
}

/// An address that nobody listens on. Another program could take it before we do; that is rare and
/// ends in an error.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

pub fn wait_for(address: SocketAddr) -> Result<()> {
    let asked = Instant::now();
    while TcpStream::connect(address).is_err() {
        if asked.elapsed() > Duration::from_secs(20) {
            return Err(format!("nothing listens on {address}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}
