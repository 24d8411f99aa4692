//! Last lines of a child's output: the only place where llama-server reports why it died. While it loads its
//! model, all lines are about the model. Later ones may quote requests, so that only lines known not to are
//! kept.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::wire::foreign::without_paths;

const LINE_LIMIT: usize = 20;

/// Prefixes of lines that report why a process ends and quote nothing of a request. With a timestamp: those of
/// ggml, which sees only numbers, and of llama.cpp's numerical parts.
const HARMLESS_STAMPED: [&str; 8] = [
    "ggml",
    "llama_decode",
    "llama_encode",
    "llama_context",
    "llama_kv_cache",
    "llama_memory",
    "init_batch",
    "process_ubatch",
];
/// Without a timestamp: those of the C and C++ libraries and of drivers. Other lines without one continue a
/// message, which may be a grammar made from a caller's schema.
const HARMLESS: [&str; 10] = [
    "terminate called after throwing an instance of",
    "double free or",
    "free(): ",
    "malloc(): ",
    "malloc_consolidate(): ",
    "munmap_chunk(): ",
    "corrupted ",
    "CUDA error: ",
    "ROCm error: ",
    "current device: ",
];

#[derive(Default)]
pub(super) struct LogTail(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    serves: bool,
}

impl LogTail {
    /// Notes that later lines may quote requests.
    pub(super) fn serves(&self) {
        *self.lines() = Lines { kept: VecDeque::new(), serves: true };
    }

    /// Keeps a line, unless it may quote a request; false then.
    pub(super) fn push(&self, line: String) -> bool {
        let mut lines = self.lines();
        if lines.serves && !is_harmless(&line) {
            return false;
        }
        if lines.kept.len() == LINE_LIMIT {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
        true
    }

    /// Takes all kept lines, so that each is logged once.
    pub(super) fn take(&self) -> Vec<String> {
        mem::take(&mut self.lines().kept).into()
    }

    /// Returns the reason in one line that a caller may see: the first error that was kept, without paths. The
    /// first, because llama.cpp reports the cause there and afterwards only that it gave up. None when the
    /// process was killed from outside, which leaves it no time to report.
    pub(super) fn reason(&self) -> Option<String> {
        let lines = self.lines();
        let mut complaints = lines.kept.iter().filter_map(|line| complaint(line)).map(without_paths);
        complaints.next().filter(|reason| !reason.is_empty())
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Message of an error line, `0.00.008.108 E llama_model_load: error loading model: …`.
fn complaint(line: &str) -> Option<&str> {
    match stamped(line)? {
        ("E", text) => Some(text.split_once(": ").map_or(text, |(_, text)| text).trim()),
        _ => None,
    }
}

/// Level and message of a line of llama.cpp's own log.
fn stamped(line: &str) -> Option<(&str, &str)> {
    let (stamp, rest) = line.split_once(' ')?;
    stamp.starts_with(|c: char| c.is_ascii_digit()).then_some(rest)?.split_once(' ')
}

fn is_harmless(line: &str) -> bool {
    let begins = |text: &str, list: &[&str]| list.iter().any(|beginning| text.starts_with(beginning));
    match stamped(line) {
        Some((_, text)) => begins(text, &HARMLESS_STAMPED),
        None => begins(line.trim_start(), &HARMLESS) || is_assertion(line),
    }
}

/// `/src/llama.cpp:17: GGML_ASSERT(x) failed`
fn is_assertion(line: &str) -> bool {
    let Some((place, text)) = line.split_once(": ") else { return false };
    let is_place = place.rsplit_once(':').is_some_and(|(path, number)| {
        path.starts_with('/') && !path.contains(' ') && number.parse::<u32>().is_ok()
    });
    is_place && (text.starts_with("GGML_ASSERT(") || text == "fatal error")
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
            assert!(tail.push(line.to_owned()));
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
        let lines = tail.take();
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 30", "line 49"));
        assert!(tail.take().is_empty(), "each once");
    }

    #[test]
    fn of_a_child_that_serves_only_lines_are_kept_that_hold_nothing_of_a_request() {
        let tail = LogTail::default();
        tail.push("0.00.1 I loading".to_owned());
        tail.serves();
        for line in [
            "0.10.1 E srv  operator(): got exception: {\"error\":{\"message\":\"secret\"}}",
            "  what():  secret",
            "parse: error parsing grammar: secret",
            "llama_grammar_init_impl: secret",
            "0.10.1 I slot launch_slot_: id 0 | task 0 | secret",
            "secret: GGML_ASSERT(x) failed",
            "ggml-secret ::= \"{\" space",
            "0.10.1 and a secret",
            "",
        ] {
            assert!(!tail.push(line.to_owned()), "{line}");
        }
        let harmless = [
            "/src/llama.cpp/src/llama-context.cpp:1713: GGML_ASSERT(n_tokens > 0) failed",
            "terminate called after throwing an instance of 'std::runtime_error'",
            "0.10.1 E ggml_cuda_compute_forward: MUL_MAT failed",
            "CUDA error: out of memory",
            "  current device: 0, in function ggml_cuda_op at ggml-cuda.cu:1",
        ];
        for line in harmless {
            assert!(tail.push(line.to_owned()), "{line}");
        }
        assert_eq!(tail.take(), harmless);
    }
}
