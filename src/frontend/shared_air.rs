//! The simulated world of one process heard in others: who has the world serves rows of it over TCP, a virtual radio in
//! another process (`air=world@ADDRESS`) hears them at the world's own sample count. What is in the world stays there:
//! only received samples travel.
//!
//! The hearer sends one line of JSON, [`Asked`], and gets one back, [`Answered`]; then come blocks: the world's sample
//! count (i64), samples per row (u32), both little-endian, and the rows, complex 32-bit floats in √W.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use num_complex::Complex32;
use serde::{Deserialize, Serialize};

use super::air::Feeds;
use super::feed::Feed;
use super::{lock, scale_row};
use crate::scene::Scene;
use crate::{Error, Result};

/// Version of this conversation.
const VERSION: u32 = 1;

/// Longest wait of an air for samples to come; longer ones are the reader's affair.
pub(super) const MOMENT: Duration = Duration::from_millis(50);

/// How long a device looks for the world.
const PATIENCE: Duration = Duration::from_secs(30);

/// Samples per row of the largest block.
const BLOCK: usize = 2048;

/// What a hearer wants.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    version: u32,
    first_row: usize,
    rows: usize,
    sample_rate_hz: f64,
    carrier_hz: f64,
}

/// What it is told: nothing, or why not.
#[derive(Debug, Serialize, Deserialize)]
struct Answered {
    version: u32,
    refused: Option<String>,
}

/// A world that others may hear, until this is dropped.
pub(super) struct SharedAir {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl SharedAir {
    /// Serves the rows of a world at an address; who comes is added to `feeds`. Whether the world waits for them.
    pub(super) fn listen(address: &str, scene: &Scene, feeds: &Feeds, waits: bool) -> Result<Self> {
        let wrong = |what: std::io::Error| Error::input(format!("device argument share={address}: {what}"));
        let listener = TcpListener::bind(address).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let ended = Arc::new(AtomicBool::new(false));
        let (over, feeds) = (Arc::clone(&ended), Arc::downgrade(feeds));
        let terms = Asked {
            version: VERSION,
            first_row: 0,
            rows: scene.receiving_antennas(),
            sample_rate_hz: scene.sample_rate_hz(),
            carrier_hz: scene.waveform.carrier_hz,
        };
        let serve = move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(feed) = admit(&stream, &terms, &feeds, waits) {
                    let served = thread::Builder::new().name("shared-air".into()).spawn(move || {
                        // A hearer that is gone closes its feed; the world goes on.
                        let _ = send(stream, &feed);
                        feed.close();
                    });
                    drop(served);
                }
            }
        };
        thread::Builder::new().name("shared-air".into()).spawn(serve).map_err(wrong)?;
        Ok(Self { address, ended })
    }
}

impl Drop for SharedAir {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for hearers.
        let _ = TcpStream::connect(self.address);
    }
}

/// Hears a hearer's wish and adds its feed.
fn admit(
    stream: &TcpStream,
    terms: &Asked,
    feeds: &Weak<Mutex<Option<Vec<Arc<Feed>>>>>,
    waits: bool,
) -> std::io::Result<Arc<Feed>> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_nodelay(true)?;
    let asked: Asked = serde_json::from_str(&line(stream)?)?;
    let refused = refusal(&asked, terms);
    let mut to = stream;
    writeln!(to, "{}", serde_json::to_string(&Answered { version: VERSION, refused: refused.clone() })?)?;
    let feeds = feeds.upgrade().filter(|_| refused.is_none()).ok_or(ErrorKind::ConnectionRefused)?;
    let feed = Arc::new(Feed::new(asked.first_row..asked.first_row + asked.rows, waits));
    lock(&feeds).get_or_insert_default().push(Arc::clone(&feed));
    Ok(feed)
}

fn refusal(asked: &Asked, terms: &Asked) -> Option<String> {
    if asked.version != terms.version {
        return Some(format!("version {} of the shared air; accepted: {}", asked.version, terms.version));
    }
    if asked.rows == 0 || asked.first_row.checked_add(asked.rows).is_none_or(|end| end > terms.rows) {
        return Some(format!(
            "{} rows from {} on; accepted: rows 0 to {}",
            asked.rows,
            asked.first_row,
            terms.rows - 1
        ));
    }
    for (key, there, here) in [
        ("sample rate in Hz", asked.sample_rate_hz, terms.sample_rate_hz),
        ("carrier in Hz", asked.carrier_hz, terms.carrier_hz),
    ] {
        if there != here {
            return Some(format!("{key}: {there}; accepted by the world: {here}"));
        }
    }
    None
}

