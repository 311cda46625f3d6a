//! Where in a data file the samples stand, and at what time of the stream: what metadata say, held against what the file
//! can hold before anything is allocated.

use super::datatype::SampleType;
use super::{Capture, Metadata};
use crate::stream::Head;

/// Times of samples are at most this.
const MOST_TIME: u64 = Head::MOST_TIME;

/// Most channels of a recording.
pub(super) const MOST_CHANNELS: u64 = 1024;

/// Samples without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its first sample in the file, from 0 on.
    pub(super) start: u64,
    /// Time of that sample.
    pub(super) time: u64,
    /// Bytes before it that are no samples.
    pub(super) header_bytes: u64,
}

/// A data file's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Form of the samples.
    pub(super) form: SampleType,
    /// Interleaved channels.
    pub(super) channels: usize,
    /// Samples per channel.
    pub(super) samples: u64,
    /// In their order; the first begins with the file's first sample.
    pub(super) pieces: Vec<Piece>,
}

impl Layout {
    /// The parts of a data file of `length` bytes. An error names the field.
    pub(super) fn new(meta: &Metadata, length: u64) -> Result<Self, String> {
        let global = &meta.global;
        if global.metadata_only {
            return Err("core:metadata_only true; accepted: a recording with samples".into());
        }
        let form = meta.sample_type()?;
        if !(1..=MOST_CHANNELS).contains(&global.channels) {
            return Err(format!("core:num_channels {}; accepted: 1 to {MOST_CHANNELS}", global.channels));
        }
        let each = global.channels * form.bytes() as u64;
        let headers = meta.captures.iter().try_fold(0u64, |sum, capture| sum.checked_add(capture.header_bytes));
        let headers = headers.filter(|bytes| *bytes <= length).ok_or_else(|| {
            format!("core:header_bytes of all captures are more than the {length} bytes of the data file")
        })?;
        let bytes = (length - headers).checked_sub(global.trailing_bytes).ok_or_else(|| {
            format!("core:trailing_bytes {}; accepted with {length} bytes of data: fewer", global.trailing_bytes)
        })?;
        let samples = samples(meta, bytes, each)?;
        let pieces = pieces(global.offset, &meta.captures, samples)?;
        Ok(Self { form, channels: global.channels as usize, samples, pieces })
    }
}

/// Samples per channel in so many bytes.
fn samples(meta: &Metadata, bytes: u64, each: u64) -> Result<u64, String> {
    let global = &meta.global;
    let there = bytes / each;
    if !global.finished {
        // The last sample may be written in part, and what follows the last known gap has no known time.
        return Ok(there.min(global.samples.unwrap_or(there)));
    }
    if let Some(due) = global.samples.filter(|due| due.checked_mul(each) != Some(bytes)) {
        return Err(format!("{bytes} bytes of samples; accepted by its metadata: {due} times {each} (issc:samples)"));
    }
    if !bytes.is_multiple_of(each) {
        let (channels, datatype) = (global.channels, &global.datatype);
        return Err(format!(
            "{bytes} bytes of samples; accepted with core:num_channels {channels} of {datatype}: a multiple of {each}"
        ));
    }
    Ok(there)
}

