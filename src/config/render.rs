//! The settings for people: a table, `.env.example` and the page of the documentation. All come from
//! the same declarations, and a test fails when the files are stale.

use std::fmt::Write;

use super::layers::Setting;

/// One line for each setting: name, value, origin.
pub fn table(settings: &[Setting]) -> String {
    let width =
        |of: fn(&Setting) -> String| settings.iter().map(|s| of(s).chars().count()).max().unwrap_or(0);
    let (names, values) = (width(|s| s.name.clone()), width(Setting::shown).min(60));
    settings.iter().fold(String::new(), |mut out, setting| {
        let _ = writeln!(out, "{:names$}  {:values$}  {}", setting.name, setting.shown(), setting.origin);
        out
    })
}

/// `.env.example`: every setting with its help, commented out at its default.
pub fn env_example(settings: &[Setting]) -> String {
    let mut out =
        String::from("# Copy to .env and change what you need. Made by `simpleton config --env-example`.\n");
    out.push_str(
        "#\n# A value is what stands after the equals sign: nothing is substituted, and $ is a dollar sign, with or\n\
         # without quotes. In double quotes \\\" and \\\\ and \\$ stand for \" and \\ and $; a # after a space begins a\n\
         # comment. Docker Compose does substitute: put what has a $ in single quotes, which all read alike.\n\
         # Where a setting is in seconds, milliseconds or hours, a duration will do: 90s, 5m, 1h30m, 7d.\n",
    );
    let mut heading = "";
    for setting in settings {
        if setting.heading != heading {
            heading = &setting.heading;
            let _ = write!(out, "\n## {heading}\n");
        }
        let _ = write!(out, "\n# {}\n# {}={}\n", setting.help, setting.name, portable_default(setting));
    }
    out
}

/// `docs/configuration.md`.
pub fn markdown(settings: &[Setting]) -> String {
    let mut out = String::from(
        "# Configuration\n\nEvery setting is a flag of `simpleton serve`, an environment variable, or a line in `.env`, \
         in this order of precedence. `simpleton config` prints the effective values and where each comes from. \
         Made by `simpleton config --markdown`.\n\n\
         Secrets have no flag, because every user of a machine can see the command lines of its programs; a URL \
         with a password in it is refused as a flag for the same reason.\n\n\
         Where a setting is in seconds, milliseconds or hours, a duration will do: `90s`, `5m`, `1h30m`, `7d`.\n\n\
         `.env` is read from the folder that the program is started in. A value is what stands after the equals \
         sign: nothing is substituted, and `$` is a dollar sign, with or without quotes. Spaces around a value and \
         what follows a `#` after a space are left out; within quotes they are kept. In double quotes `\\\"`, `\\\\` \
         and `\\$` stand for their second character. Docker Compose, which reads the same file, does substitute: put \
         what has a `$` in single quotes, which all read alike. An unknown name is reported at the start, \
         with the setting that it is closest to.\n",
    );
    let mut heading = "";
    for setting in settings {
        if setting.heading != heading {
            heading = &setting.heading;
            let _ =
                write!(out, "\n## {heading}\n\n| variable | flag | default | what |\n|---|---|---|---|\n");
        }
        let default = portable_default(setting);
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let help = setting.help.replace('|', "\\|");
        let flag = setting.flag.as_ref().map(|flag| format!("`--{flag}`")).unwrap_or_default();
        let _ = writeln!(out, "| `{}` | {flag} | {default} | {help} |", setting.name);
    }
    out
}

/// The default, without what differs from machine to machine.
fn portable_default(setting: &Setting) -> String {
    let default = setting.default.clone().unwrap_or_default();
    if setting.name == "DATA_DIR" { "~/.local/share/simpleton".to_owned() } else { default }
}
