//! Embeds the dashboard in release builds: writes a table of the files in dashboard/dist, which `src/http/dashboard/`
//! includes. The table is empty if the dashboard has not been built, and in debug builds, which read from the disk.

use std::{
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let mut table = String::from("&[\n");
    if env::var_os("PROFILE").is_some_and(|profile| profile == "release") {
        let dashboard = folder("CARGO_MANIFEST_DIR")?.join("dashboard");
        let dist = dashboard.join("dist");
        // Cargo takes a path that does not exist for changed, in every build.
        let watched = if dist.is_dir() { &dist } else { &dashboard };
        println!("cargo:rerun-if-changed={}", watched.display());
        for (name, path) in files(&dist)? {
            let _ = writeln!(table, "({name:?}, include_bytes!({path:?}).as_slice()),");
        }
    }
    fs::write(folder("OUT_DIR")?.join("dashboard.rs"), table + "]\n")
}

/// All files below a folder by their names there, sorted; none if there is no such folder.
fn files(dist: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let (mut files, mut folders) = (Vec::new(), vec![dist.to_owned()]);
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match path.strip_prefix(dist).ok().and_then(Path::to_str) {
                _ if path.is_dir() => folders.push(path),
                Some(name) if !name.starts_with('.') => files.push((name.to_owned(), path)),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}
