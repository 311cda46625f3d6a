//! The echoes TR → target → SRE (eq. 5), summed over the targets: y_s(t) = β_0 e^{jψ} α(φ) α(θ)ᴴ x(t − τ − Δτ) with one
//! timing error Δτ for all and a phase ψ of each target's own, both of which may be fresh in each frame; and what comes by
//! stationary paths (clutter, leakage), each with a phase that holds for the run.
//!
//! The timing error is one of the receiver's clock: it moves the instant at which the continuous waveform is read, on
//! whatever path it came. It changes while the preamble of a frame's echo passes, so the sensing windows of neighbouring
//! frames are never cut.

use num_complex::Complex32;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::noise::mix;
use super::path::{Course, Path, StationaryPath};
use super::{MAX_ANTENNAS, Noise, RECEIVE_LAG};
use crate::array::{ElementErrors, direction_rad, distance_m, path_rate_m_s};
use crate::dsp::FILTER_LATENCY;
use crate::scene::{MAX_PATH_M, Point, ReceiverClock, SPEED_OF_LIGHT_M_S, Target};

/// One target of a simulated world.
#[derive(Debug, Clone, PartialEq)]
pub struct EchoTarget {
    /// Where it stands at the start.
    pub position_m: Point,
    /// How it moves.
    pub motion: Target,
    /// |β_0|.
    pub reflection_coefficient: f64,
}

/// What the echo is made of.
#[derive(Debug, Clone)]
pub struct EchoPathSettings {
    /// Where the transmitter stands.
    pub transmitter: Point,
    /// Where the sensing receiver stands.
    pub receiver: Point,
    /// What moves and reflects.
    pub targets: Vec<EchoTarget>,
    /// Errors of the elements of both arrays, which have as many.
    pub errors: ElementErrors,
    /// d_a/λ.
    pub spacing_wavelengths: f64,
    /// λ in metres.
    pub wavelength_m: f64,
    /// Samples per second.
    pub sample_rate_hz: f64,
    /// What comes beside the targets' echoes.
    pub stationary: Vec<StationaryPath>,
    /// Whether ψ is drawn at all, and fresh in each frame.
    pub phase: PhaseDraw,
    /// What Δτ follows from.
    pub clock: ReceiverClock,
    /// One Δτ for the run instead of one per frame.
    pub hold_timing_error: bool,
    /// Samples after a frame's start at which its Δτ and ψ take over.
    pub switch_samples: usize,
    /// Samples by which impairments delay the signal before this path and behind it: everything comes early by both.
    pub lags: [usize; 2],
    /// Noise variance per complex sample and antenna.
    pub noise_variance: f64,
    /// Seed of Δτ, ψ and noise.
    pub seed: u64,
}

/// How ψ is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseDraw {
    /// ψ = 0.
    Zero,
    /// One for the run.
    PerRun,
    /// Fresh in each frame.
    PerFrame,
}

/// The truth of one frame's echo: for reports and tests, never for a receiver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EchoTruth {
    /// Where the target was.
    pub position_m: Point,
    /// τ, without the timing error.
    pub delay_s: f64,
    /// Δτ.
    pub timing_error_s: f64,
    /// |β_0|.
    pub reflection_coefficient: f64,
}

/// A target under way.
struct Reflector {
    /// Where its path would have begun.
    origin: Point,
    motion: Target,
    reflection_coefficient: f64,
    path: Path,
    /// What is true of the frame that began last.
    truth: EchoTruth,
}

/// The echoes, with state between chunks.
pub struct EchoPath {
    settings: EchoPathSettings,
    reflectors: Vec<Reflector>,
    /// One for each of `settings.stationary`.
    stationary: Vec<Path>,
    noises: Vec<Noise>,
}

/// Whether a target can be sensed at all: elements look towards +x.
pub fn check_target(target: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    check_in_front("target", target, transmitter, receiver)
}

/// Whether a target can stand in a simulated world: it can be sensed, and its echo is simulated that far.
pub fn check_simulated_target(target: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    check_simulated("target", target, transmitter, receiver)
}

/// Whether a point that reflects, named `key` in the error, can stand in a simulated world.
pub(super) fn check_simulated(key: &str, point: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    check_in_front(key, point, transmitter, receiver)?;
    let path_m = distance_m(transmitter, point) + distance_m(point, receiver);
    if path_m <= MAX_PATH_M {
        return Ok(());
    }
    Err(format!(
        "{key} = [{}, {}] makes a path of {path_m:.0} m from transmitter to sensing receiver; accepted: up to {MAX_PATH_M} m",
        point[0], point[1]
    ))
}

