//! Which files a file imports from, read off its text: every path in its code that begins with `crate`,
//! `super`, `self`, a child module or a module that was imported.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{code, sources};

/// Path of a module, or of an item in it, below `crate`.
pub type Path = Vec<String>;

/// A file of the program.
pub struct File {
    pub module: Path,
    pub imports: Vec<Import>,
}

/// A path in a file's code.
pub struct Import {
    pub path: Path,
    is_reexport: bool,
}

/// All files of the program, without `lib.rs` and `main.rs`, which belong to no module.
pub fn files() -> Vec<File> {
    let sources = sources().into_iter().filter_map(|(path, text)| {
        let inside = path.strip_prefix("src").unwrap().with_extension("");
        let mut module: Path = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| last == "mod");
        (!matches!(&*module.join("::"), "lib" | "main")).then(|| (module, code(&text)))
    });
    let sources: BTreeMap<Path, String> = sources.collect();
    let read = |(module, code): (&Path, &String)| File {
        module: module.clone(),
        imports: imports(module, code, |path| sources.contains_key(path)),
    };
    sources.iter().map(read).collect()
}

/// Edges from each module to those that define what it imports, without those to its own children.
pub fn edges(files: &[File]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<&[String]> = files.iter().map(|file| &file.module[..]).collect();
    let all = files.iter().flat_map(|file| file.imports.iter().map(move |import| (file, import)));
    let reexports: BTreeMap<(&[String], &String), &Path> = all
        .filter(|(_, import)| import.is_reexport)
        .filter_map(|(file, import)| Some(((&file.module[..], import.path.last()?), &import.path)))
        .collect();
    let defining = |path: &Path| {
        let mut path = path.clone();
        loop {
            let length = (1..=path.len()).rev().find(|length| modules.contains(&path[..*length]))?;
            let (module, item) = path.split_at(length);
            match item.first().and_then(|item| reexports.get(&(module, item))) {
                Some(original) => path = [&original[..], &item[1..]].concat(),
                None => return (!item.is_empty()).then(|| module.to_vec()),
            }
        }
    };
    let of = |file: &File| {
        let to = file.imports.iter().filter_map(|import| defining(&import.path));
        to.filter(|to| !to.starts_with(&file.module)).map(|to| to.join("::")).collect()
    };
    files.iter().map(|file| (file.module.join("::"), of(file))).collect()
}

fn imports(module: &Path, code: &str, is_module: impl Fn(&Path) -> bool) -> Vec<Import> {
    let (uses, rest) = uses(code);
    let mut found = Vec::new();
    // Modules by the names that the code has for them.
    let mut names: BTreeMap<String, Path> = BTreeMap::new();
    for (tree, is_reexport) in uses {
        for (path, name) in expanded(&tree) {
            let Some(path) = absolute(module, &path, &is_module) else { continue };
            if is_module(&path) {
                names.insert(name, path.clone());
            }
            found.push(Import { path, is_reexport });
        }
    }
    for path in paths(&rest) {
        let path = match names.get(&path[0]) {
            Some(named) => Some([&named[..], &path[1..]].concat()),
            None => absolute(module, &path, &is_module),
        };
        found.extend(path.map(|path| Import { path, is_reexport: false }));
    }
    found
}

/// The path below `crate`; `None` for what another crate has.
fn absolute(module: &Path, path: &[String], is_module: impl Fn(&Path) -> bool) -> Option<Path> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path[0].as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
        child => {
            let child = [&module[..], &[child.to_owned()]].concat();
            is_module(&child).then(|| [&child[..], &path[1..]].concat())
        }
    }
}

/// The trees of all `use` declarations, whether each is `pub`, and the code without them.
fn uses(code: &str) -> (Vec<(String, bool)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(at) = line.find("use ").filter(|at| is_visibility(line[..*at].trim())) else {
            rest += line;
            rest.push('\n');
            continue;
        };
        let mut tree = line[at + "use ".len()..].to_owned();
        while !tree.ends_with(';') {
            tree += lines.next().expect("a declaration ends").trim();
        }
        uses.push((tree.trim_end_matches(';').to_owned(), !line[..at].trim().is_empty()));
    }
    (uses, rest)
}

fn is_visibility(text: &str) -> bool {
    text.is_empty() || text == "pub" || (text.starts_with("pub(") && text.ends_with(')'))
}

/// The paths in the tree of a `use`, each with the name that it gets.
fn expanded(tree: &str) -> Vec<(Path, String)> {
    let Some((prefix, group)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Path = path.trim().split("::").map(str::to_owned).collect();
        path.pop_if(|last| last == "self");
        let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.to_owned() };
        return vec![(path, name)];
    };
    let mut depth = 0;
    let group = group.trim().strip_suffix('}').expect("a group ends");
    let members = group.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    let members = members.filter(|member| !member.trim().is_empty());
    members.flat_map(|member| expanded(&format!("{prefix}{}", member.trim()))).collect()
}

/// Paths of two or more parts.
fn paths(code: &str) -> Vec<Path> {
    let words = code.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':')));
    let paths = words.filter(|word| word.contains("::") && !word.starts_with(':'));
    paths.map(|path| path.split("::").map(|part| part.trim_matches(':').to_owned()).collect()).collect()
}

/// Edges of an imagined program, given as modules and their code.
fn edges_of(program: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
    let path = |module: &str| module.split("::").map(str::to_owned).collect::<Path>();
    let modules: BTreeSet<Path> = program.iter().map(|(module, _)| path(module)).collect();
    let files = program.iter().map(|(module, code)| {
        let module = path(module);
        let imports = imports(&module, code, |path| modules.contains(path));
        File { module, imports }
    });
    edges(&files.collect::<Vec<_>>())
}

#[test]
fn the_import_reader_sees_every_form() {
    for (code, expected) in [
        ("use super::c::Item;", "a::c"),
        ("use super::{\n    X,\n    c::{Item, Other as O},\n};", "a a::c"),
        ("pub(super) use crate::{d::Item, a::c::*};", "a::c d"),
        ("use std::fmt;\nfn f() -> fmt::Result { crate::d::f() }", "d"),
        ("use crate::d;\nfn f() { d::f() }", "d"),
        ("use crate::d as e;\nfn f() { e::f() }", "d"),
        ("use crate::d::{self, Item};", "d"),
        ("use crate::a::Moved;", "a::c"),
        ("fn f() { self::g::<super::super::d::Item>() }", "d"),
        ("use d::Foreign;\nconst USED: &str = \"use \";", ""),
    ] {
        let program = [("a", "mod c;\npub use c::Moved;"), ("a::b", code), ("a::c", ""), ("d", "")];
        let found: Vec<String> = edges_of(&program)["a::b"].iter().cloned().collect();
        assert_eq!(found.join(" "), expected, "{code}");
    }
}

#[test]
fn a_module_may_use_its_own_children() {
    let program = [("a", "mod b;\nuse b::Item;\nfn f() { b::f() }"), ("a::b", "use super::Settings;")];
    let edges = edges_of(&program);
    assert!(edges["a"].is_empty());
    assert!(edges["a::b"].contains("a"));
}
