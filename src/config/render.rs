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
         Made by `simpleton config --markdown`.\n",
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
        let _ = writeln!(out, "| `{}` | `--{}` | {default} | {help} |", setting.name, setting.flag);
    }
    out
}

/// The default, without what differs from machine to machine.
fn portable_default(setting: &Setting) -> String {
    let default = setting.default.clone().unwrap_or_default();
    if setting.name == "DATA_DIR" { "~/.local/share/simpleton".to_owned() } else { default }
}
