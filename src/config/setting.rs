//! A setting, where its value comes from, and how it is shown.

use std::fmt;

use crate::value_parser::without_password;

/// One setting with its effective value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: String,
    /// None for secrets, which other users of the machine could see on a command line.
    pub flag: Option<String>,
    pub heading: String,
    pub help: String,
    /// As text; none when the setting is unset.
    pub value: Option<String>,
    pub default: Option<String>,
    pub origin: Origin,
    pub secret: bool,
    /// Whether the value is a URL, which may hold a password.
    pub url: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    /// The number of its line.
    DotEnv(usize),
    Default,
}

impl Origin {
    pub const WORDS: [&str; 4] = ["flag", "environment", ".env", "default"];

    pub fn as_str(self) -> &'static str {
        let [flag, environment, dot_env, default] = Self::WORDS;
        match self {
            Self::Flag => flag,
            Self::Environment => environment,
            Self::DotEnv(_) => dot_env,
            Self::Default => default,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        write!(f, "{name}={} (from {origin}", self.setting.shown())?;
        if let Origin::DotEnv(line) = origin {
            write!(f, ", line {line}")?;
        }
        write!(f, "): {}", self.accepted)
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

    /// Whether its value stands in the process's command line and may be a secret.
    pub(super) fn is_exposed(&self) -> bool {
        let may_be_secret = || self.secret || self.value.as_ref().is_some_and(|value| *value != self.shown());
        self.origin == Origin::Flag && may_be_secret()
    }
}

/// A setting as people see it: secrets, and what may be a password in a URL, are left out.
#[derive(Clone, Debug)]
pub struct ShownSetting {
    /// Environment variable.
    pub name: String,
    pub section: String,
    pub description: String,
    /// None when it is unset.
    pub value: Option<String>,
    pub default: Option<String>,
    pub origin: Origin,
    pub secret: bool,
}

impl From<&Setting> for ShownSetting {
    fn from(setting: &Setting) -> Self {
        let value = setting.value.as_ref().map(|_| setting.shown());
        let Setting { name, heading, help, default, origin, secret, .. } = setting.clone();
        Self { name, section: heading, description: help, value, default, origin, secret }
    }
}
