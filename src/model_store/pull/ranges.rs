//! Which bytes of a blob have been downloaded. A blob is divided into parts, and each part is filled from its
//! start.

use serde::{Deserialize, Serialize};

/// Limits in bytes of a part. Small parts let the checksum follow closely behind the download; each costs a
/// request.
const MIN_PART: u64 = 4 << 20;
const MAX_PART: u64 = 32 << 20;
const PARTS: u64 = 128;

/// Record of the ranges, which is kept beside the partial file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Record {
    /// Bytes of the whole blob.
    size: u64,
    part_size: u64,
    /// Bytes at the start of each part that are in the file.
    done: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Ranges {
    record: Record,
    /// Parts that are being downloaded.
    claimed: Vec<bool>,
}

/// The missing end of one part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) index: usize,
    /// Offset in the blob of the first missing byte.
    pub(super) start: u64,
    /// Offset after the last byte.
    pub(super) end: u64,
}

impl Part {
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

impl Ranges {
    pub(super) fn new(size: u64) -> Self {
        let part_size = (size / PARTS).clamp(MIN_PART, MAX_PART);
        let count = usize::try_from(size.div_ceil(part_size)).unwrap_or(usize::MAX);
        Self::of(Record { size, part_size, done: vec![0; count] })
    }

    /// Continues from a record; `None` if it cannot belong to a blob of this size in a file of this length.
    pub(super) fn resumed(record: Record, size: u64, file_len: u64) -> Option<Self> {
        let parts = Self::new(size);
        let fits = record.size == size
            && record.part_size == parts.record.part_size
            && record.done.len() == parts.record.done.len();
        let ranges = Self::of(record);
        let is_there = |index| {
            let (start, end) = ranges.bounds(index);
            let done = ranges.record.done[index];
            done <= end - start && (done == 0 || start + done <= file_len)
        };
        (fits && (0..ranges.record.done.len()).all(is_there)).then_some(ranges)
    }

    fn of(record: Record) -> Self {
        Self { claimed: vec![false; record.done.len()], record }
    }

    pub(super) fn record(&self) -> Record {
        self.record.clone()
    }

    fn bounds(&self, index: usize) -> (u64, u64) {
        let start = index as u64 * self.record.part_size;
        (start, (start + self.record.part_size).min(self.record.size))
    }

    /// Takes the first part that is incomplete and not claimed.
    pub(super) fn claim(&mut self) -> Option<Part> {
        let index = (0..self.claimed.len()).find(|index| !self.claimed[*index] && !self.is_full(*index))?;
        self.claimed[index] = true;
        Some(self.part(index))
    }

    /// Missing end of a part, as it is now.
    pub(super) fn part(&self, index: usize) -> Part {
        let (start, end) = self.bounds(index);
        Part { index, start: start + self.record.done[index], end }
    }

    pub(super) fn release(&mut self, index: usize) {
        self.claimed[index] = false;
    }

    fn is_full(&self, index: usize) -> bool {
        self.part(index).is_empty()
    }

    /// Records that these bytes are in the file. Bytes after a gap do not count.
    pub(super) fn fill(&mut self, start: u64, end: u64) {
        let first = usize::try_from(start / self.record.part_size).unwrap_or(usize::MAX);
        for index in first..self.record.done.len() {
            let (part_start, part_end) = self.bounds(index);
            if part_start >= end {
                break;
            }
            if start <= part_start + self.record.done[index] {
                let done = end.min(part_end) - part_start;
                self.record.done[index] = self.record.done[index].max(done);
            }
        }
    }

    /// Bytes that are there.
    pub(super) fn completed(&self) -> u64 {
        self.record.done.iter().sum()
    }

    /// Bytes from the start of the blob that are there without a gap.
    pub(super) fn prefix(&self) -> u64 {
        let first = (0..self.record.done.len()).find(|index| !self.is_full(*index));
        first.map_or(self.record.size, |index| self.part(index).start)
    }

    pub(super) fn size(&self) -> u64 {
        self.record.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn parts_are_claimed_in_order_and_filled_from_their_start() {
        let mut ranges = Ranges::new(10 * MB);
        let (first, second) = (ranges.claim().expect("a part"), ranges.claim().expect("a part"));
        assert_eq!((first.start, first.end), (0, 4 * MB));
        assert_eq!((second.start, second.end), (4 * MB, 8 * MB));
        ranges.fill(4 * MB, 8 * MB);
        assert_eq!((ranges.completed(), ranges.prefix()), (4 * MB, 0));
        ranges.fill(0, 3 * MB);
        ranges.release(first.index);
        assert_eq!(ranges.claim().map(|part| (part.start, part.end)), Some((3 * MB, 4 * MB)));
        ranges.fill(3 * MB, 4 * MB);
        assert_eq!(ranges.prefix(), 8 * MB);
        // One request may fill several parts.
        ranges.fill(8 * MB, 10 * MB);
        assert_eq!((ranges.completed(), ranges.prefix(), ranges.claim()), (10 * MB, 10 * MB, None));
    }

    #[test]
    fn a_gap_is_not_taken_for_data() {
        let mut ranges = Ranges::new(10 * MB);
        ranges.fill(MB, 5 * MB);
        assert_eq!((ranges.completed(), ranges.prefix()), (MB, 0));
        ranges.fill(0, 4 * MB);
        assert_eq!(ranges.prefix(), 5 * MB);
    }

    #[test]
    fn an_empty_blob_has_no_parts() {
        let mut ranges = Ranges::new(0);
        assert_eq!((ranges.claim(), ranges.completed(), ranges.prefix()), (None, 0, 0));
    }

    #[test]
    fn a_record_that_does_not_fit_is_not_believed() {
        let mut ranges = Ranges::new(10 * MB);
        ranges.fill(0, 5 * MB);
        let record = ranges.record();
        let resumed = |record: &Record, size, len| Ranges::resumed(record.clone(), size, len);
        assert_eq!(resumed(&record, 10 * MB, 5 * MB).map(|ranges| ranges.completed()), Some(5 * MB));
        assert!(resumed(&record, 11 * MB, 5 * MB).is_none());
        assert!(resumed(&record, 10 * MB, 5 * MB - 1).is_none());
        assert!(resumed(&Record { part_size: 1, ..record.clone() }, 10 * MB, 5 * MB).is_none());
        assert!(resumed(&Record { done: vec![5 * MB, 0, 0], ..record.clone() }, 10 * MB, 9 * MB).is_none());
        assert!(resumed(&Record { done: vec![0; 4], ..record }, 10 * MB, 9 * MB).is_none());
    }
}