fn check_in_front(key: &str, point: Point, transmitter: Point, receiver: Point) -> Result<(), String> {
    if point[0] > transmitter[0] && point[0] > receiver[0] {
        return Ok(());
    }
    Err(format!(
        "{key} = [{}, {}] is behind an array; accepted: x above {} (transmitter) and {} (sensing receiver), because \
         a linear array cannot tell front from back",
        point[0], point[1], transmitter[0], receiver[0]
    ))
}

/// Longest delay that is simulated, in samples, [`RECEIVE_LAG`] included.
pub(super) fn longest_delay(sample_rate_hz: f64, clock: ReceiverClock) -> usize {
    let late_s = 8.0 * clock.simulated_std_s();
    let longest = RECEIVE_LAG as f64 + (MAX_PATH_M / SPEED_OF_LIGHT_M_S + late_s) * sample_rate_hz;
    longest.ceil() as usize + 2
}

impl EchoPathSettings {
    /// Sample at which a frame sent from sample `time` on, and received `delay_s` later, takes over.
    fn switch(&self, time: u64, delay_s: f64) -> i64 {
        (time + (delay_s * self.sample_rate_hz) as u64 + self.switch_samples as u64) as i64 - self.lags[1] as i64
    }
}

impl EchoPathSettings {
    /// A path's delay in samples, without [`RECEIVE_LAG`]: early by what impairments delay it again, and never earlier
    /// than what is known.
    fn delay_samples(&self, delay_s: f64) -> f64 {
        let earliest = FILTER_LATENCY as f64 - RECEIVE_LAG as f64;
        (delay_s * self.sample_rate_hz - (self.lags[0] + self.lags[1]) as f64).max(earliest)
    }
}

/// Random numbers for one purpose, of the whole run or of frame `number`.
fn draw(settings: &EchoPathSettings, per_run: bool, salt: u64, number: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(mix(settings.seed ^ salt, if per_run { 0 } else { number }))
}

/// Sets apart what is drawn for target `index`.
fn target_salt(index: u64) -> u64 {
    0x9a + (index << 16)
}

fn draw_phase(settings: &EchoPathSettings, per_run: bool, salt: u64, number: u64) -> f64 {
    draw(settings, per_run, salt, number).random_range(0.0..std::f64::consts::TAU)
}

impl EchoPath {
    /// A path for chunks of up to `chunk` samples; at most `MAX_ANTENNAS` antennas receive.
    pub fn new(settings: EchoPathSettings, chunk: usize) -> Result<Self, String> {
        let rows = settings.errors.receive.len();
        if rows > MAX_ANTENNAS {
            return Err(format!("array.receive_antennas = {rows}; accepted in a run: 1 to {MAX_ANTENNAS}"));
        }
        for target in &settings.targets {
            check_simulated_target(target.position_m, settings.transmitter, settings.receiver)?;
        }
        let longest = longest_delay(settings.sample_rate_hz, settings.clock);
        let path = || Path::new(&settings.errors, settings.spacing_wavelengths, longest, chunk);
        let reflectors = settings.targets.iter().map(|target| Reflector {
            origin: target.position_m,
            motion: target.motion.clone(),
            reflection_coefficient: target.reflection_coefficient,
            path: path(),
            truth: EchoTruth {
                position_m: target.position_m,
                delay_s: 0.0,
                timing_error_s: 0.0,
                reflection_coefficient: target.reflection_coefficient,
            },
        });
        let noises =
            (0..rows as u64).map(|row| Noise::new(settings.seed, 0xe000 + row, settings.noise_variance)).collect();
        Ok(Self {
            reflectors: reflectors.collect(),
            stationary: settings.stationary.iter().map(|_| path()).collect(),
            noises,
            settings,
        })
    }

    /// Puts target `index` somewhere else, `seconds` after the start; the next frame's echo shows it. Without such a target
    /// nothing happens.
    pub fn set_target(&mut self, index: usize, seconds: f64, position_m: Point) {
        if let Some(reflector) = self.reflectors.get_mut(index) {
            let moved = reflector.motion.displacement_m(seconds);
            reflector.origin = [0, 1].map(|axis| position_m[axis] - moved[axis]);
        }
    }

    /// Sets |β_0| of target `index`; the next frame's echo shows it. 0 is a target that has faded.
    pub fn set_reflection(&mut self, index: usize, reflection_coefficient: f64) {
        if let Some(reflector) = self.reflectors.get_mut(index) {
            reflector.reflection_coefficient = reflection_coefficient;
        }
    }

