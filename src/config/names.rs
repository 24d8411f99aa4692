//! Names that are no settings. In the environment they are nearly always others' business, in `.env` mostly
//! ours, and some of them are a setting's name misspelt, which must not be passed over in silence. Nor must a setting
//! that is in `.env` twice.

use super::dot_env::Line;

/// Names that `make run`, compose files and other programs read from the same `.env`.
const OTHERS: [&str; 3] = ["PUBLISH_ADDRESS", "REDIS_MAXMEMORY", "TEXT_MODEL"];
const PREFIXES_OF_OTHERS: [&str; 2] = ["COMPOSE_", "OTEL_"];

/// The names that mean something.
pub(super) struct Names<'a> {
    /// Of all settings.
    pub(super) known: &'a [String],
}

impl Names<'_> {
    /// A sentence for each misspelt name in `.env`, one for all that are like no setting's, and one for each line that
    /// a later one overrides.
    pub(super) fn doubts_of_file(&self, lines: &[Line]) -> Vec<String> {
        let (mut doubts, mut unknown) = (Vec::new(), Vec::new());
        for Line { name, number, .. } in lines.iter().filter(|line| !self.is_known(&line.name)) {
            let is_of_others =
                OTHERS.contains(&name.as_str()) || PREFIXES_OF_OTHERS.iter().any(|it| name.starts_with(it));
            let near = self.nearest(name, 3).or_else(|| self.alike(name).filter(|_| !is_of_others));
            match near {
                Some(near) => doubts.push(doubt(name, &format!(".env, line {number}"), near)),
                None if is_of_others => {}
                None => unknown.push(format!("{name} (line {number})")),
            }
        }
        if !unknown.is_empty() {
            doubts.push(format!("Unknown names in .env are ignored: {}.", unknown.join(", ")));
        }
        doubts.extend(self.overridden(lines));
        doubts
    }

    /// A sentence for each line that a later one overrides.
    fn overridden(&self, lines: &[Line]) -> impl Iterator<Item = String> {
        let known = lines.iter().enumerate().filter(|(_, line)| self.is_known(&line.name));
        known.filter_map(|(at, Line { name, number, .. })| {
            let later = lines[at + 1..].iter().find(|line| line.name == *name)?.number;
            Some(format!("{name} (.env, line {number}) is ignored, because line {later} sets it again."))
        })
    }

    /// A sentence for each variable that is very near to a setting, which may have a value all the same: it is not
    /// the one that was meant.
    pub(super) fn doubts_of_environment<'n>(&self, names: impl Iterator<Item = &'n String>) -> Vec<String> {
        let mut doubts: Vec<String> = names
            .filter(|name| !self.is_known(name))
            .filter_map(|name| {
                // A short name has many neighbours that mean something else.
                let near = self.nearest(name, (name.len() / 5).min(3))?;
                Some(doubt(name, "environment", near))
            })
            .collect();
        doubts.sort();
        doubts
    }

    fn is_known(&self, name: &str) -> bool {
        self.known.iter().any(|known| known == name)
    }

    /// The setting that `name` most likely means: by at most `most` wrong letters.
    fn nearest(&self, name: &str, most: usize) -> Option<&str> {
        let plain = plain(name);
        let distance = |known: &&String| strsim::osa_distance(known, &plain);
        let near = self.known.iter().min_by_key(distance)?;
        // With one wrong letter in four it is another word.
        let fits = distance(&near) <= most && distance(&near) * 4 <= plain.len();
        fits.then_some(near.as_str())
    }

    /// The setting that looks most alike, for a file in which every name is expected to be one.
    fn alike(&self, name: &str) -> Option<&str> {
        let plain = plain(name);
        let likeness = |known: &&String| strsim::jaro_winkler(known, &plain);
        let near = self.known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(&near) > 0.9).then_some(near.as_str())
    }
}

