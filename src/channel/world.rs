//! The whole simulated world of a scene: antennas in, a row of each communication receiver and the rows of each sensing
//! array out. Received rows lag the transmitter's clock by [`RECEIVE_LAG`](super::RECEIVE_LAG).

use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::direct::{flush_samples, path_samples};
use super::echo::{EchoTarget, check_simulated, longest_delay};
use super::noise::mix;
use super::{DirectPath, DirectPathSettings, EchoPath, EchoPathSettings, EchoTruth, PhaseDraw, StationaryPath};
use crate::array::{ElementErrors, direction_rad, distance_m, steering_vector};
use crate::dsp::FILTER_TAPS;
use crate::scene::{
    Point, ReflectionPhase, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, SceneReceiver, TimingErrorHold, dbm_to_w,
};

/// The world, with state between chunks.
pub struct World {
    /// One for each communication receiver.
    directs: Vec<DirectPath>,
    /// One for each sensing receiver, with its antennas.
    echoes: Vec<(EchoPath, usize)>,
    chunk: u64,
}

impl World {
    /// The world of `scene` for chunks of up to `chunk` samples; `preamble` symbols of a frame pass before its timing
    /// error takes over.
    pub fn new(scene: &Scene, seed: u64, chunk: usize, preamble: usize) -> Result<Self, String> {
        check_geometry(scene)?;
        let mut receive_errors = Xoshiro256PlusPlus::seed_from_u64(mix(seed, 0xa7));
        let errors = ElementErrors::draw(&scene.array, &mut receive_errors);
        let receivers = scene.communication_receivers();
        let direct = |(index, receiver): (u64, &SceneReceiver)| {
            DirectPath::new(&direct_settings(scene, receiver, &errors, seed_of(seed, 0xcc, index)), chunk)
        };
        let directs = (0..).zip(&receivers).map(direct).collect();
        let echo = |(index, receiver): (u64, &SceneReceiver)| {
            let own_seed = seed_of(seed, 0x5e, index);
            let errors = errors_of(scene, receiver, &errors, own_seed, index == 0);
            let path = EchoPath::new(echo_settings(scene, receiver, errors, preamble, own_seed), chunk)?;
            Ok((path, receiver.antennas))
        };
        let echoes = (0..).zip(&scene.sensing_receivers()).map(echo).collect::<Result<_, String>>()?;
        Ok(Self { directs, echoes, chunk: 0 })
    }

    /// Rows that are received: one of each communication receiver, then those of the sensing receivers' arrays one after
    /// another.
    pub fn rows(&self) -> usize {
        self.directs.len() + self.echoes.iter().map(|(_, rows)| rows).sum::<usize>()
    }

    /// Samples that must be flushed through a scene's world until all that was sent has arrived.
    pub fn flush_samples(scene: &Scene) -> usize {
        let rate_hz = scene.sample_rate_hz();
        let direct = scene
            .communication_receivers()
            .iter()
            .map(|receiver| path_samples(delay_s(scene, receiver) * rate_hz))
            .max()
            .unwrap_or(0);
        flush_samples(direct).max(longest_delay(rate_hz, scene.channel.timing_error_std_s) + FILTER_TAPS)
    }

    /// Frame `number` begins at sample `time`, `seconds` after the start.
    pub fn begin_frame(&mut self, number: u64, time: u64, seconds: f64) {
        self.echoes.iter_mut().for_each(|(echo, _)| echo.begin_frame(number, time, seconds));
    }

    /// The truth of the frame that began last, one entry for each target, as the first sensing receiver sees it.
    pub fn truths(&self) -> impl Iterator<Item = EchoTruth> + '_ {
        self.echoes.iter().take(1).flat_map(|(echo, _)| echo.truths())
    }

    /// Puts target `index` somewhere else, `seconds` after the start; the next frame's echo shows it.
    pub fn set_target(&mut self, index: usize, seconds: f64, position_m: Point) {
        self.echoes.iter_mut().for_each(|(echo, _)| echo.set_target(index, seconds, position_m));
    }

    /// Sets |β_0| of target `index`; the next frame's echo shows it.
    pub fn set_reflection(&mut self, index: usize, reflection_coefficient: f64) {
        self.echoes.iter_mut().for_each(|(echo, _)| echo.set_reflection(index, reflection_coefficient));
    }

    /// Receives `count` samples sent at `time`, which belong to the frame that began last. No antenna = silence. `rows`
    /// are as [`Self::rows`] says.
    pub fn receive<'a, 'b>(
        &mut self,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        count: usize,
        mut rows: impl Iterator<Item = &'b mut [Complex32]>,
    ) {
        for (direct, row) in self.directs.iter_mut().zip(&mut rows) {
            direct.receive(self.chunk, antennas.clone(), row);
        }
        for (echo, own) in &mut self.echoes {
            echo.receive(self.chunk, time, antennas.clone(), count, rows.by_ref().take(*own));
        }
        self.chunk += 1;
    }
}

fn targets(scene: &Scene) -> Vec<EchoTarget> {
    let targets = scene.targets().into_iter().map(|target| EchoTarget {
        position_m: target.position_m,
        motion: target.motion(),
        reflection_coefficient: target.reflection_coefficient,
    });
    targets.collect()
}

