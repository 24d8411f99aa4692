//! `simpleton completions` and `simpleton man`: shell completions and man pages.

use std::{fs, io::Write, path::PathBuf};

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::{
    data_dir::DataDir,
    error::{Error, Kind, Result},
};

#[derive(Args)]
pub(super) struct Completions {
    /// Shell to print completions for
    shell: Shell,
}

#[derive(Args)]
pub(super) struct Man {
    /// Directory to write the pages to
    directory: PathBuf,
}

/// # Errors
/// `Setup` when standard output cannot be written to.
pub(super) fn completions(options: &Completions, command: &Command) -> Result<()> {
    let mut script = Vec::new();
    generate(options.shell, &mut documented(command), "simpleton", &mut script);
    std::io::stdout().write_all(&script).map_err(|source| {
        Error::new(Kind::Setup, "The completions cannot be written to standard output.").with_source(source)
    })
}

/// Writes one page for each command.
///
/// # Errors
/// `Setup` when the directory cannot be written to.
pub(super) fn man(options: &Man, command: &Command) -> Result<()> {
    let directory = &options.directory;
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(documented(command), directory))
        .map_err(|source| {
            let message = format!("The man pages cannot be written to {}.", directory.display());
            Error::new(Kind::Setup, message).with_source(source)
        })
}

/// Copy of a command without its hidden options, which bash's script would offer, and with defaults that do not depend
/// on the machine.
fn documented(command: &Command) -> Command {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned();
    let mut copy = Command::new(command.get_name().to_owned())
        .disable_help_subcommand(true)
        .args(shown)
        .mut_args(|arg| match arg.get_id().as_str() {
            "data_dir" => arg.default_value(DataDir::PORTABLE_DEFAULT),
            _ => arg,
        })
        .subcommands(command.get_subcommands().map(documented));
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    match command.get_after_help() {
        Some(text) => copy.after_help(text.clone()),
        None => copy,
    }
}
