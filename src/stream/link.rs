//! Links between chains: frames travel as handles over two bounded rings, full ones forward and empty ones back. No copy,
//! no lock, no allocation once made; bounded by construction.
//!
//! Where the reader is late the [`Policy`] decides: the writer waits, and nothing is ever lost, or the oldest frames go.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::thread::{self, Thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use ringbuf::{HeapCons, HeapProd, HeapRb, traits::*};
use serde::{Deserialize, Serialize};

use super::{AnyFrame, Shape};

/// What happens to the frames of a link whose reader is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The writer waits: nothing is lost.
    #[default]
    Wait,
    /// Whole frames are dropped, the oldest ones, and counted; a reader sees a gap in their sample times. The older half
    /// of the link goes at once: what is left, and what follows, has no further gap.
    DropOldest,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wait => "wait",
            Self::DropOldest => "drop-oldest",
        })
    }
}

/// One end's wish to be woken.
#[derive(Default)]
struct Signal {
    /// Whoever waits; touched only on the way into and out of a wait.
    thread: Mutex<Option<Thread>>,
    waiting: AtomicBool,
}

impl Signal {
    /// Parks this thread until `ready` gives a value; `ready` is asked again after each wake.
    fn wait<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(value) = ready() {
                return value;
            }
            *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
            self.waiting.store(true, Ordering::SeqCst);
            if let Some(value) = ready() {
                self.waiting.store(false, Ordering::SeqCst);
                return value;
            }
            thread::park();
        }
    }

    fn notify(&self) {
        if self.waiting.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            thread.unpark();
        }
    }
}

#[derive(Default)]
struct Ends {
    sender: Signal,
    receiver: Signal,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
}

/// The writing end: takes empty frames, sends full ones.
pub struct LinkSender {
    full: Sender<Box<AnyFrame>>,
    empty: HeapCons<Box<AnyFrame>>,
    /// The reader's end of the full frames and how many go at once, where the oldest are dropped.
    oldest: Option<(Receiver<Box<AnyFrame>>, usize)>,
    /// Frames dropped from the link, to be filled next.
    #[expect(clippy::vec_box, reason = "frames travel as handles: a place holds the handle, not the frame")]
    spare: Vec<Box<AnyFrame>>,
    dropped: Arc<AtomicU64>,
    ends: Arc<Ends>,
}

/// The reading end: takes full frames, gives them back empty.
pub struct LinkReceiver {
    full: Receiver<Box<AnyFrame>>,
    empty: HeapProd<Box<AnyFrame>>,
    ends: Arc<Ends>,
}

/// A link of `depth` frames of this shape, 2 at least.
pub fn link(shape: Shape, depth: usize, policy: Policy) -> (LinkSender, LinkReceiver) {
    let (full_in, full_out) = bounded(depth);
    let (mut empty_in, empty_out) = HeapRb::new(depth).split();
    for _ in 0..depth {
        assert!(empty_in.try_push(Box::new(AnyFrame::new(shape))).is_ok(), "the ring holds `depth` frames");
    }
    let ends = Arc::new(Ends::default());
    let sender = LinkSender {
        full: full_in,
        empty: empty_out,
        oldest: (policy == Policy::DropOldest).then(|| (full_out.clone(), (depth / 2).max(1))),
        spare: Vec::with_capacity(depth),
        dropped: Arc::default(),
        ends: Arc::clone(&ends),
    };
    (sender, LinkReceiver { full: full_out, empty: empty_in, ends })
}

impl LinkSender {
    /// An empty frame to fill: waits for one, or drops the oldest full ones. `None` when the reader is gone.
    pub fn take(&mut self) -> Option<Box<AnyFrame>> {
        if let Some(frame) = self.spare.pop() {
            return Some(frame);
        }
        let Self { empty, ends, oldest, spare, dropped, .. } = self;
        let Some((oldest, count)) = oldest else {
            return ends.sender.wait(|| match empty.try_pop() {
                Some(frame) => Some(Some(frame)),
                None if ends.receiver_gone.load(Ordering::SeqCst) => Some(None),
                None => None,
            });
        };
        // The reader holds one frame at most, so one of the two places has another: it is found as soon as the reader is
        // done with moving it from the one to the other.
        loop {
            if ends.receiver_gone.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(frame) = empty.try_pop() {
                return Some(frame);
            }
            spare.extend(oldest.try_iter().take(*count));
            dropped.fetch_add(spare.len() as u64, Ordering::Relaxed);
            if let Some(frame) = spare.pop() {
                return Some(frame);
            }
            std::hint::spin_loop();
        }
    }

