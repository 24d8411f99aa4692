//! What another program wrote, before one of our callers may see it.

/// Longer than any complaint that helps.
const LONGEST: usize = 300;

/// Replaces whatever looks like a path; callers learn nothing of a server's disk. What stands in quotes is
/// one word, since a folder's name may hold spaces.
pub fn without_paths(text: &str) -> String {
    let pieces = text.split('\'').enumerate().map(|(n, piece)| {
        if n % 2 == 1 {
            return if piece.contains('/') { "…".to_owned() } else { piece.to_owned() };
        }
        piece.split(' ').map(|word| if word.contains('/') { "…" } else { word }).collect::<Vec<_>>().join(" ")
    });
    let mut text = pieces.collect::<Vec<_>>().join("'");
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_left_out() {
        for (text, shown) in [
            ("failed to load '/a/b c.gguf', stopping", "failed to load '…', stopping"),
            ("no path here, 3 of 4 'words'", "no path here, 3 of 4 'words'"),
            ("cannot open /srv/models/x.gguf", "cannot open …"),
        ] {
            assert_eq!(without_paths(text), shown);
        }
    }

    #[test]
    fn a_long_complaint_is_cut() {
        assert_eq!(without_paths(&"ä".repeat(1000)).chars().count(), LONGEST + 1);
    }
}
