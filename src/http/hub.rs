//! Takes a run's events and arrays once, for all readers. Readers never hold up the run or each other: what one does not
//! fetch in time the next one replaces, and it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use crate::system::{Event, Topic, View, Watch};
use crate::{Error, Result};

/// Events that may wait for one reader.
const EVENTS: usize = 8192;
/// Frames that are kept for who asks for the last ones.
const FRAMES: usize = 1024;
/// How often the run's events are fetched.
const LOOK: Duration = Duration::from_millis(15);
/// Views a second at most, whatever readers wish.
pub const MOST_RATE: f64 = 60.0;

/// What a reader of the stream wishes for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Events.
    pub events: bool,
    /// The status.
    pub status: bool,
    /// Arrays.
    pub topics: Vec<Topic>,
    /// Times a second.
    pub rate: f64,
}

/// What there is of a topic: how many times it was made, and a message for each node.
pub type Made = (u64, Arc<Vec<Bytes>>);

/// All that was said of one frame.
#[derive(Default)]
struct FrameLine {
    sent: Option<Event>,
    received: Vec<Event>,
    detections: Vec<Event>,
}

/// Between a run and its readers.
pub struct Hub {
    events: broadcast::Sender<Utf8Bytes>,
    status: watch::Sender<Utf8Bytes>,
    views: [watch::Sender<Made>; Topic::ALL.len()],
    closing: watch::Sender<bool>,
    wishes: Mutex<BTreeMap<u64, Wish>>,
    next: AtomicU64,
    frames: Mutex<BTreeMap<u64, FrameLine>>,
    pictures: Mutex<VecDeque<Event>>,
}

/// Takes a reader's wish back once it is gone.
pub struct Seat {
    hub: Arc<Hub>,
    key: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        locked(&self.hub.wishes).remove(&self.key);
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS),
            status: watch::Sender::new(Utf8Bytes::default()),
            views: std::array::from_fn(|_| watch::Sender::new((0, Arc::default()))),
            closing: watch::Sender::new(false),
            wishes: Mutex::default(),
            next: AtomicU64::new(0),
            frames: Mutex::default(),
            pictures: Mutex::default(),
        }
    }
}

impl Hub {
    /// A place for a reader, if there are fewer than `most`.
    pub fn sit(self: &Arc<Self>, wish: Wish, most: usize) -> Option<Seat> {
        let mut wishes = locked(&self.wishes);
        if wishes.len() >= most {
            return None;
        }
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        wishes.insert(key, wish);
        Some(Seat { hub: Arc::clone(self), key })
    }

