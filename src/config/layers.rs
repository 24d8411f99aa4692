//! Where each setting's value comes from, and the checking of all of them.

use std::{collections::HashMap, path::Path};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::{
    Config,
    dot_env::{self, Line},
    names::Names,
    setting::{Origin, Problem, Setting, ShownSetting},
};

/// Values set outside the defaults, by the setting's environment variable.
#[derive(Debug, Default)]
pub struct Sources {
    flags: HashMap<String, String>,
    environment: HashMap<String, String>,
    dot_env: Vec<Line>,
}

impl Sources {
    /// Flags from a parsed command line, the process's environment, and `.env` in `folder`.
    ///
    /// # Errors
    /// One sentence when `.env`, or a variable, cannot be read.
    pub fn gather(flags: &ArgMatches, folder: &Path) -> Result<Self, String> {
        let mut sources = Self {
            environment: environment()?,
            dot_env: dot_env::read(&folder.join(".env"))?,
            ..Self::default()
        };
        for arg in arguments() {
            let id = arg.get_id().as_str();
            // `try_`: not every command has the settings as flags.
            let Ok(Some(values)) = flags.try_get_many::<String>(id) else { continue };
            if let (Some(name), Some(ValueSource::CommandLine)) = (env_name(&arg), flags.value_source(id)) {
                sources.flags.insert(name, values.cloned().collect::<Vec<_>>().join(","));
            }
        }
        Ok(sources)
    }

    /// Only these variables, for tests.
    pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { environment: variables.into_iter().collect(), ..Self::default() }
    }

    /// A sentence for each name that is no setting but may be meant for one.
    pub fn doubts(&self) -> Vec<String> {
        let known = names();
        let names = Names { known: &known };
        let mut doubts = names.doubts_of_environment(self.environment.keys());
        doubts.extend(names.doubts_of_file(&self.dot_env));
        doubts
    }

    /// An empty value means unset, as in the environment sections of compose files. Of two lines in `.env`
    /// the later one counts.
    fn find(&self, name: &str) -> Option<(&str, Origin)> {
        let line = self.dot_env.iter().rev().find(|line| line.name == name);
        [
            (self.flags.get(name), Origin::Flag),
            (self.environment.get(name), Origin::Environment),
            (line.map(|line| &line.value), Origin::DotEnv(line.map_or(0, |line| line.number))),
        ]
        .into_iter()
        .find_map(|(value, origin)| Some((value.filter(|value| !value.is_empty())?.as_str(), origin)))
    }
}

/// Reads the environment. A variable that is not UTF-8 is an error only when it is one of ours.
fn environment() -> Result<HashMap<String, String>, String> {
    let known = names();
    let mut variables = HashMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => drop(variables.insert(name, value)),
            Err(_) if known.contains(&name) => {
                return Err(format!("The value of {name} is not valid UTF-8."));
            }
            Err(_) => {}
        }
    }
    Ok(variables)
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
            let flag = arg.get_long().unwrap_or_default();
            let token = format!("--{flag}={}", setting.value.as_deref().unwrap_or_default());
            match bare().arg(arg).try_get_matches_from([&token]) {
                // First, as another value would be exposed, too.
                _ if setting.is_exposed() => problems.push(exposed(&setting)),
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
    let mut config = command
        .try_get_matches_from(accepted)
        .and_then(|matches| Config::from_arg_matches(&matches))
        .expect("each value was accepted on its own, and no setting depends on another");
    config.shown = settings.iter().map(ShownSetting::from).collect();
    (settings, Ok(config))
}

fn exposed(setting: &Setting) -> Problem {
    let reason = match setting.secret {
        true => "secrets have no flag, because flags are visible to every user of this machine (ps)",
        false => "flags are visible to every user of this machine (ps), and this value may contain a secret",
    };
    let accepted = format!("{reason}; set it in the environment or in .env");
    Problem { setting: setting.clone(), accepted }
}

