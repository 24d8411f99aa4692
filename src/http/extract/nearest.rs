//! Suggestions for unknown names: the nearest known one.

/// Names from other APIs, and what is called so here.
const SYNONYMS: [(&str, &str); 22] = [
    ("response_format", "format"),
    ("json_schema", "format"),
    ("max_completion_tokens", "max_tokens"),
    ("max_output_tokens", "max_tokens"),
    ("max_new_tokens", "max_tokens"),
    ("num_predict", "max_tokens"),
    ("n_predict", "max_tokens"),
    ("stop_sequences", "stop"),
    ("tool_choice", "tools"),
    ("functions", "tools"),
    ("function_call", "tool_calls"),
    ("instructions", "system"),
    ("system_prompt", "system"),
    ("image_url", "image"),
    ("image_base64", "image"),
    ("detail", "detail_level"),
    ("question", "prompt"),
    ("text", "input"),
    ("texts", "input"),
    ("type", "prefix"),
    ("count", "limit"),
    ("minutes", "since_minutes"),
];

/// Similarity from which a name is suggested, from 0 to 1: three letters of five.
const MIN_SIMILARITY: f64 = 0.6;
/// Letters from which a prefix is suggested.
const MIN_PREFIX: usize = 3;
/// Bytes of the longest name that is compared; known names are shorter.
const MAX_LENGTH: usize = 64;

/// Describes an unknown name and the nearest known one. `kind` is what the names are of, `field` or `parameter`.
pub(in crate::http) fn unknown(name: &str, known: &[&str], kind: &str) -> String {
    if let Some(nearest) = nearest(name, known) {
        return format!("is unknown; the closest known {kind} is {nearest}");
    }
    match known {
        [] => format!("is unknown; no {kind}s are allowed here"),
        [only] => format!("is unknown; the only known {kind} is {only}"),
        known => format!("is unknown; the known {kind}s are {}", known.join(", ")),
    }
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let name = plain(name);
    let meant = SYNONYMS.iter().find(|(other, _)| plain(other) == name).map(|(_, ours)| *ours);
    if let Some(meant) = known.iter().find(|known| Some(**known) == meant) {
        return Some(meant);
    }
    let likeness = |known: &str| {
        let known = plain(known);
        let begins = name.len() >= MIN_PREFIX && (known.starts_with(&name) || name.starts_with(&known));
        if begins { 1.0 } else { strsim::normalized_damerau_levenshtein(&known, &name) }
    };
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= MIN_SIMILARITY).then_some(*best)
}

/// In lower case and in one word, so that `maxTokens` and `max-tokens` are `max_tokens`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found() {
        let chat = [
            "messages",
            "tools",
            "model",
            "stream",
            "temperature",
            "max_tokens",
            "top_p",
            "top_k",
            "seed",
            "stop",
            "format",
            "keep_alive",
            "think",
        ];
        for (name, meant) in [
            ("max_token", Some("max_tokens")),
            ("maxTokens", Some("max_tokens")),
            ("max_completion_tokens", Some("max_tokens")),
            ("numPredict", Some("max_tokens")),
            ("temprature", Some("temperature")),
            ("temp", Some("temperature")),
            ("Temperature", Some("temperature")),
            ("response_format", Some("format")),
            ("tool_choice", Some("tools")),
            ("keepalive", Some("keep_alive")),
            ("message", Some("messages")),
            ("modle", Some("model")),
            ("topp", Some("top_p")),
            ("sede", Some("seed")),
            ("stops", Some("stop")),
            ("steam", Some("stream")),
            ("options", None),
            ("dimensions", None),
            ("secret_name", None),
            ("user", None),
            ("logprobs", None),
            ("x", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(name, &chat), meant, "{name}");
        }
        assert_eq!(nearest(&"temperature".repeat(1_000_000), &chat), None);
    }

    #[test]
    fn without_a_near_name_all_are_told() {
        assert_eq!(
            unknown("Limit", &["limit"], "parameter"),
            "is unknown; the closest known parameter is limit"
        );
        assert_eq!(unknown("x", &["limit"], "parameter"), "is unknown; the only known parameter is limit");
        assert_eq!(unknown("x", &["a", "b"], "field"), "is unknown; the known fields are a, b");
        assert_eq!(unknown("x", &[], "parameter"), "is unknown; no parameters are allowed here");
    }
}
