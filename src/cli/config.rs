//! `simpleton config`.

use std::process::ExitCode;

use clap::Args;

use crate::config::{Problem, Setting, env_example, markdown, table};

#[derive(Args)]
pub(super) struct Options {
    /// Print .env.example
    #[arg(long, conflicts_with = "markdown")]
    env_example: bool,
    /// Print docs/configuration.md
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(options: &Options, settings: &[Setting], problems: Option<&Vec<Problem>>) -> ExitCode {
    if options.env_example {
        print!("{}", env_example(settings));
        return ExitCode::SUCCESS;
    }
    if options.markdown {
        print!("{}", markdown(settings));
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