/// Whether all that reflects can be simulated for every sensing receiver.
fn check_geometry(scene: &Scene) -> Result<(), String> {
    let transmitter = scene.geometry.transmitter;
    for receiver in scene.sensing_receivers() {
        for (index, target) in scene.targets().iter().enumerate() {
            let key = scene.target_key(index);
            check_simulated(&key, target.position_m, transmitter, receiver.position_m)?;
        }
        for (index, clutter) in scene.clutter.iter().enumerate() {
            let key = format!("clutter[{index}].position_m");
            check_simulated(&key, clutter.position_m, transmitter, receiver.position_m)?;
        }
    }
    Ok(())
}

/// The seed of receiver `index`; the first has that of the world.
fn seed_of(seed: u64, salt: u64, index: u64) -> u64 {
    if index == 0 { seed } else { mix(seed, (salt << 32) + index) }
}

/// The element errors of a sensing receiver and the transmitter: the first has those that were drawn for the scene, each
/// other one an array of its own.
fn errors_of(scene: &Scene, receiver: &SceneReceiver, drawn: &ElementErrors, seed: u64, first: bool) -> ElementErrors {
    if first {
        return drawn.clone();
    }
    let array = crate::scene::Array { receive_antennas: receiver.antennas, ..scene.array.clone() };
    let own = ElementErrors::draw(&array, &mut Xoshiro256PlusPlus::seed_from_u64(mix(seed, 0xa7)));
    ElementErrors { transmit: drawn.transmit.clone(), ..own }
}

fn delay_s(scene: &Scene, receiver: &SceneReceiver) -> f64 {
    distance_m(scene.geometry.transmitter, receiver.position_m) / SPEED_OF_LIGHT_M_S
}

/// h_c of the world: free space with the scene's exponent, by the elements as they are. A plan's belief of it is made
/// elsewhere, so that the two can differ.
fn channel_of(scene: &Scene, receiver: &SceneReceiver, errors: &ElementErrors) -> DVector<Complex64> {
    let transmitter = scene.geometry.transmitter;
    let distance = distance_m(transmitter, receiver.position_m);
    let gain = distance.powf(-scene.channel.path_loss_exponent).sqrt();
    let angle = direction_rad(transmitter, receiver.position_m);
    let mut channel =
        steering_vector(scene.array.transmit_antennas, scene.array.spacing_wavelengths, angle) * Complex64::from(gain);
    // y = hᴴx.
    channel.iter_mut().zip(&errors.transmit).for_each(|(entry, error)| *entry *= error.conj());
    channel
}

fn direct_settings(scene: &Scene, receiver: &SceneReceiver, errors: &ElementErrors, seed: u64) -> DirectPathSettings {
    DirectPathSettings {
        channel: channel_of(scene, receiver, errors),
        delay_s: delay_s(scene, receiver),
        sample_rate_hz: scene.sample_rate_hz(),
        carrier_offset_hz: scene.channel.carrier_offset_ppm * 1e-6 * scene.waveform.carrier_hz,
        noise_variance: scene.waveform.samples_per_symbol as f64 * dbm_to_w(receiver.noise_dbm),
        seed,
    }
}

fn echo_settings(
    scene: &Scene,
    receiver: &SceneReceiver,
    errors: ElementErrors,
    preamble: usize,
    seed: u64,
) -> EchoPathSettings {
    let phase = match (scene.channel.reflection_phase, scene.model.reflectivity) {
        (None, Reflectivity::Known) => PhaseDraw::Zero,
        (Some(ReflectionPhase::RandomPerRun), _) => PhaseDraw::PerRun,
        _ => PhaseDraw::PerFrame,
    };
    EchoPathSettings {
        transmitter: scene.geometry.transmitter,
        receiver: receiver.position_m,
        targets: targets(scene),
        errors,
        spacing_wavelengths: scene.array.spacing_wavelengths,
        wavelength_m: scene.wavelength_m(),
        sample_rate_hz: scene.sample_rate_hz(),
        stationary: stationary_paths(scene, receiver),
        phase,
        timing_error_std_s: scene.channel.timing_error_std_s,
        hold_timing_error: scene.channel.timing_error_hold == TimingErrorHold::Run,
        switch_samples: preamble * scene.waveform.samples_per_symbol,
        noise_variance: scene.waveform.samples_per_symbol as f64 * dbm_to_w(receiver.noise_dbm),
        seed,
    }
}

/// The scene's clutter, and its leakage.
fn stationary_paths(scene: &Scene, receiver: &SceneReceiver) -> Vec<StationaryPath> {
    let (from, to) = (scene.geometry.transmitter, receiver.position_m);
    let clutter = scene
        .clutter
        .iter()
        .map(|clutter| StationaryPath::by(from, clutter.position_m, to, clutter.reflection_coefficient));
    let leakage = scene.channel.leakage_db.map(|db| StationaryPath::straight(from, to, 10f64.powf(db / 20.0)));
    clutter.chain(leakage).collect()
}
