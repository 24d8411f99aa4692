//! Writer of log lines. Lines are put into a buffer, and a thread of its own writes what is in there
//! to standard error: a pipe that is not read stops that thread and nothing else. Lines that do not
//! fit into the buffer are dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait to be written.
const BUFFER_LIMIT: usize = 1024 * 1024;
/// Pause between two writes, so that lines that come close behind each other are written together.
const BATCH_WINDOW: Duration = Duration::from_millis(10);

/// Lines dropped since the start.
pub(super) static DROPPED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since the last warning about it.
    dropped: u64,
    /// Whether the thread writes or pauses; it looks for lines by itself then.
    is_busy: bool,
}

impl Lines {
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn new(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let lines = Self(Arc::clone(&shared));
        thread::Builder::new().name("log lines".to_owned()).spawn(move || shared.write_lines(sink))?;
        Ok(lines)
    }

    fn line(&self, line: &[u8]) {
        let mut state = self.0.state();
        if state.waiting.len() + line.len() > BUFFER_LIMIT {
            state.dropped += 1;
            DROPPED.fetch_add(1, Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        if !state.is_busy {
            self.0.changed.notify_all();
        }
    }

    /// Waits until all lines are written, for `timeout` at most.
    pub(super) fn finish(&self, timeout: Duration) {
        let unwritten = |state: &mut State| state.is_busy || !state.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.state(), timeout, unwritten));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lines(&self, mut sink: impl Write) {
        loop {
            let (lines, dropped) = self.next_lines();
            // A standard error that is closed is no reason to stop serving.
            let _ = sink.write_all(&lines);
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped, because standard error was not read");
            }
            pause();
        }
    }

    /// Waits for lines, and takes them with the number of those that were dropped.
    fn next_lines(&self) -> (Vec<u8>, u64) {
        let mut state = self.state();
        state.is_busy = !state.waiting.is_empty();
        if !state.is_busy {
            self.changed.notify_all();
        }
        let waited = self.changed.wait_while(state, |state| state.waiting.is_empty());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_busy = true;
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.dropped))
    }
}

#[expect(clippy::disallowed_methods, reason = "on a thread of its own, and not one of the runtime's")]
fn pause() {
    thread::sleep(BATCH_WINDOW);
}

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self.clone())
    }
}

/// Takes one whole line. Never fails: tracing would complain on standard error.
pub(super) struct Line(Lines);

impl Write for Line {
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

    fn pipe() -> (io::PipeReader, Lines) {
        let (reader, writer) = io::pipe().expect("a pipe");
        (reader, Lines::new(writer).expect("a thread"))
    }

    #[test]
    fn a_line_alone_is_not_kept_back() {
        let (mut reader, lines) = pipe();
        for number in 0..3 {
            lines.line(format!("line {number}\n").as_bytes());
            let mut got = [0; 7];
            reader.read_exact(&mut got).expect("it comes without another");
            assert_eq!(got, *format!("line {number}\n").as_bytes());
        }
    }

    #[test]
    fn lines_that_come_together_are_written_in_their_order() {
        let (mut reader, lines) = pipe();
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
        let (mut reader, lines) = pipe();
        // Four times what a pipe holds.
        let line = |number: u32| format!("{number:07} {}\n", "x".repeat(991));
        for number in 0..256 {
            lines.line(line(number).as_bytes());
        }
        let expected: String = (0..256).map(line).collect();
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).expect("all of them");
        assert!(got == expected.as_bytes());
        lines.finish(Duration::from_secs(20));
        assert!(!lines.0.state().is_busy, "nothing is left to write");
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (reader, lines) = pipe();
        let line = vec![b'x'; 4000];
        for _ in 0..1000 {
            lines.line(&line);
        }
        let state = lines.0.state();
        let (waiting, dropped) = (state.waiting.len(), state.dropped);
        drop(state);
        // 4 MB, of which the pipe and the thread's hands have some.
        assert!(waiting <= BUFFER_LIMIT && dropped > 100, "{waiting} bytes wait, {dropped} lines dropped");
        drop(reader);
        lines.finish(Duration::from_secs(20));
        assert!(lines.0.state().waiting.is_empty(), "with nobody to read, nothing waits");
    }
}
