//! How the value of a setting is read, with messages that say what is accepted. Every module's
//! `Settings` uses these as its `value_parser`s.

use std::{
    env,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

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

/// A file or folder. A leading `~` is the home folder, which a shell would have put there but an
/// `.env` file does not.
///
/// # Errors
/// What is accepted.
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
/// What is accepted.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
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
