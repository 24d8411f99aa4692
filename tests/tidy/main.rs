//! The rules of ARCHITECTURE.md that can be read off the source: layers and imports, which library
//! belongs to which file, and how long a file may be.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise: that is how it fails")]

mod circles;
mod imports;
mod layers;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use sources::{code, module, rust_files, sources};

/// A library and the only places that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("axum", &["src/http/", "src/server.rs"]),
    ("hyper", &["src/http/server/worker.rs"]),
    ("hyper_util", &["src/http/server/worker.rs", "src/http_client"]),
    ("reqwest", &["src/http_client"]),
    ("httparse", &["src/http_client/message.rs"]),
    ("rustls", &["src/http_client"]),
    ("utoipa", &["src/http/", "src/types/", "src/app/health.rs"]),
    ("image", &["src/images/"]),
    ("zune_jpeg", &["src/images/"]),
    ("jpeg_decoder", &["src/images/"]),
    ("fast_image_resize", &["src/images/"]),
    ("jpeg_encoder", &["src/images/"]),
    ("multer", &["src/http/extract/form.rs"]),
    ("hayro_interpret", &["src/text/extract/pdf/"]),
    ("zip", &["src/text/extract/archive.rs"]),
    ("quick_xml", &["src/text/extract/xml.rs"]),
    ("calamine", &["src/text/extract/spreadsheet.rs"]),
    ("csv", &["src/text/extract/spreadsheet.rs"]),
    ("html5ever", &["src/text/extract/html.rs"]),
    ("markup5ever_rcdom", &["src/text/extract/html"]),
    ("mail_parser", &["src/text/extract/email.rs"]),
    ("encoding_rs", &["src/text/extract/"]),
    ("chardetng", &["src/text/extract/decode.rs"]),
    ("whatlang", &["src/text/extract/language.rs"]),
    ("jsonschema", &["src/json_schema/"]),
    ("regex_syntax", &["src/json_schema/"]),
    ("sqlx", &["src/cache/sqlite", "src/sqlite/", "src/store/", "src/vectors/sqlite/"]),
    ("moka", &["src/cache/memory.rs", "src/vectors/sqlite/indexes.rs"]),
    ("text_splitter", &["src/text/chunk.rs", "src/text/tokens.rs"]),
    ("unicode_segmentation", &["src/text/chunk.rs", "src/text/tokens.rs"]),
    ("fastbloom", &["src/cache/sqlite/filter.rs"]),
    ("redis", &["src/cache/redis"]),
    ("qdrant_client", &["src/vectors/qdrant/"]),
    ("tonic", &["src/vectors/qdrant/"]),
    ("unicode_normalization", &["src/vectors/qdrant/words.rs"]),
    (
        "clap",
        &[
            "src/cli/",
            "src/config",
            "src/cache/mod.rs",
            "src/http_client",
            "src/app/alerts/mod.rs",
            "src/app/catalog/mod.rs",
            "src/app/images.rs",
            "src/app/rag/mod.rs",
            "src/tesseract.rs",
            "src/extractor/mod.rs",
            "src/backend/ollama.rs",
            "src/telemetry/",
            "src/store/",
            "src/vectors/settings.rs",
            "src/engine/",
            "src/model_store/",
        ],
    ),
];

const MAX_LINES: usize = 400;

