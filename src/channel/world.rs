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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::ReceiverKind;

    const SAMPLES: usize = 50_000;

    fn receiver(id: &str, kind: ReceiverKind, position_m: Point, antennas: usize) -> SceneReceiver {
        SceneReceiver { id: id.into(), kind, position_m, antennas, noise_dbm: -50.0 }
    }

    /// The paper's scene with another receiver of each kind.
    fn two_of_each() -> Scene {
        let mut scene = Scene::paper();
        scene.receiver_list = scene.receivers();
        scene.receiver_list.push(receiver("second", ReceiverKind::Communication, [40.0, -10.0], 1));
        scene.receiver_list.push(receiver("side", ReceiverKind::Sensing, [0.0, -60.0], 2));
        scene
    }

    /// What all rows receive of two frames of a constant from each antenna, as samples of this amplitude.
    fn heard(scene: &Scene, amplitude: f32) -> Vec<Vec<Complex32>> {
        let mut world = World::new(scene, 7, SAMPLES, 256).unwrap();
        let mut rows = vec![vec![Complex32::default(); SAMPLES]; world.rows()];
        let sent = vec![Complex32::new(amplitude, 0.0); SAMPLES];
        for frame in 0..2 {
            let time = 1024 + frame * SAMPLES as u64;
            world.begin_frame(frame, time, frame as f64 * 1e-3);
            let antennas = std::iter::repeat_n(&sent[..], scene.array.transmit_antennas);
            world.receive(time, antennas, SAMPLES, rows.iter_mut().map(|row| &mut row[..]));
        }
        rows
    }

    #[test]
    fn rows_are_in_the_order_of_the_receivers_and_those_of_the_first_ones_are_what_they_are_alone() {
        let (single, both) = (heard(&Scene::paper(), 1.0), heard(&two_of_each(), 1.0));
        assert_eq!((single.len(), both.len()), (5, 8));
        assert_eq!(both[0], single[0]);
        assert_eq!(both[2..6], single[1..]);
        // The second communication receiver hears the constant of all four antennas over its own path.
        let distance = 40f64.hypot(10.0);
        let sum: Complex64 =
            (0..4).map(|element| Complex64::cis(std::f64::consts::PI * f64::from(element) * 10.0 / distance)).sum();
        let expected = sum.norm_sqr() * distance.powi(-3);
        let found = crate::dsp::mean_power(&both[1]);
        // The noise is 2·10⁻⁸ W, 37 dB below.
        assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
    }

    #[test]
    fn receivers_have_noises_and_clock_errors_of_their_own() {
        let rows = heard(&two_of_each(), 0.0);
        // Two samples a symbol, each of twice the noise of a symbol.
        let variance = 2.0 * dbm_to_w(-50.0);
        for (index, row) in rows.iter().enumerate() {
            // A mean of n unit exponentials scatters by 1/√n, and so does that of n products: five of them.
            let limit = 5.0 / (SAMPLES as f64).sqrt();
            assert!((crate::dsp::mean_power(row) / variance - 1.0).abs() < limit, "row {index}");
            for (other, others) in rows.iter().enumerate().skip(index + 1) {
                let likeness = crate::dsp::correlate(row, others).norm() / (SAMPLES as f64 * variance);
                assert!(likeness < limit, "rows {index} and {other}: {likeness}");
            }
        }
        let mut world = World::new(&two_of_each(), 7, 1000, 256).unwrap();
        world.begin_frame(0, 1024, 0.0);
        let errors: Vec<_> =
            world.echoes.iter().map(|(echo, _)| echo.truths().next().unwrap().timing_error_s).collect();
        assert!((errors[0] - errors[1]).abs() > 1e-12, "{errors:?}");
    }

    #[test]
    fn the_worlds_channel_of_elements_without_errors_is_the_one_that_a_plan_believes_in() {
        let scene = Scene::paper();
        let receiver = &scene.communication_receivers()[0];
        let channel = channel_of(&scene, receiver, &ElementErrors::none(&scene.array));
        // √(d^−3) at 20 m and 30 m, and the phase of each element further along the array.
        let distance = 20f64.hypot(30.0);
        for (element, entry) in channel.iter().enumerate() {
            let phase = std::f64::consts::PI * element as f64 * 30.0 / distance;
            assert!((entry - Complex64::from_polar(distance.powf(-1.5), phase)).norm() < 1e-15, "{element}");
        }
    }
}
