//! Standard error, to which a line is written at once, by whoever writes it. Lines that come close
//! behind each other are written together a moment later, by a thread of their own: a call of the
//! system for each would be a tenth of what a known answer costs. When nobody reads the other end of
//! the pipe, where a write would stop the service, lines wait for that thread, too; when they become
//! too many they are dropped and counted. Who ends the process with SIGKILL loses the last moment.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait.
const ROOM: usize = 1024 * 1024;
/// Lines within this time of the last ones wait as long for more of them.
const MOMENT: Duration = Duration::from_millis(10);
/// Of a pipe that has any room this much is free (POSIX's PIPE_BUF on Linux).
const FREE: usize = 4096;

/// Lines that nobody will read, since the start.
pub static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Where lines go: standard error, and a pipe in tests.
pub(super) trait Sink: Write + rustix::fd::AsFd + Send + 'static {}
impl<S: Write + rustix::fd::AsFd + Send + 'static> Sink for S {}

pub(super) struct Lines<S>(Arc<Shared<S>>);

impl<S> Clone for Lines<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<S> {
    has_reader: bool,
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    /// Absent while the thread writes to it.
    sink: Option<S>,
    waiting: Vec<u8>,
    /// When something was written last.
    written: Option<Instant>,
    /// Since it was last said.
    dropped: u64,
    has_thread: bool,
    /// Whether the thread has to be told of lines that wait.
    is_idle: bool,
}

impl<S: Sink> Lines<S> {
    pub(super) fn new(sink: S) -> Self {
        let has_reader = has_reader(&sink);
        let state = State {
            sink: Some(sink),
            waiting: Vec::new(),
            written: None,
            dropped: 0,
            has_thread: false,
            is_idle: false,
        };
        Self(Arc::new(Shared { has_reader, state: Mutex::new(state), changed: Condvar::new() }))
    }

    fn line(&self, line: &[u8]) {
        let mut state = self.0.state();
        let mut line = line;
        let now = Instant::now();
        if line.len() <= FREE
            && state.waiting.is_empty()
            && state.written.is_none_or(|last| now.duration_since(last) >= MOMENT)
            && let Some(sink) = &mut state.sink
            && (!self.0.has_reader || has_room(sink))
        {
            let written = sink.write(line);
            state.written = Some(now);
            match written {
                Ok(written) if written < line.len() => line = &line[written..],
                // Standard error that is closed is no reason to stop serving.
                Ok(_) | Err(_) => return,
            }
        }
        if state.waiting.len() + line.len() > ROOM {
            state.dropped += 1;
            DROPPED.fetch_add(1, Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        if !state.has_thread {
            state.has_thread = self.start_thread();
        }
        if std::mem::take(&mut state.is_idle) {
            self.0.changed.notify_all();
        }
    }

    fn start_thread(&self) -> bool {
        let shared = Arc::clone(&self.0);
        let name = "log lines that wait".to_owned();
        std::thread::Builder::new().name(name).spawn(move || shared.write_waiting()).is_ok()
    }

    /// Waits, for so long at most, until nothing waits.
    pub(super) fn finish(&self, patience: Duration) {
        let state = self.0.state();
        let unwritten = |state: &mut State<S>| state.sink.is_none() || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(state, patience, unwritten));
    }
}

impl<S: Sink> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the sink while it writes: who has a line meanwhile adds it to those that wait, so that
    /// lines stay in their order.
    fn write_waiting(&self) {
        let mut state = self.state();
        loop {
            state = self
                .changed
                .wait_while(state, |state| {
                    state.is_idle = state.waiting.is_empty();
                    state.is_idle
                })
                .unwrap_or_else(PoisonError::into_inner);
            drop(state);
            linger();
            state = self.state();
            let Some(mut sink) = state.sink.take() else { return };
            let lines = std::mem::take(&mut state.waiting);
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            // As above.
            let _ = sink.write_all(&lines);
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped, because nobody read standard error");
            }
            state = self.state();
            state.sink = Some(sink);
            state.written = Some(Instant::now());
            self.changed.notify_all();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "on a thread of its own, and not one of the runtime's")]
fn linger() {
    std::thread::sleep(MOMENT);
}

/// Whether somebody has to read at the other end, as with a pipe, a socket and a terminal.
fn has_reader(sink: &impl rustix::fd::AsFd) -> bool {
    rustix::fs::fstat(sink).is_ok_and(|stat| !FileType::from_raw_mode(stat.st_mode).is_file())
}

/// Whether a short write would return at once.
fn has_room(sink: &impl rustix::fd::AsFd) -> bool {
    let mut looked = [PollFd::new(sink, PollFlags::OUT)];
    // Where it cannot be asked, it is a file or closed.
    poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |ready| ready > 0)
}

impl<S: Sink> MakeWriter<'_> for Lines<S> {
    type Writer = Line<S>;

    fn make_writer(&self) -> Line<S> {
        Line(self.clone())
    }
}

/// Takes one whole line. Never fails: tracing would complain on standard error.
pub(super) struct Line<S>(Lines<S>);

impl<S: Sink> Write for Line<S> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_line_alone_is_there_at_once() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let lines = Lines::new(writer);
        for number in 0..3 {
            linger();
            lines.line(format!("line {number}\n").as_bytes());
            let mut got = [0; 7];
            reader.read_exact(&mut got).expect("it is in the pipe already");
            assert_eq!(got, *format!("line {number}\n").as_bytes());
        }
        assert!(!lines.0.state().has_thread);
    }

    #[test]
    fn lines_that_come_together_are_written_in_their_order() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let lines = Lines::new(writer);
        let expected: String = (0..1000).map(|number| format!("line {number:03}\n")).collect();
        for line in expected.split_inclusive('\n') {
            lines.line(line.as_bytes());
        }
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).expect("all of them");
        assert!(got == expected.as_bytes());
    }

    #[test]
    fn a_reader_that_stops_stops_nobody_and_gets_everything_later() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let lines = Lines::new(writer);
        // Four times what a pipe holds.
        let line = |number: u32| format!("{number:07} {}\n", "x".repeat(991));
        for number in 0..256 {
            lines.line(line(number).as_bytes());
        }
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            text
        });
        lines.finish(Duration::from_secs(20));
        // The thread keeps the pipe open; the sink is taken away from it to end the reading.
        drop(lines.0.state().sink.take());
        let text = read.join().expect("no panic");
        let expected: String = (0..256).map(line).collect();
        assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let lines = Lines::new(writer);
        let line = vec![b'x'; 4000];
        for _ in 0..1000 {
            lines.line(&line);
        }
        let state = lines.0.state();
        let (waiting, dropped) = (state.waiting.len(), state.dropped);
        drop(state);
        // 4 MB, of which the pipe and the thread's hands have some.
        assert!(waiting <= ROOM && dropped > 100, "{waiting} bytes wait, {dropped} lines dropped");
        drop(reader);
        lines.finish(Duration::from_secs(20));
        assert!(lines.0.state().waiting.is_empty(), "with nobody to read, nothing waits");
    }

    #[test]
    fn a_line_longer_than_the_pipe_goes_to_the_thread() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let lines = Lines::new(writer);
        lines.line(&vec![b'a'; 100_000]);
        lines.line(b"after\n");
        let mut got = vec![0; 100_006];
        reader.read_exact(&mut got).expect("both");
        assert!(got.ends_with(b"aafter\n"));
    }
}
