//! The child's side: it limits itself before it looks at the document.

use std::{
    io::{self, Read, Write},
    panic::catch_unwind,
    process::ExitCode,
    thread,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::job::{DONE, Job, REFUSED, Task};
use crate::text::extract::{Refusal, extract, page_image};

/// First argument of a child; no command of the command line.
pub(super) const ARGUMENT: &str = "extract-child";

/// Address space until the job is known: what a document may have, sent with its header.
const INPUT_MB: u64 = 1024;
/// Bytes of the stack: parsers of nested elements call themselves.
const STACK: usize = 32 * 1024 * 1024;

/// Reads a document and exits, when this process was started for it.
pub fn run_if_asked() -> Option<ExitCode> {
    let is_child = std::env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT);
    is_child.then(run)
}

fn run() -> ExitCode {
    let mut input = Vec::new();
    limit(Resource::Core, 0);
    if io::stdin().take(INPUT_MB * 1024 * 1024).read_to_end(&mut input).is_err() {
        return ExitCode::FAILURE;
    }
    let Some((job, document)) = Job::split(&input) else { return ExitCode::FAILURE };
    let program = address_space().unwrap_or(0);
    limit(Resource::As, program + job.memory_mb * 1024 * 1024 + STACK as u64);
    limit(Resource::Cpu, job.seconds);
    // Reads no other files and writes none.
    limit(Resource::Fsize, 0);
    // What a document makes a parser say is not for the log.
    std::panic::set_hook(Box::new(|_| {}));
    let output = thread::scope(|scope| {
        let work = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || answer(&job, document));
        work.ok()?.join().ok()
    });
    match output.map(|output| io::stdout().write_all(&output)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The output: a result, or a refusal.
fn answer(job: &Job, document: &[u8]) -> Vec<u8> {
    let result = catch_unwind(|| match &job.task {
        Task::Extract(hints) => extract(document, hints, &job.limits)
            .and_then(|extracted| serde_json::to_vec(&extracted).map_err(|_| Refusal::unreadable())),
        Task::PageImage(page) => page_image(document, *page, &job.limits),
    });
    // A parser that panics has been given something that it does not understand.
    match result.unwrap_or_else(|_| Err(Refusal::unreadable())) {
        Ok(result) => [&[DONE], &result[..]].concat(),
        Err(refusal) => [&[REFUSED], &serde_json::to_vec(&refusal).unwrap_or_default()[..]].concat(),
    }
}

fn limit(resource: Resource, most: u64) {
    // Where a system has no such limit, the server's own timeout remains.
    let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
}

/// Bytes of address space that this process takes now.
fn address_space() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').next()?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
