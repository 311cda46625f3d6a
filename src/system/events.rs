//! What a run tells while it goes on: events for people and programs, one broadcast with a bounded queue per reader.
//!
//! The run never waits for a reader. One that falls behind loses its oldest events and is told how many.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use serde::Serialize;

use super::report::PlanSummary;
use crate::scene::Point;
use crate::{Error, Result};

/// Events that may wait for one reader.
const WAITING: usize = 4096;

/// Something that happened in a run. Times are seconds of signal from the first frame's start.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The transmitter built a frame.
    Sent {
        /// Frame number.
        frame: u64,
        /// Its time on the air.
        signal_s: f64,
        /// The plan it is sent under.
        epoch: u64,
        /// Tr Σ of that plan.
        power_dbm: f64,
    },
    /// A communication receiver read a frame's header and worked on its blocks.
    Received {
        /// The receiver's id.
        node: Arc<str>,
        /// Frame number.
        frame: u64,
        /// Its time on the air.
        signal_s: f64,
        /// The plan it was sent under.
        epoch: u64,
        /// As measured; null where it has no finite level.
        sinr_db: Option<f64>,
        /// Blocks that carry bits.
        blocks_sent: u8,
        /// Blocks of these that did not arrive.
        blocks_lost: u8,
    },
    /// A sensing receiver worked on a frame's echo.
    Detections {
        /// The receiver's id.
        node: Arc<str>,
        /// Frame number; the middle one where several were added up.
        frame: u64,
        /// Its time on the air.
        signal_s: f64,
        /// The plan it was sent under.
        epoch: u64,
        /// Targets found, the strongest first.
        detections: Vec<Detection>,
        /// Where there is no position, places that explain the echo beside the most probable one.
        rivals: Vec<Rival>,
        /// Why there is no position, where there is none.
        refused: Option<&'static str>,
        /// Rows of the array that do not fit, from 0.
        rows: Vec<usize>,
    },
    /// The first frame of a plan was sent.
    Plan(Arc<PlanSummary>),
    /// A picture came through, or did not.
    Picture {
        /// The receiver's id.
        node: Arc<str>,
        /// The picture's number in the run.
        index: u64,
        /// Against the original; null where nothing could be shown or nothing differs.
        psnr_db: Option<f64>,
        /// Blocks sent for it that did not arrive.
        blocks_lost: u64,
    },
}

/// One target in one frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// Position (x, y) in metres.
    pub position_m: Point,
    /// Covariance of the position in m².
    pub covariance_m2: [[f64; 2]; 2],
    /// The track that took it in.
    pub track: Option<u64>,
    /// Other places that explain the echo about as well.
    pub rivals: Vec<Rival>,
}

/// A place that explains an echo as well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rival {
    /// Position (x, y) in metres.
    pub position_m: Point,
    /// Its share of the posterior probability.
    pub posterior: f64,
}

/// One reader's queue.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    events: VecDeque<Arc<Event>>,
    lost: u64,
    ended: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of a run's events: an iterator that waits for the next one and ends with the run.
pub struct Subscription {
    queue: Arc<Queue>,
}

impl Subscription {
    /// Events that this reader lost because it was too slow.
    pub fn lost(&self) -> u64 {
        self.queue.lock().lost
    }

    /// The next event if one is there; never waits.
    pub fn try_next(&mut self) -> Option<Event> {
        self.queue.lock().events.pop_front().map(Arc::unwrap_or_clone)
    }
}

impl Iterator for Subscription {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut state = self.queue.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(Arc::unwrap_or_clone(event));
            }
            if state.ended {
                return None;
            }
            state = self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Hands every event to whoever reads.
#[derive(Default)]
pub(super) struct Broadcast {
    readers: Mutex<Readers>,
}

#[derive(Default)]
struct Readers {
    queues: Vec<Weak<Queue>>,
    ended: bool,
}

impl Broadcast {
    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another reader, from the next event on.
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut readers = self.lock();
        queue.lock().ended = readers.ended;
        readers.queues.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// Whether anybody reads: events that nobody wants need not be made.
    pub fn is_heard(&self) -> bool {
        !self.lock().queues.is_empty()
    }

    /// Passes an event on; never waits.
    pub fn send(&self, event: &Arc<Event>) {
        self.lock().queues.retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            let mut state = queue.lock();
            if state.events.len() == WAITING {
                state.events.pop_front();
                state.lost += 1;
            }
            state.events.push_back(Arc::clone(event));
            drop(state);
            queue.changed.notify_one();
            true
        });
    }

    /// Whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Nothing more will come.
    pub fn end(&self) {
        let mut readers = self.lock();
        readers.ended = true;
        for queue in readers.queues.drain(..).filter_map(|queue| queue.upgrade()) {
            queue.lock().ended = true;
            queue.changed.notify_all();
        }
    }
}

