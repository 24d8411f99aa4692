use serde_json::{Value, json};

use super::{bounds::FORMAT_PATTERNS, *};
use crate::{
    error::Kind,
    types::{ChatEvent, Done, FinishReason, Prompt, ToolCall},
};

fn asked(format: &Value, parameters: Option<&Value>) -> ChatRequest {
    let tool = |parameters: &Value| Tool {
        name: "f".to_owned(),
        description: None,
        parameters: parameters.clone().into(),
    };
    ChatRequest {
        tools: parameters.map(tool).into_iter().collect(),
        format: if format.is_null() { Format::Text } else { Format::Schema(format.clone().into()) },
        ..ChatRequest::new("m", Prompt::Messages(Vec::new()))
    }
}

fn refused(schema: &Value) -> Vec<(String, String)> {
    let error = prepare(&mut asked(schema, None)).expect_err(&schema.to_string());
    error.field_errors().iter().map(|field| (field.pointer.clone(), field.detail.clone())).collect()
}

fn engine(schema: &Value) -> Value {
    let mut request = asked(schema, None);
    prepare(&mut request).unwrap_or_else(|error| panic!("{schema}: {error:?}"));
    let Format::Schema(engine) = request.format else { panic!("no schema") };
    serde_json::from_str(engine.get()).expect("JSON")
}

