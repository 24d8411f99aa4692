//! Columns of a page, in the order that they are read in.

use super::lines::{Line, Segment};

/// Lines that a column has at least.
const MIN_LINES: usize = 4;
/// Characters of a column's line, on average. Cells of a table are shorter.
const MIN_CHARS: usize = 18;
/// Places for a gutter that are tried.
const PLACES: u32 = 60;
/// Columns within columns.
const MAX_DEPTH: usize = 4;

/// Lines of one column, from top to bottom.
pub(super) type Region = Vec<Line>;

/// Regions of a page in reading order.
pub(super) fn in_order(lines: Vec<Line>, width: f64) -> Vec<Region> {
    let mut regions = Vec::new();
    split(lines, (0.0, width), MAX_DEPTH, &mut regions);
    regions
}

fn split(lines: Vec<Line>, (left, right): (f64, f64), depth: usize, regions: &mut Vec<Region>) {
    let gutter = (depth > 0).then(|| gutter(&lines)).flatten();
    let Some(gutter) = gutter else {
        regions.extend((!lines.is_empty()).then_some(lines));
        return;
    };
    let mut across = Vec::new();
    let mut sides = (Vec::new(), Vec::new());
    let flush = |sides: &mut (Vec<Line>, Vec<Line>), regions: &mut Vec<Region>| {
        split(std::mem::take(&mut sides.0), (left, gutter), depth - 1, regions);
        split(std::mem::take(&mut sides.1), (gutter, right), depth - 1, regions);
    };
    for line in lines {
        if crosses(&line, gutter) {
            flush(&mut sides, regions);
            across.push(line);
        } else {
            if !across.is_empty() {
                regions.push(std::mem::take(&mut across));
            }
            let (on_left, on_right): (Vec<Segment>, Vec<Segment>) =
                line.segments.into_iter().partition(|segment| segment.x1 <= gutter);
            for (segments, side) in [(on_left, &mut sides.0), (on_right, &mut sides.1)] {
                if !segments.is_empty() {
                    side.push(Line { y: line.y, size: line.size, segments });
                }
            }
        }
    }
    flush(&mut sides, regions);
    regions.extend((!across.is_empty()).then_some(across));
}

fn crosses(line: &Line, x: f64) -> bool {
    line.segments.iter().any(|segment| segment.x0 < x && segment.x1 > x)
}

/// Place that splits the lines into two columns; none when they are one.
fn gutter(lines: &[Line]) -> Option<f64> {
    let left = lines.iter().map(Line::x0).fold(f64::INFINITY, f64::min);
    let right = lines.iter().map(Line::x1).fold(f64::NEG_INFINITY, f64::max);
    if lines.len() < MIN_LINES || right - left < 1.0 {
        return None;
    }
    let places =
        (PLACES / 5..PLACES * 4 / 5).map(|at| left + (right - left) * f64::from(at) / f64::from(PLACES));
    let crossing = |x: &f64| lines.iter().filter(|line| crosses(line, *x)).count();
    let counted: Vec<(f64, usize)> = places.map(|x| (x, crossing(&x))).collect();
    let fewest = counted.iter().map(|(_, crossing)| *crossing).min()?;
    // In the middle of the widest run of best places.
    let runs = counted.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1 == fewest);
    let run = runs.max_by_key(|run| run.len())?;
    let x = f64::midpoint(run[0].0, run[run.len() - 1].0);
    let beside: Vec<&Line> = lines.iter().filter(|line| !crosses(line, x)).collect();
    let is_column = |on_side: &dyn Fn(&Segment) -> bool| {
        let segments: Vec<&Segment> =
            beside.iter().flat_map(|line| &line.segments).filter(|segment| on_side(segment)).collect();
        let chars: usize = segments.iter().map(|segment| segment.text.chars().count()).sum();
        segments.len() >= MIN_LINES && chars >= MIN_CHARS * segments.len()
    };
    let is_worth_it = fewest * 2 < lines.len();
    (is_worth_it && is_column(&|segment| segment.x1 <= x) && is_column(&|segment| segment.x0 >= x))
        .then_some(x)
}
