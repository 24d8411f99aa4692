//! `simpleton run`: a chat in the terminal.

mod chat;
mod images;
mod input;

use std::{
    io::{IsTerminal, Read, Write, stderr, stdin},
    process::ExitCode,
};

use clap::Args;
use tokio::runtime::Runtime;

use self::{
    chat::{Chat, End},
    input::{Editor, Line},
};
use super::{
    fail,
    local_server::LocalServer,
    model,
    models::Models,
    serve::{LAST_WORK, runtime, survive_full_files},
    terminal::printable,
    terminal_message,
};
use crate::{
    config::Config,
    error::{Error, Kind, Result},
    types::ModelName,
};

/// Limit in bytes of a prompt from standard input; no context is that large.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

const HELP: &str = "\
/set system TEXT   set the system message
/clear             forget the conversation
/bye               end the chat, as Ctrl-D does
/?                 show this help
\"\"\"                begin and end a prompt of several lines
FILE.png           paths of images in a prompt show them to the model
Ctrl-C             stop an answer";

#[derive(Args)]
pub(super) struct Options {
    /// Name of the model. If it is not installed, you are asked whether to download it
    model: ModelName,
    /// Prompt to answer, after which the program ends. Paths of image files in it show them to the model. Standard input that is not a terminal is put before it
    prompt: Vec<String>,
}

pub(super) fn run(options: &Options, config: &Config) -> Result<ExitCode> {
    let prompt = prompt(options)?;
    let runtime = runtime()?;
    let mut server = runtime.block_on(async {
        survive_full_files()?;
        LocalServer::find_or_start(config).await
    })?;
    let done = talk(options, config, prompt, &mut server, &runtime);
    runtime.block_on(server.stop());
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
    server: &mut LocalServer,
    runtime: &Runtime,
) -> Result<ExitCode> {
    let name = &options.model;
    if let Err(error) = runtime.block_on(server.api().show(name)) {
        if error.kind() != Kind::NotFound || !is_interactive() {
            return Err(error);
        }
        if !offer(name, &error) {
            return Ok(ExitCode::FAILURE);
        }
        let pulled = runtime.block_on(model::pull(server.api(), name))?;
        if pulled != ExitCode::SUCCESS {
            return Ok(pulled);
        }
    }
    let mut chat = Chat::new(name);
    match prompt {
        Some(prompt) => Ok(match runtime.block_on(chat.ask(server.api(), &prompt))? {
            End::Whole => ExitCode::SUCCESS,
            End::Interrupted => ExitCode::from(130),
        }),
        None => converse(&mut chat, config, server, runtime),
    }
}

fn is_interactive() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks whether to download a model that is not installed.
fn offer(name: &ModelName, error: &Error) -> bool {
    eprint!("{}\nDownload {name} now? [y/N] ", printable(error.message()));
    let mut answer = String::new();
    let is_read = stdin().read_line(&mut answer).is_ok();
    if !answer.ends_with('\n') {
        // Ctrl-D leaves the cursor behind the question.
        eprintln!();
    }
    is_read && ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

fn converse(
    chat: &mut Chat,
    config: &Config,
    server: &mut LocalServer,
    runtime: &Runtime,
) -> Result<ExitCode> {
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
            Line::Usage(usage) => eprintln!("Usage: {usage}"),
            Line::Unknown(command) => {
                eprintln!("There is no command {}; /? lists the commands.", printable(&command));
            }
            Line::Prompt(prompt) => match runtime.block_on(answer(chat, config, server, &prompt)) {
                Ok(_) => eprintln!(),
                // A problem with one prompt does not end the conversation.
                Err(error) => drop(fail(&terminal_message(&error))),
            },
        }
        let _ = stderr().flush();
    }
}

async fn answer(chat: &mut Chat, config: &Config, server: &mut LocalServer, prompt: &str) -> Result<End> {
    server.replace_if_gone(config).await?;
    chat.ask(server.api(), prompt).await
}
