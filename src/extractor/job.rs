//! Messages between the server and a child. To the child: a line of JSON, then the document. From the child: a
//! byte that says whether it is a refusal, then the refusal or the result.

use serde::{Deserialize, Serialize};

use crate::text::extract::{Hints, Limits, Refusal};

#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) limits: Limits,
    /// Address space beyond what the program itself takes.
    pub(super) memory_mb: u64,
    /// Processor time.
    pub(super) seconds: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Task {
    /// Extract the text, as JSON.
    Extract(Hints),
    /// Draw a page's images, as a file.
    PageImage(u32),
}

pub(super) const DONE: u8 = b'+';
pub(super) const REFUSED: u8 = b'-';

impl Job {
    /// The line before the document.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The job and the document of all input.
    pub(super) fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let end = memchr::memchr(b'\n', input)?;
        Some((serde_json::from_slice(&input[..end]).ok()?, &input[end + 1..]))
    }
}

/// The result that a child's output holds.
pub(super) fn outcome(mut output: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    match output.first() {
        Some(&DONE) => {
            output.remove(0);
            Ok(output)
        }
        Some(&REFUSED) => Err(serde_json::from_slice(&output[1..]).unwrap_or_else(|_| Refusal::unreadable())),
        _ => Err(Refusal::unreadable()),
    }
}
