//! Numbers for people: quantiles, and a table of targets with what became of them.

use std::time::Duration;

/// Many values of one thing, such as nanoseconds.
#[derive(Default)]
pub struct Values(Vec<f64>);

impl Values {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn add_all(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// `share` 0.5 is the median, 1.0 the largest; NaN when there are none.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        let last = self.0.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into a Vec")]
        let at = (last as f64 * share).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&mut self) -> f64 {
        self.quantile(0.5)
    }
}

impl FromIterator<f64> for Values {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

pub fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub fn heading(text: &str) {
    println!("\n{text}\n{}", "-".repeat(text.len()));
}

/// The targets and whether each was reached.
#[derive(Default)]
pub struct Verdicts(Vec<(String, String, String, bool)>);

impl Verdicts {
    pub fn add(&mut self, what: &str, measured: String, target: &str, reached: bool) {
        println!("  => {measured}, target {target}: {}", verdict(reached));
        self.0.push((what.to_owned(), measured, target.to_owned(), reached));
    }

    pub fn print(&self) {
        heading("Targets");
        for (what, measured, target, reached) in &self.0 {
            println!("  {:<4}  {what:<58} {measured:>12}   target {target}", verdict(*reached));
        }
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "pass" } else { "MISS" }
}
