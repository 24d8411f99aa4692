//! Sanitising of another program's messages before a caller may see them.

/// Longer than any complaint that helps.
const MAX_CHARS: usize = 300;

/// Replaces whatever looks like a path; callers learn nothing of a server's disk. What stands in quotes is
/// one word, since a folder's name may hold spaces.
pub fn without_paths(text: &str) -> String {
    let pieces = text.split('\'').enumerate().map(|(n, piece)| {
        if n % 2 == 1 {
            return if piece.contains('/') { "…".to_owned() } else { piece.to_owned() };
        }
        piece.split(' ').map(|word| if word.contains('/') { "…" } else { word }).collect::<Vec<_>>().join(" ")
    });
    let mut text = pieces.collect::<Vec<_>>().join("'");
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Beginnings of what backends say of themselves, without a word of a request.
const HARMLESS: [&str; 12] = [
    "llama runner process has terminated",
    "llama runner process no longer running",
    "llama runner exited",
    "timed out waiting for llama runner",
    "model requires more system memory",
    "model failed to load",
    "unable to load model",
    "server busy",
    "CUDA error",
    "cudaMalloc failed",
    "Compute error",
    "Loading model",
];

/// Returns the part of a backend's message that may be logged: such messages quote requests, and the log holds nothing that a
/// caller said.
pub fn loggable(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    if HARMLESS.iter().any(|beginning| line.starts_with(beginning)) {
        return without_paths(line);
    }
    "its message may quote the request and is not logged".to_owned()
}

/// Returns the loggable part of a JSON error: serde's own words quote the input.
pub fn json_fault(error: &serde_json::Error) -> String {
    format!("{:?} error in JSON at line {} column {}", error.classify(), error.line(), error.column())
}

/// Whether an error is about the rules that llama.cpp makes of a schema, which mean nothing to a caller.
pub fn is_about_schemas(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["grammar", "schema", "generate parser", "initialize samplers"].iter().any(|word| text.contains(word))
}

/// Replacement for a message that may not be logged.
pub const SCHEMA_REFUSED: &str = "cannot enforce this schema; simplify format or the parameters of the tools";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_backends_say_is_logged_when_it_is_about_themselves() {
        let terminated = "llama runner process has terminated: exit status 2";
        assert_eq!(loggable(terminated), terminated);
        assert_eq!(loggable("CUDA error: out of memory\n  secret"), "CUDA error: out of memory");
        assert!(!loggable("invalid format: secret").contains("secret"));
        let fault = serde_json::from_str::<u32>("\n \"secret\"").expect_err("no number");
        assert_eq!(json_fault(&fault), "Data error in JSON at line 2 column 9");
    }

    #[test]
    fn paths_are_left_out() {
        for (text, shown) in [
            ("failed to load '/a/b c.gguf', stopping", "failed to load '…', stopping"),
            ("no path here, 3 of 4 'words'", "no path here, 3 of 4 'words'"),
            ("cannot open /srv/models/x.gguf", "cannot open …"),
        ] {
            assert_eq!(without_paths(text), shown);
        }
    }

    #[test]
    fn what_is_about_schemas_is_known() {
        for text in [
            "Unable to generate parser for this template. Automatic parser generation failed",
            "Failed to parse grammar",
            "invalid JSON schema in format",
        ] {
            assert!(is_about_schemas(text), "{text}");
        }
        assert!(!is_about_schemas("Conversation roles must alternate"));
    }

    #[test]
    fn a_long_complaint_is_cut() {
        assert_eq!(without_paths(&"ä".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }
}
