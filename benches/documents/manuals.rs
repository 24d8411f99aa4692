//! Manuals of Debian's, unpacked by `scripts/bench.sh`.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The manual that questions are about: prose on what to do when, where others are lists of commands.
pub const QUESTIONS: &str = "developers-reference/usr/share/developers-reference";
/// A PDF of 311 pages, made by TeX.
pub const PDF: &str = "gnuplot-doc/usr/share/doc/gnuplot/gnuplot.pdf";

/// The path of a manual; says so if it is not there.
pub fn manual(path: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache")));
    let usual = || cache.map(|cache| cache.join("simpleton/manuals"));
    let folder = env::var_os("SIMPLETON_BENCH_MANUALS").map(PathBuf::from).or_else(usual)?;
    let manual = folder.join(Path::new(path));
    if manual.exists() {
        return Some(manual);
    }
    println!("\n{} is missing; `make bench` downloads it. Continuing without it.", manual.display());
    None
}
