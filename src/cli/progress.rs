//! Progress of long work on standard error: a line that changes on a terminal, and elsewhere, as in a log, a line now
//! and then.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use rustix::termios::tcgetwinsize;

use super::terminal::printable;
use crate::files::readable_size;

/// Time between two changes of a terminal's line, and between two lines elsewhere.
const TERMINAL_PACE: Duration = Duration::from_millis(100);
const LINE_PACE: Duration = Duration::from_secs(10);

/// Time over which the rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Columns of the bar, as far as there is room.
const MIN_BAR: usize = 5;
const MAX_BAR: usize = 20;

/// Columns of a terminal that does not say how wide it is.
const DEFAULT_WIDTH: u16 = 80;

pub(super) struct Progress {
    what: String,
    is_terminal: bool,
    shown: Option<Instant>,
    has_line: bool,
    rate: Rate,
    /// Bytes done, and all.
    state: Option<(u64, u64)>,
    /// Bytes that were there before.
    resumed: u64,
}

impl Progress {
    /// Progress that is first shown after `LINE_PACE` where there is no terminal.
    pub(super) fn new(what: String) -> Self {
        let is_terminal = stderr().is_terminal();
        let shown = (!is_terminal).then(Instant::now);
        Self { what, is_terminal, shown, has_line: false, rate: Rate::default(), state: None, resumed: 0 }
    }

    pub(super) fn is_on_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Sets how many bytes an interrupted download had left.
    pub(super) fn resumed(&mut self, bytes: u64) {
        if bytes > 0 && self.resumed == 0 && !self.is_terminal {
            let _ = writeln!(stderr(), "{} continues at {}", self.what, readable_size(bytes));
        }
        self.resumed = bytes;
    }

    /// Shows how many bytes of all are done.
    pub(super) fn show(&mut self, done: u64, all: u64) {
        self.state = Some((done, all));
        self.rate.note(Instant::now(), done);
        let pace = if self.is_terminal { TERMINAL_PACE } else { LINE_PACE };
        if self.shown.is_some_and(|shown| shown.elapsed() < pace) && done < all {
            return;
        }
        self.shown = Some(Instant::now());
        if self.is_terminal || done < all {
            let width = if self.is_terminal { width() } else { 0 };
            self.write(&line(&self.what, (done, all), self.rate.per_second(), self.resumed, width));
        }
    }

    /// Shows the same state again, as the rate changes.
    pub(super) fn tick(&mut self) {
        if let Some((done, all)) = self.state {
            self.show(done, all);
        }
    }

    /// Leaves the line of finished work on a terminal.
    pub(super) fn keep(mut self) {
        if std::mem::take(&mut self.has_line) {
            let _ = writeln!(stderr());
        }
    }

    fn write(&mut self, line: &str) {
        let line = printable(line);
        // The output may be closed; the work continues.
        let _ = if self.is_terminal {
            self.has_line = true;
            // A line that wraps could not be replaced.
            let line: String = line.chars().take(width()).collect();
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

/// Bytes done at several moments.
#[derive(Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn note(&mut self, at: Instant, done: u64) {
        while self.0.len() > 1 && self.0.front().is_some_and(|(first, _)| at - *first > RATE_WINDOW) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|(last, _)| at - *last >= TERMINAL_PACE) {
            self.0.push_back((at, done));
        }
    }

    /// Bytes per second; `None` before it is known.
    fn per_second(&self) -> Option<f64> {
        let ((first, from), (last, to)) = (self.0.front()?, self.0.back()?);
        let seconds = (*last - *first).as_secs_f64();
        let bytes = to.saturating_sub(*from);
        (seconds > 0.0 && bytes > 0).then(|| bytes as f64 / seconds)
    }
}

/// Columns that a line may have.
fn width() -> usize {
    let columns = tcgetwinsize(stderr()).map(|size| size.ws_col).ok().filter(|columns| *columns > 0);
    usize::from(columns.unwrap_or(DEFAULT_WIDTH) - 1)
}

/// With a bar if that fits into `width`.
fn line(what: &str, (done, all): (u64, u64), rate: Option<f64>, resumed: u64, width: usize) -> String {
    let done = done.min(all);
    let percent = (done * 100).checked_div(all).unwrap_or(100);
    let mut figures = format!("  {} of {}", readable_size(done), readable_size(all));
    if let Some(rate) = rate.filter(|_| done < all) {
        let left = time((all - done) as f64 / rate);
        figures += &format!("  {}/s  {left} left", readable_size(rate as u64));
    }
    if resumed > 0 {
        figures += &format!("  ({} from before)", readable_size(resumed));
    }
    let begin = format!("{what}  {percent:>3} %");
    let room = width.saturating_sub(begin.chars().count() + figures.chars().count() + 1).min(MAX_BAR);
    if room < MIN_BAR {
        return begin + &figures;
    }
    let full = room * usize::try_from(percent).unwrap_or(100) / 100;
    format!("{begin} {}{}{figures}", "█".repeat(full), "░".repeat(room - full))
}

/// Seconds for people: `12 s`, `3 min 20 s`, `2 h 5 min`.
fn time(seconds: f64) -> String {
    match seconds.ceil() as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(
            line("importing qwen2.5:7b", (1_990_000_000, 4_680_000_000), None, 0, 120),
            "importing qwen2.5:7b   42 % ████████░░░░░░░░░░░░  2.0 GB of 4.7 GB"
        );
        assert_eq!(
            line("importing qwen2.5:7b", (1_990_000_000, 4_680_000_000), None, 0, 50),
            "importing qwen2.5:7b   42 %  2.0 GB of 4.7 GB"
        );
        let line = |done, all, rate, resumed| line("x", (done, all), rate, resumed, 80);
        assert!(line(0, 0, None, 0).starts_with("x  100 %"));
        assert!(line(12, 10, None, 0).contains("100 %"));
        let whole = line(1_000_000_000, 4_000_000_000, Some(20e6), 400_000_000);
        assert!(
            whole.ends_with("1.0 GB of 4.0 GB  20.0 MB/s  2 min 30 s left  (400.0 MB from before)"),
            "{whole}"
        );
        assert!(!line(10, 10, Some(20e6), 0).contains("left"));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        rate.note(at(0), 5_000_000);
        assert_eq!(rate.per_second(), None);
        rate.note(at(5), 10_000_000);
        assert_eq!(rate.per_second(), Some(1e6));
        for second in 6..30 {
            rate.note(at(second), 10_000_000 + (second - 5) * 2_000_000);
        }
        assert_eq!(rate.per_second(), Some(2e6));
    }

    #[test]
    fn times_are_rounded_for_people() {
        for (seconds, shown) in [(0.2, "1 s"), (59.0, "59 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(time(seconds), shown);
        }
    }
}
