//! The simulated world between the antennas: row 0 is the communication receiver's, the others the sensing array's.
//! Received rows carry the receivers' clock, which lags the transmitter's by [`RECEIVE_LAG`].

use std::sync::Arc;

use num_complex::Complex32;
use toml::Table;

use super::{Context, WorldChange, WorldChanges, no_settings};
use crate::array::distance_m;
use crate::channel::{
    DirectPath, DirectPathSettings, EchoPath, EchoPathSettings, PhaseDraw, RECEIVE_LAG, check_simulated_target,
};
use crate::modem::frame::{FrameClock, PREAMBLE};
use crate::optimize::channel_vector;
use crate::scene::{ReflectionPhase, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, TimingErrorHold, dbm_to_w};
use crate::stream::{Block, Event, Flow, Frame, Shape, Stage, Telemetry, erase};
use crate::{Error, Result};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    let scene = &context.scene;
    let geometry = &scene.geometry;
    check_simulated_target(geometry.target, geometry.transmitter, geometry.sensing_receiver)
        .map_err(|what| Error::input(format!("scene: geometry.{what}")))?;
    let sample_rate_hz = context.sample_rate_hz();
    let chunk = context.longest_samples();
    let per_sample = scene.waveform.samples_per_symbol as f64;
    let direct = DirectPath::new(
        &DirectPathSettings {
            channel: channel_vector(scene),
            delay_s: distance_m(geometry.transmitter, geometry.communication_receiver) / SPEED_OF_LIGHT_M_S,
            sample_rate_hz,
            carrier_offset_hz: scene.channel.carrier_offset_ppm * 1e-6 * scene.waveform.carrier_hz,
            noise_variance: per_sample * dbm_to_w(scene.channel.communication_noise_dbm),
            seed: context.seed,
        },
        chunk,
    );
    let echo = EchoPath::new(echo_settings(scene, sample_rate_hz, context.seed), chunk)
        .map_err(|what| Error::input(format!("scene: {what}")))?;
    Ok(erase(SimulatedAir {
        direct,
        echo,
        clock: FrameClock::new(scene),
        world: Arc::clone(&context.world),
        applied: 0,
        telemetry: context.telemetry.clone(),
        antennas: scene.array.transmit_antennas,
        rows: 1 + scene.array.receive_antennas,
        chunk_samples: chunk,
        chunk: 0,
        next: (0, 0),
        to_flush: DirectPath::flush_samples(),
    }))
}

fn echo_settings(scene: &Scene, sample_rate_hz: f64, seed: u64) -> EchoPathSettings {
    let phase = match (scene.channel.reflection_phase, scene.model.reflectivity) {
        (None, Reflectivity::Known) => PhaseDraw::Zero,
        (Some(ReflectionPhase::RandomPerRun), _) => PhaseDraw::PerRun,
        _ => PhaseDraw::PerFrame,
    };
    EchoPathSettings {
        transmitter: scene.geometry.transmitter,
        receiver: scene.geometry.sensing_receiver,
        target: scene.geometry.target,
        motion: scene.target.clone(),
        transmit_antennas: scene.array.transmit_antennas,
        receive_antennas: scene.array.receive_antennas,
        spacing_wavelengths: scene.array.spacing_wavelengths,
        wavelength_m: scene.wavelength_m(),
        sample_rate_hz,
        reflection_coefficient: scene.channel.reflection_coefficient,
        phase,
        timing_error_std_s: scene.channel.timing_error_std_s,
        hold_timing_error: scene.channel.timing_error_hold == TimingErrorHold::Run,
        switch_samples: PREAMBLE * scene.waveform.samples_per_symbol,
        noise_variance: scene.waveform.samples_per_symbol as f64 * dbm_to_w(scene.channel.sensing_noise_dbm),
        seed,
    }
}

struct SimulatedAir {
    direct: DirectPath,
    echo: EchoPath,
    clock: FrameClock,
    world: Arc<WorldChanges>,
    /// Changes taken over so far.
    applied: usize,
    telemetry: Telemetry,
    antennas: usize,
    rows: usize,
    chunk_samples: usize,
    chunk: u64,
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
        let mut rows = output.rows_mut().map(|row| &mut row[..count]);
        if let Some(row) = rows.next() {
            self.direct.receive(self.chunk, antennas.clone(), row);
        }
        self.echo.receive(self.chunk, time, antennas, count, rows);
        output.head.valid = count;
        output.head.sample_time = time - RECEIVE_LAG as u64;
        self.chunk += 1;
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
        let seconds = self.clock.start_s(number);
        let changes = self.world.load();
        while let Some((frame, change)) = changes.get(self.applied).copied()
            && frame <= number
        {
            match change {
                WorldChange::Target(target) => self.echo.set_target(seconds, target),
                WorldChange::Reflection(coefficient) => self.echo.set_reflection(coefficient),
            }
            self.applied += 1;
        }
        let truth = self.echo.begin_frame(number, time, seconds);
        self.telemetry.report(Event::World { frame: number, position_m: truth.position_m });
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
