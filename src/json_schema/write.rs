//! Conversion of a `Shape` to the schema for llama.cpp.

use super::{
    check::MAX_ITEMS,
    json::{Json, Object, segment},
    lower::Lowering,
    shape::{Kind, List, Map, Number, Shape, Text},
};

/// llama.cpp's rule for an integer needs both bounds: with only one, it ignores the number of digits, and does
/// not terminate for a bound of 17.
const MAX_WHOLE: f64 = 999_999_999_999_999.0;
/// Largest bound.
const MAX_BOUND: f64 = 1e18;

/// Writes the schema with the definitions that it uses.
pub(super) fn write(root: &Shape, lowering: &Lowering<'_>, has_notes: bool) -> Json {
    let writer = Writer { lowering, has_notes };
    let mut definitions: Object = lowering
        .definitions
        .iter()
        .filter_map(|known| Some((known.name.clone(), Json::Object(writer.shape(known.shape.as_ref()?)))))
        .collect();
    let mut written = writer.shape(root);
    // A property without a name would replace the root's rule.
    if written.get("properties").and_then(Json::as_object).is_some_and(|fields| fields.contains_key("")) {
        definitions.insert("root".to_owned(), Json::Object(written));
        written = reference("root");
    }
    if !definitions.is_empty() {
        written.insert("$defs".to_owned(), Json::Object(definitions));
    }
    Json::Object(written)
}

struct Writer<'a> {
    lowering: &'a Lowering<'a>,
    has_notes: bool,
}

impl Writer<'_> {
    fn shape(&self, shape: &Shape) -> Object {
        let kinds = shape.offered();
        let mut written = match kinds.as_slice() {
            [] => Object::new(),
            [only] => self.kind(only),
            kinds => self.alternatives(kinds),
        };
        if self.has_notes {
            for (name, note) in &shape.notes {
                written.entry(name.clone()).or_insert_with(|| note.clone());
            }
        }
        written
    }

    fn alternatives(&self, kinds: &[&Kind]) -> Object {
        let names: Option<Vec<Json>> = kinds.iter().map(|kind| kind.type_name().map(Json::from)).collect();
        if let Some(names) = names {
            return object([("type", Json::List(names))]);
        }
        let constant = |kind: &&&Kind| if let Kind::Const(value) = kind { Some(value.clone()) } else { None };
        let values: Vec<Json> = kinds.iter().filter_map(|kind| constant(&kind)).collect();
        if values.len() == kinds.len() {
            return object([("enum", Json::List(values))]);
        }
        let others = kinds.iter().filter(|kind| !matches!(kind, Kind::Const(_)));
        let mut list: Vec<Json> = others.map(|kind| Json::Object(self.kind(kind))).collect();
        if !values.is_empty() {
            list.push(Json::Object(object([("enum", Json::List(values))])));
        }
        object([("anyOf", Json::List(list))])
    }

    fn kind(&self, kind: &Kind) -> Object {
        if let Some(name) = kind.type_name() {
            return object([("type", name.into())]);
        }
        match kind {
            Kind::Ref(number) => reference(&self.lowering.definitions[*number].name),
            Kind::Const(value) => object([("const", value.clone())]),
            Kind::Number(number) => whole(number),
            Kind::Text(text) => written_text(text),
            Kind::List(list) => self.list(list),
            Kind::Map(map) => self.map(map),
            Kind::Null | Kind::Boolean => unreachable!("their type says it all"),
        }
    }

    fn list(&self, list: &List) -> Object {
        let mut written = object([("type", "array".into())]);
        if !list.first.is_empty() {
            let least = usize::try_from(list.least).unwrap_or(usize::MAX);
            let most = usize::try_from(list.most.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let count = list.first.len().max(least).min(most);
            let items = (0..count).map(|n| list.first.get(n).unwrap_or(&list.rest));
            let items = items.map(|item| Json::Object(self.shape(item))).collect();
            written.insert("prefixItems".to_owned(), Json::List(items));
            return written;
        }
        if !list.rest.is_any() && list.most != Some(0) {
            written.insert("items".to_owned(), Json::Object(self.shape(&list.rest)));
        }
        if list.least > 0 {
            written.insert("minItems".to_owned(), list.least.into());
        }
        // Larger numbers are checked in the finished answer.
        if let Some(most) = list.most.filter(|most| *most <= MAX_ITEMS) {
            written.insert("maxItems".to_owned(), most.into());
        }
        written
    }

    fn map(&self, map: &Map) -> Object {
        let mut written = object([("type", "object".into())]);
        if !map.fields.is_empty() {
            let fields = map.fields.iter();
            let fields = fields.map(|(name, field)| (name.clone(), Json::Object(self.shape(&field.shape))));
            written.insert("properties".to_owned(), Json::Object(fields.collect()));
        }
        let required = map.fields.iter().filter(|(_, field)| field.is_required);
        let required: Vec<Json> = required.map(|(name, _)| name.as_str().into()).collect();
        if !required.is_empty() {
            written.insert("required".to_owned(), Json::List(required));
        }
        // llama.cpp writes the letters of all names unescaped into the rule for other names.
        let is_plain =
            |name: &String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let others = map.others.as_ref().map(|others| match others {
            others if others.is_never() => Json::from(false),
            others if others.is_any() => Json::from(true),
            others => Json::Object(self.shape(others)),
        });
        if let Some(others) = others {
            let others = if map.fields.keys().all(is_plain) { others } else { false.into() };
            written.insert("additionalProperties".to_owned(), others);
        }
        written
    }
}

fn object<const N: usize>(fields: [(&str, Json); N]) -> Object {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn reference(name: &str) -> Object {
    object([("$ref", Json::Scalar(format!("#/$defs{}", segment(name)).into()))])
}

fn whole(number: &Number) -> Object {
    let least = number.least.unwrap_or(-MAX_WHOLE).clamp(-MAX_BOUND, MAX_BOUND);
    let most = number.most.unwrap_or(MAX_WHOLE).clamp(-MAX_BOUND, MAX_BOUND);
    let (least, most) = match (number.least, number.most) {
        (Some(_), None) if least > most => (least, MAX_BOUND),
        (None, Some(_)) if least > most => (-MAX_BOUND, most),
        _ => (least, most),
    };
    #[expect(clippy::cast_possible_truncation, reason = "they are clamped")]
    let bound = |bound: f64| Json::Scalar((bound as i64).into());
    object([("type", "integer".into()), ("minimum", bound(least)), ("maximum", bound(most))])
}

fn written_text(text: &Text) -> Object {
    let mut written = object([("type", "string".into())]);
    if let Some(pattern) = &text.pattern {
        written.insert("pattern".to_owned(), pattern.text.as_str().into());
    } else if let Some(format) = &text.format {
        written.insert("format".to_owned(), format.as_str().into());
    } else {
        if text.least > 0 {
            written.insert("minLength".to_owned(), text.least.into());
        }
        if let Some(most) = text.most {
            written.insert("maxLength".to_owned(), most.into());
        }
    }
    written
}