    /// Frame `number` begins at sample `time`, `seconds` after the start: draws its timing error and phases.
    pub fn begin_frame(&mut self, number: u64, time: u64, seconds: f64) {
        let settings = &self.settings;
        let normal: f64 = StandardNormal.sample(&mut draw(settings, settings.hold_timing_error, 0x7e, number));
        let timing_error_s = settings.clock.error_s(normal);
        for (salt, reflector) in (0..).map(target_salt).zip(&mut self.reflectors) {
            let phase_rad = match settings.phase {
                PhaseDraw::Zero => 0.0,
                phase => draw_phase(settings, phase == PhaseDraw::PerRun, salt, number),
            };
            reflector.begin_frame(settings, time, seconds, timing_error_s, phase_rad);
        }
        self.set_stationary(time, timing_error_s);
    }

    /// The truth of the frame that began last, one entry for each target.
    pub fn truths(&self) -> impl Iterator<Item = EchoTruth> + '_ {
        self.reflectors.iter().map(|reflector| reflector.truth)
    }

    /// Samples from where the first target's echo is sent to where it is received, in the frame that began last.
    pub(super) fn delay_samples(&self) -> f64 {
        let delay_s = self.reflectors.first().map_or(0.0, |reflector| reflector.truth.delay_s);
        RECEIVE_LAG as f64 + self.settings.delay_samples(delay_s)
    }

    fn set_stationary(&mut self, time: u64, timing_error_s: f64) {
        let settings = &self.settings;
        for (salt, (path, stationary)) in (0xc1..).zip(self.stationary.iter_mut().zip(&settings.stationary)) {
            let delay_s = stationary.length_m / SPEED_OF_LIGHT_M_S;
            path.set(&Course {
                begin: settings.switch(time, delay_s),
                delay_samples: settings.delay_samples(delay_s + timing_error_s),
                departure_rad: stationary.departure_rad,
                arrival_rad: stationary.arrival_rad,
                coefficient: stationary.coefficient,
                phase_rad: draw_phase(settings, true, salt, 0),
                step_rad: 0.0,
            });
        }
    }

    /// Receives chunk `chunk`, whose first sample was sent at `time`; it belongs to the frame that began last.
    /// No antenna = silence. `rows` are the array's, all of one length; they lag the transmitter by [`RECEIVE_LAG`].
    pub fn receive<'a, 'b>(
        &mut self,
        chunk: u64,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        length: usize,
        rows: impl Iterator<Item = &'b mut [Complex32]>,
    ) {
        self.take_in(time, antennas, length);
        for (index, row) in rows.enumerate() {
            self.hear(index, &mut row[..length]);
            self.add_noise(chunk, index, &mut row[..length]);
        }
    }

    /// Takes in `length` samples of the antennas, the first of them sent at `time`.
    pub(super) fn take_in<'a>(
        &mut self,
        time: u64,
        antennas: impl Iterator<Item = &'a [Complex32]> + Clone,
        length: usize,
    ) {
        let paths = self.reflectors.iter_mut().map(|reflector| &mut reflector.path).chain(&mut self.stationary);
        paths.for_each(|path| path.take_in(time, antennas.clone(), length));
    }

    /// What row `index` receives of the samples taken in last, without its noise.
    pub(super) fn hear(&self, index: usize, row: &mut [Complex32]) {
        let mut paths = self.reflectors.iter().map(|reflector| &reflector.path).chain(&self.stationary);
        match paths.next() {
            Some(first) => first.write(index, row),
            None => row.fill(Complex32::default()),
        }
        paths.for_each(|path| path.add(index, row));
    }

    /// The noise of row `index` in chunk `chunk`.
    pub(super) fn add_noise(&self, chunk: u64, index: usize, row: &mut [Complex32]) {
        if let Some(noise) = self.noises.get(index) {
            noise.add(chunk, row);
        }
    }
}