    /// How many read.
    pub fn readers(&self) -> usize {
        locked(&self.wishes).len()
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Utf8Bytes> {
        self.events.subscribe()
    }

    /// The newest status, as a message.
    pub fn status(&self) -> watch::Receiver<Utf8Bytes> {
        self.status.subscribe()
    }

    /// The newest arrays of a topic.
    pub fn views(&self, topic: Topic) -> watch::Receiver<Made> {
        self.views[topic as usize].subscribe()
    }

    /// Tells when the server ends.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// The server ends: readers say goodbye.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// The last frames, the oldest first.
    pub fn frames(&self, last: usize) -> Vec<Value> {
        let frames = locked(&self.frames);
        let lines = frames.iter().skip(frames.len().saturating_sub(last));
        let line = |(frame, line): (&u64, &FrameLine)| json!({ "frame": frame, "sent": line.sent, "received": line.received, "detections": line.detections });
        lines.map(line).collect()
    }

    /// The last pictures' events, the oldest first.
    pub fn pictures(&self) -> Vec<Event> {
        locked(&self.pictures).iter().cloned().collect()
    }

    /// How often a topic is wished for a second; nothing where nobody does.
    fn rate(&self, wanted: impl Fn(&Wish) -> bool) -> f64 {
        let wishes = locked(&self.wishes);
        wishes.values().filter(|wish| wanted(wish)).map(|wish| wish.rate).fold(0.0, f64::max)
    }

    fn keep(&self, event: &Event) {
        let frame = match event {
            Event::Sent { frame, .. } | Event::Received { frame, .. } | Event::Detections { frame, .. } => *frame,
            Event::Picture { .. } => {
                let mut pictures = locked(&self.pictures);
                if pictures.len() == FRAMES {
                    pictures.pop_front();
                }
                pictures.push_back(event.clone());
                return;
            }
            _ => return,
        };
        let mut frames = locked(&self.frames);
        let line = frames.entry(frame).or_default();
        match event {
            Event::Sent { .. } => line.sent = Some(event.clone()),
            Event::Received { .. } => line.received.push(event.clone()),
            _ => line.detections.push(event.clone()),
        }
        while frames.len() > FRAMES {
            frames.pop_first();
        }
    }

    /// Carries a run to its readers on a thread of its own, until it has ended.
    pub fn carry(self: &Arc<Self>, run: Watch) -> Result<JoinHandle<()>> {
        locked(&self.frames).clear();
        locked(&self.pictures).clear();
        let hub = Arc::clone(self);
        let thread = thread::Builder::new().name("http-events".into()).spawn(move || hub.work(&run));
        thread.map_err(|error| Error::device(format!("no thread for the readers: {error}")))
    }

    fn work(&self, run: &Watch) {
        let mut events = run.subscribe();
        let mut lost = 0;
        let mut due = [Instant::now(); Topic::ALL.len() + 1];
        let mut shown: [Vec<View>; Topic::ALL.len()] = Default::default();
        loop {
            // Asked before the events are fetched: what it said before it ended is not missed.
            let ended = run.has_ended();
            while let Some(event) = events.try_next() {
                self.keep(&event);
                if self.events.receiver_count() > 0 {
                    self.say(&event);
                }
            }
            if events.lost() > lost {
                self.say(&missed("events", events.lost() - lost));
                lost = events.lost();
            }
            let now = Instant::now();
            let mut next = now + LOOK;
            let mut is_due = |place: usize, rate: f64| {
                let is_due = rate > 0.0 && now >= due[place];
                if is_due {
                    // Counted from when it was due, not from when this thread looked: the rate is the one that was asked for.
                    due[place] = (due[place] + Duration::from_secs_f64(1.0 / rate.min(MOST_RATE))).max(now);
                }
                if rate > 0.0 {
                    next = next.min(due[place]);
                }
                is_due
            };
            for topic in Topic::ALL {
                if is_due(topic as usize, self.rate(|wish| wish.topics.contains(&topic))) {
                    let views = run.views(topic);
                    run.ask(topic);
                    if views != shown[topic as usize] {
                        self.show(topic, &views);
                        shown[topic as usize] = views;
                    }
                }
            }
            let rate = self.rate(|wish| wish.status);
            if is_due(Topic::ALL.len(), rate) || ended {
                self.show_status(run);
            } else if rate == 0.0 {
                // What was made for the last reader is old when the next one comes.
                self.status.send_if_modified(|text| !std::mem::take(text).is_empty());
            }
            if ended {
                return;
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn say(&self, event: &impl serde::Serialize) {
        if let Ok(text) = serde_json::to_string(event) {
            // An error says that nobody reads.
            let _ = self.events.send(text.into());
        }
    }

    fn show_status(&self, run: &Watch) {
        let Ok(Value::Object(mut status)) = serde_json::to_value(&*run.status()) else { return };
        status.insert("event".into(), "status".into());
        self.status.send_replace(Value::Object(status).to_string().into());
    }

    fn show(&self, topic: Topic, views: &[View]) {
        self.views[topic as usize].send_modify(|(number, messages)| {
            *number += 1;
            *messages = Arc::new(views.iter().map(|view| message(view, *number)).collect());
        });
    }
}

/// Says what a reader missed.
pub fn missed(topic: &str, count: u64) -> Value {
    json!({ "event": "missed", "topic": topic, "count": count })
}

/// A view as one binary message: the length of its header as 4 bytes, the header in JSON, filled up with spaces so that
/// the numbers begin at a multiple of 4, and all arrays one after the other, 4 bytes a number, the lowest byte first.
fn message(view: &View, number: u64) -> Bytes {
    let arrays: Vec<_> = view
        .arrays
        .iter()
        .map(|array| json!({ "name": array.name, "unit": array.unit, "shape": array.shape, "type": "float32" }))
        .collect();
    let header = json!({
        "topic": view.topic,
        "node": view.node,
        "frame": view.frame,
        "number": number,
        "facts": view.facts,
        "arrays": arrays,
    });
    let mut header = header.to_string();
    while !header.len().is_multiple_of(4) {
        header.push(' ');
    }
    let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    for value in view.arrays.iter().flat_map(|array| &array.values) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Array;

    #[test]
    fn a_view_is_read_back_from_its_message() {
        let values = vec![1.5, -2.0, 0.0, 7.0, 8.0, 9.0];
        let array = Array { name: "power_db", unit: "dB", shape: vec![2, 3], values: values.clone() };
        let view = View {
            topic: Topic::Map,
            node: Some("roof".into()),
            frame: Some(41),
            facts: json!({ "found": [] }),
            arrays: vec![array],
        };
        let bytes = message(&view, 3);
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
        assert_eq!((&header["topic"], &header["number"], &header["frame"]), (&json!("map"), &json!(3), &json!(41)));
        assert_eq!(header["arrays"][0]["shape"], json!([2, 3]));
        let numbers: Vec<f32> =
            bytes[4 + length..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!((numbers, length % 4), (values, 0));
    }

    #[test]
    fn the_quickest_reader_says_how_often_a_topic_is_made_and_one_that_left_says_nothing() {
        let hub = Arc::new(Hub::default());
        let wish = |rate, topics: &[Topic]| Wish { events: false, status: true, topics: topics.into(), rate };
        let slow = hub.sit(wish(2.0, &[Topic::Map]), 2).unwrap();
        let quick = hub.sit(wish(30.0, &[Topic::Map, Topic::Beams]), 2).unwrap();
        assert!(hub.sit(wish(1.0, &[]), 2).is_none(), "there are two places");
        let rate = |topic| hub.rate(|wish| wish.topics.contains(&topic));
        assert_eq!((rate(Topic::Map), rate(Topic::Spectrum)), (30.0, 0.0));
        drop(quick);
        assert_eq!((rate(Topic::Map), rate(Topic::Beams), hub.readers()), (2.0, 0.0, 1));
        drop(slow);
    }
}
