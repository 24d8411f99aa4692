//! Links between the pages lead to files and headings that exist.

use std::{collections::BTreeSet, fs, path::Path};

use crate::pages::pages;

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        let folder = Path::new(&page).parent().unwrap();
        for target in links(&text).filter(|target| !target.contains(':')) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { Path::new(&page).to_owned() } else { folder.join(file) };
            let leads = if anchor.is_empty() {
                path.exists()
            } else {
                fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor))
            };
            if !leads {
                wrong.push(format!("{page}: {target}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "{seen}");
}

/// Targets of all links outside code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("```").step_by(2).flat_map(|prose| prose.split('`').step_by(2));
    code.flat_map(|prose| prose.split("](").skip(1)).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// Anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn headings_have_anchors() {
    let found = anchors("# A page\n\n## What `it` does, and why\n```console\n# no heading\n```\n");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a-page", "what-it-does-and-why"]);
    assert_eq!(links("[a](b#c), `[d](e)` and [`f`](g)").collect::<Vec<_>>(), ["b#c", "g"]);
}
