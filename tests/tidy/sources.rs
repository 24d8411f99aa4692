//! The program's source files, as text.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The program's files, without unit tests in files of their own.
pub fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = rust_files(Path::new("src"));
    found.retain(|path, _| {
        path.iter().all(|part| !matches!(part.to_str(), Some("tests" | "tests.rs" | "fixture.rs")))
    });
    assert!(found.len() > 20, "run in the project's root");
    found
}

pub fn rust_files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// The top-level module that a file belongs to.
pub fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without its unit tests and comments.
pub fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//")).peekable();
    while let Some(line) = lines.next() {
        let is_for_tests = line.starts_with("#[cfg(") && line.contains("test");
        if is_for_tests && lines.next_if(|line| line.starts_with("mod ") && line.ends_with('{')).is_some() {
            lines.by_ref().find(|line| *line == "}");
        } else {
            code += line;
            code.push('\n');
        }
    }
    code
}

#[test]
fn unit_tests_are_no_code() {
    let tests = "#[cfg(test)]\nmod tests {\n    fn test() {}\n}\n";
    assert_eq!(code(&format!("fn a() {{}}\n{tests}// b\nfn b() {{}}\n")), "fn a() {}\nfn b() {}\n");
    let file = "#[cfg(test)]\nmod tests;\nfn a() {}\n";
    assert_eq!(code(file), file);
}
