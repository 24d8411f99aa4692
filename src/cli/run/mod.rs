//! `simpleton run`: a chat in the terminal, with the running server or with one in this process.

mod chat;
mod images;
mod input;
mod own_server;

use std::{
    io::{IsTerminal, Read, Write, stderr, stdin},
    process::ExitCode,
};

use clap::Args;
use tokio::runtime::Runtime;

use self::{
    chat::{Chat, End},
    input::{Editor, Line},
    own_server::OwnServer,
};
use super::{
    fail, model,
    models::Models,
    running_server::RunningServer,
    serve::{LAST_WORK, runtime, survive_full_files},
    terminal::printable,
    terminal_message,
};
use crate::{
    config::Config,
    error::{Error, Kind, Result},
    types::ModelName,
};

/// Bytes of a prompt from standard input: far more than any context.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

const HELP: &str = "\
/set system TEXT   set the system message
/clear             forget the conversation
/bye               end the program, as Ctrl-D does
/?                 show this help
\"\"\"                begin and end a prompt of several lines
FILE.png           paths of images in a prompt show them to the model
Ctrl-C             stop an answer";

#[derive(Args)]
pub(super) struct Options {
    /// Name of the model
    model: ModelName,
    /// Prompt to answer, after which the program ends. Standard input that is not a terminal is put before it
    prompt: Vec<String>,
}

pub(super) fn run(options: &Options, config: &Config) -> Result<ExitCode> {
    let prompt = prompt(options)?;
    let runtime = runtime()?;
    let own = runtime.block_on(async {
        survive_full_files()?;
        RunningServer::find(config)
    })?;
    let (server, own) = match own {
        Some(server) => (server, None),
        None => runtime.block_on(OwnServer::start(config)).map(|(server, own)| (server, Some(own)))?,
    };
    let done = talk(options, config, prompt, &server, &runtime);
    if let Some(own) = own {
        runtime.block_on(own.stop());
    }
    runtime.shutdown_timeout(LAST_WORK);
    done
}

/// Returns the prompt of the command line and of standard input; `None` when there is neither.
fn prompt(options: &Options) -> Result<Option<String>> {
    let mut parts = Vec::new();
    if !stdin().is_terminal() {
        let mut text = Vec::new();
        stdin().take(MAX_INPUT + 1).read_to_end(&mut text).map_err(|source| {
            Error::new(Kind::Setup, "Standard input cannot be read.").with_source(source)
        })?;
        if text.len() as u64 > MAX_INPUT {
            return Err(Error::new(Kind::Setup, "Standard input is longer than 16 MB."));
        }
        parts.push(String::from_utf8_lossy(&text).trim().to_owned());
    }
    parts.push(options.prompt.join(" "));
    parts.retain(|part| !part.is_empty());
    match (parts.is_empty(), stdin().is_terminal()) {
        (true, true) => Ok(None),
        (true, false) => {
            Err(Error::new(Kind::Setup, "The prompt is empty; give one, or start this in a terminal."))
        }
        _ => Ok(Some(parts.join("\n\n"))),
    }
}

fn talk(
    options: &Options,
    config: &Config,
    prompt: Option<String>,
    server: &RunningServer,
    runtime: &Runtime,
) -> Result<ExitCode> {
    let name = &options.model;
    if let Err(error) = runtime.block_on(server.show(name)) {
        if error.kind() != Kind::NotFound || !offer(name, &error) {
            return Err(error);
        }
        let pulled = runtime.block_on(model::pull(server, name))?;
        if pulled != ExitCode::SUCCESS {
            return Ok(pulled);
        }
    }
    let mut chat = Chat::new(server, name);
    match prompt {
        Some(prompt) => Ok(match runtime.block_on(chat.ask(&prompt))? {
            End::Whole => ExitCode::SUCCESS,
            End::Interrupted => ExitCode::from(130),
        }),
        None => converse(&mut chat, config, runtime),
    }
}

/// Asks whether to download a model that is not installed.
fn offer(name: &ModelName, error: &Error) -> bool {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return false;
    }
    eprint!("{}\nDownload {name} now? [y/N] ", printable(error.message()));
    let mut answer = String::new();
    stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn converse(chat: &mut Chat<'_>, config: &Config, runtime: &Runtime) -> Result<ExitCode> {
    let mut editor = Editor::open(&config.server.data_dir)?;
    eprintln!("Type a message, or /? for help.");
    loop {
        match editor.read()? {
            Line::End => return Ok(ExitCode::SUCCESS),
            Line::Empty => {}
            Line::Interrupted => eprintln!("Use Ctrl-D or /bye to end."),
            Line::Help => eprintln!("{HELP}"),
            Line::Clear => {
                chat.clear();
                eprintln!("The conversation is forgotten.");
            }
            Line::System(text) => {
                chat.set_system(text);
                eprintln!("The system message is set.");
            }
            Line::Unknown(command) => {
                eprintln!("There is no command {}; /? lists the commands.", printable(&command));
            }
            Line::Prompt(prompt) => match runtime.block_on(chat.ask(&prompt)) {
                Ok(_) => eprintln!(),
                // A problem with one prompt does not end the conversation.
                Err(error) => drop(fail(&terminal_message(&error))),
            },
        }
        let _ = stderr().flush();
    }
}