impl Reflector {
    /// Sets the course of a frame sent from sample `time` on.
    fn begin_frame(
        &mut self,
        settings: &EchoPathSettings,
        time: u64,
        seconds: f64,
        timing_error_s: f64,
        phase_rad: f64,
    ) {
        let (moved, velocity) = (self.motion.displacement_m(seconds), self.motion.velocity_at(seconds));
        let position = [0, 1].map(|axis| self.origin[axis] + moved[axis]);
        let path_m = distance_m(settings.transmitter, position) + distance_m(position, settings.receiver);
        let delay_s = path_m / SPEED_OF_LIGHT_M_S;
        // A moving target turns the carrier by 2π per wavelength of path; the phase at rest is part of β_0.
        let still = velocity == [0.0, 0.0];
        let turn = std::f64::consts::TAU / settings.wavelength_m;
        let path_rate_m_s = path_rate_m_s(settings.transmitter, position, settings.receiver, velocity);
        // A target that has moved out of reach gives no echo.
        let in_reach = path_m <= MAX_PATH_M;
        let simulated_s = path_m.min(MAX_PATH_M) / SPEED_OF_LIGHT_M_S + timing_error_s;
        self.path.set(&Course {
            begin: settings.switch(time, delay_s),
            delay_samples: settings.delay_samples(simulated_s),
            departure_rad: direction_rad(settings.transmitter, position),
            arrival_rad: direction_rad(settings.receiver, position),
            coefficient: if in_reach { self.reflection_coefficient } else { 0.0 },
            phase_rad: phase_rad - if still { 0.0 } else { (turn * path_m) % std::f64::consts::TAU },
            step_rad: -turn * path_rate_m_s / settings.sample_rate_hz,
        });
        let reflection_coefficient = self.reflection_coefficient;
        self.truth = EchoTruth { position_m: position, delay_s, timing_error_s, reflection_coefficient };
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex64;

    use super::*;
    use crate::array::steering_vector;

    fn target(position_m: Point) -> EchoTarget {
        EchoTarget { position_m, motion: Target::default(), reflection_coefficient: 0.6 }
    }

    fn settings() -> EchoPathSettings {
        EchoPathSettings {
            transmitter: [0.0, 0.0],
            receiver: [0.0, 50.0],
            targets: vec![target([100.0, 50.0])],
            errors: ElementErrors { transmit: vec![Complex64::ONE; 2], receive: vec![Complex64::ONE; 3] },
            spacing_wavelengths: 0.5,
            wavelength_m: 0.1,
            sample_rate_hz: 200e6,
            stationary: Vec::new(),
            phase: PhaseDraw::PerFrame,
            clock: ReceiverClock { std_s: 100e-9, most_s: 400e-9 },
            hold_timing_error: false,
            switch_samples: 512,
            lags: [0, 0],
            noise_variance: 0.0,
            seed: 7,
        }
    }

    /// A slow tone sent by both antennas, as chunks of 1 000 samples that are frames of their own.
    fn received(settings: &EchoPathSettings, chunks: u64) -> (Vec<EchoTruth>, Vec<Vec<Complex32>>) {
        let mut path = EchoPath::new(settings.clone(), 1000).unwrap();
        let mut rows = vec![Vec::new(); settings.errors.receive.len()];
        let mut truths = Vec::new();
        for chunk in 0..chunks {
            path.begin_frame(chunk, chunk * 1000, chunk as f64 * 1000.0 / settings.sample_rate_hz);
            truths.extend(path.truths().take(1));
            let sent: Vec<_> = (0..1000).map(|n| tone((chunk * 1000 + n) as f64)).collect();
            let mut output = vec![vec![Complex32::default(); 1000]; rows.len()];
            let antennas = [&sent[..], &sent[..]];
            path.receive(chunk, chunk * 1000, antennas.into_iter(), 1000, output.iter_mut().map(|row| &mut row[..]));
            for (row, new) in rows.iter_mut().zip(output) {
                row.extend(new);
            }
        }
        (truths, rows)
    }

    fn tone(n: f64) -> Complex32 {
        let phase = 0.05 * n;
        Complex32::new(phase.cos() as f32, phase.sin() as f32)
    }

    #[test]
    fn the_echo_has_its_delay_gain_and_angles_in_every_frame() {
        let settings = settings();
        let (truths, rows) = received(&settings, 6);
        let theta = direction_rad(settings.transmitter, [100.0, 50.0]);
        let phi = direction_rad(settings.receiver, [100.0, 50.0]);
        let out = steering_vector(2, 0.5, theta).map(|z| z.conj()).sum();
        for (frame, truth) in truths.iter().enumerate().skip(1) {
            // A sample well inside the part that this frame's clock rules.
            let time = frame * 1000 + (truth.delay_s * 200e6) as usize + 512 + 600;
            let sample = time + RECEIVE_LAG;
            if sample >= rows[0].len() {
                break;
            }
            let delay = (truth.delay_s + truth.timing_error_s) * 200e6;
            let sent = tone(time as f64 - delay);
            let first = rows[0][sample] / sent;
            assert!((f64::from(first.norm()) - 0.6 * Complex64::norm(out)).abs() < 1e-3);
            for row in 1..3 {
                let ratio = rows[row][sample] / rows[0][sample];
                let expected = Complex64::cis(std::f64::consts::PI * row as f64 * phi.sin());
                assert!((f64::from(ratio.re) - expected.re).hypot(f64::from(ratio.im) - expected.im) < 1e-3);
            }
        }
    }

    #[test]
    fn clutter_and_leakage_come_with_their_delays_directions_and_levels_on_the_same_clock() {
        let (transmitter, receiver, at) = ([0.0, 0.0], [0.0, 50.0], [40.0, -30.0]);
        let paths =
            [StationaryPath::by(transmitter, at, receiver, 6.0), StationaryPath::straight(transmitter, receiver, 3.0)];
        // 50 m by the reflector to the transmitter and 89.44 m to the receiver; 50 m straight, along both arrays.
        assert!((paths[0].length_m - 50.0 - 40f64.hypot(80.0)).abs() < 1e-9 && paths[1].length_m == 50.0);
        let [sine_out, sine_in] = [paths[1].departure_rad, paths[1].arrival_rad].map(f64::sin);
        assert!((sine_out - 1.0).abs() < 1e-12 && (sine_in + 1.0).abs() < 1e-12);
        for (path, sines, gain) in [
            (paths[0], [-0.6, -80.0 / 40f64.hypot(80.0)], 6.0),
            // α(θ)ᴴ of two antennas half a wavelength apart cancels along the array.
            (StationaryPath { departure_rad: 0.3, ..paths[1] }, [0.3f64.sin(), -1.0], 3.0),
        ] {
            let settings = EchoPathSettings {
                targets: vec![EchoTarget { reflection_coefficient: 0.0, ..target([100.0, 50.0]) }],
                stationary: vec![path],
                hold_timing_error: true,
                ..settings()
            };
            let (truths, rows) = received(&settings, 6);
            let delay = (path.length_m / SPEED_OF_LIGHT_M_S + truths[0].timing_error_s) * 200e6;
            let out = gain * (1.0 + Complex64::cis(-std::f64::consts::PI * sines[0]));
            let turns: Vec<_> = (2500..5500)
                .step_by(500)
                .map(|sample| rows[0][sample] / tone((sample - RECEIVE_LAG) as f64 - delay))
                .collect();
            for turn in &turns {
                assert!((f64::from(turn.norm()) - Complex64::norm(out)).abs() < 1e-3 * gain, "{turn} {out}");
                // The phase is drawn once for the run.
                assert!((turn - turns[0]).norm() < 2e-3 * gain as f32, "{turns:?}");
            }
            let ratio = rows[1][3000] / rows[0][3000];
            let expected = Complex64::cis(std::f64::consts::PI * sines[1]);
            assert!((f64::from(ratio.re) - expected.re).hypot(f64::from(ratio.im) - expected.im) < 1e-3);
        }
        let together = |stationary: Vec<StationaryPath>, reflection_coefficient: f64| {
            let targets = vec![EchoTarget { reflection_coefficient, ..target([100.0, 50.0]) }];
            received(&EchoPathSettings { stationary, targets, ..settings() }, 4).1[2][3333]
        };
        let sum = together(vec![paths[0]], 0.6);
        let parts = together(vec![paths[0]], 0.0) + together(vec![], 0.6);
        assert!((sum - parts).norm() < 1e-4, "{sum} {parts}");
    }

    #[test]
    fn the_echoes_of_several_targets_add_up_and_the_first_is_what_it_is_alone() {
        let (near, far) = (target([100.0, 50.0]), target([150.0, -40.0]));
        let of = |targets: &[&EchoTarget]| {
            let targets = targets.iter().map(|target| (*target).clone()).collect();
            received(&EchoPathSettings { targets, ..settings() }, 4).1
        };
        let faded = |target: &EchoTarget| EchoTarget { reflection_coefficient: 0.0, ..target.clone() };
        let (alone, second, both) = (of(&[&near]), of(&[&faded(&near), &far]), of(&[&near, &far]));
        assert_eq!(of(&[&near, &faded(&far)]), alone);
        assert!(of(&[]).concat().iter().all(|sample| *sample == Complex32::default()));
        for (row, both) in both.iter().enumerate() {
            for (sample, both) in both.iter().enumerate() {
                assert!((alone[row][sample] + second[row][sample] - both).norm() < 1e-5, "{row} {sample}");
            }
        }
        // Their phases are their own: the first one's alone at the second's place has another.
        let moved = of(&[&far]);
        let turn = second[0][3333] / moved[0][3333];
        assert!((turn.norm() - 1.0).abs() < 1e-3 && (turn - 1.0).norm() > 0.1, "{turn}");
    }

    #[test]
    fn each_target_is_moved_and_faded_by_itself() {
        let mut path = EchoPath::new(
            EchoPathSettings { targets: vec![target([100.0, 50.0]), target([150.0, -40.0])], ..settings() },
            1000,
        )
        .unwrap();
        path.set_target(1, 0.0, [80.0, 3.0]);
        path.set_target(7, 0.0, [1.0, 1.0]);
        path.begin_frame(0, 0, 0.0);
        let positions: Vec<_> = path.truths().map(|truth| truth.position_m).collect();
        assert_eq!(positions, [[100.0, 50.0], [80.0, 3.0]]);
        let errors: Vec<_> = path.truths().map(|truth| truth.timing_error_s).collect();
        assert_eq!(errors[0], errors[1], "one clock");
        path.set_reflection(0, 0.0);
        assert_eq!([0, 1].map(|index: usize| path.reflectors[index].reflection_coefficient), [0.0, 0.6]);
    }

    #[test]
    fn element_errors_multiply_what_each_element_sends_and_receives() {
        let factors = [Complex64::from_polar(1.05, 0.08), Complex64::from_polar(0.95, -0.05), Complex64::ONE];
        // Both transmitting antennas send the same, so a factor that they share comes out of all rows.
        let errors = ElementErrors { transmit: vec![factors[1]; 2], receive: factors.to_vec() };
        let (with, without) = (received(&EchoPathSettings { errors, ..settings() }, 4).1, received(&settings(), 4).1);
        for ((with, without), factor) in with.iter().zip(&without).zip(factors) {
            let ratio = with[3333] / without[3333];
            let expected = factor * factors[1];
            assert!((f64::from(ratio.re) - expected.re).hypot(f64::from(ratio.im) - expected.im) < 1e-4, "{ratio}");
        }
    }

    #[test]
    fn timing_errors_have_their_deviation_and_hold_when_asked() {
        let timing_error_s = |path: &mut EchoPath, frame: u64| {
            path.begin_frame(frame, frame * 1000, 0.0);
            path.truths().next().unwrap().timing_error_s
        };
        let mut path = EchoPath::new(settings(), 1000).unwrap();
        let errors: Vec<f64> = (0..4000).map(|frame| timing_error_s(&mut path, frame)).collect();
        let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / 4000.0).sqrt();
        // A sample variance of 4 000 normals scatters by √(2/4000); four deviations.
        assert!((deviation / 100e-9 - 1.0).abs() < 4.0 * (0.5 / 4000f64).sqrt(), "{deviation}");
        let mut path = EchoPath::new(EchoPathSettings { hold_timing_error: true, ..settings() }, 1000).unwrap();
        assert_eq!(timing_error_s(&mut path, 0), timing_error_s(&mut path, 9));
    }

