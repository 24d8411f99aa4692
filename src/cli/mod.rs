//! The command line: `simpleton COMMAND`.

mod config;
mod doctor;
mod engine;
mod ingest;
mod local_server;
mod model;
mod models;
mod progress;
mod reference;
mod run;
mod running_server;
mod serve;
mod tables;
mod terminal;

use std::{path::Path, process::ExitCode};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::terminal::printable;
use crate::{
    config::{Sources, add_flags, load},
    error::{Error, Result},
    extractor,
};

/// A self-hosted AI server: chat, embeddings and vision behind one API
#[derive(Parser)]
#[command(name = "simpleton", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    Serve,
    /// Chat with a model in the terminal
    Run(run::Options),
    /// Add files as documents, for search and for answers
    ///
    /// Adds files, and folders with everything in them, through the running server or, without one, by itself. A file
    /// that is added again replaces its older version, and only what has changed is embedded.
    #[command(after_long_help = ingest::EXAMPLES)]
    Ingest(ingest::Options),
    /// Manage models
    #[command(subcommand)]
    Model(model::Action),
    /// Manage the embedded engine (llama-server)
    #[command(subcommand)]
    Engine(engine::Action),
    /// Check everything the server needs, and explain how to fix problems
    Doctor,
    /// Print all settings and where each value comes from
    Config(config::Options),
    /// Print the health of the running server. Exits with 0 if it can answer prompts
    Health,
    /// Print a script that completes commands and flags in a shell
    Completions(reference::Completions),
    /// Write the man pages to a directory
    Man(reference::Man),
}

/// Runs the command of this process's command line.
pub fn main() -> ExitCode {
    if let Some(code) = extractor::run_if_asked() {
        return code;
    }
    // Every command takes the settings as flags, as text: `load` checks them all together.
    let command = Cli::command().mut_subcommands(with_settings);
    let matches = command.clone().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match &cli.command {
        Command::Completions(options) => return exit_code(reference::completions(options, &command)),
        Command::Man(options) => return exit_code(reference::man(options, &command)),
        _ => {}
    }
    let sources = match sources(&matches) {
        Ok(sources) => sources,
        Err(message) => return fail(&message),
    };
    let (doubts, (settings, config)) = (sources.doubts(), load(&sources));
    // The server logs them.
    if config.is_err() || !matches!(cli.command, Command::Serve) {
        doubts.iter().for_each(|doubt| eprintln!("{doubt}"));
    }
    if let Command::Config(options) = &cli.command {
        return config::run(options, &settings, config.as_ref().err());
    }
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return fail("Correct these settings; `simpleton config` shows all of them.");
        }
    };
    let done = match cli.command {
        Command::Run(options) => {
            return run::run(&options, &config).unwrap_or_else(|error| fail(&terminal_message(&error)));
        }
        Command::Ingest(options) => {
            return ingest::run(&options, &config).unwrap_or_else(|error| fail(&terminal_message(&error)));
        }
        Command::Model(action) => {
            return model::run(&action, &config).unwrap_or_else(|error| fail(&terminal_message(&error)));
        }
        Command::Serve => serve::run(&config, &doubts),
        Command::Engine(action) => engine::run(&action, &config),
        Command::Doctor => doctor::run(&config),
        Command::Health => serve::health(&config),
        Command::Config(_) | Command::Completions(_) | Command::Man(_) => Ok(()),
    };
    exit_code(done)
}

fn exit_code(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&terminal_message(&error)),
    }
}

/// The settings' flags on a command, or on each of its own commands when it has some.
fn with_settings(command: clap::Command) -> clap::Command {
    if command.has_subcommands() {
        return command.mut_subcommands(with_settings);
    }
    let command = add_flags(command);
    if command.get_name() == "serve" {
        return command;
    }
    // Its own options would be lost among them.
    let hide = |arg: clap::Arg| {
        let is_setting = arg.get_env().is_some();
        arg.hide(is_setting)
    };
    command.mut_args(hide).after_help("All settings can be given as flags; see `simpleton serve --help`.")
}

fn sources(matches: &ArgMatches) -> Result<Sources, String> {
    let mut flags = matches;
    while let Some((_, inner)) = flags.subcommand() {
        flags = inner;
    }
    Sources::gather(flags, Path::new("."))
}

/// Message for the terminal: the error and its causes.
fn terminal_message(error: &Error) -> String {
    match error.causes() {
        Some(cause) => format!("{}\n  ({cause})", error.message()),
        None => error.message().to_owned(),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{}", printable(message));
    ExitCode::FAILURE
}