/// Whether an answer is let through.
fn fits(schema: &Value, answer: &str) -> bool {
    let mut checks = prepare(&mut asked(schema, None)).unwrap_or_else(|error| panic!("{schema}: {error:?}"));
    checks.take(&ChatEvent::Text(answer.to_owned())).expect("not finished");
    checks.take(&Done::default().into()).is_ok()
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let nested = |inner: Value| json!({"type": "object", "properties": {"a": inner}});
    for (schema, pointer, detail) in [
        (
            json!({"type": "string", "minLength": 5, "maxLength": 1}),
            "/format/minLength",
            "must not be above maxLength",
        ),
        (
            nested(json!({"minItems": 5, "maxItems": 1})),
            "/format/properties/a/minItems",
            "must not be above maxItems",
        ),
        (json!({"minimum": 5, "maximum": 1}), "/format/minimum", "must not be above maximum"),
        (json!({"exclusiveMinimum": 5, "maximum": 5}), "/format/exclusiveMinimum", "must be below maximum"),
        (
            json!({"minProperties": 5, "maxProperties": 1}),
            "/format/minProperties",
            "must not be above maxProperties",
        ),
        (json!({"minLength": -1}), "/format/minLength", "must be a whole number, 0 or above"),
        (json!({"minLength": 2001}), "/format/minLength", "may be at most 2000"),
        (json!({"minItems": 1001}), "/format/minItems", "may be at most 1000"),
        (json!({"maximum": "5"}), "/format/maximum", "must be a number"),
        (
            json!({"type": "nonsense"}),
            "/format/type",
            "must be one or a list of null, boolean, number, integer, string, array, object",
        ),
        (json!({"enum": []}), "/format/enum", "must be a list of at least one value"),
        (json!({"anyOf": []}), "/format/anyOf", "must have at least one schema"),
        (json!({"anyOf": [1]}), "/format/anyOf/0", "must be a JSON Schema: an object, true or false"),
        (json!({"properties": []}), "/format/properties", "must be an object of schemas"),
        (json!({"required": "a"}), "/format/required", "must be a list of names"),
        (json!({"$ref": "#/$defs/a"}), "/format/$ref", "does not point to a schema"),
        (
            json!({"$ref": "https://example.com/a.json"}),
            "/format/$ref",
            "must point to a place in this schema, such as #/$defs/name",
        ),
        (
            json!({"$ref": "file:///etc/passwd"}),
            "/format/$ref",
            "must point to a place in this schema, such as #/$defs/name",
        ),
        (json!({"$dynamicRef": "#a"}), "/format/$dynamicRef", "is not supported; use $ref"),
        (
            json!({"$schema": "https://example.com/draft"}),
            "/format/$schema",
            "must be a draft of json-schema.org, and is only allowed at the top of the schema",
        ),
        (nested(json!({"$id": "b"})), "/format/properties/a/$id", "is only allowed at the top of the schema"),
        (
            nested(json!({"pattern": "^a{5,1}$"})),
            "/format/properties/a/pattern",
            "must be a regular expression: invalid repetition count range, the start must be <= the end",
        ),
        (
            json!({"pattern": "^(?=(a{100}){100})a$"}),
            "/format/pattern",
            "may have at most 2000 characters with repetitions expanded",
        ),
        (json!({"pattern": "^(a)\\1$"}), "/format/pattern", "must not use backreferences"),
        (
            json!({"pattern": "^(a{100}){100}$"}),
            "/format/pattern",
            "may have at most 2000 characters with repetitions expanded",
        ),
        (
            json!({"patternProperties": {"(": {}}}),
            "/format/patternProperties/(",
            "must be a regular expression: unclosed group",
        ),
        (
            json!({"$ref": "#"}),
            "/format",
            "must not refer to itself without a property or an item in between",
        ),
        (
            json!({"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
            "/format",
            "must not refer to itself without a property or an item in between",
        ),
        (
            json!({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
            "/format",
            "must allow a value that ends: each holds another one",
        ),
        (
            json!({"type": "string", "enum": [1]}),
            "/format",
            "must allow some value: its parts exclude one another",
        ),
        (
            json!({"allOf": [{"type": "string"}, {"type": "integer"}]}),
            "/format",
            "must allow some value: its parts exclude one another",
        ),
        (
            json!({"type": "string", "pattern": "^a{9}$", "maxLength": 8}),
            "/format",
            "must allow some value: its parts exclude one another",
        ),
        (json!(false), "/format", "must be a JSON Schema object"),
        (
            json!({"dependentRequired": {"a": 1}}),
            "/format/dependentRequired/a",
            "is not valid in JSON Schema",
        ),
    ] {
        let expected = vec![(pointer.to_owned(), detail.to_owned())];
        assert_eq!(refused(&schema), expected, "{schema}");
    }
    let parameters = json!({"type": "object", "properties": {"a": {"minLength": 2, "maxLength": 1}}});
    let error = prepare(&mut asked(&Value::Null, Some(&parameters))).expect_err("a tool");
    assert_eq!(error.field_errors()[0].pointer, "/tools/0/function/parameters/properties/a/minLength");
    let error = prepare(&mut asked(&Value::Null, Some(&json!({"type": "string"})))).expect_err("a tool");
    assert_eq!(error.field_errors()[0].detail, "must allow some object: its parts exclude one another");
}

#[test]
fn what_is_too_much_is_refused() {
    let many = |count: usize| (0..count).map(|n| json!({"const": format!("value {n}")})).collect::<Vec<_>>();
    let names =
        |count: usize| (0..count).map(|n| (format!("p{n}"), json!({}))).collect::<serde_json::Map<_, _>>();
    let doubled = |keyword: &str| {
        let mut definitions: serde_json::Map<_, _> = (0..40)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                (format!("d{n}"), json!({keyword: [next, next]}))
            })
            .collect();
        definitions.insert("d40".to_owned(), json!({"type": "string"}));
        json!({"$ref": "#/$defs/d0", "$defs": definitions})
    };
    let deep = (0..100).fold(json!({}), |inner, _| json!({"items": inner}));
    let wide = |count: usize| json!({"anyOf": many(count)});
    let objects = |n: usize| json!({"anyOf": (0..20).map(|m| json!({"properties": {format!("p{n}_{m}"): {}}})).collect::<Vec<_>>()});
    let product = json!({"allOf": (0..12).map(objects).collect::<Vec<_>>(), "type": "object"});
    for schema in [
        wide(300),
        json!({"properties": names(10_000)}),
        json!({"properties": names(300)}),
        json!({"enum": (0..600).collect::<Vec<_>>()}),
        json!({"anyOf": [wide(200), wide(200), {"anyOf": (0..200).map(|n| json!({"const": n})).collect::<Vec<_>>()},
            {"anyOf": (1000..1200).map(|n| json!({"const": n})).collect::<Vec<_>>()}]}),
        doubled("allOf"),
        doubled("anyOf"),
        doubled("prefixItems"),
        deep,
        product,
        json!({"description": "x".repeat(70_000)}),
        json!({"anyOf": (53..61).map(|n| json!({"pattern": format!("^([a-z]?){{{n}}}$")})).collect::<Vec<_>>()}),
        json!({"pattern": "(".repeat(60) + &")".repeat(60)}),
        json!({"pattern": "a".repeat(1_001)}),
    ] {
        let found = refused(&schema);
        let shown: String = schema.to_string().chars().take(100).collect();
        assert!(found.iter().all(|(pointer, _)| pointer.starts_with("/format")), "{shown}: {found:?}");
    }
    let mut request = asked(&Value::Null, Some(&json!({})));
    request.tools = vec![request.tools[0].clone(); 129];
    assert_eq!(prepare(&mut request).expect_err("tools").message(), "tools may have at most 128 tools.");
}

#[test]
fn the_engine_gets_what_it_enforces() {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    for (schema, expected) in [
        (json!({}), json!({})),
        (json!({"type": "object"}), json!({"type": "object"})),
        (text(r"^\d{4}-\d{2}$"), text("^[0-9]{4}-[0-9]{2}$")),
        (text(r"\d"), text(r"^[ !#-\x5B\x5D-~\u00A0-\U0010FFFF]*[0-9][ !#-\x5B\x5D-~\u00A0-\U0010FFFF]*$")),
        (text(r"^\w+\.$"), text(r"^[0-9A-Z\x5Fa-z]+\.$")),
        (text("^\"a\\\\$"), text(r#"^\\"a\\\\$"#)),
        (text("^(?:é|b)*$"), text(r"^[b\xE9]*$")),
        (json!({"type": "string", "pattern": "^[a-z]+$", "maxLength": 8}), text("^[a-z]{1,8}$")),
        (
            json!({"type": "string", "pattern": "\\bword\\b", "minLength": 2}),
            json!({"type": "string", "minLength": 4}),
        ),
        (json!({"type": "string", "maxLength": 5_000}), json!({"type": "string"})),
        (json!({"type": "string", "format": "date"}), json!({"type": "string", "format": "date"})),
        (
            json!({"type": "integer", "minimum": 10}),
            json!({"type": "integer", "minimum": 10, "maximum": 999_999_999_999_999_i64}),
        ),
        (
            json!({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3.5}),
            json!({"type": "integer", "minimum": 2, "maximum": 3}),
        ),
        (
            json!({"type": "integer", "minimum": 1e17}),
            json!({"type": "integer", "minimum": 100_000_000_000_000_000_i64, "maximum": 1_000_000_000_000_000_000_i64}),
        ),
        (json!({"type": "number", "minimum": 1.5}), json!({"type": "number"})),
        (json!({"type": ["string", "null"]}), json!({"type": ["string", "null"]})),
        (json!({"anyOf": [{"const": 1}, {"const": 2}, {"const": 1}]}), json!({"enum": [1, 2]})),
        (json!({"type": "string", "enum": ["a", 1]}), json!({"const": "a"})),
        (
            json!({"type": "object", "properties": {"a": {"type": "null"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"anyOf": [
                {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
                {"type": "object", "properties": {"a": {"type": "null"}, "b": {}}, "required": ["b"]},
            ]}),
        ),
        (
            json!({"allOf": [{"$ref": "#/$defs/a%20b"}], "$defs": {"a b": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a%20b"}}}}}),
            json!({"$ref": "#/$defs/a20b", "$defs": {"a20b": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a20b"}}}}}),
        ),
        (
            json!({"allOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"minimum": 3}, "b": false}}], "type": "object"}),
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 999_999_999_999_999_i64}}}),
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": false}),
            json!({"type": "array", "prefixItems": [{"type": "null"}, {"type": "boolean"}]}),
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "null"}, "propertyNames": {"enum": ["a", "b"]}}),
            json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "additionalProperties": false}),
        ),
        (
            json!({"properties": {"a\\]": {"type": "null"}}, "additionalProperties": true}),
            json!({"type": "object", "properties": {"a\\]": {"type": "null"}}, "additionalProperties": false}),
        ),
        (
            json!({"properties": {"": {"type": "null"}}}),
            json!({"$ref": "#/$defs/root", "$defs": {"root": {"type": "object", "properties": {"": {"type": "null"}}}}}),
        ),
    ] {
        assert_eq!(engine(&schema), expected, "{schema}");
    }
}

#[test]
fn a_model_still_reads_what_is_said_of_parameters() {
    let given = r#"{"type":"object","properties":{"z":{"type":"number","description":"d","minimum":1},"a":{"title":"t","type":["string","null"]}},"required":["z"]}"#;
    let mut request = asked(&Value::Null, Some(&Value::Null));
    request
        .tools
        .push(Tool { parameters: serde_json::from_str(given).expect("JSON"), ..request.tools[0].clone() });
    prepare(&mut request).expect("tools");
    let none = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
    assert_eq!(request.tools[0].parameters.get(), none);
    let kept = r#"{"type":"object","properties":{"z":{"type":"number","description":"d","minimum":1},"a":{"type":["string","null"],"title":"t"}},"required":["z"]}"#;
    assert_eq!(request.tools[1].parameters.get(), kept);
}

#[test]
fn a_finished_answer_is_checked_by_the_whole_schema() {
    for (schema, right, wrong) in [
        (json!({"type": "number", "minimum": 100, "maximum": 120}), "110.5", "1000000000000000"),
        (
            json!({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}),
            r#""2021-04-15""#,
            r#""2021-04-15T12:00:00Z""#,
        ),
        (json!({"type": "string", "pattern": "b"}), r#""abc""#, r#""ac""#),
        (json!({"type": "string", "pattern": "^[a-c]*$", "maxLength": 2}), r#""ab""#, r#""abc""#),
        (json!({"type": "integer", "multipleOf": 5}), "10", "11"),
        (json!({"type": "array", "uniqueItems": true}), "[1,2]", "[1,1]"),
        (
            json!({"type": "string", "format": "date-time"}),
            r#""2021-04-15T12:00:00Z""#,
            r#""2021-02-31T12:00:00Z""#,
        ),
        (json!({"type": "string", "format": "email"}), r#""a@b.org""#, r#""a""#),
        (json!({"patternProperties": {"^n": {"type": "integer"}}}), r#"{"n":1}"#, r#"{"n":"1"}"#),
        (json!({"not": {"type": "string"}}), "1", r#""a""#),
        (json!({"if": {"type": "string"}, "then": {"minLength": 2}}), "1", r#""a""#),
        (json!({"dependentRequired": {"a": ["b"]}}), r#"{"a":1,"b":1}"#, r#"{"a":1}"#),
        (json!({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}), "4", "6"),
        (json!({"type": "array", "items": [{"type": "string"}]}), r#"["a"]"#, "[1]"),
        (json!({"type": "object"}), " {} \n", "{"),
    ] {
        assert!(fits(&schema, right), "{schema} {right}");
        assert!(!fits(&schema, wrong), "{schema} {wrong}");
    }
    assert!(fits(&json!({}), "no JSON"), "nothing was asked for");
}

#[test]
fn what_a_pattern_says_ahead_and_behind_is_checked_when_the_answer_is_finished() {
    // Of Pydantic's Decimal and zod's email.
    let decimal = json!({"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"});
    let email = json!({"pattern": r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"});
    let behind = json!({"pattern": "^[ab]+(?<!b)$"});
    for (schema, right, wrong) in [
        (&decimal, r#""-3.50""#, r#""-""#),
        (&email, r#""a.b@example.org""#, r#""a..b@example.org""#),
        (&behind, r#""ba""#, r#""ab""#),
    ] {
        assert!(fits(schema, right) && !fits(schema, wrong), "{schema}");
    }
    let given = engine(&decimal)["pattern"].as_str().map(str::to_owned);
    assert_eq!(given.as_deref(), Some(r"^[\x2B\x2D]?(0)*[0-9]*(\.)?[0-9]*$"));
    let greedy = json!({"pattern": "^(?=(a+)+$)(a+)+$"});
    assert!(!fits(&greedy, &format!("\"{}b\"", "a".repeat(5_000))));
}

#[test]
fn letters_of_all_languages_are_written_as_such() {
    let given = engine(&json!({"type": "string", "pattern": r"^\p{L}+$"}));
    assert_eq!(given["pattern"], r"^[A-Za-z\xA0-\U0010FFFF]+$");
}

#[test]
fn formats_are_held_while_the_model_writes() {
    for (format, _) in FORMAT_PATTERNS {
        let given = engine(&json!({"type": "string", "format": format}));
        assert!(given["pattern"].is_string(), "{format}: {given}");
    }
    for pair in FORMAT_PATTERNS.windows(2) {
        let either: Vec<Value> = pair.iter().map(|(format, _)| json!({"format": format})).collect();
        engine(&json!({"type": "string", "anyOf": either}));
    }
}

#[test]
fn what_was_cut_off_is_no_violation() {
    let schema = json!({"type": "string"});
    let finish = |request: &mut ChatRequest, reason| {
        let mut checks = prepare(request).expect("a schema");
        checks.take(&ChatEvent::Text("\"cut".to_owned())).expect("not finished");
        checks.take(&Done { reason, ..Done::default() }.into())
    };
    for reason in [FinishReason::Length, FinishReason::Context, FinishReason::ContentFilter] {
        finish(&mut asked(&schema, None), reason).expect("it was cut off");
    }
    let error = finish(&mut asked(&schema, None), FinishReason::Stop).expect_err("it was not");
    assert_eq!(error.kind(), Kind::BadGateway);
    let mut stopped = asked(&schema, None);
    stopped.sampling.stop = vec!["t".to_owned()];
    finish(&mut stopped, FinishReason::Stop).expect("the caller's own words did it");
}

#[test]
fn arguments_are_checked_when_they_are_known() {
    let parameters = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let mut checks = prepare(&mut asked(&json!({"type": "string"}), Some(&parameters))).expect("schemas");
    let call = |name: &str, arguments: Value| {
        ChatEvent::from(ToolCall { id: None, name: name.to_owned(), arguments: arguments.into() })
    };
    checks.take(&call("f", json!({"a": 1}))).expect("they fit");
    checks.take(&call("other", json!({}))).expect("not ours to judge");
    assert_eq!(checks.take(&call("f", json!({"a": "1"}))).expect_err("no number").kind(), Kind::BadGateway);
    checks.take(&Done::default().into()).expect("a call is answer enough");
}

#[test]
fn a_deep_answer_is_not_checked_without_end() {
    let node = |name: &str| json!({"type": "object", "properties": {"a": {"$ref": "#"}, name: {"type": "string"}}, "required": [name]});
    let schema = json!({"anyOf": [node("b"), node("c"), node("d"), {"type": "null"}]});
    assert!(fits(&schema, r#"{"a":{"a":null,"b":""},"c":""}"#));
    let deep = (0..60).fold("null".to_owned(), |inner, _| format!(r#"{{"a":{inner},"d":""}}"#));
    assert!(!fits(&schema, &deep));
}
