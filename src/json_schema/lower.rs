//! Conversion of a schema to its `Shape`.

use std::collections::HashMap;

use super::{
    bounds::{least_of, number, text},
    json::{Json, Object},
    shape::{Choice, Choices, Field, Kind, List, Map, Shape},
};

/// Limit on the work of merging the parts of one schema.
const MAX_STEPS: usize = 50_000;

pub(super) struct Definition {
    pub(super) name: String,
    /// `None` while it is being converted.
    pub(super) shape: Option<Shape>,
}

/// Shapes of one schema and of the definitions that it refers to.
pub(super) struct Lowering<'a> {
    root: &'a Json,
    pub(super) definitions: Vec<Definition>,
    known: HashMap<*const Json, usize>,
    steps: usize,
}

/// Annotations for the model, which produce no rule.
const NOTES: &[&str] = &[
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "multipleOf",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

impl<'a> Lowering<'a> {
    pub(super) fn new(root: &'a Json) -> Self {
        Self { root, definitions: Vec::new(), known: HashMap::new(), steps: 0 }
    }

    /// Whether the conversion was given up because it took too long.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps > MAX_STEPS
    }

    fn step(&mut self) -> bool {
        self.steps += 1;
        !self.is_exhausted()
    }

    pub(super) fn lower(&mut self, schema: &'a Json) -> Shape {
        let Json::Object(object) = schema else {
            return if schema.as_bool() == Some(false) { Shape::never() } else { Shape::any() };
        };
        if !self.step() {
            return Shape::any();
        }
        let mut shape = self.own(object);
        if let Some(target) = object.get("$ref").and_then(Json::as_str).and_then(|to| self.root.at(&to[1..]))
        {
            let target = Shape::one(Kind::Ref(self.definition(target, object)));
            shape = self.both(shape, &target);
        }
        for part in object.get("allOf").and_then(Json::as_list).into_iter().flatten() {
            let part = self.lower(part);
            shape = self.both(shape, &part);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(parts) = object.get(keyword).and_then(Json::as_list) {
                let parts: Vec<Shape> = parts.iter().map(|part| self.lower(part)).collect();
                shape = self.both(shape, &one_of(parts));
            }
        }
        let noted = NOTES.iter().filter_map(|name| Some(((*name).to_owned(), object.get(*name)?.clone())));
        shape.notes = noted.collect();
        shape
    }

    /// Pointer to the definition that this schema refers to.
    fn definition(&mut self, target: &'a Json, from: &Object) -> usize {
        if let Some(known) = self.known.get(&std::ptr::from_ref(target)) {
            return *known;
        }
        let name = from.get("$ref").and_then(Json::as_str).and_then(|to| to.rsplit('/').next());
        // llama.cpp would make one rule of two names that differ only in other characters.
        let mut name: String = name.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
        let number = self.definitions.len();
        if name.is_empty() || self.definitions.iter().any(|known| known.name == name) {
            name = format!("{name}x{number}");
        }
        self.known.insert(target, number);
        self.definitions.push(Definition { name, shape: None });
        self.definitions[number].shape = Some(self.lower(target));
        number
    }

    /// Lowers the schema's own keywords.
    fn own(&mut self, object: &'a Object) -> Shape {
        const ALL: [&str; 6] = ["object", "array", "string", "number", "boolean", "null"];
        let values: Option<Vec<&Json>> =
            match (object.get("const"), object.get("enum").and_then(Json::as_list)) {
                (None, None) => None,
                (Some(only), None) => Some(vec![only]),
                (None, Some(list)) => Some(list.iter().collect()),
                (Some(only), Some(list)) => Some(list.iter().filter(|value| *value == only).collect()),
            };
        let types: Option<Vec<&str>> = object.get("type").map(|given| match given.as_str() {
            Some(one) => vec![one],
            None => given.names().collect(),
        });
        let is_typed = types.is_some();
        let mut choices = Vec::new();
        for name in types.unwrap_or_else(|| ALL.to_vec()) {
            let (kind, is_said) = self.kind(name, object);
            choices.extend(kind.map(|kind| Choice { kind, is_implied: !(is_typed || is_said) }));
        }
        match values {
            Some(values) => {
                let mut kept: Vec<&Json> = Vec::new();
                for value in values {
                    if choices.iter().any(|choice| choice.kind.allows(value)) && !kept.contains(&value) {
                        kept.push(value);
                    }
                }
                Shape::of(kept.into_iter().map(|value| Kind::Const(value.clone()).into()).collect())
            }
            None if choices.len() == ALL.len() && choices.iter().all(|choice| choice.is_implied) => {
                Shape::any()
            }
            None => Shape::of(choices),
        }
    }

    /// Returns the shape of values of one type, if any can be, and whether any keyword constrains it.
    fn kind(&mut self, name: &str, object: &'a Object) -> (Option<Kind>, bool) {
        let has = |keywords: &[&str]| keywords.iter().any(|keyword| object.contains_key(*keyword));
        match name {
            "null" => (Some(Kind::Null), false),
            "boolean" => (Some(Kind::Boolean), false),
            "integer" | "number" => {
                let said = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
                (number(object, name == "integer").map(Kind::Number), has(&said))
            }
            "string" => (text(object).map(Kind::Text), has(&["pattern", "format", "minLength", "maxLength"])),
            "array" => {
                let said = ["items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"];
                (self.list(object).map(|list| Kind::List(Box::new(list))), has(&said))
            }
            _ => {
                let said =
                    ["properties", "required", "additionalProperties", "patternProperties", "propertyNames"];
                (self.map(object).map(|map| Kind::Map(Box::new(map))), has(&said))
            }
        }
    }

    fn list(&mut self, object: &'a Object) -> Option<List> {
        let first = object.get("prefixItems").or_else(|| object.get("items")).and_then(Json::as_list);
        let rest = match object.get("items") {
            Some(Json::List(_)) => object.get("additionalItems"),
            rest => rest,
        };
        let first = first.unwrap_or_default().iter().map(|item| self.lower(item)).collect();
        let rest = rest.map_or_else(Shape::any, |rest| self.lower(rest));
        let count = |keyword| object.get(keyword).and_then(Json::as_count);
        List { first, rest, least: count("minItems").unwrap_or(0), most: count("maxItems") }.possible()
    }

    fn map(&mut self, object: &'a Object) -> Option<Map> {
        let mut map = Map::open();
        let properties = object.get("properties").and_then(Json::as_object);
        let required: Vec<&str> =
            object.get("required").map(|list| list.names().collect()).unwrap_or_default();
        for (name, schema) in properties.into_iter().flatten() {
            let field = Field { shape: self.lower(schema), is_required: required.contains(&name.as_str()) };
            map.fields.insert(name.clone(), field);
        }
        map.others = object.get("additionalProperties").map(|schema| self.lower(schema));
        if let Some(patterns) = object.get("patternProperties").and_then(Json::as_object) {
            map.is_exact = false;
            let mut parts: Vec<Shape> = patterns.values().map(|schema| self.lower(schema)).collect();
            parts.extend(map.others.take().filter(|others| !others.is_never()));
            map.others = Some(one_of(parts));
        }
        self.named(object, &mut map);
        for name in required {
            if !map.fields.contains_key(name) {
                let shape = map.others.clone().unwrap_or_else(Shape::any);
                map.fields.insert(name.to_owned(), Field { shape, is_required: true });
            }
        }
        map.possible()
    }

    /// Names from a list are fields.
    fn named(&mut self, object: &'a Object, map: &mut Map) {
        let Some(names) = object.get("propertyNames") else { return };
        let Choices::Some(choices) = self.lower(names).choices else { return };
        let resolved = |choice: &Choice| match &choice.kind {
            Kind::Ref(number) => self.definitions[*number].shape.clone(),
            kind => Some(Shape::one(kind.clone())),
        };
        let names: Option<Vec<String>> = choices
            .iter()
            .map(|choice| match resolved(choice)?.choices {
                Choices::Some(kinds) => kinds
                    .iter()
                    .map(|choice| {
                        if let Kind::Const(name) = &choice.kind {
                            name.as_str().map(str::to_owned)
                        } else {
                            None
                        }
                    })
                    .collect::<Option<Vec<String>>>(),
                Choices::Any => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|names| names.concat());
        let Some(names) = names else { return };
        let others = map.others.replace(Shape::never()).unwrap_or_else(Shape::any);
        map.is_exact = true;
        for name in names {
            let field = || Field { shape: others.clone(), is_required: false };
            map.fields.entry(name).or_insert_with(field);
        }
    }

    /// Returns the intersection of both, or a superset where a definition refers to itself.
    pub(super) fn both(&mut self, a: Shape, b: &Shape) -> Shape {
        let (a, b) = match (a.choices, &b.choices) {
            (Choices::Any, b) => return Shape { choices: b.clone(), notes: Vec::new() },
            (a, Choices::Any) => return Shape { choices: a, notes: Vec::new() },
            (Choices::Some(a), Choices::Some(b)) => (a, b),
        };
        let mut both: Vec<Choice> = Vec::new();
        for one in &a {
            for other in b {
                if !self.step() {
                    return Shape::of(a.clone());
                }
                both.extend(self.pair(one, other));
            }
        }
        Shape::of(both)
    }

    fn pair(&mut self, a: &Choice, b: &Choice) -> Vec<Choice> {
        let is_implied = a.is_implied && b.is_implied;
        let kind = match (&a.kind, &b.kind) {
            (Kind::Ref(one), Kind::Ref(other)) if one == other => Some(a.kind.clone()),
            (Kind::Ref(number), _) => return self.expand(*number, b),
            (_, Kind::Ref(number)) => return self.expand(*number, a),
            (Kind::Const(value), kind) | (kind, Kind::Const(value)) => {
                kind.allows(value).then(|| Kind::Const(value.clone()))
            }
            (Kind::Null, Kind::Null) => Some(Kind::Null),
            (Kind::Boolean, Kind::Boolean) => Some(Kind::Boolean),
            (Kind::Number(a), Kind::Number(b)) => a.and(b).map(Kind::Number),
            (Kind::Text(a), Kind::Text(b)) => a.and(b).map(Kind::Text),
            (Kind::List(a), Kind::List(b)) => self.lists(a, b).map(|list| Kind::List(Box::new(list))),
            (Kind::Map(a), Kind::Map(b)) => self.maps(a, b).map(|map| Kind::Map(Box::new(map))),
            _ => None,
        };
        kind.map(|kind| Choice { kind, is_implied }).into_iter().collect()
    }

    /// Returns the intersection with a definition; with one that is still being converted, only the other.
    fn expand(&mut self, number: usize, other: &Choice) -> Vec<Choice> {
        let Some(shape) = self.definitions[number].shape.clone() else { return vec![other.clone()] };
        match self.both(shape, &Shape::of(vec![other.clone()])).choices {
            Choices::Some(choices) => choices,
            Choices::Any => vec![other.clone()],
        }
    }

    fn lists(&mut self, a: &List, b: &List) -> Option<List> {
        let item = |list: &List, n: usize| list.first.get(n).unwrap_or(&list.rest).clone();
        let first =
            (0..a.first.len().max(b.first.len())).map(|n| self.both(item(a, n), &item(b, n))).collect();
        let rest = self.both(a.rest.clone(), &b.rest);
        List { first, rest, least: a.least.max(b.least), most: least_of(a.most, b.most) }.possible()
    }

    fn maps(&mut self, a: &Map, b: &Map) -> Option<Map> {
        let mut map = Map::open();
        for (name, field) in
            a.fields.iter().chain(b.fields.iter().filter(|(name, _)| !a.fields.contains_key(*name)))
        {
            let (one, other) = (a.fields.get(name), b.fields.get(name));
            let mut shape = field.shape.clone();
            if let (Some(_), Some(other)) = (one, other) {
                shape = self.both(shape, &other.shape);
            } else {
                let elsewhere = if one.is_some() { b } else { a };
                if let Some(others) = elsewhere.others.as_ref().filter(|_| elsewhere.is_exact) {
                    shape = self.both(shape, others);
                }
            }
            let is_required = [one, other].into_iter().flatten().any(|field| field.is_required);
            map.fields.insert(name.clone(), Field { shape, is_required });
        }
        map.is_exact = a.is_exact && b.is_exact;
        map.others = match (&a.others, &b.others) {
            (Some(a), Some(b)) => Some(self.both(a.clone(), b)),
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        map.possible()
    }
}

/// Union of several shapes, without duplicates.
fn one_of(parts: Vec<Shape>) -> Shape {
    let mut all: Vec<Choice> = Vec::new();
    for part in parts {
        let Choices::Some(choices) = part.choices else { return Shape::any() };
        for choice in choices {
            match all.iter_mut().find(|known| known.kind.is_same(&choice.kind)) {
                Some(known) => known.is_implied &= choice.is_implied,
                None => all.push(choice),
            }
        }
    }
    Shape::of(all)
}
