//! Taps: copies of passing frames for readers on other chains (the reference of sensing receivers). Neither side ever
//! waits; a frame that finds no room at a reader is dropped there and counted.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use num_complex::Complex32;
use ringbuf::{HeapCons, HeapProd, HeapRb, traits::*};

use super::Frame;

/// The way to one reader.
struct End {
    full: HeapProd<Box<Frame<Complex32>>>,
    empty: HeapCons<Box<Frame<Complex32>>>,
    dropped: Arc<AtomicU64>,
}

/// The ways to readers that the writer has not taken over yet.
type Joining = Arc<Mutex<Vec<End>>>;

/// The side that copies frames in, once for each reader.
pub struct TapWriter {
    ends: Vec<End>,
    /// Emptied with the first frame.
    joining: Option<Joining>,
}

/// One of the sides that read them.
pub struct TapReader {
    full: HeapCons<Box<Frame<Complex32>>>,
    empty: HeapProd<Box<Frame<Complex32>>>,
    dropped: Arc<AtomicU64>,
}

/// The form of one tap, for readers to come.
struct Form {
    channels: usize,
    capacity: usize,
    depth: usize,
    joining: Joining,
}

/// The taps of a run by name.
#[derive(Default)]
pub struct Taps {
    taps: BTreeMap<String, Form>,
}

impl Taps {
    /// The writing side of a new tap that holds up to `depth` frames of `channels` × `capacity` samples for each of its
    /// readers. An error says that there is one of this name already.
    pub fn writer(&mut self, name: &str, channels: usize, capacity: usize, depth: usize) -> Result<TapWriter, String> {
        if self.taps.contains_key(name) {
            return Err(format!("tap = \"{name}\" stands twice; accepted: different names"));
        }
        let joining = Joining::default();
        let form = Form { channels, capacity, depth, joining: Arc::clone(&joining) };
        self.taps.insert(name.to_owned(), form);
        Ok(TapWriter { ends: Vec::new(), joining: Some(joining) })
    }

    /// Another reading side, with room of its own. Readers are made before the run begins: the writer takes them over with
    /// its first frame. An error names the taps there are.
    pub fn reader(&mut self, name: &str) -> Result<TapReader, String> {
        let Some(Form { channels, capacity, depth, joining }) = self.taps.get(name) else {
            let known: Vec<_> = self.taps.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "a tap of a chain above".into() } else { known.join(", ") };
            return Err(format!("\"{name}\" is no tap of a chain above; accepted: {known}"));
        };
        let (full_in, full_out) = HeapRb::new(*depth).split();
        let (mut empty_in, empty_out) = HeapRb::new(*depth).split();
        for _ in 0..*depth {
            let given = empty_in.try_push(Box::new(Frame::new(*channels, *capacity)));
            assert!(given.is_ok(), "the ring holds `depth` frames");
        }
        let dropped = Arc::new(AtomicU64::new(0));
        let end = End { full: full_in, empty: empty_out, dropped: Arc::clone(&dropped) };
        joining.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        Ok(TapReader { full: full_out, empty: empty_in, dropped })
    }
}

impl TapWriter {
    /// Copies a frame in for every reader.
    pub fn write(&mut self, frame: &Frame<Complex32>) {
        if let Some(joining) = self.joining.take() {
            // Once in a run; nobody else holds this lock then.
            self.ends = std::mem::take(&mut *joining.lock().unwrap_or_else(PoisonError::into_inner));
        }
        for end in &mut self.ends {
            match end.empty.try_pop() {
                Some(mut copy) => {
                    copy.copy_rows(frame, 0);
                    let pushed = end.full.try_push(copy);
                    debug_assert!(pushed.is_ok(), "there are no more frames than places");
                }
                None => {
                    end.dropped.fetch_add(1, Ordering::Relaxed);
                }
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

    fn numbered(sequence: u64) -> Frame<Complex32> {
        let mut frame = Frame::new(1, 4);
        frame.head.sequence = sequence;
        frame
    }

    #[test]
    fn a_full_tap_drops_and_counts_instead_of_waiting() {
        let mut taps = Taps::default();
        let mut writer = taps.writer("reference", 1, 4, 2).unwrap();
        let mut reader = taps.reader("reference").unwrap();
        (0..3).for_each(|sequence| writer.write(&numbered(sequence)));
        assert_eq!(reader.dropped(), 1);
        let first = reader.read().unwrap();
        assert_eq!(first.head.sequence, 0);
        reader.give_back(first);
        writer.write(&numbered(3));
        assert_eq!(reader.dropped(), 1);
    }

    #[test]
    fn every_reader_has_all_frames_and_a_slow_one_costs_the_others_nothing() {
        let mut taps = Taps::default();
        let mut writer = taps.writer("reference", 1, 4, 2).unwrap();
        let (mut fast, slow) = (taps.reader("reference").unwrap(), taps.reader("reference").unwrap());
        for sequence in 0..10 {
            writer.write(&numbered(sequence));
            let frame = fast.read().expect("the frame just written");
            assert_eq!(frame.head.sequence, sequence);
            fast.give_back(frame);
        }
        assert_eq!((fast.dropped(), slow.dropped()), (0, 8));
    }

    #[test]
    fn a_name_stands_once_and_an_unknown_one_is_answered_with_those_there_are() {
        let mut taps = Taps::default();
        assert!(taps.reader("reference").err().unwrap().contains("a tap of a chain above"));
        taps.writer("reference", 1, 4, 2).unwrap();
        assert!(taps.writer("reference", 1, 4, 2).err().unwrap().contains("stands twice"));
        assert!(taps.reader("refrence").err().unwrap().ends_with("accepted: reference"));
    }
}
