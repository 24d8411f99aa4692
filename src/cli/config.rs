//! `simpleton config`.

use std::process::ExitCode;

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
    if let Some(document) = document {
        print!("{document}");
        return ExitCode::SUCCESS;
    }
    print!("{}", table(settings));
    let Some(problems) = problems else { return ExitCode::SUCCESS };
    eprintln!();
    for problem in problems {
        eprintln!("{problem}");
    }
    ExitCode::FAILURE
}
