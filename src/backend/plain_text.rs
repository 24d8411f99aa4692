//! A caller's text is text: whatever a model's templates write next to it, it is not read as control
//! tokens. Only a raw prompt goes in as it is.

use crate::types::{
    ChatRequest, Completion, ControlTokens, Message, Part, Prompt, Tool, ToolCall, ToolChoice,
};

/// Breaks up the control tokens in everything that a template may write into the prompt.
pub(super) fn chat(request: &mut ChatRequest, tokens: &ControlTokens) {
    // A format is for the engine's grammar and is not written anywhere.
    let ChatRequest {
        model: _,
        prompt,
        tools,
        tool_choice,
        parallel_tool_calls: _,
        format: _,
        sampling: _,
        logprobs: _,
        think: _,
        context_size: _,
        keep_alive: _,
    } = request;
    match prompt {
        Prompt::Messages(messages) => messages.iter_mut().for_each(|turn| message(turn, tokens)),
        Prompt::Completion(completion) if completion.is_raw() => {}
        Prompt::Completion(Completion {
            text,
            suffix: _,
            system,
            template: _,
            images: _,
            context: _,
            raw: _,
        }) => {
            tokens.break_up_in(text);
            system.iter_mut().for_each(|system| tokens.break_up_in(system));
        }
    }
    for Tool { name, description, parameters } in tools {
        tokens.break_up_in(name);
        description.iter_mut().for_each(|description| tokens.break_up_in(description));
        tokens.break_up_json(parameters);
    }
    // So that it is still the name of a tool.
    if let ToolChoice::Named(name) = tool_choice {
        tokens.break_up_in(name);
    }
}

fn message(message: &mut Message, tokens: &ControlTokens) {
    let Message { role: _, content, tool_calls, tool_call_id, tool_name } = message;
    for part in content {
        match part {
            Part::Text(text) => tokens.break_up_in(text),
            Part::Image(_) => {}
        }
    }
    for ToolCall { id, name, arguments } in tool_calls {
        tokens.break_up_in(name);
        tokens.break_up_json(arguments);
        id.iter_mut().for_each(|id| tokens.break_up_in(id));
    }
    tool_call_id.iter_mut().chain(tool_name).for_each(|text| tokens.break_up_in(text));
}
