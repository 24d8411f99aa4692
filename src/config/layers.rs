//! Where each setting's value comes from, and the checking of all of them.

use std::{collections::HashMap, fmt, path::Path};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::Config;

/// One setting with its effective value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: String,
    pub flag: String,
    pub heading: String,
    pub help: String,
    /// As text; none when the setting is unset.
    pub value: Option<String>,
    pub default: Option<String>,
    pub origin: Origin,
    pub secret: bool,
    /// It names a server, and may have a password in it.
    pub url: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    DotEnv,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::DotEnv => ".env",
            Self::Default => "default",
        })
    }
}

/// A value that is not accepted.
#[derive(Clone, Debug)]
pub struct Problem {
    pub setting: Setting,
    pub accepted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { name, origin, .. } = &self.setting;
        write!(f, "{name}={} (from {origin}): {}", self.setting.shown(), self.accepted)
    }
}

impl Setting {
    /// The value for people: secrets and what may be a password in a URL are left out.
    pub fn shown(&self) -> String {
        match &self.value {
            None => String::new(),
            Some(_) if self.secret => "[redacted]".to_owned(),
            Some(value) if self.url || value.contains("://") => without_password(value),
            Some(value) => value.clone(),
        }
    }
}

/// Says where the line is that is wrong, and not what is in it, which may be a secret.
fn unreadable(error: &dotenvy::Error, before: &str) -> String {
    match error {
        dotenvy::Error::LineParse(..) => format!(
            "The file .env cannot be read: after {before}, a line is not NAME=value, or has spaces in its value and no quotes."
        ),
        other => format!("The file .env cannot be read: {other}."),
    }
}

/// All before the last `@` may be a password, whatever is in it, and so may all after a `?` or `#`. It need
/// not be a URL: this also shows what was refused for that.
fn without_password(value: &str) -> String {
    const HIDDEN: &str = "[redacted]";
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let after_scheme = value.find("://").filter(|at| is_scheme(&value[..*at])).map_or(0, |at| at + 3);
    let (scheme, rest) = value.split_at(after_scheme);
    let (at, query) = (rest.rfind('@'), rest.find(['?', '#']));
    // None when the last `@` is after that: nobody knows then which of the two is in a password.
    let open = rest.get(at.unwrap_or(0)..query.unwrap_or(rest.len())).unwrap_or_default();
    let before = at.map_or("", |_| HIDDEN);
    let after = query.map_or(String::new(), |at| format!("{}{HIDDEN}", &rest[at..=at]));
    format!("{scheme}{before}{open}{after}")
}

/// What is set outside the defaults, by the setting's environment variable.
#[derive(Debug, Default)]
pub struct Sources {
    flags: HashMap<String, String>,
    environment: HashMap<String, String>,
    dot_env: HashMap<String, String>,
}

impl Sources {
    /// Flags from a parsed command line, the process's environment, and `.env` in `folder`.
    ///
    /// # Errors
    /// One sentence when `.env` cannot be read.
    pub fn gather(flags: &ArgMatches, folder: &Path) -> Result<Self, String> {
        let mut sources = Self { environment: std::env::vars().collect(), ..Self::default() };
        for arg in arguments() {
            let id = arg.get_id().as_str();
            // `try_`: not every command has the settings as flags.
            let Ok(Some(values)) = flags.try_get_many::<String>(id) else { continue };
            if let (Some(name), Some(ValueSource::CommandLine)) = (env_name(&arg), flags.value_source(id)) {
                sources.flags.insert(name, values.cloned().collect::<Vec<_>>().join(","));
            }
        }
        let path = folder.join(".env");
        if path.exists() {
            let mut before = "the beginning".to_owned();
            for pair in dotenvy::from_path_iter(&path).map_err(|error| unreadable(&error, &before))? {
                let (name, value) = pair.map_err(|error| unreadable(&error, &before))?;
                before = format!("the line of {name}");
                sources.dot_env.insert(name, value);
            }
        }
        Ok(sources)
    }

    /// Only these variables, for tests.
    pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { environment: variables.into_iter().collect(), ..Self::default() }
    }

    /// An empty value means unset, as in the environment sections of compose files.
    fn find(&self, name: &str) -> Option<(&str, Origin)> {
        [
            (&self.flags, Origin::Flag),
            (&self.environment, Origin::Environment),
            (&self.dot_env, Origin::DotEnv),
        ]
        .into_iter()
        .find_map(|(layer, origin)| {
            Some((layer.get(name).filter(|value| !value.is_empty())?.as_str(), origin))
        })
    }
}

