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
    /// The value for people: secrets and passwords in URLs are left out.
    pub fn shown(&self) -> String {
        match &self.value {
            None => String::new(),
            Some(_) if self.secret => "[redacted]".to_owned(),
            Some(value) => without_password(value),
        }
    }
}

fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://[redacted]{}", &rest[at..]),
        None => value.to_owned(),
    }
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
            let unreadable = |source: dotenvy::Error| format!("The file .env cannot be read: {source}.");
            for pair in dotenvy::from_path_iter(&path).map_err(unreadable)? {
                let (name, value) = pair.map_err(unreadable)?;
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
