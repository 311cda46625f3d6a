//! The whole simulated world of a scene: antennas in, the communication receiver's row and the sensing array's rows out.
//! Received rows lag the transmitter's clock by [`RECEIVE_LAG`](super::RECEIVE_LAG).

use num_complex::Complex32;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::echo::check_simulated;
use super::noise::mix;
use super::{
    DirectPath, DirectPathSettings, EchoPath, EchoPathSettings, EchoTruth, PhaseDraw, StationaryPath,
    check_simulated_target,
};
use crate::array::{ElementErrors, distance_m};
use crate::optimize::channel_vector;
use crate::scene::{Point, ReflectionPhase, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, TimingErrorHold, dbm_to_w};

/// The world, with state between chunks.
pub struct World {
    direct: DirectPath,
    echo: EchoPath,
    chunk: u64,
}

impl World {
    /// The world of `scene` for chunks of up to `chunk` samples; `preamble` symbols of a frame pass before its timing
    /// error takes over.
    pub fn new(scene: &Scene, seed: u64, chunk: usize, preamble: usize) -> Result<Self, String> {
        let geometry = &scene.geometry;
        check_simulated_target(geometry.target, geometry.transmitter, geometry.sensing_receiver)
            .map_err(|what| format!("geometry.{what}"))?;
        for (index, clutter) in scene.clutter.iter().enumerate() {
            let key = format!("clutter[{index}].position_m");
            check_simulated(&key, clutter.position_m, geometry.transmitter, geometry.sensing_receiver)?;
        }
        let per_sample = scene.waveform.samples_per_symbol as f64;
        let sample_rate_hz = scene.sample_rate_hz();
        let errors = ElementErrors::draw(&scene.array, &mut Xoshiro256PlusPlus::seed_from_u64(mix(seed, 0xa7)));
        let mut channel = channel_vector(scene);
        // y = hᴴx.
        channel.iter_mut().zip(&errors.transmit).for_each(|(entry, error)| *entry *= error.conj());
        let direct = DirectPath::new(
            &DirectPathSettings {
                channel,
                delay_s: distance_m(geometry.transmitter, geometry.communication_receiver) / SPEED_OF_LIGHT_M_S,
                sample_rate_hz,
                carrier_offset_hz: scene.channel.carrier_offset_ppm * 1e-6 * scene.waveform.carrier_hz,
                noise_variance: per_sample * dbm_to_w(scene.channel.communication_noise_dbm),
                seed,
            },
            chunk,
        );
        let switch_samples = preamble * scene.waveform.samples_per_symbol;
        let echo = EchoPath::new(echo_settings(scene, errors, sample_rate_hz, switch_samples, seed), chunk)?;
        Ok(Self { direct, echo, chunk: 0 })
    }

    /// Samples that must be flushed through until all that was sent has arrived.
    pub const fn flush_samples() -> usize {
        DirectPath::flush_samples()
    }

    /// Frame `number` begins at sample `time`, `seconds` after the start.
    pub fn begin_frame(&mut self, number: u64, time: u64, seconds: f64) -> EchoTruth {
        self.echo.begin_frame(number, time, seconds)
    }

    /// Puts the target somewhere else, `seconds` after the start; the next frame's echo shows it.
    pub fn set_target(&mut self, seconds: f64, target: Point) {
        self.echo.set_target(seconds, target);
    }

    /// Sets |β_0|; the next frame's echo shows it.
    pub fn set_reflection(&mut self, reflection_coefficient: f64) {
        self.echo.set_reflection(reflection_coefficient);
    }

    /// Receives `count` samples sent at `time`, which belong to the frame that began last. No antenna = silence. The
    /// first of `rows` is the communication receiver's.
    pub fn receive<'a, 'b>(
        &mut self,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        count: usize,
        mut rows: impl Iterator<Item = &'b mut [Complex32]>,
    ) {
        if let Some(row) = rows.next() {
            self.direct.receive(self.chunk, antennas.clone(), row);
        }
        self.echo.receive(self.chunk, time, antennas, count, rows);
        self.chunk += 1;
    }
}

fn echo_settings(
    scene: &Scene,
    errors: ElementErrors,
    sample_rate_hz: f64,
    switch_samples: usize,
    seed: u64,
) -> EchoPathSettings {
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
        errors,
        spacing_wavelengths: scene.array.spacing_wavelengths,
        wavelength_m: scene.wavelength_m(),
        sample_rate_hz,
        reflection_coefficient: scene.channel.reflection_coefficient,
        stationary: stationary_paths(scene),
        phase,
        timing_error_std_s: scene.channel.timing_error_std_s,
        hold_timing_error: scene.channel.timing_error_hold == TimingErrorHold::Run,
        switch_samples,
        noise_variance: scene.waveform.samples_per_symbol as f64 * dbm_to_w(scene.channel.sensing_noise_dbm),
        seed,
    }
}

/// The scene's clutter, and its leakage.
fn stationary_paths(scene: &Scene) -> Vec<StationaryPath> {
    let (from, to) = (scene.geometry.transmitter, scene.geometry.sensing_receiver);
    let clutter = scene
        .clutter
        .iter()
        .map(|clutter| StationaryPath::by(from, clutter.position_m, to, clutter.reflection_coefficient));
    let leakage = scene.channel.leakage_db.map(|db| StationaryPath::straight(from, to, 10f64.powf(db / 20.0)));
    clutter.chain(leakage).collect()
}