/// The name as a setting would be spelt.
fn plain(name: &str) -> String {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    upper.strip_prefix("SIMPLETON_").map(str::to_owned).unwrap_or(upper)
}

fn doubt(name: &str, place: &str, near: &str) -> String {
    format!("{name} ({place}) is not a setting and is ignored; did you mean {near}?")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 12] = [
        "HOST",
        "PORT",
        "API_KEYS",
        "OLLAMA_BASE_URL",
        "ENGINE_PARALLEL",
        "REQUEST_TIMEOUT_S",
        "MODELS_DIR",
        "DEFAULT_INFERENCE_MODEL",
        "CACHE_TTL",
        "LOG_LEVEL",
        "REDIS_URL",
        "OTEL_TRACES_SAMPLER_ARG",
    ];

    fn of_environment(names: &[&str]) -> Vec<String> {
        let known = KNOWN.map(str::to_owned);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Names { known: &known }.doubts_of_environment(names.iter())
    }

    fn of_file(names: &[&str]) -> Vec<String> {
        let known = KNOWN.map(str::to_owned);
        let line = |(at, name): (usize, &&str)| Line {
            number: at + 1,
            name: (*name).to_owned(),
            value: "a secret".to_owned(),
        };
        let lines: Vec<Line> = names.iter().enumerate().map(line).collect();
        Names { known: &known }.doubts_of_file(&lines)
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_right_one() {
        for (name, right) in [
            ("PORTT", "PORT"),
            ("PROT", "PORT"),
            ("port", "PORT"),
            ("SIMPLETON_PORT", "PORT"),
            ("API_KEY", "API_KEYS"),
            ("API-KEYS", "API_KEYS"),
            ("ENGINE_PARALEL", "ENGINE_PARALLEL"),
            ("REQUEST_TIMEOUT", "REQUEST_TIMEOUT_S"),
            ("MODEL_DIR", "MODELS_DIR"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("CACHE_TLL", "CACHE_TTL"),
        ] {
            let told =
                format!("{name} (.env, line 1) is not a setting and is ignored; did you mean {right}?");
            assert_eq!(of_file(&[name]), [told]);
            let told = format!("{name} (environment) is not a setting and is ignored; did you mean {right}?");
            // Too short for the environment, where other words are near as well.
            let expected = if name == "PROT" { Vec::new() } else { vec![told] };
            assert_eq!(of_environment(&[name]), expected);
        }
        assert!(of_file(&["OLLAMA_URL"])[0].contains("did you mean OLLAMA_BASE_URL?"));
    }

    #[test]
    fn a_setting_that_is_set_twice_is_reported() {
        let told =
            |line, later| format!("PORT (.env, line {line}) is ignored, because line {later} sets it again.");
        assert_eq!(of_file(&["PORT", "HOST", "PORT", "PORT"]), [told(1, 3), told(3, 4)]);
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let others = [
            "PATH",
            "HOME",
            "HOSTNAME",
            "SHELL",
            "LANG",
            "LS_COLORS",
            "POST",
            "COST",
            "SSH_AUTH_SOCK",
            "OTEL_TRACES_SAMPLER",
            "OLLAMA_HOST",
            "OLLAMA_MODELS",
            "REDIS_PORT",
            "XDG_DATA_DIRS",
            "KUBERNETES_SERVICE_HOST",
            "SIMPLETON_TEST_ENGINE",
            "PUBLISH_ADDRESS",
        ];
        assert_eq!(of_environment(&others), Vec::<String>::new());
        let quiet = ["PORT", "COMPOSE_PROJECT_NAME", "PUBLISH_ADDRESS", "OTEL_TRACES_SAMPLER"];
        assert_eq!(of_file(&quiet), Vec::<String>::new());
        assert_eq!(
            of_file(&["QDRANT_URL", "PORT", "CHUNK_SIZE"]),
            ["Unknown names in .env are ignored: QDRANT_URL (line 1), CHUNK_SIZE (line 3)."]
        );
    }
}
