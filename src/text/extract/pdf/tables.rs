//! Tables: lines whose segments stand below each other.

use super::lines::{Line, Segment};

/// Rows that a table has at least.
const MIN_ROWS: usize = 3;
/// More columns than tables on pages have.
const MAX_COLUMNS: usize = 30;

/// A table at the beginning of the lines: its rows, and how many lines it takes.
pub(super) fn first(lines: &[Line]) -> Option<(Vec<Vec<String>>, usize)> {
    if lines.first()?.segments.len() < 2 {
        return None;
    }
    let length = run(lines);
    let lines = &lines[..length];
    let columns = columns(lines);
    let is_row = |line: &&Line| line.segments.len() >= 2;
    let rows = lines.iter().filter(is_row).count();
    // The first column of a list holds its markers.
    let is_list = lines.iter().all(|line| line.segments[0].text.chars().count() <= 2) && columns.len() == 2;
    if rows < MIN_ROWS || !(2..=MAX_COLUMNS).contains(&columns.len()) || is_list {
        return None;
    }
    let place = |segment: &Segment| {
        columns.iter().position(|(_, end)| segment.x0 < *end).unwrap_or(columns.len() - 1)
    };
    // Text that happens to have wide gaps does not keep to columns.
    let fitting = lines
        .iter()
        .filter(is_row)
        .filter(|line| line.segments.windows(2).all(|pair| place(&pair[0]) < place(&pair[1])));
    if fitting.count() * 10 < rows * 8 {
        return None;
    }
    let mut table: Vec<Vec<String>> = Vec::new();
    for line in lines {
        // A line below the first column continues the cells above it.
        let continues = line.segments.len() == 1 && place(&line.segments[0]) > 0 && !table.is_empty();
        if !continues {
            table.push(vec![String::new(); columns.len()]);
        }
        let Some(row) = table.last_mut() else { continue };
        for segment in &line.segments {
            let cell = &mut row[place(segment)];
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(&segment.text);
        }
    }
    Some((table, length))
}

/// Lines up to one that does not look like a row.
fn run(lines: &[Line]) -> usize {
    let mut length = 0;
    for (at, line) in lines.iter().enumerate() {
        let is_near = at == 0 || line.y - lines[at - 1].y < 3.5 * line.size.max(lines[at - 1].size);
        let is_row = line.segments.len() >= 2;
        // A wrapped cell; the line after the last row is none.
        let is_rest = !is_row
            && at > 0
            && line.x0() > lines[0].x0() + line.size
            && line.y - lines[at - 1].y < 1.6 * line.size;
        if !is_near || !(is_row || is_rest) {
            break;
        }
        length = at + 1;
    }
    length
}

/// Columns from left to right: intervals that the segments cover together.
fn columns(lines: &[Line]) -> Vec<(f64, f64)> {
    let mut intervals: Vec<(f64, f64)> =
        lines.iter().flat_map(|line| &line.segments).map(|segment| (segment.x0, segment.x1)).collect();
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: Vec<(f64, f64)> = Vec::new();
    for (start, end) in intervals {
        match columns.last_mut().filter(|last| start < last.1) {
            Some(last) => last.1 = last.1.max(end),
            None => columns.push((start, end)),
        }
    }
    columns
}
