//! The whole simulated world of a scene: antennas in, a row of each communication receiver and the rows of each sensing
//! array out. Received rows lag the transmitter's clock by [`RECEIVE_LAG`](super::RECEIVE_LAG).

use nalgebra::DVector;
use num_complex::{Complex32, Complex64};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::direct::{flush_samples, path_samples};
use super::echo::{EchoTarget, check_simulated, longest_delay};
use super::noise::mix;
use super::{
    DirectPath, DirectPathSettings, EchoPath, EchoPathSettings, EchoTruth, Impairments, PhaseDraw, RECEIVE_LAG,
    StationaryPath,
};
use crate::array::{ElementErrors, direction_rad, distance_m, steering_vector};
use crate::dsp::FILTER_TAPS;
use crate::scene::{
    Point, ReflectionPhase, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, SceneReceiver, TimingErrorHold, dbm_to_w,
};

/// The world, with state between chunks: links from the transmitter to each receiver, and what is wrong with each end.
pub struct World {
    /// What is wrong with the transmitter, and its antennas' samples where that is anything.
    transmitter: Impairments,
    sent: Vec<Vec<Complex32>>,
    /// One for each communication receiver.
    directs: Vec<(DirectPath, Impairments)>,
    /// One for each sensing receiver, with its antennas.
    echoes: Vec<(EchoPath, usize, Impairments)>,
    chunk: u64,
    /// Samples received so far.
    heard: u64,
}

/// Most antennas of one place.
const MAX_ROWS: usize = 256;

/// Samples that all impairments of one way may delay at most, so that the timing error stays causal beside them.
const MOST_LAG: usize = RECEIVE_LAG - 240;

impl World {
    /// The world of `scene` for chunks of up to `chunk` samples; `preamble` symbols of a frame pass before its timing
    /// error takes over.
    pub fn new(scene: &Scene, seed: u64, chunk: usize, preamble: usize) -> Result<Self, String> {
        check_geometry(scene)?;
        let mut receive_errors = Xoshiro256PlusPlus::seed_from_u64(mix(seed, 0xa7));
        let errors = ElementErrors::draw(&scene.array, &mut receive_errors);
        let transmitter = Impairments::of_transmitter(scene, seed_of(seed, 0x17, 1));
        let receivers = scene.communication_receivers();
        let direct = |(index, receiver): (u64, &SceneReceiver)| {
            let own_seed = seed_of(seed, 0xcc, index);
            let path = DirectPath::new(&direct_settings(scene, receiver, &errors, own_seed), chunk);
            (path, Impairments::of_receiver(scene, &receiver.id, 1, mix(own_seed, 0x17)))
        };
        let directs = (0..).zip(&receivers).map(direct).collect();
        let echo = |(index, receiver): (u64, &SceneReceiver)| {
            let own_seed = seed_of(seed, 0x5e, index);
            let errors = errors_of(scene, receiver, &errors, own_seed, index == 0);
            let impairments = Impairments::of_receiver(scene, &receiver.id, receiver.antennas, mix(own_seed, 0x5117));
            let early_samples = transmitter.lag() + impairments.lag();
            if early_samples > MOST_LAG {
                return Err(format!(
                    "impairment: those of `transmitter` and `{}` take {early_samples} samples to compute; accepted: up to \
                     {MOST_LAG} (a clock-offset takes 492, paths and a row 12 each)",
                    receiver.id
                ));
            }
            let settings = echo_settings(scene, receiver, errors, preamble, own_seed);
            let path =
                EchoPath::new(EchoPathSettings { lags: [transmitter.lag(), impairments.lag()], ..settings }, chunk)?;
            Ok((path, receiver.antennas, impairments))
        };
        let echoes = (0..).zip(&scene.sensing_receivers()).map(echo).collect::<Result<_, String>>()?;
        let rows = if transmitter.is_empty() { 0 } else { scene.array.transmit_antennas };
        let sent = vec![vec![Complex32::default(); chunk]; rows];
        Ok(Self { transmitter, sent, directs, echoes, chunk: 0, heard: 0 })
    }