#[test]
fn a_library_is_named_only_by_its_owner() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let (code, shown) = (code(&text), path.to_str().unwrap().to_owned());
        for (library, owners) in OWNERS {
            let named = code.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("use {library}::"))
                    || line.starts_with(&format!("pub use {library}::"))
                    || line.contains(&format!(" {library}::"))
                        && !line.contains(&format!("::{library}"))
                        && !line.contains("super::")
                        && !line.contains("crate::")
            });
            if named && !owners.iter().any(|owner| shown.starts_with(owner)) {
                wrong.push(format!("{shown} names {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cache, limits and metering are written once, there.
#[test]
fn only_the_pipeline_calls_a_backend() {
    for (verb, place) in [
        ("backend.chat(", "src/app/chat.rs"),
        ("backend.embed(", "src/app/embed.rs"),
        ("backend.load(", "src/app/load.rs"),
        ("backend.text_of(", "src/app/embed.rs"),
        ("backend.count_tokens(", "src/app/rag/tokens.rs"),
        ("backend.count_prompt(", "src/app/count.rs"),
    ] {
        let callers: Vec<PathBuf> = sources()
            .into_iter()
            .filter(|(_, text)| code(text).contains(verb))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(callers, [Path::new(place)], "{verb}");
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split by noun: {long:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<PathBuf> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

/// A doc comment names its subject first: the thing's noun, or the verb of what it does.
#[test]
fn doc_comments_open_with_a_noun_or_a_verb() {
    const OPENERS: [&str; 5] = ["What", "Who", "Whoever", "It", "That"];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "testing", "benches", "fuzz/src"] {
        for (path, text) in rust_files(Path::new(folder)) {
            let comments: Vec<Option<&str>> = text.lines().map(doc_comment).collect();
            for (at, comment) in comments.iter().enumerate() {
                let opens = at == 0 || comments[at - 1].is_none();
                let word = comment.unwrap_or_default().split(|c: char| !c.is_alphanumeric()).next();
                if opens && word.is_some_and(|word| OPENERS.contains(&word)) {
                    wrong.push(format!("{}:{}", path.display(), at + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "open with the thing's noun or verb: {wrong:#?}");
}

/// The text of a line that is a doc comment.
fn doc_comment(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim_start)
}

/// A test waits for a condition (`testing/eventually.rs`), never for a time.
#[test]
fn tests_do_not_sleep() {
    // Number of sleeps that simulate something slow, or last as long as the server says.
    const SIMULATED: [(&str, usize); 10] = [
        ("testing/eventually.rs", 1),
        ("testing/ollama/scripted.rs", 2),
        ("tests/api/bad_days.rs", 1),
        ("tests/api/prometheus.rs", 1),
        ("tests/api/slow_bodies.rs", 1),
        ("tests/api/vision.rs", 1),
        ("tests/engine/failures.rs", 1),
        ("tests/engine/fence.rs", 3),
        ("tests/engine/limits.rs", 1),
        ("tests/pull/scripted.rs", 1),
    ];
    let files = ["tests", "testing"].into_iter().flat_map(|folder| rust_files(Path::new(folder)));
    let sleeps = files.filter(|(path, _)| !path.starts_with("tests/tidy")).map(|(path, text)| {
        let allowed =
            SIMULATED.iter().find(|(file, _)| path == Path::new(file)).map_or(0, |(_, count)| *count);
        (path, text.matches("sleep(").count(), allowed)
    });
    let wrong: Vec<_> = sleeps.filter(|(_, found, allowed)| found != allowed).collect();
    assert!(wrong.is_empty(), "wait for a condition; sleeps found and allowed: {wrong:#?}");
}

#[test]
fn adapters_do_not_swallow_errors() {
    let adapters = ["backend", "engine", "model_store"];
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| adapters.contains(&module(path).as_str())) {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            // `let _ =` on a result is a decision, and a decision has its reason in a comment above.
            let drops = line.trim_start().starts_with("let _ =");
            let reasoned =
                lines[at.saturating_sub(3)..at].iter().any(|line| line.trim_start().starts_with("//"));
            if drops && !reasoned {
                wrong.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "an ignored result without a reason: {wrong:#?}");
}

/// Generated files are the same as what would be generated now.
#[test]
fn generated_files_are_fresh() {
    let (settings, _) = simpleton::config::load(&simpleton::config::Sources::default());
    for (path, made, command) in [
        (
            ".env.example",
            simpleton::config::env_example(&settings),
            "simpleton config --env-example > .env.example",
        ),
        (
            "docs/configuration.md",
            simpleton::config::markdown(&settings),
            "simpleton config --markdown > docs/configuration.md",
        ),
        ("docs/openapi.json", simpleton::http::openapi(), "simpleton config --openapi > docs/openapi.json"),
    ] {
        let kept = fs::read_to_string(path).unwrap_or_default();
        assert!(kept == made, "{path} is stale; run: {command}");
    }
}

/// Compose gives the container only the variables that its file names.
#[test]
fn the_compose_file_passes_every_setting_on() {
    // They name files of the host, which the container does not see, or build the engine, which it contains.
    const OF_THE_HOST: [&str; 5] = ["LLAMA_SERVER", "MODELS_DIR", "TESSERACT", "METRICS_FILE", "ENGINE_GPU"];
    let compose = fs::read_to_string("docker-compose.yml").unwrap();
    let (settings, _) = simpleton::config::load(&simpleton::config::Sources::default());
    let passed = |name: &str| {
        compose.lines().any(|line| {
            line.trim().strip_prefix("- ").is_some_and(|line| line.split('=').next() == Some(name))
        })
    };
    let names = settings.iter().map(|setting| setting.name.as_str());
    let missing: Vec<&str> = names.filter(|name| !OF_THE_HOST.contains(name) && !passed(name)).collect();
    assert!(missing.is_empty(), "name them in docker-compose.yml, under environment: {missing:?}");
}