    /// Sends a frame that came from [`Self::take`].
    pub fn send(&mut self, frame: Box<AnyFrame>) {
        let sent = self.full.try_send(frame);
        debug_assert!(sent.is_ok(), "there are no more frames than places");
        self.ends.receiver.notify();
    }

    /// Frames dropped so far.
    pub fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The same as a counter that can be read while the link is in use.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl LinkReceiver {
    /// The next full frame, waiting for it; `None` when the writer is gone and all it sent was read.
    pub fn receive(&mut self) -> Option<Box<AnyFrame>> {
        let Self { full, ends, .. } = self;
        ends.receiver.wait(|| {
            let gone = ends.sender_gone.load(Ordering::SeqCst);
            match full.try_recv() {
                Ok(frame) => Some(Some(frame)),
                Err(_) if gone => Some(None),
                Err(_) => None,
            }
        })
    }

    /// Hands a frame back to be filled again.
    pub fn give_back(&mut self, frame: Box<AnyFrame>) {
        let given = self.empty.try_push(frame);
        debug_assert!(given.is_ok(), "there are no more frames than places");
        self.ends.sender.notify();
    }
}

impl Drop for LinkSender {
    fn drop(&mut self) {
        self.ends.sender_gone.store(true, Ordering::SeqCst);
        self.ends.receiver.notify();
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.ends.receiver_gone.store(true, Ordering::SeqCst);
        self.ends.sender.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Frame, Sample};

    fn send(sender: &mut LinkSender, sequence: u64) {
        let mut frame = sender.take().expect("the reader reads to the end");
        let typed: &mut Frame<u8> = Sample::of_mut(&mut frame).unwrap();
        typed.head.sequence = sequence;
        sender.send(frame);
    }

    #[test]
    fn every_frame_arrives_once_and_in_order_across_threads() {
        let (mut sender, mut receiver) = link(Shape::bits(1, 8), 3, Policy::Wait);
        let writer = thread::spawn(move || (0..10_000).for_each(|sequence| send(&mut sender, sequence)));
        let mut expected = 0;
        while let Some(frame) = receiver.receive() {
            assert_eq!(frame.head().sequence, expected);
            expected += 1;
            receiver.give_back(frame);
        }
        writer.join().unwrap();
        assert_eq!(expected, 10_000);
    }

    #[test]
    fn the_older_half_goes_where_nobody_reads_and_what_is_left_has_no_gap() {
        let (mut sender, mut receiver) = link(Shape::bits(1, 8), 8, Policy::DropOldest);
        (0..30).for_each(|sequence| send(&mut sender, sequence));
        let dropped = sender.dropped().load(Ordering::Relaxed);
        drop(sender);
        let mut left = Vec::new();
        while let Some(frame) = receiver.receive() {
            left.push(frame.head().sequence);
            receiver.give_back(frame);
        }
        // 8 fit; the 9th, 13th, 17th … drop four each.
        assert_eq!((dropped, left), (24, (24..30).collect::<Vec<_>>()));
    }

    #[test]
    fn a_writer_that_drops_never_waits_and_every_frame_is_read_or_counted_across_threads() {
        for depth in [2, 3, 8] {
            let (mut sender, mut receiver) = link(Shape::bits(1, 8), depth, Policy::DropOldest);
            let dropped = sender.dropped();
            let writer = thread::spawn(move || (0..20_000).for_each(|sequence| send(&mut sender, sequence)));
            let (mut read, mut last) = (0, None);
            while let Some(frame) = receiver.receive() {
                assert!(last < Some(frame.head().sequence), "in order, none twice");
                last = Some(frame.head().sequence);
                read += 1;
                receiver.give_back(frame);
            }
            writer.join().unwrap();
            assert_eq!(read + dropped.load(Ordering::Relaxed), 20_000);
            assert_eq!(last, Some(19_999), "the newest is never dropped");
        }
    }

    #[test]
    fn a_writer_learns_that_its_reader_is_gone() {
        for policy in [Policy::Wait, Policy::DropOldest] {
            let (mut sender, receiver) = link(Shape::bits(1, 8), 2, policy);
            let held = [sender.take().unwrap(), sender.take().unwrap()];
            let waiter = thread::spawn(move || sender.take().is_none());
            thread::sleep(std::time::Duration::from_millis(10));
            drop(receiver);
            assert!(waiter.join().unwrap());
            drop(held);
        }
    }
}
