//! Cost of a `Shape` in llama.cpp, which delays every other request: rules to compile, and alternatives to
//! try for each token. Also whether a value can be finite.

use super::{
    check::MAX_ITEMS,
    lower::Lowering,
    shape::{Choices, Kind, Shape},
};

/// Maximum number of elements of rules.
pub(super) const MAX_RULES: u64 = 60_000;
/// Maximum number of alternatives open at one time: each is tried with every token of the vocabulary.
pub(super) const MAX_CHOICES: u64 = 512;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    pub(super) rules: u64,
    pub(super) choices: u64,
}

/// # Errors
/// Limit that is exceeded.
pub(super) fn measure(root: &Shape, lowering: &Lowering<'_>) -> Result<u64, String> {
    let mut gauge = Gauge { lowering, known: vec![None; lowering.definitions.len()] };
    let mut effort = gauge.shape(root);
    for number in 0..lowering.definitions.len() {
        let more = gauge.definition(number);
        effort.rules = effort.rules.saturating_add(more.rules);
        effort.choices = effort.choices.max(more.choices);
    }
    if effort.choices > MAX_CHOICES {
        return Err(format!(
            "must be simpler: {} alternatives are possible at one point, but at most {MAX_CHOICES} are allowed",
            effort.choices
        ));
    }
    if effort.rules > MAX_RULES {
        return Err("must be simpler: it has too many properties, values and repetitions".to_owned());
    }
    Ok(effort.rules)
}

/// Whether a value can be finite; not one that must contain another of its kind.
pub(super) fn ends(root: &Shape, lowering: &Lowering<'_>) -> bool {
    let mut ending = vec![false; lowering.definitions.len()];
    loop {
        let now: Vec<bool> = lowering
            .definitions
            .iter()
            .map(|known| known.shape.as_ref().is_none_or(|shape| shape_ends(shape, &ending)))
            .collect();
        if now == ending {
            return shape_ends(root, &ending) && ending.into_iter().all(|ends| ends);
        }
        ending = now;
    }
}

fn shape_ends(shape: &Shape, ending: &[bool]) -> bool {
    let kinds = shape.offered();
    shape.is_any()
        || kinds.iter().any(|kind| match kind {
            Kind::Ref(number) => ending[*number],
            Kind::List(list) => {
                list.first.iter().all(|item| shape_ends(item, ending))
                    && (list.least <= list.first.len() as u64 || shape_ends(&list.rest, ending))
            }
            Kind::Map(map) => {
                map.fields.values().all(|field| !field.is_required || shape_ends(&field.shape, ending))
            }
            _ => true,
        })
}

struct Gauge<'a> {
    lowering: &'a Lowering<'a>,
    known: Vec<Option<Effort>>,
}

impl Gauge<'_> {
    fn definition(&mut self, number: usize) -> Effort {
        if let Some(known) = self.known[number] {
            return known;
        }
        // Within itself, it is the name of a rule.
        self.known[number] = Some(Effort { rules: 1, choices: 1 });
        let effort = self.lowering.definitions[number].shape.as_ref().map(|shape| self.shape(shape));
        let effort = effort.unwrap_or_default();
        self.known[number] = Some(effort);
        effort
    }

    fn shape(&mut self, shape: &Shape) -> Effort {
        if let Choices::Any = shape.choices {
            return Effort { rules: 20, choices: 7 };
        }
        let mut sum = Effort::default();
        for kind in shape.offered() {
            let effort = self.kind(kind);
            sum.rules = sum.rules.saturating_add(effort.rules);
            sum.choices = sum.choices.saturating_add(effort.choices);
        }
        sum
    }

    fn kind(&mut self, kind: &Kind) -> Effort {
        let simple = |rules| Effort { rules, choices: 1 };
        match kind {
            Kind::Ref(number) => Effort { rules: 1, ..self.definition(*number) },
            Kind::Const(value) => simple(serde_json::to_string(value).map_or(0, |text| text.len() as u64)),
            Kind::Null | Kind::Boolean => simple(4),
            Kind::Number(_) => simple(40),
            Kind::Text(text) => match &text.pattern {
                // Each way through a pattern leads to others with the next letter of the same token.
                Some(pattern) => {
                    Effort { rules: pattern.size, choices: pattern.choices.max(pattern.choices.pow(2) / 8) }
                }
                None => simple(text.most.unwrap_or(text.least)),
            },
            Kind::List(list) => {
                let mut all = self.shape(&list.rest);
                all.rules = all.rules.saturating_add(
                    list.most.filter(|most| *most <= MAX_ITEMS).unwrap_or(list.least).saturating_mul(3),
                );
                for item in &list.first {
                    let effort = self.shape(item);
                    all.rules = all.rules.saturating_add(effort.rules);
                    all.choices = all.choices.max(effort.choices);
                }
                all
            }
            Kind::Map(map) => {
                // Any of the optional ones may be next, and for each of them llama.cpp iterates over its
                // possible successors.
                let optional = map.fields.values().filter(|field| !field.is_required).count() as u64;
                let mut all = map.others.as_ref().map(|others| self.shape(others)).unwrap_or_default();
                all.choices = all.choices.max(optional).max(1);
                all.rules = all.rules.saturating_add(optional.pow(3) / 25);
                for (name, field) in &map.fields {
                    let effort = self.shape(&field.shape);
                    all.rules = all.rules.saturating_add(effort.rules).saturating_add(name.len() as u64);
                    all.choices = all.choices.max(effort.choices);
                }
                all
            }
        }
    }
}
