//! The layers of the program: who may import whom. `lib.rs` has them in this order, and the code map of
//! ARCHITECTURE.md is printed from here.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{imports::files, sources::sources};

/// Modules may import all that is in lower layers, and those of their own layer that they name.
struct Layer {
    name: &'static str,
    rule: &'static str,
    modules: &'static [Module],
}

struct Module {
    name: &'static str,
    purpose: &'static str,
    neighbours: &'static [&'static str],
}

/// From the bottom up.
const LAYERS: &[Layer] = &[
    Layer {
        name: "ground",
        rule: "knows nothing of the product",
        modules: &[
            module("data_dir", "the locked data folder", &["error", "files"]),
            module("error", "the only error type", &[]),
            module("files", "files that are private whatever the umask", &[]),
            module(
                "http_client",
                "the one outgoing HTTP client; `downloads` follows redirects to public addresses only",
                &["error", "request_context", "value_parser"],
            ),
            module(
                "request_context",
                "the request that a task works for, and its trace, for log lines and backend calls",
                &[],
            ),
            module(
                "sqlite",
                "SQLite files: disposable ones, and databases with migrations that must not be lost; connections that read beside the writer",
                &["files"],
            ),
            module("value_parser", "parsers for the values of settings", &[]),
        ],
    },
    Layer {
        name: "pure",
        rule: "no I/O",
        modules: &[
            module("images", "the only decoder and encoder of images, and their limits", &[]),
            module(
                "json_schema",
                "callers' schemas: checks, reduction to what a backend can enforce, validation of answers",
                &["types"],
            ),
            module(
                "text",
                "documents as text: `extract` reads PDF, Office, web pages, e-mail and others, with true offsets of pages and headings; `chunk` splits texts",
                &[],
            ),
            module(
                "types",
                "our vocabulary, free of vendors: chat, embed, model, usage, secret, alert, event",
                &["images"],
            ),
            module("wire", "vendors' JSON and its framing", &["types"]),
        ],
    },
    Layer {
        name: "adapters",
        rule: "one part of the outside world each",
        modules: &[
            module(
                "backend",
                "trait `Backend`; `embedded`, `ollama`; `openai` is the protocol between `embedded` and its child processes; independent of our own HTTP API",
                &["cache", "engine", "model_store"],
            ),
            module(
                "cache",
                "`mod.rs` has the policy; keys, replies in flight, entries; stores: `sqlite` (memory over SQLite), `redis`; independent of HTTP",
                &["telemetry"],
            ),
            module(
                "engine",
                "one `llama-server` process per loaded model: start, health, slots, queue, unloading when idle, memory budget, crashes and backoff; independent of the requests it serves",
                &["model_store"],
            ),
            module("extractor", "one child process per document, which extracts its text", &[]),
            module(
                "model_store",
                "models on disk in Ollama's layout; a reader for untrusted GGUF headers; `pull` downloads models from registries and Hugging Face",
                &[],
            ),
            module(
                "store",
                "SQLite files that must not be lost: `history` has the statistics (minutes for a day, hours for the retention period, failed requests), `responses` callers' stored responses",
                &["telemetry"],
            ),
            module(
                "telemetry",
                "one recorder per request and per model call, and its sinks: metrics, aggregates, log lines, traces; independent of HTTP and databases",
                &[],
            ),
            module("tesseract", "one Tesseract process per image", &[]),
            module(
                "vectors",
                "trait `VectorStore`: documents, their chunks, vectors and words; filters and ranking; `sqlite` is the embedded store, `qdrant` the one in a Qdrant server; independent of where documents come from and of how they are embedded",
                &[],
            ),
        ],
    },
    Layer {
        name: "product",
        rule: "no axum, no SQL, no vendor JSON",
        modules: &[
            module(
                "app",
                "`App`: the pipeline, models by name, images (how many are decoded at once), vision (what is asked about them), documents (`rag/`), stored responses and those made in the background, prompts, keys, health, alerts, webhooks",
                &[],
            ),
            module("config", "combines the `Settings` of all modules", &["app"]),
        ],
    },
    Layer {
        name: "edges",
        rule: "HTTP and the command line",
        modules: &[
            // `simpleton config --openapi`
            module("cli", "commands of the command line", &["http", "server"]),
            module("http", "routes, handlers and the connections of clients", &[]),
            module("server", "starts and connects all parts", &["http"]),
        ],
    },
];

const fn module(name: &'static str, purpose: &'static str, neighbours: &'static [&'static str]) -> Module {
    Module { name, purpose, neighbours }
}

/// The layer of a module, from the bottom, and the module.
fn placed(name: &str) -> Option<(usize, &'static Module)> {
    let modules =
        LAYERS.iter().enumerate().flat_map(|(at, layer)| layer.modules.iter().map(move |m| (at, m)));
    modules.into_iter().find(|(_, module)| module.name == name)
}

#[test]
fn imports_go_down_only() {
    let mut wrong = BTreeSet::new();
    let mut used = BTreeSet::new();
    for file in files() {
        let from = file.module[0].as_str();
        let Some((own, module)) = placed(from) else {
            wrong.insert(format!("{from} is in no layer"));
            continue;
        };
        for to in file.imports.iter().map(|import| import.path[0].as_str()).filter(|to| *to != from) {
            match placed(to) {
                Some((other, _)) if other < own => {}
                Some((other, to)) if other == own && module.neighbours.contains(&to.name) => {
                    used.insert((module.name, to.name));
                }
                _ => {
                    wrong.insert(format!("{} imports {to}", file.module.join("::")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for module in LAYERS.iter().flat_map(|layer| layer.modules) {
        let unused = module.neighbours.iter().find(|neighbour| !used.contains(&(module.name, **neighbour)));
        assert_eq!(unused, None, "{} may import it but does not", module.name);
    }
}

#[test]
fn lib_rs_has_the_modules_in_their_layers() {
    let mut expected = Vec::new();
    for (at, layer) in LAYERS.iter().enumerate() {
        expected.push(format!("// {at} {}: {}", layer.name, layer.rule));
        expected.extend(layer.modules.iter().map(|module| format!("mod {};", module.name)));
    }
    let text = fs::read_to_string("src/lib.rs").unwrap();
    let program = text.split("#[cfg(test)]").next().unwrap();
    let lines = program.lines().filter(|line| !line.is_empty() && !line.starts_with("//!"));
    let found: Vec<&str> =
        lines.map(|line| line.trim_start_matches("pub ").trim_start_matches("pub(crate) ")).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_code_map_is_fresh() {
    let table = code_map();
    let page = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let stale = "the code map in ARCHITECTURE.md is stale; put this there";
    assert!(page.contains(&format!("\n\n{table}\n")), "{stale}:\n\n{table}");
}

fn code_map() -> String {
    let sources = sources();
    let mut table = "| layer | where | what | imports of its own layer |\n|---|---|---|---|\n".to_owned();
    for (at, layer) in LAYERS.iter().enumerate() {
        for (first, module) in layer.modules.iter().enumerate() {
            let name = module.name;
            let has_folder = sources.keys().any(|path| path.starts_with(Path::new("src").join(name)));
            let place = if has_folder { format!("`{name}/`") } else { format!("`{name}.rs`") };
            let layer =
                if first == 0 { format!("**{at} {}**: {}", layer.name, layer.rule) } else { String::new() };
            let neighbours: Vec<String> = module.neighbours.iter().map(|name| format!("`{name}`")).collect();
            table += &format!("| {layer} | {place} | {} | {} |\n", module.purpose, neighbours.join(", "));
        }
    }
    table
}
