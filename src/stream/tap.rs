//! Taps: a copy of passing frames for a reader on another chain (the sensing receiver's reference). Neither side ever
//! waits; a frame that finds no room is dropped and counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use num_complex::Complex32;
use ringbuf::{HeapCons, HeapProd, HeapRb, traits::*};

use super::Frame;

/// The side that copies frames in.
pub struct TapWriter {
    full: HeapProd<Box<Frame<Complex32>>>,
    empty: HeapCons<Box<Frame<Complex32>>>,
    dropped: Arc<AtomicU64>,
}

/// The side that reads them.
pub struct TapReader {
    full: HeapCons<Box<Frame<Complex32>>>,
    empty: HeapProd<Box<Frame<Complex32>>>,
    dropped: Arc<AtomicU64>,
}

/// A tap that holds up to `depth` frames of `channels` × `capacity` samples.
pub fn tap(channels: usize, capacity: usize, depth: usize) -> (TapWriter, TapReader) {
    let (full_in, full_out) = HeapRb::new(depth).split();
    let (mut empty_in, empty_out) = HeapRb::new(depth).split();
    for _ in 0..depth {
        assert!(empty_in.try_push(Box::new(Frame::new(channels, capacity))).is_ok(), "the ring holds `depth` frames");
    }
    let dropped = Arc::new(AtomicU64::new(0));
    (
        TapWriter { full: full_in, empty: empty_out, dropped: Arc::clone(&dropped) },
        TapReader { full: full_out, empty: empty_in, dropped },
    )
}

impl TapWriter {
    /// Copies a frame in.
    pub fn write(&mut self, frame: &Frame<Complex32>) {
        match self.empty.try_pop() {
            Some(mut copy) => {
                copy.copy_rows(frame, 0);
                let pushed = self.full.try_push(copy);
                debug_assert!(pushed.is_ok(), "there are no more frames than places");
            }
            None => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl TapReader {
    /// The oldest frame, if one is there; goes back with [`Self::give_back`].
    pub fn read(&mut self) -> Option<Box<Frame<Complex32>>> {
        self.full.try_pop()
    }

    /// Returns a frame's buffer.
    pub fn give_back(&mut self, frame: Box<Frame<Complex32>>) {
        let given = self.empty.try_push(frame);
        debug_assert!(given.is_ok(), "there are no more frames than places");
    }

    /// Frames that found no room so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_tap_drops_and_counts_instead_of_waiting() {
        let (mut writer, mut reader) = tap(1, 4, 2);
        let mut frame = Frame::new(1, 4);
        for sequence in 0..3 {
            frame.head.sequence = sequence;
            writer.write(&frame);
        }
        assert_eq!(reader.dropped(), 1);
        let first = reader.read().unwrap();
        assert_eq!(first.head.sequence, 0);
        reader.give_back(first);
        writer.write(&frame);
        assert_eq!(reader.dropped(), 1);
    }
}
