//! Thread that starts the children. Linux sends a child its parent-death signal when the *thread* that forked
//! it exits. Tokio's threads come and go; this one lives as long as the engine, so that no child outlives the
//! engine, even after `kill -9` of the server.

use std::{io, sync::mpsc, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

use crate::error::{Error, Kind, Result};

struct SpawnRequest {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

pub(super) struct Spawner(mpsc::Sender<SpawnRequest>);

impl Spawner {
    pub(super) fn new() -> Result<Self> {
        let (requests, inbox) = mpsc::channel::<SpawnRequest>();
        thread::Builder::new()
            .name("engine-spawner".to_owned())
            .spawn(move || {
                for request in inbox {
                    let _in_runtime = request.runtime.enter();
                    let child = spawn(request.command);
                    // When no caller waits any more, the child is dropped here and thereby killed.
                    let _ = request.reply.send(child);
                }
            })
            .map_err(|source| {
                Error::new(Kind::Setup, "The engine cannot start a thread.").with_source(source)
            })?;
        Ok(Self(requests))
    }

    /// Starts the child; it is killed when its handle is dropped.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, child) = oneshot::channel();
        let request = SpawnRequest { command, runtime: Handle::current(), reply };
        self.0.send(request).map_err(|_| io::ErrorKind::BrokenPipe)?;
        child.await.map_err(|_| io::ErrorKind::BrokenPipe)?
    }
}

fn spawn(mut command: Command) -> io::Result<Child> {
    // Ctrl-C in a terminal is for the server, which lets replies finish.
    command.kill_on_drop(true).process_group(0);
    #[cfg(target_os = "linux")]
    die_with_parent(&mut command);
    command.spawn()
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was asked for.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    #[expect(unsafe_code, reason = "runs between fork and exec, where only two system calls are made")]
    // SAFETY: the closure allocates nothing, takes no lock and only calls prctl and getppid.
    unsafe {
        command.pre_exec(before_exec);
    }
}
