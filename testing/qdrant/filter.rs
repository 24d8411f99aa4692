//! Conditions on payloads.

use std::collections::HashMap;

use qdrant_client::qdrant::{
    Condition, FieldCondition, Filter, Range, Value, condition::ConditionOneOf, r#match::MatchValue,
    value::Kind,
};

type Payload = HashMap<String, Value>;

pub fn matches(filter: &Filter, payload: &Payload) -> bool {
    filter.must.iter().all(|condition| holds(condition, payload))
        && !filter.must_not.iter().any(|condition| holds(condition, payload))
        && (filter.should.is_empty() || filter.should.iter().any(|condition| holds(condition, payload)))
}

fn holds(condition: &Condition, payload: &Payload) -> bool {
    match condition.condition_one_of.as_ref() {
        Some(ConditionOneOf::Field(field)) => {
            values(payload, &field.key).iter().any(|value| field_holds(field, value))
        }
        Some(ConditionOneOf::Filter(filter)) => matches(filter, payload),
        Some(ConditionOneOf::IsEmpty(empty)) => values(payload, &empty.key).is_empty(),
        Some(ConditionOneOf::Nested(nested)) => {
            values(payload, &nested.key).iter().any(|value| match &value.kind {
                Some(Kind::StructValue(fields)) => {
                    nested.filter.as_ref().is_some_and(|filter| matches(filter, &fields.fields))
                }
                _ => false,
            })
        }
        other => panic!("a condition that is not scripted: {other:?}"),
    }
}

/// The value of a field, or the items of its list.
fn values<'a>(payload: &'a Payload, key: &str) -> Vec<&'a Value> {
    assert!(!key.contains(['.', '[', '"']), "a path that is not scripted: {key}");
    match payload.get(key).map(|value| (value, &value.kind)) {
        None | Some((_, None | Some(Kind::NullValue(_)))) => Vec::new(),
        Some((_, Some(Kind::ListValue(list)))) => list.values.iter().collect(),
        Some((value, _)) => vec![value],
    }
}

fn field_holds(field: &FieldCondition, value: &Value) -> bool {
    let matched = field.r#match.as_ref().and_then(|wanted| wanted.match_value.as_ref());
    match (matched, &field.range, &value.kind) {
        (Some(MatchValue::Keyword(wanted)), None, Some(Kind::StringValue(text))) => text == wanted,
        (Some(MatchValue::Keywords(wanted)), None, Some(Kind::StringValue(text))) => {
            wanted.strings.contains(text)
        }
        (None, Some(range), Some(Kind::DoubleValue(number))) => is_in(range, *number),
        (None, Some(range), Some(Kind::IntegerValue(number))) => is_in(range, *number as f64),
        _ => false,
    }
}

fn is_in(range: &Range, number: f64) -> bool {
    range.gt.is_none_or(|bound| number > bound)
        && range.gte.is_none_or(|bound| number >= bound)
        && range.lt.is_none_or(|bound| number < bound)
        && range.lte.is_none_or(|bound| number <= bound)
}
