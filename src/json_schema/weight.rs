//! Cost of compiling a schema and validating an answer against it, with every reference followed, because a
//! short schema can expand without limit.

use std::collections::HashMap;

use super::{
    json::Json,
    keywords::{Place, parts},
};
use crate::error::FieldError;

/// Maximum number of schemas, with references expanded.
const MAX_SCHEMAS: u64 = 20_000;
/// Maximum nesting of schemas, with references expanded.
const MAX_HEIGHT: u64 = 100;

/// Cost of a schema. Where several schemas check a value at each level, the number of checks grows
/// exponentially with its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    schemas: u64,
    height: u64,
    /// Number of schemas that apply to the value itself.
    here: u64,
    /// Maximum number of schemas that apply to any one part of the value.
    pub(super) branches: u64,
    /// Whether a value may be nested without limit.
    pub(super) is_recursive: bool,
}

const LIGHT: Weight = Weight { schemas: 1, height: 1, here: 1, branches: 1, is_recursive: false };

/// # Errors
/// Describes a schema that refers to itself without end, or expands to too many.
pub(super) fn weigh(root: &Json, pointer: &str) -> Result<Weight, FieldError> {
    let refuse = |detail: &str| FieldError::new(pointer, detail);
    let mut scale = Scale { root, known: HashMap::new(), gone: HashMap::new(), is_endless: false };
    scale.circles();
    if scale.is_endless {
        return Err(refuse("must not refer to itself without a property or an item in between"));
    }
    let weight = scale.weigh(root);
    if weight.height > MAX_HEIGHT || weight.schemas > MAX_SCHEMAS {
        return Err(refuse("must be simpler: it has too many schemas with references expanded"));
    }
    Ok(weight)
}

struct Scale<'a> {
    root: &'a Json,
    /// Results by address of the schema; `None` while it is being weighed.
    known: HashMap<*const Json, Option<Weight>>,
    /// The same for the search for cycles: `false` while it is in progress.
    gone: HashMap<*const Json, bool>,
    is_endless: bool,
}

impl<'a> Scale<'a> {
    fn parts(&self, schema: &'a Json) -> Vec<(&'a Json, Place)> {
        let Json::Object(object) = schema else { return Vec::new() };
        let target = object.get("$ref").and_then(Json::as_str).and_then(|to| self.root.at(to.get(1..)?));
        let held = parts(object).into_iter().map(|(_, part, place)| (part, place));
        held.chain(target.map(|target| (target, Place::Here))).collect()
    }

    /// Visits all schemas, and looks for cycles that lead into no part of a value.
    fn circles(&mut self) {
        let mut beginnings = vec![self.root];
        while let Some(beginning) = beginnings.pop() {
            self.circle(beginning, &mut beginnings);
        }
    }

    fn circle(&mut self, schema: &'a Json, beginnings: &mut Vec<&'a Json>) {
        match self.gone.get(&std::ptr::from_ref(schema)) {
            Some(true) => return,
            Some(false) => {
                self.is_endless = true;
                return;
            }
            None => {}
        }
        self.gone.insert(schema, false);
        for (part, place) in self.parts(schema) {
            match place {
                Place::Here => self.circle(part, beginnings),
                Place::Inside | Place::Apart => beginnings.push(part),
            }
        }
        self.gone.insert(schema, true);
    }

    fn weigh(&mut self, schema: &'a Json) -> Weight {
        match self.known.get(&std::ptr::from_ref(schema)) {
            Some(Some(weight)) => return *weight,
            Some(None) => return Weight { is_recursive: true, ..LIGHT },
            None => {}
        }
        self.known.insert(schema, None);
        let (mut weight, mut here) = (LIGHT, 0_u64);
        for (part, place) in self.parts(schema) {
            let inner = self.weigh(part);
            weight.height = weight.height.max(inner.height.saturating_add(1));
            weight.is_recursive |= inner.is_recursive;
            weight.schemas = weight.schemas.saturating_add(inner.schemas);
            weight.branches = weight.branches.max(inner.branches);
            if place == Place::Here {
                here = here.saturating_add(inner.here);
            }
        }
        weight.here = here.max(1);
        weight.branches = weight.branches.max(weight.here);
        self.known.insert(schema, Some(weight));
        weight
    }
}