    /// Rows that are received: one of each communication receiver, then those of the sensing receivers' arrays one after
    /// another.
    pub fn rows(&self) -> usize {
        self.directs.len() + self.echoes.iter().map(|(_, rows, _)| rows).sum::<usize>()
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
        let paths = flush_samples(direct).max(longest_delay(rate_hz, scene.receiver_clock()) + FILTER_TAPS);
        let receivers = scene.receivers();
        let lags =
            receivers.iter().map(|receiver| Impairments::of_receiver(scene, &receiver.id, receiver.antennas, 0).lag());
        paths + Impairments::of_transmitter(scene, 0).lag() + lags.max().unwrap_or(0)
    }

    /// Frame `number` begins at sample `time`, `seconds` after the start.
    pub fn begin_frame(&mut self, number: u64, time: u64, seconds: f64) {
        for (echo, ..) in &mut self.echoes {
            echo.begin_frame(number, time, seconds);
        }
        // What is sent before the first frame belongs to none.
        if number == u64::MAX {
            return;
        }
        self.transmitter.begin_frame(number, self.heard);
        let after = self.heard + self.transmitter.lag() as u64;
        for (direct, impairments) in &mut self.directs {
            impairments.begin_frame(number, after + direct.delay_samples() as u64);
        }
        for (echo, _, impairments) in &mut self.echoes {
            impairments.begin_frame(number, after + echo.delay_samples() as u64);
        }
    }

    /// Changes number `number` of the scene's impairment `index` from the next sample on.
    pub fn set_impairment(&mut self, index: usize, number: usize, value: f64) {
        let directs = self.directs.iter_mut().map(|(_, impairments)| impairments);
        let echoes = self.echoes.iter_mut().map(|(.., impairments)| impairments);
        let all = std::iter::once(&mut self.transmitter).chain(directs).chain(echoes);
        all.for_each(|impairments| impairments.set(index, number, value));
    }

    /// The truth of the frame that began last, one entry for each target, as the first sensing receiver sees it.
    pub fn truths(&self) -> impl Iterator<Item = EchoTruth> + '_ {
        self.echoes.iter().take(1).flat_map(|(echo, ..)| echo.truths())
    }

    /// Puts target `index` somewhere else, `seconds` after the start; the next frame's echo shows it.
    pub fn set_target(&mut self, index: usize, seconds: f64, position_m: Point) {
        self.echoes.iter_mut().for_each(|(echo, ..)| echo.set_target(index, seconds, position_m));
    }

    /// Sets |β_0| of target `index`; the next frame's echo shows it.
    pub fn set_reflection(&mut self, index: usize, reflection_coefficient: f64) {
        self.echoes.iter_mut().for_each(|(echo, ..)| echo.set_reflection(index, reflection_coefficient));
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
        if self.transmitter.is_empty() {
            self.hear(time, antennas, count, &mut rows);
        } else {
            let mut sent = std::mem::take(&mut self.sent);
            for (own, antenna) in sent.iter_mut().zip(WithSilence(antennas)) {
                match antenna {
                    Some(antenna) => own[..count].copy_from_slice(&antenna[..count]),
                    None => own[..count].fill(Complex32::default()),
                }
            }
            with_rows(sent.iter_mut().map(|own| &mut own[..count]), |rows| self.transmitter.apply(rows));
            self.hear(time, sent.iter().map(|own| &own[..count]), count, &mut rows);
            self.sent = sent;
        }
        self.chunk += 1;
        self.heard += count as u64;
    }

    fn hear<'a, 'b>(
        &mut self,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        count: usize,
        mut rows: impl Iterator<Item = &'b mut [Complex32]>,
    ) {
        for ((direct, impairments), row) in self.directs.iter_mut().zip(&mut rows) {
            direct.hear(antennas.clone(), row);
            let mut row = [row];
            impairments.apply_air(&mut row);
            direct.add_noise(self.chunk, row[0]);
            impairments.apply_front_end(&mut row);
        }
        for (echo, own, impairments) in &mut self.echoes {
            echo.take_in(time, antennas.clone(), count);
            with_rows(rows.by_ref().take(*own).map(|row| &mut row[..count]), |rows| {
                rows.iter_mut().enumerate().for_each(|(index, row)| echo.hear(index, row));
                impairments.apply_air(rows);
                rows.iter_mut().enumerate().for_each(|(index, row)| echo.add_noise(self.chunk, index, row));
                impairments.apply_front_end(rows);
            });
        }
    }
}

