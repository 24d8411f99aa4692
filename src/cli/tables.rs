//! Models as tables, from the JSON of the HTTP API.

use jiff::Timestamp;
use serde_json::Value;

use super::terminal::say;
use crate::files::readable_size;

/// Prints the reply of `GET /models`.
pub(super) fn list(reply: &Value) {
    let models = items(&reply["models"]);
    if models.is_empty() {
        return say("No models are installed; get one with: simpleton model pull qwen2.5:7b");
    }
    table(models.iter().map(|model| {
        let can: Vec<&str> = items(&model["capabilities"]).iter().filter_map(Value::as_str).collect();
        [text(&model["name"]), format!("{:>10}", bytes(&model["size"])), can.join(", ")]
    }));
}

/// Prints the reply of `GET /models/loaded`.
pub(super) fn loaded(reply: &Value) {
    let models = items(&reply["models"]);
    if models.is_empty() {
        return say("No models are loaded.");
    }
    let heading = ["NAME", "MEMORY", "SLOTS", "CONTEXT", "UNTIL"].map(str::to_owned);
    let now = Timestamp::now();
    let rows = models.iter().map(|model| {
        let slots = match (model["slots"].as_u64(), model["slots_busy"].as_u64()) {
            (Some(all), Some(busy)) => format!("{busy} of {all} busy"),
            _ => "-".to_owned(),
        };
        let until = model["expires_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let until = until
            .map_or("-".to_owned(), |at| format!("{} s from now", at.duration_since(now).as_secs().max(0)));
        [text(&model["name"]), bytes(&model["memory"]), slots, text(&model["context"]), until]
    });
    table(std::iter::once(heading).chain(rows));
}

/// Prints the reply of `GET /models/{name}`.
pub(super) fn show(model: &Value) {
    say("Model");
    let details = &model["details"];
    let can: Vec<&str> = items(&model["capabilities"]).iter().filter_map(Value::as_str).collect();
    let context = match (model["context"]["chosen"].as_u64(), model["context"]["trained"].as_u64()) {
        (Some(chosen), Some(trained)) => format!("{chosen} of {trained} tokens"),
        (Some(tokens), None) | (None, Some(tokens)) => format!("{tokens} tokens"),
        (None, None) => "-".to_owned(),
    };
    let mut rows = vec![
        ["name".to_owned(), text(&model["name"])],
        ["family".to_owned(), text(&details["family"])],
        ["parameters".to_owned(), text(&details["parameter_size"])],
        ["quantization".to_owned(), text(&details["quantization_level"])],
        ["context".to_owned(), context],
        ["size".to_owned(), bytes(&model["size"])],
        ["capabilities".to_owned(), can.join(", ")],
        ["loaded".to_owned(), if model["loaded"] == true { "yes" } else { "no" }.to_owned()],
    ];
    let memory = &model["memory"];
    if memory.is_object() {
        let parts = [("weights", "weights"), ("kv_cache", "KV cache"), ("compute", "compute")];
        let parts = parts.map(|(name, title)| format!("{title} {}", bytes(&memory[name])));
        rows.push(["memory".to_owned(), format!("{} ({})", bytes(&memory["total"]), parts.join(", "))]);
    }
    table(rows.into_iter().map(indented));
    if let Some(parameters) = model["parameters"].as_object().filter(|all| !all.is_empty()) {
        say("\nParameters");
        table(parameters.iter().map(|(name, value)| indented([name.clone(), text(value)])));
    }
    if let Some(system) = model["system"].as_str() {
        say("\nSystem");
        system.lines().for_each(|line| say(format_args!("  {line}")));
    }
    let first_line =
        |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    if let Some(license) = model["license"].as_str().and_then(first_line) {
        say(format_args!("\nLicense\n  {license}"));
    }
}

fn indented([first, second]: [String; 2]) -> [String; 2] {
    [format!("  {first}"), second]
}

/// Prints rows with their columns aligned.
fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), readable_size)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
