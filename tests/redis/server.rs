//! A redis-server of a test's own, on a free port of 127.0.0.1, and what tests ask of it.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use simpleton::cache::{CacheKey, EntryType, Redis, Store};
use tempfile::TempDir;

pub const HOUR: Duration = Duration::from_secs(3600);
/// Time in which the store promises to recover, and as much again for a busy machine.
pub const SOON: Duration = Duration::from_secs(4);

pub struct Server {
    child: Child,
    folder: TempDir,
    args: Vec<String>,
    pub port: u16,
}

impl Server {
    pub async fn start(args: &[&str]) -> Self {
        Self::start_at(free_port(), args).await
    }

    pub async fn start_at(port: u16, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let server = Self { child: spawn(port, &folder, &args), folder, args, port };
        server.answers().await;
        server
    }

    /// Starts it again, empty, where it was.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.folder, &self.args);
        self.answers().await;
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL; also ends one that is stalled.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as an operator stops it.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    pub async fn stall(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        until("the server is stopped", || fs::read_to_string(&stat).unwrap().contains(") T ")).await;
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Runs a command as somebody else, with redis-cli's output.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli, which comes with redis-server");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// How many keys it holds besides the traces of clears.
    pub fn keys(&self) -> usize {
        let traces = self.cli(&["keys", "simpleton:cleared:*"]).split_whitespace().count();
        self.cli(&["dbsize"]).parse::<usize>().unwrap() - traces
    }

    /// Runs several commands, one per line, over one connection.
    pub fn cli_lines(&self, lines: &str) -> String {
        let mut cli = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cli.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = cli.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn answers(&self) {
        let answers = || {
            let pong = self.cli(&["ping"]);
            pong == "PONG" || pong.starts_with("NOAUTH")
        };
        until("redis-server answers", answers).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; what counts is that it is gone and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need redis-server on PATH: apt-get install redis-server")
}

/// Below 55536, since a cluster's servers also take the port 10000 higher.
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_536 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// A store that is connected.
pub async fn open(url: &str) -> Redis {
    let store = Redis::open(url, 64 << 20).unwrap();
    available(&store).await;
    store
}

pub async fn available(store: &Redis) {
    let available = async || store.stats().await.status == "available";
    crate::eventually::eventually(SOON, "Redis is available", available).await;
}

pub async fn until(what: &str, is: impl FnMut() -> bool) {
    within(SOON, what, is).await;
}

pub async fn within(limit: Duration, what: &str, mut is: impl FnMut() -> bool) {
    crate::eventually::eventually(limit, what, async || is()).await;
}

/// Waits until a store finds a key, memory included.
pub async fn finds(store: &Redis, key: CacheKey, value: &str) {
    let found = async || get(store, key).await.as_deref() == Some(value);
    crate::eventually::eventually(SOON, &format!("{value} is found"), found).await;
}

pub fn key(entry_type: EntryType, number: u64) -> CacheKey {
    let mut hash = [0x5a; 32];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    CacheKey { entry_type, hash }
}

/// The name of a key inside Redis, spelt out here once more: other versions of the program rely on it.
pub fn name(key: &CacheKey) -> String {
    let hash: String = key.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("simpleton:{}:{hash}", key.entry_type.as_str())
}

pub fn put(store: &Redis, key: CacheKey, value: &str) {
    store.put(key, value.to_owned().into(), HOUR);
}

pub async fn get(store: &Redis, key: CacheKey) -> Option<String> {
    text(store.get(&[key]).await.pop().unwrap())
}

pub fn get_now(store: &Redis, key: CacheKey) -> Option<String> {
    text(store.get_now(&key))
}

fn text(entry: Option<simpleton::cache::CacheEntry>) -> Option<String> {
    entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

/// Waits until everything a store has put is in Redis.
pub async fn written(store: &Redis, server: &Server, key: CacheKey) {
    until("the entry is in Redis", || server.cli(&["exists", &name(&key)]) == "1").await;
    assert!(store.get_now(&key).is_some(), "written, so it is in memory");
}
