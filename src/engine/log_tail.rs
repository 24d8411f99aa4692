//! The last lines a child wrote: the only place where llama-server says why it died.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::wire::foreign::without_paths;

const KEPT: usize = 20;

#[derive(Default)]
pub(super) struct LogTail(Mutex<VecDeque<String>>);

impl LogTail {
    pub(super) fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All kept lines, for the log.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The reason in one line that a caller may see: the first complaint of those kept, without
    /// paths. The first, because llama.cpp names the fault there and then only that it gave up. None
    /// when the process was ended from outside, which leaves it no time to complain.
    pub(super) fn reason(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().find_map(|line| complaint(line)).map(without_paths).filter(|reason| !reason.is_empty())
    }
}

/// The text of an error line, `0.00.008.108 E llama_model_load: error loading model: …`.
fn complaint(line: &str) -> Option<&str> {
    let (stamp, rest) = line.split_once(' ')?;
    let text = rest.strip_prefix("E ")?;
    if !stamp.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(text.split_once(": ").map_or(text, |(_, text)| text).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_complaint_is_the_reason_and_shows_no_path() {
        let tail = LogTail::default();
        assert_eq!(tail.reason(), None);
        for line in [
            "0.00.006.499 I srv    load_model: loading model '/var/models/blobs/x'",
            "0.00.008.108 E llama_model_load: error loading model: tensor 'a' is not within the file bounds",
            "0.00.009.122 E cmn  common_init_: failed to load model '/var/models/blobs/x'",
        ] {
            tail.push(line.to_owned());
        }
        assert_eq!(
            tail.reason().as_deref(),
            Some("error loading model: tensor 'a' is not within the file bounds")
        );
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let tail = LogTail::default();
        for n in 0..50 {
            tail.push(format!("line {n}"));
        }
        assert!(tail.text().starts_with("line 30\n") && tail.text().ends_with("line 49"));
    }
}