    #[test]
    fn a_target_behind_an_array_is_refused_by_name() {
        let error = check_target([-3.0, 1.0], [0.0, 0.0], [0.0, 50.0]).unwrap_err();
        assert!(error.contains("[-3, 1]") && error.contains("accepted"), "{error}");
    }

    #[test]
    fn a_target_out_of_reach_is_refused_and_one_that_leaves_gives_no_echo() {
        let error = check_simulated_target([9000.0, 1.0], [0.0, 0.0], [0.0, 50.0]).unwrap_err();
        assert!(error.contains("[9000, 1]") && error.contains("accepted: up to 6000 m"), "{error}");
        assert!(EchoPath::new(EchoPathSettings { targets: vec![target([9000.0, 0.0])], ..settings() }, 1000).is_err());
        // 2 900 m of range, 150 m more after each frame of 1 000 samples.
        let leaving = EchoPathSettings {
            targets: vec![EchoTarget {
                motion: Target { velocity_m_s: [3e7, 0.0], ..Target::default() },
                ..target([2900.0, 25.0])
            }],
            ..settings()
        };
        let (_, rows) = received(&leaving, 12);
        let power = |samples: &[Complex32]| crate::dsp::mean_power(samples);
        assert!(power(&rows[0][6000..7000]) > 0.1 && power(&rows[0][11_000..12_000]) < 1e-9);
    }
}
