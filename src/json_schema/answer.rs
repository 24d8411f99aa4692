//! Validation of a finished answer against its schema.

use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::{json::Json, keywords::parts, weight::Weight};
use crate::error::FieldError;

/// Maximum number of schemas that are checked for each part of an answer.
const MAX_CHECKS: f64 = 1e6;
/// Maximum number of backtracking steps of a pattern for one text.
const MAX_TRIES: usize = 10_000;

/// Compiled schema; its clones share it.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    validator: Arc<Validator>,
    /// Maximum depth of an answer; a recursive schema with branches needs more checks at each level.
    depth: Option<usize>,
}

impl Rules {
    /// # Errors
    /// Describes any other fault of the schema.
    pub(super) fn new(text: &str, root: &Json, weight: Weight, pointer: &str) -> Result<Self, FieldError> {
        let refuse = |place: &str, detail: &str| FieldError::new(format!("{pointer}{place}"), detail);
        let given: Value = serde_json::from_str(text).map_err(|_| refuse("", "must be a JSON Schema"))?;
        let options = jsonschema::options().with_draft(draft(root)).offline().should_validate_formats(true);
        let validator = options
            .clone()
            .with_pattern_options(PatternOptions::regex())
            .build(&given)
            // Lookaround patterns need the other engine, which may backtrack.
            .or_else(|_| {
                let tries = PatternOptions::fancy_regex().backtrack_limit(MAX_TRIES);
                options.with_pattern_options(tries).build(&given)
            })
            .map_err(|error| refuse(&error.instance_path().to_string(), "is not valid in JSON Schema"))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let depth = (weight.is_recursive && weight.branches > 1)
            .then(|| (MAX_CHECKS.ln() / (weight.branches as f64).ln()) as usize);
        Ok(Self { validator: Arc::new(validator), depth })
    }

    /// # Errors
    /// Keyword that the answer does not satisfy.
    pub(super) fn check(&self, answer: &Value) -> Result<(), String> {
        if self.depth.is_some_and(|depth| is_deeper(answer, depth)) {
            return Err("it is nested too deeply to be validated".to_owned());
        }
        self.validator
            .validate(answer)
            .map_err(|error| format!("{} is not satisfied", error.kind().keyword()))
    }
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    let inner = |value| depth == 0 || is_deeper(value, depth - 1);
    match value {
        Value::Array(list) => list.iter().any(inner),
        Value::Object(object) => object.values().any(inner),
        _ => false,
    }
}

/// Selects the newest draft, unless the schema names another or uses keywords that the newest lacks.
fn draft(root: &Json) -> Draft {
    fn has(schema: &Json, is: &impl Fn(&str, &Json) -> bool) -> bool {
        schema.as_object().is_some_and(|object| {
            object.iter().any(|(keyword, value)| is(keyword, value))
                || parts(object).into_iter().any(|(_, part, _)| has(part, is))
        })
    }
    if has(root, &|keyword, value| keyword.starts_with("exclusiveM") && value.as_bool().is_some()) {
        Draft::Draft4
    } else if has(root, &|keyword, value| match keyword {
        "items" => value.as_list().is_some(),
        _ => keyword == "additionalItems" || keyword == "dependencies",
    }) {
        Draft::Draft7
    } else {
        Draft::Draft202012
    }
}
