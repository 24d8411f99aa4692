//! How long a model stays loaded when nobody asks it anything, in Ollama's notation.

use std::{fmt, str::FromStr, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Zero unloads as soon as the reply has ended.
    For(Duration),
    Forever,
}

impl KeepAlive {
    pub const NONE: Self = Self::For(Duration::ZERO);
}

impl FromStr for KeepAlive {
    type Err = String;

    /// Seconds (`300`), a duration (`90s`, `5m`, `1h30m`, `250ms`), or anything negative for ever.
    fn from_str(text: &str) -> Result<Self, String> {
        let accepted = || "must be seconds (300), a duration (90s, 5m, 1h), or -1 for no limit".to_owned();
        let text = text.trim();
        if let Some(rest) = text.strip_prefix('-') {
            return if rest.starts_with(|c: char| c.is_ascii_digit()) {
                Ok(Self::Forever)
            } else {
                Err(accepted())
            };
        }
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).map(Self::For).map_err(|_| accepted());
        }
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(accepted)?;
            let unit_end =
                rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
            let seconds = match &rest[digits..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(accepted()),
            };
            let number: f64 = rest[..digits].parse().map_err(|_| accepted())?;
            let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| accepted())?;
            total = total.checked_add(part).ok_or_else(accepted)?;
            rest = &rest[unit_end..];
        }
        if text.is_empty() { Err(accepted()) } else { Ok(Self::For(total)) }
    }
}

impl fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With a unit: without one Ollama takes it only as a number, and refuses the text.
            Self::Forever => f.write_str("-1s"),
            Self::For(duration) => write!(f, "{}ms", duration.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ollamas_notation() {
        let secs = |n| Ok(KeepAlive::For(Duration::from_secs(n)));
        for (text, expected) in [
            ("300", secs(300)),
            ("0", secs(0)),
            ("5m", secs(300)),
            ("1h30m", secs(5400)),
            ("250ms", Ok(KeepAlive::For(Duration::from_millis(250)))),
            ("-1", Ok(KeepAlive::Forever)),
            ("-1m", Ok(KeepAlive::Forever)),
        ] {
            assert_eq!(text.parse::<KeepAlive>(), expected, "{text}");
        }
        for text in ["", "5 minutes", "m", "5x", "-", "1e400", "NaN", "99999999999999999999h"] {
            assert!(text.parse::<KeepAlive>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_can_be_read() {
        for value in [KeepAlive::Forever, KeepAlive::For(Duration::from_millis(90_500))] {
            assert_eq!(value.to_string().parse(), Ok(value));
        }
    }
}