/// The settings' flags on a command of ours, as text: they are checked by `load`, all together.
pub(crate) fn add_flags(command: Command) -> Command {
    let secrets: Vec<String> = arguments().iter().filter(|arg| is_secret(arg)).filter_map(env_name).collect();
    let hint = format!(
        "Secrets have no flags, because other users of this machine could see them. Set them in the environment or in .env: {}.",
        secrets.join(", ")
    );
    let command = arguments().into_iter().fold(command, |command, arg| {
        // Hidden but known, so that using it gives an error with advice.
        let hidden = is_secret(&arg);
        let text = clap::builder::ValueParser::string();
        command.arg(arg.value_parser(text).value_delimiter(None).hide_env_values(true).hide(hidden))
    });
    command.after_help(hint)
}

/// The environment variables of all settings.
fn names() -> Vec<String> {
    arguments().iter().filter_map(env_name).collect()
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

fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

fn resolve(arg: &Arg, sources: &Sources) -> Option<Setting> {
    let name = env_name(arg)?;
    let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let (value, origin) = match sources.find(&name) {
        Some((value, origin)) => (Some(value.to_owned()), origin),
        None => (default.clone(), Origin::Default),
    };
    Some(Setting {
        flag: arg.get_long().filter(|_| !is_secret(arg)).map(str::to_owned),
        heading: arg.get_help_heading().unwrap_or_default().to_owned(),
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        secret: is_secret(arg),
        url: arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "URL")),
        name,
        value,
        default,
        origin,
    })
}

/// Returns the accepted values named in clap's error.
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
    fn no_secret_is_taken_from_the_command_line() {
        let of = |name: &str, value: &str, origin| {
            let mut sources = Sources::default();
            let pair = (name.to_owned(), value.to_owned());
            match origin {
                Origin::Flag => sources.flags.extend([pair]),
                _ => sources.environment.extend([pair]),
            }
            load(&sources).1.map_err(|problems| problems[0].to_string())
        };
        for (name, value) in [
            ("API_KEYS", "a-secret-key"),
            ("ALERT_WEBHOOK_URL", "https://hooks.example/secret"),
            ("ALERT_WEBHOOK_SECRET", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
            ("REDIS_URL", "redis://:secret@host"),
            ("OLLAMA_BASE_URL", "http://user:secret@host:11434"),
        ] {
            let told = of(name, value, Origin::Flag).expect_err(name);
            assert!(told.contains("in the environment or in .env") && !told.contains("secret@"), "{told}");
            assert!(!told.contains(value), "{told}");
            of(name, value, Origin::Environment).expect(name);
        }
        of("REDIS_URL", "redis://host:6379", Origin::Flag).expect("there is no password in it");
        let (settings, _) = load(&Sources::default());
        for Setting { name, .. } in settings.iter().filter(|setting| setting.secret) {
            // A value that would not be accepted from elsewhere either.
            let told = of(name, "q", Origin::Flag).expect_err(name);
            let start = format!("{name}=[redacted] (from flag): secrets have no flag, ");
            assert!(told.starts_with(&start), "{told}");
        }
        let told = of("REDIS_URL", "redis://:secret@host:port", Origin::Flag).expect_err("a password");
        assert!(told.contains("flags are visible") && !told.contains("secret@"), "{told}");
    }

    /// Every setting of a time is parsed by the parser that takes durations.
    #[test]
    fn wherever_a_time_is_set_a_duration_is_accepted() {
        let units = ["Seconds", "Milliseconds", "Hours", "How long"];
        let (settings, _) = load(&Sources::default());
        let times: Vec<&Setting> = settings
            .iter()
            .filter(|setting| units.iter().any(|unit| setting.help.starts_with(unit)))
            .collect();
        assert!(times.len() >= 13, "{}", times.len());
        for Setting { name, help, .. } in times {
            let sources = Sources::from_environment([(name.clone(), "1h".to_owned())]);
            if let (_, Err(problems)) = load(&sources) {
                assert!(problems[0].accepted.contains("duration"), "{name} ({help}): {}", problems[0]);
            }
        }
    }
}
