//! The simulated world between the antennas: a row of each communication receiver, then those of the sensing arrays.
//! Received rows carry the receivers' clock, which lags the transmitter's by [`RECEIVE_LAG`].

use std::sync::Arc;

use num_complex::Complex32;
use toml::Table;

use super::{Context, WorldChange, WorldChanges, no_settings};
use crate::channel::{RECEIVE_LAG, World};
use crate::modem::frame::{FrameClock, SWITCH};
use crate::scene::Scene;
use crate::stream::{Block, Event, Flow, Frame, Shape, Stage, Telemetry, erase, now_ns};
use crate::{Error, Result};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    let scene = &context.scene;
    let chunk_samples = context.longest_samples();
    let clock = context.clock();
    let live = LiveWorld::new(scene, clock, context.run.seed, chunk_samples, &context.world, &context.sinks.telemetry)?;
    Ok(erase(SimulatedAir {
        is_paced: context.run.pace.is_some(),
        antennas: scene.array.transmit_antennas,
        rows: live.world.rows(),
        live,
        chunk_samples,
        next: (0, 0),
        to_flush: World::flush_samples(scene),
    }))
}

/// The world of a run: changed by commands, and its truth reported.
pub(crate) struct LiveWorld {
    pub(crate) world: World,
    clock: FrameClock,
    changes: Arc<WorldChanges>,
    /// Changes taken over so far.
    applied: usize,
    telemetry: Telemetry,
}

impl LiveWorld {
    /// The world of a scene for chunks of up to `chunk_samples` samples.
    pub(crate) fn new(
        scene: &Scene,
        clock: FrameClock,
        seed: u64,
        chunk_samples: usize,
        changes: &Arc<WorldChanges>,
        telemetry: &Telemetry,
    ) -> Result<Self> {
        Ok(Self {
            world: World::new(scene, seed, chunk_samples, SWITCH)
                .map_err(|what| Error::input(format!("scene: {what}")))?,
            clock,
            changes: Arc::clone(changes),
            applied: 0,
            telemetry: telemetry.clone(),
        })
    }

    /// Frame `number` begins at sample `time`, with the changes that are due by then.
    pub(crate) fn begin_frame(&mut self, number: u64, time: u64) {
        let seconds = self.clock.start_s(number);
        let changes = self.changes.load();
        while let Some((frame, change)) = changes.get(self.applied).copied()
            && frame <= number
        {
            match change {
                WorldChange::Target { target, point } => self.world.set_target(target, seconds, point),
                WorldChange::Reflection { target, x } => self.world.set_reflection(target, x),
                WorldChange::Impairment { impairment, number, value } => {
                    self.world.set_impairment(impairment, number, value);
                }
            }
            self.applied += 1;
        }
        self.world.begin_frame(number, time, seconds);
        for (target, truth) in (0..).zip(self.world.truths()) {
            self.telemetry.report(Event::World {
                frame: number,
                target,
                position_m: truth.position_m,
                reflection_coefficient: Some(truth.reflection_coefficient),
            });
        }
    }
}

struct SimulatedAir {
    live: LiveWorld,
    antennas: usize,
    rows: usize,
    chunk_samples: usize,
    /// Whether signal time keeps to the clock on the wall.
    is_paced: bool,
    /// Sequence and time of the next chunk.
    next: (u64, u64),
    to_flush: usize,
}

impl SimulatedAir {
    fn receive<'a>(
        &mut self,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        count: usize,
        output: &mut Frame<Complex32>,
    ) {
        self.live.world.receive(time, antennas, count, output.rows_mut().map(|row| &mut row[..count]));
        output.head.valid = count;
        // Without a pace results take as long as their reader lets them.
        output.head.heard_ns = if self.is_paced { now_ns() } else { 0 };
        output.head.sample_time = time - RECEIVE_LAG as u64;
    }
}

impl Block for SimulatedAir {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != self.antennas {
            return Err(format!("takes {} antennas (array.transmit_antennas), is given {inlet}", self.antennas));
        }
        Ok(Shape::complex(self.rows, self.chunk_samples))
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        let (number, time) = (input.head.sequence, input.head.sample_time);
        self.live.begin_frame(number, time);
        let count = input.head.valid;
        self.receive(time, (0..self.antennas).map(|antenna| input.row(antenna)), count, output);
        self.next = (number + 1, time + count as u64);
        Flow::Forward
    }

    fn flush(&mut self, output: &mut Frame<Complex32>) -> Flow {
        if self.to_flush == 0 || self.next.1 == 0 {
            return Flow::Finished;
        }
        let count = self.to_flush.min(self.chunk_samples);
        self.to_flush -= count;
        let (sequence, time) = self.next;
        output.head.sequence = sequence;
        output.head.last = self.to_flush == 0;
        self.receive(time, std::iter::empty(), count, output);
        self.next = (sequence + 1, time + count as u64);
        Flow::Forward
    }
}
