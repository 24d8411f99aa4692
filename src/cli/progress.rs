//! How far a long piece of work is, on standard error: one line that changes on a terminal, and a line now
//! and then where it is kept, as in a log.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use crate::files::readable_size;

/// Between two changes of a terminal's line, and between two lines of their own.
const TERMINAL_PACE: Duration = Duration::from_millis(100);
const LINE_PACE: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    what: String,
    is_terminal: bool,
    shown: Instant,
    has_line: bool,
}

impl Progress {
    /// Work that is over before the first pace shows nothing.
    pub(super) fn new(what: String) -> Self {
        Self { what, is_terminal: stderr().is_terminal(), shown: Instant::now(), has_line: false }
    }

    /// Shows how many bytes of all are done.
    pub(super) fn show(&mut self, done: u64, all: u64) {
        let pace = if self.is_terminal { TERMINAL_PACE } else { LINE_PACE };
        if self.shown.elapsed() < pace {
            return;
        }
        self.shown = Instant::now();
        let line = line(&self.what, done, all);
        // The output may be closed; the work continues.
        let _ = if self.is_terminal {
            self.has_line = true;
            write!(stderr(), "\r\x1b[2K{line}")
        } else {
            writeln!(stderr(), "{line}")
        };
    }
}

impl Drop for Progress {
    /// The line gives way to what comes next.
    fn drop(&mut self) {
        if self.has_line {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}

fn line(what: &str, done: u64, all: u64) -> String {
    let percent = (done.min(all) * 100).checked_div(all).unwrap_or(100);
    format!("{what}  {percent:>3} %  {} of {}", readable_size(done), readable_size(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(
            line("importing qwen2.5:7b", 1_990_000_000, 4_680_000_000),
            "importing qwen2.5:7b   42 %  2.0 GB of 4.7 GB"
        );
        assert_eq!(line("importing tiny", 0, 0), "importing tiny  100 %  0.0 MB of 0.0 MB");
        assert!(line("a file that grows", 12, 10).contains("100 %"));
    }
}