/// One line of a stream of which nothing after it is read yet: byte by byte.
fn line(mut stream: &TcpStream) -> std::io::Result<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while text.len() < 4096 {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return String::from_utf8(text).map_err(|_| ErrorKind::InvalidData.into());
        }
        text.push(byte[0]);
    }
    Err(ErrorKind::InvalidData.into())
}

fn send(mut stream: TcpStream, feed: &Feed) -> std::io::Result<()> {
    let mut rows = vec![Vec::with_capacity(BLOCK); feed.rows.len()];
    while !feed.is_over() {
        if !feed.wait_for_some(MOMENT) {
            continue;
        }
        rows.iter_mut().for_each(Vec::clear);
        let tick = feed.take(BLOCK, &mut rows);
        let count = rows[0].len() as u32;
        stream.write_all(&tick.to_le_bytes())?;
        stream.write_all(&count.to_le_bytes())?;
        rows.iter().try_for_each(|row| stream.write_all(bytemuck::cast_slice(row)))?;
    }
    Ok(())
}

/// Hears rows of the world at an address.
pub(super) fn attach(address: &str, first_row: usize, rows: usize, scene: &Scene, waits: bool) -> Result<Arc<Feed>> {
    let since = Instant::now();
    let stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && since.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(Error::peer(format!("no shared air at {address}: {error}"))),
        }
    };
    let lost = |error: std::io::Error| Error::peer(format!("shared air at {address}: {error}"));
    stream.set_nodelay(true).map_err(lost)?;
    let (sample_rate_hz, carrier_hz) = (scene.sample_rate_hz(), scene.waveform.carrier_hz);
    let asked = Asked { version: VERSION, first_row, rows, sample_rate_hz, carrier_hz };
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let text = serde_json::to_string(&asked).expect("numbers are valid JSON");
    writeln!(reader.get_mut(), "{text}").map_err(lost)?;
    let mut answer = String::new();
    reader.read_line(&mut answer).map_err(lost)?;
    let answered: Answered =
        serde_json::from_str(&answer).map_err(|_| Error::peer(format!("{address}: no shared air answers there")))?;
    if let Some(reason) = answered.refused {
        return Err(Error::input(format!("shared air at {address}: {reason}")));
    }
    let feed = Arc::new(Feed::new(first_row..first_row + rows, waits));
    let hears = Arc::clone(&feed);
    let hear = move || {
        // The end of the world's process is the end of the air.
        let _ = hear(&mut reader, &hears);
        hears.close();
    };
    thread::Builder::new().name("shared-air".into()).spawn(hear).map_err(lost)?;
    Ok(feed)
}

fn hear(reader: &mut impl Read, feed: &Feed) -> std::io::Result<()> {
    let mut rows = vec![vec![Complex32::default(); BLOCK]; feed.rows.len()];
    loop {
        let (mut tick, mut count) = ([0; 8], [0; 4]);
        reader.read_exact(&mut tick)?;
        reader.read_exact(&mut count)?;
        let count = u32::from_le_bytes(count) as usize;
        if count > BLOCK {
            return Err(ErrorKind::InvalidData.into());
        }
        for row in &mut rows {
            reader.read_exact(bytemuck::cast_slice_mut(&mut row[..count]))?;
        }
        if !feed.push(i64::from_le_bytes(tick), rows.iter().map(|row| &row[..count])) {
            return Ok(());
        }
    }
}

/// The air of a device that hears rows of a world elsewhere, on the world's own sample count.
pub(super) struct FeedAir {
    pub(super) feed: Arc<Feed>,
    /// Factor from √W to full scale.
    pub(super) scale: f32,
}

impl virtual_radio::Air for FeedAir {
    fn propagate(&mut self, tick: i64, _sent: &[&[Complex32]], received: &mut [&mut [Complex32]]) -> bool {
        let count = received.first().map_or(0, |row| row.len());
        if !self.feed.wait_until(tick + count as i64, MOMENT) {
            return false;
        }
        self.feed.copy(tick, received.iter_mut().map(|row| &mut **row));
        received.iter_mut().for_each(|row| scale_row(row, self.scale.into()));
        true
    }
}
