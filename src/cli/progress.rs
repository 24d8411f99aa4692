//! Progress of long work on standard error: one line that is updated on a terminal; elsewhere, such as in a log, a new
//! line every few seconds.

use std::{
    collections::VecDeque,
    env,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use rustix::termios::tcgetwinsize;

use super::terminal::printable;
use crate::files::readable_size;

/// Time between two updates of a terminal's line, and between two lines elsewhere.
const TERMINAL_PACE: Duration = Duration::from_millis(100);
const LINE_PACE: Duration = Duration::from_secs(10);

/// Time over which the rate is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Limits of the bar's width in columns.
const MIN_BAR: usize = 5;
const MAX_BAR: usize = 20;

/// Columns of a terminal that does not report its width.
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
    /// Creates a progress that, without a terminal, is first shown after `LINE_PACE`.
    pub(super) fn new(what: String) -> Self {
        let is_terminal = is_terminal();
        let shown = (!is_terminal).then(Instant::now);
        Self { what, is_terminal, shown, has_line: false, rate: Rate::default(), state: None, resumed: 0 }
    }

    pub(super) fn is_on_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Sets how many bytes of all an earlier download has left.
    pub(super) fn resumed(&mut self, bytes: u64, all: u64) {
        if bytes > 0 && self.resumed == 0 && !self.is_terminal {
            let _ = match bytes == all {
                true => writeln!(stderr(), "{}: already downloaded", self.what),
                false => writeln!(stderr(), "{} continues at {}", self.what, readable_size(bytes)),
            };
        }
        self.resumed = bytes;
    }

    /// Changes what is being done.
    pub(super) fn rename(&mut self, what: String) {
        self.what = what;
    }

    /// Clears the line for other output; the next `show` writes it again.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            // As in `write`.
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }

    /// Shows how many of all bytes are done.
    pub(super) fn show(&mut self, done: u64, all: u64) {
        self.state = Some((done, all));
        self.rate.note(Instant::now(), done);
        let pace = if self.is_terminal { TERMINAL_PACE } else { LINE_PACE };
        if self.shown.is_some_and(|shown| shown.elapsed() < pace) && done < all {
            return;
        }
        self.shown = Some(Instant::now());
        if self.is_terminal || done < all {
            let width = self.is_terminal.then(width);
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
    /// Clears the line for the next output.
    fn drop(&mut self) {
        self.clear();
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

/// Whether standard error is a terminal that can replace a line.
fn is_terminal() -> bool {
    stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Width of a line in columns.
fn width() -> usize {
    let columns = tcgetwinsize(stderr()).map(|size| size.ws_col).ok().filter(|columns| *columns > 0);
    usize::from(columns.unwrap_or(DEFAULT_WIDTH) - 1)
}

/// Returns the line, on a terminal of this width with a bar. What does not fit is left out, the last first.
fn line(
    what: &str,
    (done, all): (u64, u64),
    rate: Option<f64>,
    resumed: u64,
    width: Option<usize>,
) -> String {
    let done = done.min(all);
    let percent = (done * 100).checked_div(all).unwrap_or(100);
    let mut parts = vec![format!("  {} of {}", readable_size(done), readable_size(all))];
    if let Some(rate) = rate.filter(|_| done < all) {
        parts.push(format!("  {}/s", readable_size(rate as u64)));
        parts.push(format!("  {} left", time((all - done) as f64 / rate)));
    }
    match resumed {
        0 => {}
        resumed if resumed == all => parts.push("  (already downloaded)".to_owned()),
        resumed => parts.push(format!("  ({} from before)", readable_size(resumed))),
    }
    let begin = format!("{what}  {percent:>3} %");
    let Some(width) = width else { return begin + &parts.concat() };
    let mut room = width.saturating_sub(begin.chars().count());
    let fits = |part: &String| {
        let left = room.checked_sub(part.chars().count());
        room = left.unwrap_or(room);
        left.is_some()
    };
    let figures: String = parts.into_iter().take_while(fits).collect();
    let bar = room.saturating_sub(1).min(MAX_BAR);
    if bar < MIN_BAR {
        return begin + &figures;
    }
    let full = bar * usize::try_from(percent).unwrap_or(100) / 100;
    format!("{begin} {}{}{figures}", "█".repeat(full), "░".repeat(bar - full))
}

/// Duration in words: `12 s`, `3 min 20 s`, `2 h 5 min`.
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
            line("importing qwen2.5:7b", (1_990_000_000, 4_680_000_000), None, 0, Some(120)),
            "importing qwen2.5:7b   42 % ████████░░░░░░░░░░░░  2.0 GB of 4.7 GB"
        );
        assert_eq!(
            line("importing qwen2.5:7b", (1_990_000_000, 4_680_000_000), None, 0, Some(50)),
            "importing qwen2.5:7b   42 %  2.0 GB of 4.7 GB"
        );
        let narrow = |width| line("pulling 5838c06c15cd", (5, 10), Some(1.0), 2, Some(width));
        assert_eq!(narrow(40), "pulling 5838c06c15cd   50 %  5 B of 10 B");
        assert_eq!(narrow(39), "pulling 5838c06c15cd   50 % █████░░░░░░");
        assert_eq!(narrow(47), "pulling 5838c06c15cd   50 %  5 B of 10 B  1 B/s");
        assert_eq!(narrow(20), "pulling 5838c06c15cd   50 %");
        let line = |done, all, rate, resumed| line("x", (done, all), rate, resumed, Some(80));
        assert!(line(0, 0, None, 0).starts_with("x  100 %"));
        assert!(line(12, 10, None, 0).contains("100 %"));
        let whole = line(1_000_000_000, 4_000_000_000, Some(20e6), 400_000_000);
        assert!(
            whole.ends_with("1.0 GB of 4.0 GB  20.0 MB/s  2 min 30 s left  (400.0 MB from before)"),
            "{whole}"
        );
        assert!(!line(10, 10, Some(20e6), 0).contains("left"));
        assert!(line(10, 10, None, 10).ends_with("10 B of 10 B  (already downloaded)"));
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
    fn times_are_rounded() {
        for (seconds, shown) in [(0.2, "1 s"), (59.0, "59 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(time(seconds), shown);
        }
    }
}
