//! Callers' documents: each is a text with true offsets or a refusal. A library may panic, because the program runs
//! it in a child process; our own code may not.

use std::{
    panic::{catch_unwind, set_hook},
    process::abort,
    sync::Once,
};

use crate::text::extract::{Extracted, Hints, Limits, extract, page_image};

/// Small, so that they are exceeded.
const LIMITS: Limits = Limits { max_text: 64 * 1024, max_pages: 20, max_unpacked: 1024 * 1024 };

pub fn documents(input: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        set_hook(Box::new(|panic| {
            if panic.location().is_none_or(|place| place.file().contains("src/text/") || place.file().contains("checks/")) {
                eprintln!("{panic}");
                abort();
            }
        }));
    });
    // Of a name, only the ending counts.
    const NAMES: [Option<&str>; 6] = [None, Some("a.md"), Some("a.csv"), Some("a.html"), Some("a.eml"), Some("a.py")];
    let name = NAMES[input.len() % NAMES.len()].map(str::to_owned);
    let hints = Hints { name, page_texts: [(1, "recognized".to_owned())].into() };
    let Ok(Ok(extracted)) = catch_unwind(|| extract(input, &hints, &LIMITS)) else { return };
    check(&extracted);
    for page in extracted.image_pages {
        let _ = catch_unwind(|| page_image(input, page, &LIMITS));
    }
}

fn check(extracted: &Extracted) {
    assert!(extracted.text.len() <= LIMITS.max_text && extracted.pages.len() <= LIMITS.max_pages as usize);
    let length = extracted.text.chars().count();
    let mut end = 0;
    for page in &extracted.pages {
        assert!(end <= page.char_start && page.char_start <= page.char_end && page.char_end <= length);
        end = page.char_end;
    }
    for table in &extracted.tables {
        let shown: String =
            extracted.text.chars().skip(table.char_start).take(table.char_end - table.char_start).collect();
        assert_eq!(shown, table.markdown);
    }
    assert!(extracted.headings.is_sorted_by_key(|heading| heading.char_start));
    for heading in &extracted.headings {
        assert!(heading.char_start < length);
        assert_eq!(extracted.heading_path(heading.char_start).last(), Some(&heading.text.as_str()));
    }
}
