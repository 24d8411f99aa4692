//! Tables as Markdown.

/// Cells beyond these are what a spreadsheet has by accident.
const MAX_COLUMNS: usize = 1000;

/// A Markdown table of rows, whose first one is the header; none when no cell has text.
pub(super) fn markdown(rows: &[Vec<String>]) -> Option<String> {
    let filled =
        |row: &Vec<String>| row.iter().rposition(|cell| !cell.trim().is_empty()).map_or(0, |at| at + 1);
    let columns = rows.iter().map(filled).max().unwrap_or(0).min(MAX_COLUMNS);
    if columns == 0 {
        return None;
    }
    let mut table = String::new();
    for (at, row) in rows.iter().filter(|row| filled(row) > 0).enumerate() {
        for column in 0..columns {
            table.push_str("| ");
            cell(row.get(column).map_or("", String::as_str), &mut table);
            table.push(' ');
        }
        table.push_str("|\n");
        if at == 0 {
            table.push_str(&"| --- ".repeat(columns));
            table.push_str("|\n");
        }
    }
    table.pop();
    Some(table)
}

/// A cell on one line.
fn cell(text: &str, table: &mut String) {
    for (at, word) in text.split_whitespace().enumerate() {
        if at > 0 {
            table.push(' ');
        }
        table.push_str(&word.replace('|', "\\|"));
    }
}