/// The antennas one after another, and then silence for ever.
struct WithSilence<I>(I);

impl<'a, I: Iterator<Item = &'a [Complex32]>> Iterator for WithSilence<I> {
    type Item = Option<&'a [Complex32]>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next())
    }
}

/// Calls `work` with all rows at once.
fn with_rows<'a>(rows: impl Iterator<Item = &'a mut [Complex32]>, work: impl FnOnce(&mut [&mut [Complex32]])) {
    let mut together: [&mut [Complex32]; MAX_ROWS] = std::array::from_fn(|_| Default::default());
    let mut count = 0;
    for (slot, row) in together.iter_mut().zip(rows) {
        *slot = row;
        count += 1;
    }
    work(&mut together[..count]);
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
        clock: scene.receiver_clock(),
        hold_timing_error: scene.channel.timing_error_hold == TimingErrorHold::Run,
        switch_samples: preamble * scene.waveform.samples_per_symbol,
        lags: [0, 0],
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
            world.echoes.iter().map(|(echo, ..)| echo.truths().next().unwrap().timing_error_s).collect();
        assert!((errors[0] - errors[1]).abs() > 1e-12, "{errors:?}");
    }

    /// The paper's scene without noise and with these impairments.
    fn impaired(entries: &str) -> Scene {
        let text =
            format!("{}\n{entries}", crate::scene::PAPER_TOML).replace("noise_dbm = -50.0", "noise_dbm = -250.0");
        Scene::from_toml(&text, "s.toml").unwrap()
    }

    /// What all rows receive of frames of 3392 white samples, each in pieces of up to `piece` samples.
    fn frames_in_pieces(scene: &Scene, piece: usize, frames: u64) -> Vec<Vec<Complex32>> {
        let mut world = World::new(scene, 7, 3392, 256).unwrap();
        let mut rows = vec![Vec::new(); world.rows()];
        let mut random = Xoshiro256PlusPlus::seed_from_u64(5);
        for frame in 0..frames {
            let mut sample = || Complex32::new(rand::RngExt::random::<f32>(&mut random) - 0.5, 0.25);
            let sent: Vec<Vec<Complex32>> = (0..4).map(|_| (0..3392).map(|_| sample()).collect()).collect();
            let time = 1024 + frame * 3392;
            world.begin_frame(frame, time, frame as f64 * 1e-5);
            for from in (0..3392).step_by(piece) {
                let count = piece.min(3392 - from);
                let mut now = vec![vec![Complex32::default(); count]; rows.len()];
                let antennas = sent.iter().map(|row| &row[from..from + count]);
                world.receive(time + from as u64, antennas, count, now.iter_mut().map(|row| &mut row[..]));
                rows.iter_mut().zip(now).for_each(|(row, now)| row.extend(now));
            }
        }
        rows
    }

    const MANY: &str = "
