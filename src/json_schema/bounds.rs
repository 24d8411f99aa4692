//! Bounds set by the keywords of one type, and their intersection.

use super::{
    check::MAX_LENGTH,
    json::{Json, Object},
    pattern,
    shape::{List, Map, Number, Shape, Text},
};

/// Formats that llama.cpp has rules for.
const FORMATS: &[&str] = &["date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"];

/// Formats that can be expressed as a pattern. It allows every usual value: a narrower pattern would keep a
/// model from writing some correct ones.
pub(super) const FORMAT_PATTERNS: &[(&str, &str)] = &[
    ("duration", r"^P([0-9]{1,4}[YMWD]){0,3}(T([0-9]{1,4}[HMS]){1,3})?$"),
    ("email", r"^[A-Za-z0-9][A-Za-z0-9_+.-]{0,40}@[A-Za-z0-9][A-Za-z0-9.-]{0,30}\.[A-Za-z]{2,6}$"),
    ("hostname", r"^[A-Za-z0-9]+([.-][A-Za-z0-9]+)*$"),
    ("ipv4", r"^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$"),
    ("ipv6", r"^[0-9a-f:]{2,39}$"),
    (
        "uri",
        r"^https?://[A-Za-z0-9]+([.-][A-Za-z0-9]+)*(:\d{1,5})?(/[A-Za-z0-9._~%-]*)*(\?[A-Za-z0-9._~%=&+-]*)?$",
    ),
];

pub(super) fn number(object: &Object, is_whole: bool) -> Option<Number> {
    let get = |keyword| object.get(keyword).and_then(Json::as_number);
    let is_true = |keyword| object.get(keyword).and_then(Json::as_bool) == Some(true);
    let step = if is_whole { 1.0 } else { 0.0 };
    // In draft 4, `true` makes a bound exclusive.
    let least = get("minimum").map(|least| inner(least, is_whole, is_true("exclusiveMinimum"), step));
    let most = get("maximum").map(|most| -inner(-most, is_whole, is_true("exclusiveMaximum"), step));
    let above = get("exclusiveMinimum").map(|least| inner(least, is_whole, true, step));
    let below = get("exclusiveMaximum").map(|most| -inner(-most, is_whole, true, step));
    let unbounded = Number { is_whole, least: None, most: None };
    let known = Number { least, most, ..unbounded };
    known.and(&Number { is_whole, least: above, most: below })
}

/// First whole number within a bound.
fn inner(least: f64, is_whole: bool, is_excluded: bool, step: f64) -> f64 {
    if !is_whole {
        return least;
    }
    let first = least.ceil();
    #[expect(clippy::float_cmp, reason = "both are the same number or not")]
    let is_reached = first == least;
    if is_excluded && is_reached { first + step } else { first }
}

pub(super) fn text(object: &Object) -> Option<Text> {
    let count = |keyword| object.get(keyword).and_then(Json::as_count);
    let (mut least, mut most) = (count("minLength").unwrap_or(0), count("maxLength"));
    let format = object.get("format").and_then(Json::as_str);
    let known = FORMAT_PATTERNS.iter().find(|(name, _)| Some(*name) == format).map(|(_, pattern)| *pattern);
    let given = object.get("pattern").and_then(Json::as_str);
    let hir = given.or(known).and_then(|pattern| pattern::parse(pattern).ok());
    let pattern = hir.as_ref().and_then(|hir| pattern::to_engine(hir, least, most));
    if let Some(hir) = hir.as_ref().filter(|_| given.is_some()) {
        let (from, to) = pattern::lengths(hir);
        (least, most) = (least.max(from), least_of(most, to));
    }
    if most.is_some_and(|most| most < least) {
        return None;
    }
    let format = format.filter(|format| FORMATS.contains(format)).map(str::to_owned);
    Some(Text { pattern, format, least, most: most.filter(|most| *most <= MAX_LENGTH) })
}

pub(super) fn least_of<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}

impl Number {
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let is_whole = self.is_whole || other.is_whole;
        let most = least_of(self.most, other.most);
        let least =
            least_of(self.least.map(|least| -least), other.least.map(|least| -least)).map(|least| -least);
        let (least, most) =
            if is_whole { (least.map(f64::ceil), most.map(f64::floor)) } else { (least, most) };
        let is_possible = !matches!((least, most), (Some(least), Some(most)) if least > most);
        is_possible.then_some(Self { is_whole, least, most })
    }
}

impl Text {
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        let (least, most) = (self.least.max(other.least), least_of(self.most, other.most));
        let is_possible = most.is_none_or(|most| most >= least);
        is_possible.then(|| Self {
            pattern: self.pattern.clone().or_else(|| other.pattern.clone()),
            format: self.format.clone().or_else(|| other.format.clone()),
            least,
            most,
        })
    }
}

impl List {
    /// Removes items that no value satisfies; `None` when they are required.
    pub(super) fn possible(mut self) -> Option<Self> {
        let end = self.first.iter().position(Shape::is_never);
        let end = end.or_else(|| self.rest.is_never().then_some(self.first.len()));
        if let Some(end) = end {
            self.most = least_of(self.most, Some(end as u64));
        }
        self.most.is_none_or(|most| most >= self.least).then_some(self)
    }
}

impl Map {
    /// Removes fields that no value satisfies; `None` when they are required.
    pub(super) fn possible(mut self) -> Option<Self> {
        let is_lacking = self.fields.values().any(|field| field.is_required && field.shape.is_never());
        self.fields.retain(|_, field| !field.shape.is_never());
        (!is_lacking).then_some(self)
    }
}