/// The stretches without a gap, their times checked: in order, apart, and up to [`Head::MOST_TIME`].
fn pieces(offset: u64, captures: &[Capture], samples: u64) -> Result<Vec<Piece>, String> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(captures.len().max(1));
    if captures.is_empty() {
        pieces.push(Piece { start: 0, time: offset, header_bytes: 0 });
    }
    for (number, capture) in captures.iter().enumerate() {
        let found = format!("captures[{number}]: core:sample_start {}", capture.sample_start);
        let Some(start) = capture.sample_start.checked_sub(offset) else {
            return Err(format!("{found}; accepted: core:offset {offset} or more"));
        };
        if start > samples {
            return Err(format!("{found}; accepted with {samples} samples in the file: up to {}", offset + samples));
        }
        let time = match pieces.last() {
            None if start > 0 => return Err(format!("{found}; accepted of the first one: core:offset {offset}")),
            None => capture.global_index.unwrap_or(capture.sample_start),
            Some(before) if before.start >= start => {
                return Err(format!("{found}; accepted: more than that of the capture before"));
            }
            Some(before) => {
                // Both are below the last allowed time.
                let next = before.time + (start - before.start);
                let time = capture.global_index.unwrap_or(next);
                if time < next {
                    return Err(format!(
                        "captures[{number}]: core:global_index {time}: time runs backwards; accepted: {next} or more"
                    ));
                }
                time
            }
        };
        if time.checked_add(samples - start).is_none_or(|end| end > MOST_TIME) {
            return Err(format!(
                "captures[{number}]: core:global_index {time}; accepted: up to {MOST_TIME} at the end"
            ));
        }
        pieces.push(Piece { start, time, header_bytes: capture.header_bytes });
    }
    if offset > MOST_TIME - samples.min(MOST_TIME) {
        return Err(format!("core:offset {offset}; accepted: up to {MOST_TIME} at the end"));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::super::Device;
    use super::*;

    fn meta(channels: u64, captures: &[(u64, Option<u64>)]) -> Metadata {
        let mut meta = Metadata::new(1, 1e6, Device::default());
        (meta.global.channels, meta.global.finished) = (channels, true);
        let capture = |(sample_start, global_index): &(u64, Option<u64>)| Capture {
            sample_start: *sample_start,
            global_index: *global_index,
            ..Capture::default()
        };
        meta.captures = captures.iter().map(capture).collect();
        meta
    }

    #[test]
    fn counts_are_held_against_what_the_file_can_hold() {
        for channels in [0, 1025, 1 << 61, 1_000_000_000_000, u64::MAX] {
            let refused = Layout::new(&meta(channels, &[]), 0).unwrap_err();
            assert!(refused.starts_with(&format!("core:num_channels {channels}; accepted: 1 to 1024")), "{refused}");
        }
        let mut many = meta(2, &[(0, None)]);
        assert!(Layout::new(&many, 17).unwrap_err().contains("a multiple of 16"));
        many.global.samples = Some(1 << 62);
        assert!(Layout::new(&many, 16).unwrap_err().contains("issc:samples"));
        (many.global.samples, many.global.trailing_bytes) = (None, u64::MAX);
        assert!(Layout::new(&many, 16).unwrap_err().contains("core:trailing_bytes"));
        (many.global.trailing_bytes, many.captures[0].header_bytes) = (0, u64::MAX);
        assert!(Layout::new(&many, 16).unwrap_err().contains("core:header_bytes"));
    }

    #[test]
    fn headers_and_ends_that_are_no_samples_are_left_out_and_an_unfinished_one_may_be_cut() {
        let mut all = meta(1, &[(0, None), (3, Some(50))]);
        (all.captures[0].header_bytes, all.captures[1].header_bytes, all.global.trailing_bytes) = (40, 4, 7);
        let layout = Layout::new(&all, 40 + 3 * 8 + 4 + 2 * 8 + 7).unwrap();
        assert_eq!(layout.samples, 5);
        assert_eq!(layout.pieces[1], Piece { start: 3, time: 50, header_bytes: 4 });
        let mut cut = meta(1, &[(0, None)]);
        cut.global.finished = false;
        assert_eq!(Layout::new(&cut, 8 * 9 + 5).unwrap().samples, 9);
        cut.global.samples = Some(4);
        assert_eq!(Layout::new(&cut, 8 * 9 + 5).unwrap().samples, 4);
    }

    #[test]
    fn captures_out_of_order_or_overlapping_in_time_or_beyond_the_file_are_refused() {
        let of = |captures: &[(u64, Option<u64>)]| Layout::new(&meta(1, captures), 800);
        assert!(of(&[(0, None), (50, Some(49))]).unwrap_err().contains("time runs backwards; accepted: 50 or more"));
        assert!(of(&[(0, None), (60, None), (50, None)]).unwrap_err().contains("captures[2]: core:sample_start 50"));
        assert!(of(&[(0, None), (0, Some(9))]).unwrap_err().contains("captures[1]: core:sample_start 0"));
        assert!(of(&[(1, None)]).unwrap_err().contains("of the first one"));
        assert!(of(&[(0, None), (101, None)]).unwrap_err().contains("up to 100"));
        for late in [u64::MAX, i64::MAX as u64, MOST_TIME - 99] {
            assert!(of(&[(0, Some(late))]).unwrap_err().contains("core:global_index"), "{late}");
        }
        assert_eq!(of(&[(0, Some(MOST_TIME - 100))]).unwrap().pieces[0].time, MOST_TIME - 100);
    }

    #[test]
    fn an_offset_shifts_what_counts_from_it_and_no_capture_is_one() {
        let mut late = meta(1, &[]);
        late.global.offset = 1000;
        assert_eq!(Layout::new(&late, 80).unwrap().pieces, [Piece { start: 0, time: 1000, header_bytes: 0 }]);
        late.captures = meta(1, &[(1000, Some(7)), (1004, None)]).captures;
        let pieces = Layout::new(&late, 80).unwrap().pieces;
        assert_eq!((pieces[1].start, pieces[1].time), (4, 11));
        late.captures[0].sample_start = 0;
        assert!(Layout::new(&late, 80).unwrap_err().contains("core:offset 1000 or more"));
        late.global.offset = u64::MAX;
        assert!(Layout::new(&late, 80).is_err());
    }
}