/// Bytes of lines between writes to the file, where nobody asks for them earlier.
const LINES_BYTES: usize = 1 << 13;

/// Writes events to a file as they happen, one JSON object a line. A log grows under its own name, unlike other files; what
/// stands in it are whole lines.
pub(super) struct EventWriter {
    path: PathBuf,
    /// Nothing: the standard output.
    file: Option<File>,
    /// Whole lines that wait.
    lines: Vec<u8>,
    /// Bytes of the whole lines before them.
    written: u64,
    failed: Option<std::io::Error>,
}

impl EventWriter {
    /// Begins a file; `-` is the standard output.
    pub fn create(path: &Path) -> Result<Self> {
        let file = match path.to_str() {
            Some("-") => None,
            _ => Some(File::create(path).map_err(|error| Error::file(path, error))?),
        };
        Ok(Self { path: path.to_owned(), file, lines: Vec::new(), written: 0, failed: None })
    }

    /// Writes an event. After a failure the run goes on without the file, and says so at its end.
    pub fn write(&mut self, event: &Event) {
        if self.failed.is_some() {
            return;
        }
        serde_json::to_writer(&mut self.lines, event).expect("an event is valid JSON");
        self.lines.push(b'\n');
        if self.lines.len() >= LINES_BYTES {
            self.flush();
        }
    }

    /// Lets readers of the file see what was written so far.
    pub fn flush(&mut self) {
        if self.failed.is_some() || self.lines.is_empty() {
            return;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.lines),
            None => std::io::stdout().write_all(&self.lines).and_then(|()| std::io::stdout().flush()),
        };
        match written {
            Ok(()) => self.written += self.lines.len() as u64,
            Err(error) => {
                // A full disk took part of a line. Pipes and devices cannot be cut, and need not be.
                if let Some(file) = &self.file {
                    let _ = file.set_len(self.written);
                }
                self.failed = Some(error);
            }
        }
        self.lines.clear();
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<()> {
        self.flush();
        match self.failed {
            // A reader that leaves has seen what it wanted.
            Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(Error::device(format!("{}: the events are not whole: {error}", self.path.display()))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(frame: u64) -> Arc<Event> {
        Arc::new(Event::Sent { frame, signal_s: 0.5, epoch: 3, power_dbm: -1.0 })
    }

    #[test]
    fn a_reader_gets_every_event_in_order_and_ends_with_the_run() {
        let broadcast = Broadcast::default();
        assert!(!broadcast.is_heard());
        let reader = broadcast.subscribe();
        let reading = std::thread::spawn(move || reader.collect::<Vec<_>>());
        (0..100).for_each(|frame| broadcast.send(&sent(frame)));
        broadcast.end();
        let expected: Vec<_> = (0..100).map(|frame| Arc::unwrap_or_clone(sent(frame))).collect();
        assert_eq!(reading.join().unwrap(), expected);
        // A reader that comes later finds the end at once.
        assert_eq!(broadcast.subscribe().next(), None);
    }

    #[test]
    fn a_slow_reader_keeps_the_newest_events_and_is_told_what_it_lost() {
        let broadcast = Broadcast::default();
        let mut reader = broadcast.subscribe();
        (0..WAITING as u64 + 10).for_each(|frame| broadcast.send(&sent(frame)));
        assert_eq!(reader.lost(), 10);
        assert_eq!(reader.try_next(), Some(Arc::unwrap_or_clone(sent(10))));
        drop(reader);
        broadcast.send(&sent(0));
        assert!(!broadcast.is_heard(), "a reader that is gone is forgotten");
    }

    #[test]
    fn events_have_the_keys_of_the_contract() {
        let line = serde_json::to_string(&*sent(7)).unwrap();
        assert_eq!(line, r#"{"event":"sent","frame":7,"signal_s":0.5,"epoch":3,"power_dbm":-1.0}"#);
        let detections = Event::Detections {
            node: "sensing-receiver".into(),
            frame: 1,
            signal_s: 0.0,
            epoch: 0,
            detections: Vec::new(),
            rivals: Vec::new(),
            refused: Some("too-weak"),
            rows: Vec::new(),
        };
        let value = serde_json::to_value(&detections).unwrap();
        assert_eq!((&value["event"], &value["refused"]), (&"detections".into(), &"too-weak".into()));
    }
}
