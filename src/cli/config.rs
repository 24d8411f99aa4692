//! `simpleton config`.

use std::{io::Write, process::ExitCode};

use clap::Args;

use crate::{
    config::{Problem, Setting, env_example, markdown, table},
    http::openapi,
};

#[derive(Args)]
pub(super) struct Options {
    /// Print .env.example
    #[arg(long, group = "document")]
    env_example: bool,
    /// Print docs/configuration.md
    #[arg(long, group = "document")]
    markdown: bool,
    /// Print docs/openapi.json
    #[arg(long, group = "document")]
    openapi: bool,
}

pub(super) fn run(options: &Options, settings: &[Setting], problems: Option<&Vec<Problem>>) -> ExitCode {
    let document = match options {
        Options { env_example: true, .. } => Some(env_example(settings)),
        Options { markdown: true, .. } => Some(markdown(settings)),
        Options { openapi: true, .. } => Some(openapi()),
        _ => None,
    };
    let text = document.as_ref().map_or_else(|| table(settings), String::clone);
    // `simpleton config | head` closes the pipe early, which is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if document.is_some() {
        return ExitCode::SUCCESS;
    }
    let Some(problems) = problems else { return ExitCode::SUCCESS };
    eprintln!();
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::FAILURE
}
