//! Schema reduced to what llama.cpp supports: alternatives, each of one type. It may allow more than the
//! schema, since a finished answer is validated against the schema.

use indexmap::IndexMap;

use super::{json::Json, pattern::Pattern};

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) choices: Choices,
    /// Annotations for the model.
    pub(super) notes: Vec<(String, Json)>,
}

#[derive(Clone, Debug)]
pub(super) enum Choices {
    Any,
    /// Alternatives; without any, no value is valid.
    Some(Vec<Choice>),
}

#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) kind: Kind,
    /// Implied, because the schema restricts no type: not offered if other types are named or bounded.
    pub(super) is_implied: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Index in the list of definitions.
    Ref(usize),
    Const(Json),
    Null,
    Boolean,
    Number(Number),
    Text(Text),
    List(Box<List>),
    Map(Box<Map>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Number {
    pub(super) is_whole: bool,
    pub(super) least: Option<f64>,
    pub(super) most: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) pattern: Option<Pattern>,
    /// A format that llama.cpp has a rule for.
    pub(super) format: Option<String>,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) first: Vec<Shape>,
    pub(super) rest: Shape,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) fields: IndexMap<String, Field>,
    pub(super) others: Option<Shape>,
    /// Whether `others` applies to every other name, and not only to those that match no pattern.
    pub(super) is_exact: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) shape: Shape,
    pub(super) is_required: bool,
}

impl Shape {
    pub(super) fn any() -> Self {
        Self { choices: Choices::Any, notes: Vec::new() }
    }

    pub(super) fn never() -> Self {
        Self::of(Vec::new())
    }

    pub(super) fn of(choices: Vec<Choice>) -> Self {
        Self { choices: Choices::Some(choices), notes: Vec::new() }
    }

    pub(super) fn one(kind: Kind) -> Self {
        Self::of(vec![kind.into()])
    }

    pub(super) fn is_never(&self) -> bool {
        matches!(&self.choices, Choices::Some(choices) if choices.is_empty())
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self.choices, Choices::Any)
    }

    /// Alternatives to write; an empty list allows every value.
    pub(super) fn offered(&self) -> Vec<&Kind> {
        let Choices::Some(choices) = &self.choices else { return Vec::new() };
        let is_said = choices.iter().any(|choice| !choice.is_implied);
        let offered = choices.iter().filter(|choice| !(is_said && choice.is_implied));
        offered.map(|choice| &choice.kind).collect()
    }
}

impl From<Kind> for Choice {
    fn from(kind: Kind) -> Self {
        Self { kind, is_implied: false }
    }
}

impl Map {
    pub(super) fn open() -> Self {
        Self { fields: IndexMap::new(), others: None, is_exact: true }
    }
}

impl Kind {
    /// Whether it has no constraint but its type.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Null => Some("null"),
            Self::Boolean => Some("boolean"),
            Self::Number(Number { is_whole: true, least: None, most: None }) => Some("integer"),
            Self::Number(Number { is_whole: false, .. }) => Some("number"),
            Self::Text(Text { pattern: None, format: None, least: 0, most: None }) => Some("string"),
            _ => None,
        }
    }

    /// Whether it is certainly equal to another.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_plain = |kind: &Self| {
            !matches!(kind, Self::Number(Number { least: Some(_), .. } | Number { most: Some(_), .. }))
        };
        match (self, other) {
            (Self::Const(a), Self::Const(b)) => a == b,
            (Self::Ref(a), Self::Ref(b)) => a == b,
            (a, b) => a.type_name().is_some() && a.type_name() == b.type_name() && is_plain(a) && is_plain(b),
        }
    }

    /// Whether a value is of its type and within its simple bounds.
    pub(super) fn allows(&self, value: &Json) -> bool {
        let number = value.as_number();
        match self {
            Self::Ref(_) => true,
            Self::Const(known) => known == value,
            Self::Null => matches!(value, Json::Scalar(value) if value.is_null()),
            Self::Boolean => value.as_bool().is_some(),
            Self::Number(Number { is_whole, least, most }) => number.is_some_and(|number| {
                (!is_whole || number.fract() == 0.0)
                    && least.is_none_or(|least| number >= least)
                    && most.is_none_or(|most| number <= most)
            }),
            Self::Text(Text { least, most, .. }) => value.as_str().is_some_and(|text| {
                let length = text.chars().count() as u64;
                length >= *least && most.is_none_or(|most| length <= most)
            }),
            Self::List(list) => value.as_list().is_some_and(|items| {
                items.len() as u64 >= list.least && list.most.is_none_or(|most| items.len() as u64 <= most)
            }),
            Self::Map(map) => value.as_object().is_some_and(|object| {
                map.fields.iter().all(|(name, field)| !field.is_required || object.contains_key(name))
            }),
        }
    }
}
