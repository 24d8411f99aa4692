//! Plain text, source code and JSON.

use super::{Refusal, writer::Writer};

pub(super) fn text(text: &str, writer: &mut Writer) -> Result<(), Refusal> {
    let text = text.trim_matches('\n').trim_end();
    if text.trim().is_empty() {
        return Ok(());
    }
    // Printed texts mark the ends of their pages.
    if !text.contains('\u{c}') {
        return writer.raw(text).map(drop);
    }
    for page in text.split('\u{c}') {
        writer.page()?;
        let page = page.trim_matches('\n').trim_end();
        if !page.is_empty() {
            writer.raw(page)?;
        }
    }
    Ok(())
}

pub(super) fn code(text: &str, language: &str, writer: &mut Writer) -> Result<(), Refusal> {
    writer.code(text, language)
}

/// Programming language by the ending of a file's name.
pub(super) fn language(ending: &str) -> Option<&'static str> {
    const LANGUAGES: [(&str, &[&str]); 40] = [
        ("rust", &["rs"]),
        ("python", &["py", "pyi", "pyw"]),
        ("javascript", &["js", "mjs", "cjs", "jsx"]),
        ("typescript", &["ts", "mts", "cts", "tsx"]),
        ("c", &["c", "h"]),
        ("cpp", &["cc", "cpp", "cxx", "hh", "hpp", "hxx"]),
        ("csharp", &["cs"]),
        ("java", &["java"]),
        ("kotlin", &["kt", "kts"]),
        ("scala", &["scala", "sc"]),
        ("go", &["go"]),
        ("ruby", &["rb"]),
        ("php", &["php"]),
        ("perl", &["pl", "pm"]),
        ("swift", &["swift"]),
        ("bash", &["sh", "bash", "zsh"]),
        ("powershell", &["ps1", "psm1"]),
        ("sql", &["sql"]),
        ("r", &["r"]),
        ("julia", &["jl"]),
        ("lua", &["lua"]),
        ("haskell", &["hs"]),
        ("ocaml", &["ml", "mli"]),
        ("elixir", &["ex", "exs"]),
        ("erlang", &["erl", "hrl"]),
        ("clojure", &["clj", "cljs", "cljc"]),
        ("dart", &["dart"]),
        ("zig", &["zig"]),
        ("css", &["css", "scss", "less"]),
        ("xml", &["xml", "xsd", "xsl", "svg"]),
        ("yaml", &["yaml", "yml"]),
        ("toml", &["toml"]),
        ("ini", &["ini", "cfg", "conf", "properties", "env"]),
        ("json", &["json", "jsonl", "ndjson", "ipynb"]),
        ("protobuf", &["proto"]),
        ("graphql", &["graphql", "gql"]),
        ("svelte", &["svelte"]),
        ("vue", &["vue"]),
        ("latex", &["tex", "sty", "bib"]),
        ("diff", &["diff", "patch"]),
    ];
    LANGUAGES.iter().find(|(_, endings)| endings.contains(&ending)).map(|(language, _)| *language)
}

/// Programming language by a script's first line.
pub(super) fn shebang(text: &str) -> Option<&'static str> {
    let line = text.strip_prefix("#!")?.lines().next()?;
    const PROGRAMS: [(&str, &str); 6] = [
        ("python", "python"),
        ("node", "javascript"),
        ("ruby", "ruby"),
        ("perl", "perl"),
        ("php", "php"),
        ("sh", "bash"),
    ];
    PROGRAMS.iter().find(|(program, _)| line.contains(program)).map(|(_, language)| *language)
}
