//! Conversation with a model: its messages, and the next answer, which is printed as it arrives.

use std::io::{IsTerminal, Write, stderr, stdout};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::signal::unix::SignalKind;

use super::images;
use crate::{
    cli::{running_server::RunningServer, serve::listen, terminal::printable},
    error::Result,
    types::ModelName,
};

pub(super) struct Chat {
    model: String,
    system: Option<String>,
    messages: Vec<Value>,
}

/// Reason for the end of an answer.
pub(super) enum End {
    Whole,
    Interrupted,
}

impl Chat {
    pub(super) fn new(model: &ModelName) -> Self {
        Self { model: model.to_string(), system: None, messages: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    pub(super) fn set_system(&mut self, text: String) {
        self.system = Some(text);
    }

    /// Prints the answer to a prompt. Ctrl-C ends it.
    ///
    /// # Errors
    /// That of an image's file, and that of the server; the prompt is then removed from the conversation.
    pub(super) async fn ask(&mut self, server: &RunningServer, prompt: &str) -> Result<End> {
        let (text, images) = images::split(prompt)?;
        let mut message = json!({ "role": "user", "content": text });
        if !images.is_empty() {
            message["images"] = json!(images);
        }
        self.messages.push(message);
        // Only from now on: an earlier Ctrl-C was not meant for this answer.
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut answer = String::new();
        let body = self.body();
        let end = tokio::select! {
            done = print(server, &body, &mut answer) => done.map(|()| End::Whole),
            _ = interrupt.recv() => Ok(End::Interrupted),
        };
        if !answer.is_empty() {
            println!();
        }
        if end.is_err() {
            self.messages.pop();
        } else {
            self.messages.push(json!({ "role": "assistant", "content": answer }));
        }
        end
    }

    fn body(&self) -> Value {
        let system = self.system.iter().map(|text| json!({ "role": "system", "content": text }));
        let messages: Vec<Value> = system.chain(self.messages.iter().cloned()).collect();
        json!({ "model": self.model, "messages": messages, "stream": true })
    }
}

/// Prints an answer piece by piece, and adds it to `answer`. A model's thinking is shown on a terminal only.
async fn print(server: &RunningServer, body: &Value, answer: &mut String) -> Result<()> {
    let events = server.events("/inference/chat", body).await?;
    tokio::pin!(events);
    let mut is_thinking = false;
    while let Some(event) = events.next().await {
        let message = &event?["message"];
        let (thought, text) = (message["thinking"].as_str(), message["content"].as_str().unwrap_or_default());
        if let Some(thought) = thought.filter(|thought| !thought.is_empty() && stderr().is_terminal()) {
            let opening = if is_thinking { "" } else { "Thinking:\n" };
            eprint!("{opening}{}", printable(thought));
            is_thinking = true;
        }
        if text.is_empty() {
            continue;
        }
        if std::mem::take(&mut is_thinking) {
            eprintln!("\n");
        }
        let mut output = stdout().lock();
        if write!(output, "{}", printable(text)).and_then(|()| output.flush()).is_err() {
            // The reader of the pipe has closed it.
            return Ok(());
        }
        answer.push_str(text);
    }
    Ok(())
}
