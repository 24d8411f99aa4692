//! Spreadsheets: XLSX by calamine, and CSV. Each sheet is a heading and a table.

use std::io::Cursor;

use calamine::{Data, DataRef, Reader, Xlsx};
use csv::StringRecord;

use super::{Refusal, archive::Archive, inline::Inline, writer::Writer, xml};

/// Cells that are kept of one sheet, so that sparse ones stay small.
const MAX_COLUMN: u32 = 1000;

pub(super) fn xlsx(bytes: &[u8], archive: &mut Archive<'_>, writer: &mut Writer) -> Result<(), Refusal> {
    archive.check_declared()?;
    let damaged = |_| Refusal::damaged("XLSX");
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|error| match error {
        calamine::XlsxError::Password => Refusal::encrypted(),
        _ => Refusal::damaged("XLSX"),
    })?;
    if let Some(core) = archive.text("docProps/core.xml")? {
        core_properties(&core, writer)?;
    }
    for sheet in book.sheet_names() {
        let mut cells = match book.worksheet_cells_reader(&sheet) {
            Ok(cells) => cells,
            // A chart has no cells.
            Err(calamine::XlsxError::NotAWorksheet(_)) => continue,
            Err(error) => return Err(damaged(error)),
        };
        let (mut rows, mut at) = (Vec::<Vec<String>>::new(), None);
        while let Some(cell) = cells.next_cell().map_err(damaged)? {
            let (row, column) = cell.get_position();
            let text = shown(cell.get_value());
            if text.is_empty() || column >= MAX_COLUMN {
                continue;
            }
            if at != Some(row) {
                rows.push(Vec::new());
                at = Some(row);
            }
            if let Some(cells) = rows.last_mut() {
                cells.resize(cells.len().max(column as usize), String::new());
                cells.push(text);
            }
        }
        if !rows.is_empty() {
            writer.heading(2, &Inline::of(&sheet))?;
            writer.table(&rows)?;
        }
    }
    Ok(())
}

/// A cell as people read it.
fn shown(value: &DataRef<'_>) -> String {
    match Data::from(value.clone()) {
        Data::Empty => String::new(),
        Data::DateTime(date) => {
            if date.is_duration() {
                let minutes = (date.as_f64() * 1440.0).round() as i64;
                return format!("{}:{:02}", minutes / 60, minutes % 60);
            }
            let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
            match (date.as_f64() < 1.0, hour, minute, second) {
                (true, ..) => format!("{hour:02}:{minute:02}:{second:02}"),
                (false, 0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
                _ => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
            }
        }
        Data::Bool(truth) => if truth { "TRUE" } else { "FALSE" }.to_owned(),
        other => other.to_string(),
    }
}

/// Metadata of an Office document.
pub(super) fn core_properties(core: &str, writer: &mut Writer) -> Result<(), Refusal> {
    for (name, text) in xml::fields(core)? {
        match name.as_str() {
            "title" | "subject" | "created" | "modified" | "keywords" | "description" => {
                writer.known(&name, &text)
            }
            "creator" => writer.known("author", &text),
            "language" => writer.language(&text),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn csv(text: &str, writer: &mut Writer) -> Result<(), Refusal> {
    let mut rows = Vec::new();
    for record in records(text, delimiter(text)) {
        let record = record.map_err(|_| Refusal::damaged("CSV"))?;
        rows.push(record.iter().map(str::to_owned).collect::<Vec<_>>());
    }
    writer.metadata("row_count", rows.len());
    writer.table(&rows)
}

fn records(text: &str, delimiter: u8) -> impl Iterator<Item = csv::Result<StringRecord>> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).delimiter(delimiter);
    reader.from_reader(text.as_bytes()).into_records()
}

/// The separator that divides each of the first records into the most fields.
fn delimiter(text: &str) -> u8 {
    let fewest = |separator: u8| {
        let fields = records(text, separator).take(20).map(|record| record.map_or(0, |record| record.len()));
        fields.min().unwrap_or(0)
    };
    [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|separator| fewest(*separator)).unwrap_or(b',')
}
