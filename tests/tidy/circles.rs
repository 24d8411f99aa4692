//! No two files import from each other, however far round: each can be read, moved and tested without
//! the other. A module may use its children, which may use what it defines for all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{edges, files};

#[test]
fn no_files_import_each_other() {
    let circles = circles(&edges(&files()));
    assert!(circles.is_empty(), "move what both need into a file of its own: {circles:#?}");
}

/// The largest sets of modules in which each reaches each.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        edges.keys().map(|from| (from, reachable(edges, from))).collect();
    let circle = |from: &String| -> BTreeSet<String> {
        reached[from].iter().filter(|to| reached[**to].contains(from)).map(|to| (*to).clone()).collect()
    };
    edges.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

fn reachable<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = edges[from].iter().collect();
    while let Some(module) = next.pop() {
        if found.insert(module) {
            next.extend(&edges[module]);
        }
    }
    found
}

#[test]
fn circles_of_any_length_are_found() {
    let edge =
        |(from, to): (&str, &str)| (from.to_owned(), to.split_whitespace().map(str::to_owned).collect());
    let edges = [("a", "b c"), ("b", "c"), ("c", "d"), ("d", "b"), ("e", "a f"), ("f", "")].map(edge);
    assert_eq!(circles(&edges.into()), [["b", "c", "d"].map(str::to_owned).into()].into());
}