[[impairment]]
at = \"transmitter\"
kind = \"pa\"
backoff_db = 3.0
[[impairment]]
id = \"drift\"
at = \"transmitter\"
kind = \"carrier-offset\"
cycles_per_symbol = 0.01
[[impairment]]
at = \"communication-receiver\"
kind = \"paths\"
profile = \"tdl-a\"
doppler_cycles_per_symbol = 1e-5
[[impairment]]
at = \"communication-receiver\"
kind = \"clock-offset\"
ppm = 40.0
[[impairment]]
at = \"sensing-receiver\"
kind = \"gain-step\"
db = 6.0
at_symbol = 500
[[impairment]]
at = \"sensing-receiver.2\"
kind = \"row\"
delay_samples = 0.5
fault = \"swapped-with-3\"
[[impairment]]
at = \"sensing-receiver\"
kind = \"dc\"
dbc = -10.0
";

    #[test]
    fn impairments_are_the_same_however_the_stream_is_cut_so_in_the_loopback_and_on_a_virtual_radio() {
        let scene = impaired(MANY);
        let (whole, cut) = (frames_in_pieces(&scene, 3392, 6), frames_in_pieces(&scene, 1000, 6));
        let clean = frames_in_pieces(&impaired(""), 3392, 6);
        for (index, ((whole, cut), clean)) in whole.iter().zip(&cut).zip(&clean).enumerate() {
            let power = crate::dsp::mean_power(&whole[8000..]);
            let far = |other: &[Complex32]| {
                let difference: Vec<_> = whole.iter().zip(other).map(|(x, y)| x - y).collect();
                crate::dsp::mean_power(&difference[8000..]) / power
            };
            // Rotations are evaluated from where a piece begins, in single precision.
            assert!(far(cut) < 1e-9, "row {index}: {}", far(cut));
            assert!(far(clean) > 1e-2, "row {index}: {}", far(clean));
        }
    }

    #[test]
    fn filters_that_impairments_need_delay_no_echo() {
        let paths = |at: &str| {
            format!(
                "[[impairment]]\nid = \"at-{at}\"\nat = \"{at}\"\nkind = \"paths\"\nlist = [{{ delay_symbols = 3.0, \
                 gain_db = -200.0 }}]\n"
            )
        };
        let both = paths("transmitter") + &paths("sensing-receiver");
        let (clean, filtered) = (frames_in_pieces(&impaired(""), 3392, 6), frames_in_pieces(&impaired(&both), 3392, 6));
        for (clean, filtered) in clean.iter().zip(&filtered).skip(1) {
            let difference: Vec<_> = clean.iter().zip(filtered).map(|(x, y)| x - y).collect();
            let far = crate::dsp::mean_power(&difference[3392..]) / crate::dsp::mean_power(&clean[3392..]);
            assert!(far < 1e-6, "{far}");
        }
    }

    #[test]
    fn a_live_change_of_a_number_holds_from_the_next_sample_on() {
        let scene = impaired("[[impairment]]\nat = \"communication-receiver\"\nkind = \"level\"\ndb = 0.0\n");
        let mut world = World::new(&scene, 7, 20_000, 256).unwrap();
        let sent = vec![Complex32::ONE; 20_000];
        let hear = |world: &mut World, time| {
            let mut rows = vec![vec![Complex32::default(); 20_000]; world.rows()];
            let antennas = std::iter::repeat_n(&sent[..], 4);
            world.begin_frame(0, time, 0.0);
            world.receive(time, antennas, 20_000, rows.iter_mut().map(|row| &mut row[..]));
            crate::dsp::mean_power(&rows[0])
        };
        hear(&mut world, 1024);
        let before = hear(&mut world, 21_024);
        let (impairment, number) = scene.impairment_number("level", "db", 6.0).unwrap();
        world.set_impairment(impairment, number, 6.0);
        assert!((10.0 * (hear(&mut world, 41_024) / before).log10() - 6.0).abs() < 1e-3);
    }

    #[test]
    fn more_lag_than_a_timing_error_leaves_is_refused() {
        let clock =
            |at: &str| format!("[[impairment]]\nid = \"{at}\"\nat = \"{at}\"\nkind = \"clock-offset\"\nppm = 1\n");
        let both = impaired(&(clock("transmitter") + &clock("sensing-receiver")));
        let error = World::new(&both, 1, 3392, 256).err().unwrap();
        assert!(error.starts_with("impairment: those of") && error.contains("accepted: up to 784"), "{error}");
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
