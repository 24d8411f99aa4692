//! How the value of a setting is read, with messages that say what is accepted. Every module's
//! `Settings` uses these as its `value_parser`s.

use std::{
    env,
    net::Ipv6Addr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use jiff::{Span, SpanRelativeTo};

/// This machine's name as a header can carry it, for people with several.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}

/// A whole number within a range.
pub fn whole<N>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + std::fmt::Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse::<N>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A number within a range.
pub fn number(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse::<f64>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
    }
}

/// A length of time: a number of `unit`s (`90`), or with units of its own (`90s`, `5m`, `1h30m`, `7d`).
pub fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(number * unit.as_secs_f64()).ok();
    }
    let span = text.parse::<Span>().ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// A whole number of seconds within a range, or a duration.
pub fn seconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    whole_time("seconds", Duration::from_secs(1), range)
}

/// A whole number of milliseconds within a range, or a duration.
pub fn milliseconds(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    whole_time("milliseconds", Duration::from_millis(1), range)
}

/// A whole number of hours within a range, or a duration.
pub fn hours(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    whole_time("hours", Duration::from_secs(3600), range)
}

fn whole_time(
    units: &'static str,
    unit: Duration,
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let number = match text.trim().parse::<u64>() {
            Ok(number) => Some(number),
            // A number of units that is not whole is refused, and so is a duration that is none.
            Err(_) => duration(text, unit)
                .filter(|time| time.as_nanos() % unit.as_nanos() == 0)
                .and_then(|time| u64::try_from(time.as_nanos() / unit.as_nanos()).ok()),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let durations = if unit > Duration::from_secs(1) { "12h or 7d" } else { "90s, 5m or 1h30m" };
            format!(
                "must be a whole number of {units} from {least} to {most}, or a duration such as {durations}"
            )
        })
    }
}

/// A number of seconds within a range, or a duration.
pub fn fractional_seconds(
    range: RangeInclusive<f64>,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync {
    move |text| {
        let number = duration(text, Duration::from_secs(1)).map(|time| time.as_secs_f64());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!(
                "must be a number of seconds from {least} to {most}, or a duration such as 500ms, 5s or 1m30s"
            )
        })
    }
}

/// An address or a name to listen on, without a port; an IPv6 address also in its brackets.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let bare = inner.unwrap_or(text);
    let without_zone = bare.split('%').next().unwrap_or_default();
    let is_ipv6 = without_zone.parse::<Ipv6Addr>().is_ok();
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    if is_ipv6 || inner.is_none() && is_name(text) {
        Ok(bare.to_owned())
    } else {
        Err("must be an address or a name of this machine without a port, such as 127.0.0.1, 0.0.0.0, :: or localhost; the port is set by PORT".to_owned())
    }
}

/// Host and port as they stand in a URL.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A URL for people. All before the last `@` may be a password, whatever is in it, and so may all after a
/// `?` or `#`. It need not be a URL: this also shows what was refused for that.
pub fn without_password(value: &str) -> String {
    const HIDDEN: &str = "[redacted]";
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let after_scheme = value.find("://").filter(|at| is_scheme(&value[..*at])).map_or(0, |at| at + 3);
    let (scheme, rest) = value.split_at(after_scheme);
    let (at, query) = (rest.rfind('@'), rest.find(['?', '#']));
    // None when the last `@` is after that: it is then unclear which of the two is in a password.
    let open = rest.get(at.unwrap_or(0)..query.unwrap_or(rest.len())).unwrap_or_default();
    let before = at.map_or("", |_| HIDDEN);
    let after = query.map_or(String::new(), |at| format!("{}{HIDDEN}", &rest[at..=at]));
    format!("{scheme}{before}{open}{after}")
}

/// A file or folder. A leading `~` is the home folder, which a shell would have put there but an
/// `.env` file does not.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("must be a path".to_owned());
    }
    Ok(at_home(Path::new(text), env::home_dir()))
}

