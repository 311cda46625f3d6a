//! The scene's simulated world as the air of the virtual radio. It is a simulation's own knowledge which frame is on the
//! air, as in the loopback; the receivers get samples of the device and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use num_complex::Complex32;

use super::Profile;
use super::radio::{Feeds, Surroundings, lock, scale_row, sqrt_w};
use crate::blocks::FIRST_SAMPLE;
use crate::blocks::simulated_air::LiveWorld;
use crate::modem::frame::FrameClock;
use crate::{Error, Result};

/// Most samples that the world is given at once.
const CHUNK: usize = 4096;

pub(super) struct WorldAir {
    live: LiveWorld,
    clock: FrameClock,
    /// Sample 0 of the transmitter's stream, once it is known.
    origin: Arc<AtomicI64>,
    /// Number of the next frame, and its first sample in the stream.
    next: (u64, i64),
    /// Full scale in √W, transmitted and received.
    sent_scale: f32,
    received_scale: f32,
    rows: Vec<Vec<Complex32>>,
    /// Rows that second devices hear too.
    feeds: Feeds,
}

impl WorldAir {
    pub(super) fn new(around: &Surroundings, profile: &Profile, origin: Arc<AtomicI64>) -> Result<Self> {
        let array = &around.scene.array;
        let (antennas, rows) = (array.transmit_antennas, 1 + array.receive_antennas);
        if profile.tx.channels.len() != antennas || profile.rx.channels.len() != rows {
            return Err(Error::input(format!(
                "radio {}: {} TX and {} RX channels; accepted with this scene and air=world: {antennas} and {rows} \
                 (array.transmit_antennas, 1 + array.receive_antennas)",
                profile.name,
                profile.tx.channels.len(),
                profile.rx.channels.len()
            )));
        }
        let mut live = LiveWorld::new(&around.scene, around.seed, CHUNK, &around.world, &around.telemetry)?;
        // What is sent before the first frame has an echo too.
        live.world.begin_frame(u64::MAX, 0, 0.0);
        Ok(Self {
            live,
            clock: FrameClock::new(&around.scene),
            origin,
            next: (0, FIRST_SAMPLE as i64),
            sent_scale: sqrt_w(profile.tx.full_scale_dbm),
            received_scale: 1.0 / sqrt_w(profile.rx.full_scale_dbm),
            rows: vec![vec![Complex32::default(); CHUNK]; antennas],
            feeds: Arc::clone(&around.feeds),
        })
    }

    /// Begins the frames that are due at stream sample `time`; the sample at which the next one is.
    fn begin_frames(&mut self, time: i64) -> i64 {
        while self.next.1 <= time {
            let (number, start) = self.next;
            self.live.begin_frame(number, start as u64);
            let next = FIRST_SAMPLE + self.clock.start_sample(number + 1);
            self.next = (number + 1, next as i64);
        }
        self.next.1
    }
}

impl virtual_radio::Air for WorldAir {
    fn propagate(&mut self, tick: i64, sent: &[&[Complex32]], received: &mut [&mut [Complex32]]) {
        let length = sent.first().map_or(0, |row| row.len());
        let origin = self.origin.load(Ordering::SeqCst);
        let mut from = 0;
        while from < length {
            // Before the start there is no frame, only silence.
            let time = if origin == i64::MIN { 0 } else { (tick - origin + from as i64).max(0) };
            let next = if origin == i64::MIN { i64::MAX } else { self.begin_frames(time) };
            let count = (length - from).min(CHUNK).min(usize::try_from(next - time).unwrap_or(usize::MAX));
            for (row, antenna) in self.rows.iter_mut().zip(sent) {
                row[..count].copy_from_slice(&antenna[from..from + count]);
                scale_row(&mut row[..count], self.sent_scale.into());
            }
            let antennas = self.rows.iter().map(|row| &row[..count]);
            let rows = received.iter_mut().map(|row| &mut row[from..from + count]);
            self.live.world.receive(time as u64, antennas, count, rows);
            for feed in lock(&self.feeds).iter().flatten() {
                feed.push(&received[feed.row][from..from + count]);
            }
            received.iter_mut().for_each(|row| scale_row(&mut row[from..from + count], self.received_scale.into()));
            from += count;
        }
    }
}
