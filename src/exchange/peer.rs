//! One end of a connection: messages out by a thread of their own, messages in with what was missed counted.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::seal::{Greeting, Seals, Way};
use super::{Envelope, Message};

/// Messages that may wait to be sent.
const WAITING: usize = 1024;

/// After this long without a message the other end is told that this one lives.
const ALIVE: Duration = Duration::from_millis(500);

/// After this long without a message the other end counts as lost.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// Longest line that is read.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What went over a connection and what did not. Counts only rise.
#[derive(Debug, Default)]
pub struct Statistics {
    received: AtomicU64,
    missing: AtomicU64,
    unreadable: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    age_us: AtomicU64,
    oldest_us: AtomicU64,
}

impl Statistics {
    /// Takes a message in; `expected` is its number if none was lost.
    fn take(&self, envelope: &Envelope, expected: u64) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.missing.fetch_add(envelope.sequence.saturating_sub(expected), Ordering::Relaxed);
        let age_us = now_us().saturating_sub(envelope.sent_us);
        self.age_us.fetch_add(age_us, Ordering::Relaxed);
        self.oldest_us.fetch_max(age_us, Ordering::Relaxed);
    }

    /// Counts a message that says what cannot be; whether it is the first.
    pub(super) fn refuse(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// The counts in words; ages are by both ends' clocks.
    pub fn line(&self) -> String {
        let counters = [
            &self.received,
            &self.missing,
            &self.unreadable,
            &self.refused,
            &self.dropped,
            &self.age_us,
            &self.oldest_us,
        ];
        let [received, missing, unreadable, refused, dropped, age_us, oldest_us] =
            counters.map(|counter| counter.load(Ordering::Relaxed));
        format!(
            "{received} messages, {missing} missing, {unreadable} unreadable, {refused} refused, {dropped} without room to \
             be sent, {:.1} ms old, {:.1} ms at most",
            age_us as f64 / received.max(1) as f64 / 1e3,
            oldest_us as f64 / 1e3
        )
    }
}

/// Microseconds since 1970.
pub(super) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Readies a connection: nobody waits for the other end for long.
pub(super) fn ready(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// The sending half.
pub(super) struct Peer {
    outgoing: Sender<Arc<Message>>,
    statistics: Arc<Statistics>,
    stream: TcpStream,
}

impl Peer {
    /// Takes a connection over: a thread that sends, and the half that receives.
    pub(super) fn start(
        stream: TcpStream,
        statistics: Arc<Statistics>,
        way: Way,
        seals: Option<Seals>,
    ) -> std::io::Result<(Self, Incoming)> {
        let (outgoing, messages) = bounded(WAITING);
        let writer = stream.try_clone()?;
        let counts = Arc::clone(&statistics);
        let sealed = seals.clone();
        thread::Builder::new().name("link-out".into()).spawn(move || {
            // The reader is told of the end.
            let _ = send(&writer, &messages, &counts, way, sealed.as_ref());
            let _ = writer.shutdown(Shutdown::Write);
        })?;
        let reader = BufReader::new(stream.try_clone()?);
        let statistics_in = Arc::clone(&statistics);
        let incoming =
            Incoming { reader, expected: 0, statistics: statistics_in, way: way.back(), seals, needs_secret: false };
        Ok((Self { outgoing, statistics, stream }, incoming))
    }

    /// Sends a message, or counts it where there is no room.
    pub(super) fn send(&self, message: Arc<Message>) {
        if self.outgoing.try_send(message).is_err() {
            self.statistics.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the connection without another word.
    pub(super) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether all was handed to the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.outgoing.is_empty()
    }
}

/// Sends what comes until nobody has anything to say any more.
fn send(
    stream: &TcpStream,
    messages: &Receiver<Arc<Message>>,
    statistics: &Statistics,
    way: Way,
    seals: Option<&Seals>,
) -> std::io::Result<()> {
    let mut writer = BufWriter::new(stream);
    let mut line = Vec::new();
    let alive = Arc::new(Message::Alive);
    for sent in 0.. {
        let message = match messages.recv_timeout(ALIVE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Arc::clone(&alive),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // What was dropped leaves a gap in the numbers.
        let sequence = sent + statistics.dropped.load(Ordering::Relaxed);
        line.clear();
        serde_json::to_writer(&mut line, &Envelope { sequence, sent_us: now_us(), message: &*message })?;
        seals.iter().for_each(|seals| seals.seal(way, &mut line));
        line.push(b'\n');
        writer.write_all(&line)?;
        if messages.is_empty() {
            writer.flush()?;
        }
    }
    writer.flush()
}

/// The receiving half.
pub(super) struct Incoming {
    reader: BufReader<TcpStream>,
    expected: u64,
    statistics: Arc<Statistics>,
    way: Way,
    seals: Option<Seals>,
    /// The other end has a secret, and this one has none.
    pub(super) needs_secret: bool,
}

impl Incoming {
    /// The next message; `None` where the other end is gone.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            match self.read()? {
                Ok(message) => return Some(message),
                Err(()) => drop(self.statistics.unreadable.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    /// The first message; `None` also where it cannot be read: then the other end is something else.
    pub(super) fn first(&mut self) -> Option<Message> {
        self.read()?.ok()
    }

    /// One line's message, if it is one.
    fn read(&mut self) -> Option<Result<Message, ()>> {
        let mut line = String::new();
        let read = (&mut self.reader).take(MAX_LINE_BYTES).read_line(&mut line);
        if !matches!(read, Ok(count) if count > 0 && line.ends_with('\n')) {
            return None;
        }
        let text = match &self.seals {
            // Whoever does not know the secret is not heard any more.
            Some(seals) => seals.open(self.way, line.trim_end_matches('\n'))?,
            None => &line,
        };
        let Ok(envelope) = serde_json::from_str::<Envelope>(text) else {
            self.needs_secret |= self.expected == 0 && Greeting::is_one(text);
            self.expected = self.expected.wrapping_add(1);
            return Some(Err(()));
        };
        if self.seals.is_some() && envelope.sequence < self.expected {
            return None;
        }
        self.statistics.take(&envelope, self.expected);
        self.expected = envelope.sequence.wrapping_add(1);
        Some(Ok(envelope.message))
    }
}
