//! Threads that decode received pictures beside a picture sink's chain, so that a slow codec, or a slow report behind it,
//! does not stop the air. Pictures are delivered in their order, whichever thread is done first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::coded_picture::CodedPicture;
use super::{ReceivedPicture, Sinks};
use crate::semantic::{Bank, Decoder};
use crate::stream::{Event, Policy, ResultKind, Telemetry, now_ns};
use crate::{Error, Result};

/// Pictures that may wait for a decoder.
const WAITING: usize = 2;

/// Dropped pictures that may wait to be reported.
const SKIPPED: usize = 256;

/// A picture that no decoder has time for.
struct Skipped {
    ticket: u64,
    number: u64,
    blocks: u64,
}

/// Hands decoded pictures over in the order of their tickets.
struct Delivery {
    out: Sender<ReceivedPicture>,
    telemetry: Telemetry,
    receiver: u8,
    skipped: Receiver<Skipped>,
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    next: u64,
    /// Pictures that are done before earlier ones.
    held: BTreeMap<u64, ReceivedPicture>,
}

impl Delivery {
    /// Delivers a picture and all that waited for it. Waits for the report, which the chain does not.
    fn deliver(&self, done: Option<(u64, ReceivedPicture)>) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = self.skipped.try_iter().map(|Skipped { ticket, number, blocks }| {
            let receiver = self.receiver;
            (ticket, ReceivedPicture { number, blocks, dropped: true, receiver, ..ReceivedPicture::default() })
        });
        order.held.extend(skipped.chain(done));
        let Order { next, held } = &mut *order;
        while let Some(picture) = held.remove(next) {
            *next += 1;
            // Without a report nobody needs the picture.
            let _ = self.out.send(picture);
        }
    }
}

/// The decoders of one picture sink.
pub(super) struct Decoders {
    policy: Policy,
    work: Option<Sender<Box<CodedPicture>>>,
    /// The decoders' side of `work`: from here the oldest picture is taken back.
    waiting: Receiver<Box<CodedPicture>>,
    free: Receiver<Box<CodedPicture>>,
    skipped: Sender<Skipped>,
    dropped: Arc<AtomicU64>,
    delivery: Arc<Delivery>,
    threads: Vec<JoinHandle<()>>,
    tickets: u64,
}

impl Decoders {
    /// Starts `count` threads; also the room for the first picture.
    pub fn start(
        count: usize,
        bank: &Arc<Bank>,
        sinks: &Sinks,
        policy: Policy,
        receiver: u8,
    ) -> Result<(Self, Box<CodedPicture>)> {
        // One picture at each decoder, those that wait, and the one that is under way.
        let rooms = count + WAITING + 1;
        let (work, waiting) = bounded(rooms);
        let (freed, free) = bounded(rooms);
        let (skipped, skips) = bounded(SKIPPED);
        let order = Mutex::default();
        let telemetry = sinks.telemetry.of_receiver(receiver).without_control();
        let delivery = Arc::new(Delivery { out: sinks.pictures.clone(), telemetry, receiver, skipped: skips, order });
        for _ in 1..rooms {
            let given = freed.try_send(Box::new(CodedPicture::new()));
            assert!(given.is_ok(), "there is room for all");
        }
        let threads = (0..count).map(|_| {
            let (delivery, decoder) = (Arc::clone(&delivery), Decoder::new(Arc::clone(bank)));
            let (waiting, freed) = (waiting.clone(), freed.clone());
            thread::Builder::new()
                .name("picture-decoder".into())
                .spawn(move || decode(&waiting, &freed, &delivery, decoder))
                .map_err(|error| Error::device(format!("no thread for a picture decoder: {error}")))
        });
        let threads = threads.collect::<Result<_>>()?;
        let dropped = Arc::clone(&sinks.dropped_pictures);
        let all = Self { policy, work: Some(work), waiting, free, skipped, dropped, delivery, threads, tickets: 0 };
        Ok((all, Box::new(CodedPicture::new())))
    }

    /// Hands a picture over; room for the next one comes back. Where all decoders are busy this waits, or the oldest
    /// picture that waits for one goes.
    pub fn hand_over(&mut self, mut picture: Box<CodedPicture>) -> Box<CodedPicture> {
        self.check();
        if self.policy == Policy::DropOldest && self.skipped.is_full() {
            // The report has not moved for hundreds of pictures.
            self.dropped.fetch_add(1, Ordering::Relaxed);
            picture.clear();
            return picture;
        }
        picture.ticket = self.tickets;
        self.tickets += 1;
        let sent = self.work.as_ref().is_some_and(|work| work.try_send(picture).is_ok());
        assert!(sent, "there is room for all");
        let mut room = self.room();
        room.clear();
        room
    }

    fn room(&mut self) -> Box<CodedPicture> {
        if self.policy == Policy::Wait {
            return self.free.recv().unwrap_or_else(|_| self.raise());
        }
        // Decoders hold one picture each, so there is always another one: in one of the two places, or about to be.
        loop {
            if let Ok(room) = self.free.try_recv() {
                return room;
            }
            if let Ok(oldest) = self.waiting.try_recv() {
                let CodedPicture { ticket, number, blocks, .. } = *oldest;
                let told = self.skipped.try_send(Skipped { ticket, number, blocks });
                debug_assert!(told.is_ok(), "there was room before");
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return oldest;
            }
            self.check();
            std::hint::spin_loop();
        }
    }

    /// Waits until all pictures are decoded and delivered.
    pub fn finish(&mut self) {
        self.work = None;
        while let Some(thread) = self.threads.pop() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        self.delivery.deliver(None);
    }

    /// Panics where a decoder has: a chain's panic ends the run.
    fn check(&mut self) {
        if self.threads.iter().any(JoinHandle::is_finished) {
            self.raise();
        }
    }

    fn raise(&mut self) -> ! {
        let ended = self.threads.iter().position(JoinHandle::is_finished).map(|index| self.threads.remove(index));
        match ended.map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => panic!("a picture decoder has ended before its time"),
        }
    }
}

/// The work of one thread.
fn decode(
    waiting: &Receiver<Box<CodedPicture>>,
    freed: &Sender<Box<CodedPicture>>,
    delivery: &Delivery,
    mut decoder: Decoder,
) {
    for mut picture in waiting {
        let (image, slices, lost_slices) = match picture.decode(&mut decoder) {
            Some(decoded) => (Some(decoded.image), decoded.report.slices, decoded.report.lost_slices),
            None => (None, 0, 0),
        };
        let (ticket, number, blocks) = (picture.ticket, picture.number, picture.blocks);
        if picture.heard_ns > 0 {
            let time_ns = now_ns().saturating_sub(picture.heard_ns);
            delivery.telemetry.report(Event::Took { result: ResultKind::Picture, time_ns });
        }
        let receiver = delivery.receiver;
        // The room goes back first: the chain does not wait for the report.
        let _ = freed.try_send(picture);
        let dropped = false;
        delivery
            .deliver(Some((ticket, ReceivedPicture { number, image, lost_slices, slices, blocks, receiver, dropped })));
    }
}
