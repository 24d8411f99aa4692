//! Callers' JSON Schemas, for answers (`format`) and for the arguments of tools. llama.cpp compiles them to a
//! grammar that constrains the model; some take it forever, and some keywords it ignores without an error. So
//! a schema is checked before a backend gets it, the backend gets a version that it can enforce, and the
//! finished answer is validated against the caller's own schema.
//!
//! Nothing here depends on a backend: whether a request is rejected depends on the request alone.

mod answer;
mod bounds;
mod check;
mod checks;
mod ecma;
mod effort;
mod json;
mod keywords;
mod lower;
mod no_parameters;
mod pattern;
mod shape;
#[cfg(test)]
mod tests;
mod weight;
mod write;

pub use self::checks::Checks;
use self::{
    answer::Rules,
    json::Json,
    lower::Lowering,
    shape::{Kind as ShapeKind, Map, Shape},
};
use crate::{
    error::{Error, FieldError, MAX_FIELDS, Result},
    types::{ChatRequest, Format, JsonText, Tool},
};

/// Maximum nesting of lists and objects.
const MAX_DEPTH: usize = 64;
const MAX_BYTES: usize = 64_000;
const MAX_TOOLS: usize = 128;
const MAX_TOOL_NAME: usize = 128;

/// Replaces a request's schemas with what a backend can enforce, and returns the checks for its answer.
///
/// # Errors
/// `Invalid`, with the pointer to each fault of a schema.
pub fn prepare(request: &mut ChatRequest) -> Result<Checks> {
    let (mut faults, mut rules) = (Vec::new(), 0);
    let mut checks = Checks::new(&request.sampling.stop);
    if let Format::Schema(given) = &request.format {
        match Schema::read(given, "/format", Purpose::Answer) {
            Ok(schema) => {
                rules += schema.effort;
                checks.answer = schema.rules;
                request.format = Format::Schema(schema.engine);
            }
            Err(found) => faults.extend(found),
        }
    }
    if request.tools.len() > MAX_TOOLS {
        faults.push(fault("/tools", format!("may have at most {MAX_TOOLS} tools")));
        return Err(Error::fields(faults));
    }
    for (number, tool) in request.tools.iter_mut().enumerate() {
        match prepare_tool(tool, number) {
            Ok((effort, known)) => {
                rules += effort;
                checks.tools.extend(known.map(|known| (tool.name.clone(), known)));
            }
            Err(found) => faults.extend(found),
        }
        if rules > effort::MAX_RULES {
            faults.push(fault("/tools", "must be fewer or have simpler parameters".to_owned()));
        }
        if faults.len() >= MAX_FIELDS {
            break;
        }
    }
    if faults.is_empty() { Ok(checks) } else { Err(Error::fields(faults)) }
}

fn prepare_tool(tool: &mut Tool, number: usize) -> Result<(u64, Option<Rules>), Vec<FieldError>> {
    let place = format!("/tools/{number}/function");
    if tool.name.is_empty() || tool.name.chars().count() > MAX_TOOL_NAME {
        let detail = format!("must have 1 to {MAX_TOOL_NAME} characters");
        return Err(vec![fault(&format!("{place}/name"), detail)]);
    }
    no_parameters::complete(&mut tool.parameters);
    let schema = Schema::read(&tool.parameters, &format!("{place}/parameters"), Purpose::Parameters)?;
    tool.parameters = no_parameters::closed(&tool.parameters).unwrap_or(schema.engine);
    Ok((schema.effort, schema.rules))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Answer,
    /// Arguments are always an object, and the model reads their annotations.
    Parameters,
}

/// A schema that has been accepted.
struct Schema {
    /// Schema that the backend enforces.
    engine: JsonText,
    /// Cost for the engine.
    effort: u64,
    /// `None` if it allows every value.
    rules: Option<Rules>,
}

impl Schema {
    fn read(given: &JsonText, pointer: &str, purpose: Purpose) -> Result<Self, Vec<FieldError>> {
        let refuse = |detail: String| vec![fault(pointer, detail)];
        if given.get().len() > MAX_BYTES {
            return Err(refuse(format!("must be at most {} kB of JSON", MAX_BYTES / 1000)));
        }
        if given.depth() > MAX_DEPTH {
            return Err(refuse(format!("must not be nested more than {MAX_DEPTH} levels deep")));
        }
        if !given.is_object() {
            return Err(refuse("must be a JSON Schema object".to_owned()));
        }
        if let Some(place) = given.repeated_name() {
            return Err(vec![fault(&format!("{pointer}{place}"), "is given twice".to_owned())]);
        }
        let root: Json = serde_json::from_str(given.get())
            .map_err(|_| refuse("must be a JSON Schema object".to_owned()))?;
        let faults = check::check(&root, pointer);
        if !faults.is_empty() {
            return Err(faults);
        }
        let weight = weight::weigh(&root, pointer).map_err(|fault| vec![fault])?;
        let rules = Rules::new(given.get(), &root, weight, pointer).map_err(|fault| vec![fault])?;
        let mut lowering = Lowering::new(&root);
        let mut shape = lowering.lower(&root);
        if purpose == Purpose::Parameters {
            let notes = std::mem::take(&mut shape.notes);
            shape = lowering.both(shape, &Shape::one(ShapeKind::Map(Box::new(Map::open()))));
            shape.notes = notes;
        }
        if lowering.is_exhausted() {
            return Err(refuse("must be simpler: its parts have too many combinations".to_owned()));
        }
        if shape.is_never() {
            let what = if purpose == Purpose::Parameters { "object" } else { "value" };
            return Err(refuse(format!("must allow some {what}: its parts exclude one another")));
        }
        if !effort::ends(&shape, &lowering) {
            return Err(refuse("must allow a value that ends: each holds another one".to_owned()));
        }
        let effort = effort::measure(&shape, &lowering).map_err(refuse)?;
        let engine = write::write(&shape, &lowering, purpose == Purpose::Parameters);
        let engine = serde_json::to_string(&engine).and_then(|text| serde_json::from_str(&text));
        let engine = engine.map_err(|_| refuse("must be a JSON Schema object".to_owned()))?;
        let is_open = root.as_object().is_some_and(|object| object.is_empty());
        Ok(Self { engine, effort, rules: (!is_open).then_some(rules) })
    }
}

fn fault(pointer: &str, detail: String) -> FieldError {
    FieldError::new(pointer, detail)
}