/// The effective settings, and the configuration that they make.
///
/// # Errors
/// Every value that is not accepted.
pub fn load(sources: &Sources) -> (Vec<Setting>, Result<Config, Vec<Problem>>) {
    let (mut settings, mut problems, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for arg in arguments() {
        let Some(setting) = resolve(&arg, sources) else { continue };
        if setting.origin != Origin::Default {
            let token = format!("--{}={}", setting.flag, setting.value.as_deref().unwrap_or_default());
            match bare().arg(arg).try_get_matches_from([&token]) {
                Ok(_) => accepted.push(token),
                Err(error) => problems.push(Problem { setting: setting.clone(), accepted: reason(&error) }),
            }
        }
        settings.push(setting);
    }
    if !problems.is_empty() {
        return (settings, Err(problems));
    }
    let command = strip_env(Config::augment_args(bare()));
    let config = command
        .try_get_matches_from(accepted)
        .and_then(|matches| Config::from_arg_matches(&matches))
        .expect("each value was accepted on its own, and no setting depends on another");
    (settings, Ok(config))
}

/// The settings' flags on a command of ours, as text: they are checked by `load`, all together.
pub(crate) fn add_flags(command: Command) -> Command {
    let names: Vec<_> = arguments().iter().map(|arg| arg.get_id().clone()).collect();
    // Deriving the settings' arguments replaces what the command says of itself.
    let about = command.get_about().cloned().unwrap_or_default();
    let command = Config::augment_args(command).about(about);
    command.mut_args(|arg| {
        if names.contains(arg.get_id()) {
            arg.value_parser(clap::builder::ValueParser::string()).value_delimiter(None).hide_env_values(true)
        } else {
            arg
        }
    })
}

fn arguments() -> Vec<Arg> {
    let command = Config::augment_args(bare());
    command.get_arguments().filter(|arg| arg.get_env().is_some()).cloned().collect()
}

fn bare() -> Command {
    Command::new("simpleton").no_binary_name(true).disable_help_flag(true)
}

fn strip_env(command: Command) -> Command {
    command.mut_args(|arg| arg.env(None::<&str>))
}

fn env_name(arg: &Arg) -> Option<String> {
    Some(arg.get_env()?.to_str()?.to_owned())
}

fn resolve(arg: &Arg, sources: &Sources) -> Option<Setting> {
    let name = env_name(arg)?;
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let (value, origin) = match sources.find(&name) {
        Some((value, origin)) => (Some(value.to_owned()), origin),
        None => (default.clone(), Origin::Default),
    };
    Some(Setting {
        flag: arg.get_long()?.to_owned(),
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        secret: arg.is_hide_env_values_set(),
        url: arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "URL")),
        name,
        value,
        default,
        origin,
    })
}

/// What is accepted, out of clap's error.
fn reason(error: &clap::Error) -> String {
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(source)) => source.to_string(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_in_a_url_is_not_shown() {
        for (value, shown) in [
            ("http://host:11434/base", "http://host:11434/base"),
            ("host:11434", "host:11434"),
            ("http://user:secret@host:11434", "http://[redacted]@host:11434"),
            ("user:secret@host:11434", "[redacted]@host:11434"),
            ("user:se://cret@host", "[redacted]@host"),
            ("redis://:se@cret@host/0", "redis://[redacted]@host/0"),
            ("redis+sentinel://u:se/cret@h/m", "redis+sentinel://[redacted]@h/m"),
            ("redis+cluster://u:secret@a:1,b:2", "redis+cluster://[redacted]@a:1,b:2"),
            ("unix:///run/redis.sock?db=2&pass=secret", "unix:///run/redis.sock?[redacted]"),
            ("redis://u:secret@h?pass=secret", "redis://[redacted]@h?[redacted]"),
            ("redis://u:se?cret@h", "redis://[redacted]?[redacted]"),
            ("http://host/#secret", "http://host/#[redacted]"),
            ("unix:///run/redis.sock?pass=se@cret", "unix://[redacted]?[redacted]"),
        ] {
            let variable = ("REDIS_URL".to_owned(), value.to_owned());
            let (settings, _) = load(&Sources::from_environment([variable]));
            let setting = settings.iter().find(|setting| setting.name == "REDIS_URL").expect("a setting");
            assert_eq!(setting.shown(), shown, "{value}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        for wrong in ["API_KEYS=my secret=value", "a secret"] {
            std::fs::write(folder.path().join(".env"), format!("PORT=1\n{wrong}\n")).expect("a file");
            let error = Sources::gather(&ArgMatches::default(), folder.path()).expect_err(wrong);
            assert!(error.contains("after the line of PORT") && !error.contains("secret"), "{error}");
        }
    }
}