fn at_home(path: &Path, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// `true` or `false`, in the spellings that people use in environment files.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// An origin as browsers send it (RFC 6454), or `*`.
///
/// # Errors
/// Parses a value; the error says what is accepted.
pub fn origin(text: &str) -> Result<String, String> {
    let origin = text.trim().to_ascii_lowercase();
    if origin == "*" {
        return Ok(origin);
    }
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let default_port = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    if !is_scheme || !is_host || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(
            "must be origins such as https://app.example.com or http://localhost:3000 (no path), separated by commas, or *"
                .to_owned(),
        );
    }
    Ok(if default_port { format!("{scheme}://{host}") } else { origin })
}

/// One of a closed set of words, in any case.
pub fn word<T: Clone + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("must be one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_its_units_or_a_duration() {
        for (text, read) in [
            ("0", Some(0)),
            (" 90 ", Some(90)),
            ("90s", Some(90)),
            ("2m", Some(120)),
            ("1h", Some(3600)),
            ("1h30m", Some(5400)),
            ("1h 30m", Some(5400)),
            ("1.5h", Some(5400)),
            ("7d", Some(604_800)),
            ("3000ms", Some(3)),
            ("1.5", None),
            ("1500ms", None),
            ("-1", None),
            ("-5m", None),
            ("1 month", None),
            ("8d", None),
            ("soon", None),
            ("m", None),
            ("1e3", Some(1000)),
            ("NaN", None),
        ] {
            assert_eq!(seconds(0..=604_800)(text).ok(), read, "{text}");
        }
        assert_eq!(milliseconds(1..=600_000)("3s"), Ok(3000));
        assert_eq!(milliseconds(1..=600_000)("3000"), Ok(3000));
        assert_eq!(hours(1..=8784)("7d"), Ok(168));
        assert!(hours(1..=8784)("90m").is_err_and(|told| told.ends_with("a duration such as 12h or 7d")));
        assert_eq!(fractional_seconds(0.001..=86_400.0)("500ms"), Ok(0.5));
        assert_eq!(fractional_seconds(0.001..=86_400.0)("5.0"), Ok(5.0));
        assert!(fractional_seconds(0.001..=86_400.0)("0").is_err());
    }

    #[test]
    fn a_host_has_no_port_and_may_have_its_brackets() {
        for (text, read) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::]", Some("::")),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            (" [fe80::1%eth0] ", Some("fe80::1%eth0")),
            ("my-host.example", Some("my-host.example")),
            ("127.0.0.1:8000", None),
            ("[::]:8000", None),
            ("[127.0.0.1]", None),
            ("[]", None),
            ("http://localhost", None),
            ("*", None),
            ("a b", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), read, "{text}");
        }
        assert_eq!(authority("::1", 80), "[::1]:80");
        assert_eq!(authority("localhost", 80), "localhost:80");
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (given, meant) in [
            ("*", "*"),
            (" https://App.example.com ", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://a.example:443", "https://a.example"),
            ("http://a.example:443", "http://a.example:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[::1]", "http://[::1]"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            assert_eq!(origin(given).as_deref(), Ok(meant), "{given}");
        }
        for wrong in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://a.example/",
            "https://a.example/app",
            "https://*.example.com",
            "https://a.example:port",
            "https://a.example:",
            "https://user@a.example",
            "https://a b",
            "https://[::1",
            "//a.example",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_leading_tilde_is_the_home_folder() {
        let home = || Some(PathBuf::from("/home/me"));
        for (given, meant) in
            [("~", "/home/me"), ("~/a/b", "/home/me/a/b"), ("a/~", "a/~"), ("~you/a", "~you/a")]
        {
            assert_eq!(at_home(Path::new(given), home()), Path::new(meant), "{given}");
        }
        assert_eq!(at_home(Path::new("~/a"), None), Path::new("~/a"));
    }
}
