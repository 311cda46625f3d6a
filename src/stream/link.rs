//! Links between chains: frames travel as handles over two single-producer single-consumer rings, full ones forward
//! and empty ones back. No copy, no lock, no allocation once made; bounded by construction.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::thread::{self, Thread};

use ringbuf::{HeapCons, HeapProd, HeapRb, traits::*};

use super::{AnyFrame, Shape};

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
    full: HeapProd<Box<AnyFrame>>,
    empty: HeapCons<Box<AnyFrame>>,
    ends: Arc<Ends>,
}

/// The reading end: takes full frames, gives them back empty.
pub struct LinkReceiver {
    full: HeapCons<Box<AnyFrame>>,
    empty: HeapProd<Box<AnyFrame>>,
    ends: Arc<Ends>,
}

/// A link of `depth` frames of this shape.
pub fn link(shape: Shape, depth: usize) -> (LinkSender, LinkReceiver) {
    let (full_in, full_out) = HeapRb::new(depth).split();
    let (mut empty_in, empty_out) = HeapRb::new(depth).split();
    for _ in 0..depth {
        assert!(empty_in.try_push(Box::new(AnyFrame::new(shape))).is_ok(), "the ring holds `depth` frames");
    }
    let ends = Arc::new(Ends::default());
    (
        LinkSender { full: full_in, empty: empty_out, ends: Arc::clone(&ends) },
        LinkReceiver { full: full_out, empty: empty_in, ends },
    )
}

impl LinkSender {
    /// An empty frame to fill, waiting for one; `None` when the reader is gone.
    pub fn take(&mut self) -> Option<Box<AnyFrame>> {
        let Self { empty, ends, .. } = self;
        ends.sender.wait(|| match empty.try_pop() {
            Some(frame) => Some(Some(frame)),
            None if ends.receiver_gone.load(Ordering::SeqCst) => Some(None),
            None => None,
        })
    }

    /// Sends a frame that came from [`Self::take`].
    pub fn send(&mut self, frame: Box<AnyFrame>) {
        let sent = self.full.try_push(frame);
        debug_assert!(sent.is_ok(), "there are no more frames than places");
        self.ends.receiver.notify();
    }
}

impl LinkReceiver {
    /// The next full frame, waiting for it; `None` when the writer is gone and all it sent was read.
    pub fn receive(&mut self) -> Option<Box<AnyFrame>> {
        let Self { full, ends, .. } = self;
        ends.receiver.wait(|| {
            let gone = ends.sender_gone.load(Ordering::SeqCst);
            match full.try_pop() {
                Some(frame) => Some(Some(frame)),
                None if gone => Some(None),
                None => None,
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

    #[test]
    fn every_frame_arrives_once_and_in_order_across_threads() {
        let (mut sender, mut receiver) = link(Shape::bits(1, 8), 3);
        let writer = thread::spawn(move || {
            for sequence in 0..10_000u64 {
                let mut frame = sender.take().expect("the reader reads to the end");
                let typed: &mut Frame<u8> = Sample::of_mut(&mut frame).unwrap();
                typed.head.sequence = sequence;
                sender.send(frame);
            }
        });
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
    fn a_writer_learns_that_its_reader_is_gone() {
        let (mut sender, receiver) = link(Shape::bits(1, 8), 1);
        let held = sender.take().unwrap();
        let waiter = thread::spawn(move || sender.take().is_none());
        thread::sleep(std::time::Duration::from_millis(10));
        drop(receiver);
        assert!(waiter.join().unwrap());
        drop(held);
    }
}
