//! Maps, detection, several targets, clutter and Doppler on echoes made of point scatterers.

use num_complex::{Complex32, Complex64};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::cfar::Cfar;
use super::maps::{Profiles, independent_beams};
use super::{
    CoherentEstimator, CoherentFrames, Detector, EchoFrame, Planar, SensingConfig, StationaryEchoes, Status,
    TargetSearch, Trials,
};
use crate::dsp::{DelayTaps, FILTER_TAPS};
use crate::optimize::Problem;
use crate::scene::Scene;

/// A point that reflects: delay in samples, sin φ, response of the two streams.
#[derive(Clone, Copy)]
struct Scatterer {
    delay: f64,
    sine: f64,
    response: [Complex64; 2],
}

impl Scatterer {
    /// The same, its phase advanced.
    fn turned(mut self, turns: f64) -> Self {
        self.response = self.response.map(|g| g * Complex64::cis(std::f64::consts::TAU * turns));
        self
    }
}

/// Frames of the paper's scene, for echoes that a test composes.
struct Field {
    config: SensingConfig,
    trials: Trials,
    random: Xoshiro256PlusPlus,
}

impl Field {
    fn new(seed: u64) -> Self {
        let scene = Scene::paper();
        let config = SensingConfig::from_scene(&scene);
        let beams = Problem::from_scene(&scene).solve().beams;
        let trials = Trials::new(&scene, &config, &beams, seed).unwrap();
        Self { config, trials, random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    fn window(&self) -> usize {
        Trials::window_samples(&self.config)
    }

    fn samples(&self) -> usize {
        let [first, last] = self.config.lag_range();
        self.window() + (last - first) as usize
    }

    /// Amplitude of a scatterer with this energy (a ratio) after integration over the window and the antennas.
    fn amplitude(&self, energy: f64) -> f64 {
        let gain = self.window() as f64 * self.config.receive_antennas as f64;
        (energy * self.config.samples_per_symbol as f64 * self.config.noise_power_w / gain).sqrt()
    }

    /// Sends frame `number`; returns the echo of these scatterers with noise.
    fn echo(&mut self, number: u64, scatterers: &[Scatterer]) -> Vec<Complex32> {
        self.trials.send(number, &mut self.random);
        let (count, rows) = (self.samples(), self.config.receive_antennas);
        let deviation = (self.config.samples_per_symbol as f64 * self.config.noise_power_w / 2.0).sqrt();
        let mut noise = || -> f32 { (deviation * f64_normal(&mut self.random)) as f32 };
        let mut echo: Vec<_> = (0..rows * count).map(|_| Complex32::new(noise(), noise())).collect();
        let reference = self.trials.reference();
        for scatterer in scatterers {
            let taps = DelayTaps::new(scatterer.delay);
            let from = self.trials.window_start() as i64 + self.config.lag_range()[0] as i64 - taps.reach_back();
            let [g_c, g_0] = scatterer.response.map(|g| Complex32::new(g.re as f32, g.im as f32));
            let sent: Vec<_> = (from..from + (count + FILTER_TAPS) as i64)
                .map(|n| match usize::try_from(n) {
                    Ok(n) if n < reference.length => g_c * reference.row(0)[n] + g_0 * reference.row(1)[n],
                    _ => Complex32::default(),
                })
                .collect();
            let mut delayed = vec![Complex32::default(); count];
            taps.apply(&sent, &mut delayed);
            for (row, echo) in echo.chunks_exact_mut(count).enumerate() {
                let turn = Complex64::cis(std::f64::consts::PI * row as f64 * scatterer.sine);
                let turn = Complex32::new(turn.re as f32, turn.im as f32);
                echo.iter_mut().zip(&delayed).for_each(|(echo, sample)| *echo += turn * sample);
            }
        }
        echo
    }

    /// The frame sent last with this echo, sent at `time_s`.
    fn frame<'a>(&'a self, echo: &'a [Complex32], time_s: f64) -> EchoFrame<'a> {
        EchoFrame { echo: Planar::new(echo, self.samples()), ..self.trials.frame(time_s) }
    }
}

fn f64_normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(random)
}

/// A scatterer of this amplitude, with a part of it in the second stream.
fn scatterer(delay: f64, sine: f64, amplitude: f64, phase: f64) -> Scatterer {
    let response = [Complex64::from_polar(0.8 * amplitude, phase), Complex64::from_polar(0.6 * amplitude, 1.0 - phase)];
    Scatterer { delay, sine, response }
}

/// Mean of the map's cells on noise alone, cells, and alarms over those set, in this many frames.
fn map_of_noise(frames: u64) -> (f64, usize, f64) {
    let mut field = Field::new(1);
    let beams = independent_beams(&field.config);
    let mut profiles = Profiles::new(&field.config, field.window());
    let cfar = Cfar { false_alarm_probability: 1e-3, training: 12, guard: 2, samples_per_symbol: 2 };
    let (mut sum, mut cells, mut alarms) = (0.0, 0, 0);
    for number in 0..frames {
        let echo = field.echo(number, &[]);
        profiles.clear();
        profiles.push(&field.frame(&echo, 0.0));
        let map = profiles.delay_angle(&beams);
        sum += map.power.iter().map(|power| f64::from(*power)).sum::<f64>();
        cells += map.power.len();
        alarms += cfar.cells(&map).len();
    }
    (sum / cells as f64, cells, alarms as f64 / (1e-3 * cells as f64))
}

#[test]
fn on_noise_alone_a_map_has_mean_one_and_alarms_within_a_factor_two_of_the_setting() {
    // About 170 alarms expected of 170 000 cells, of which neighbours alarm together.
    let (mean, _, ratio) = map_of_noise(60);
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
}

/// Ten times as much of what the short tests show, in half a minute:
/// `cargo test --release --lib many_trials -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: the short tests make the same claims"]
fn many_trials_of_false_alarms_and_of_two_equal_targets() {
    let (mean, cells, ratio) = map_of_noise(600);
    println!("{cells} cells of noise: mean {mean:.4}, {ratio:.3} times the false alarms set");
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
    for second in [(3.0, 0.0), (0.0, 0.75)] {
        let found = both_found(second, 2000);
        println!("{found} of 2000 pairs {second:?} (samples, sin φ) apart found");
        assert!(found >= 1980, "{found}");
    }
}

#[test]
fn the_delay_angle_map_peaks_where_the_target_is_and_cfar_reports_it_once() {
    let mut field = Field::new(2);
    let amplitude = field.amplitude(1e3);
    let echo = field.echo(0, &[scatterer(140.0, 0.3, amplitude, 0.5)]);
    let mut profiles = Profiles::new(&field.config, field.window());
    profiles.push(&field.frame(&echo, 0.0));
    let sines: Vec<f64> = (0..41).map(|n| -1.0 + f64::from(n) * 0.05).collect();
    let map = profiles.delay_angle(&sines);
    let (row, column) = map.peak();
    assert_eq!(row as isize + field.config.lag_range()[0], 140);
    assert!((map.columns[column] - 0.3).abs() < 0.051);
    assert!((f64::from(map.at(row, column)) - 500.0).abs() < 80.0, "two looks average the energy of 1 000");
    let cfar = Cfar { false_alarm_probability: 1e-6, training: 12, guard: 3, samples_per_symbol: 2 };
    let strongest = cfar.peaks(&map).into_iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio)).unwrap();
    assert_eq!((strongest.row, strongest.column), (row, column));
}

#[test]
fn coherent_frames_lift_a_target_under_the_noise_and_show_its_doppler_shift() {
    let mut field = Field::new(3);
    // Energy 2 per frame: hidden in one. 64 frames 17 µs apart hold the phase but for the Doppler shift.
    let (amplitude, shift_hz, interval_s) = (field.amplitude(2.0), 2000.0, 17e-6);
    let mut profiles = Profiles::new(&field.config, field.window());
    for number in 0..64 {
        let time_s = number as f64 * interval_s;
        let turn = std::f64::consts::TAU * shift_hz * time_s;
        let mut target = scatterer(200.0, -0.2, amplitude, 0.0);
        target.response = target.response.map(|g| g * Complex64::cis(turn));
        let echo = field.echo(number, &[target]);
        profiles.push(&field.frame(&echo, time_s));
    }
    let shifts: Vec<f64> = (-16..16).map(|n| f64::from(n) / (64.0 * interval_s)).collect();
    let map = profiles.delay_doppler(&shifts);
    let (row, column) = map.peak();
    assert_eq!(row as isize + field.config.lag_range()[0], 200);
    assert!((map.columns[column] - shift_hz).abs() <= 0.5 / (64.0 * interval_s), "{}", map.columns[column]);
}

/// How often both of two targets are found near their places.
fn both_found(second: (f64, f64), trials: u64) -> u64 {
    let mut found = 0;
    let mut field = Field::new(4);
    let mut search = TargetSearch::new(&field.config, field.window());
    for number in 0..trials {
        let amplitude = field.amplitude(100.0);
        let phase = 0.7 * number as f64;
        let fraction = (0.37 * number as f64).fract();
        let places = [(140.0 + fraction, -0.3), (140.0 + fraction + second.0, -0.3 + second.1)];
        let echo = field.echo(
            number,
            &[
                scatterer(places[0].0, places[0].1, amplitude, phase),
                scatterer(places[1].0, places[1].1, amplitude, 2.3 * phase + 1.0),
            ],
        );
        let targets = search.find(&field.frame(&echo, 0.0), 4);
        let near = |place: &(f64, f64)| {
            targets.iter().any(|target| {
                (target.delay_samples - place.0).abs() < 1.0 && (target.arrival_sine - place.1).abs() < 0.25
            })
        };
        found += u64::from(targets.len() == 2 && places.iter().all(near));
    }
    found
}

#[test]
fn two_equal_targets_one_and_a_half_symbols_apart_are_both_found() {
    let found = both_found((3.0, 0.0), 200);
    assert!(found >= 198, "{found} of 200");
}

#[test]
fn two_equal_targets_one_and_a_half_beams_apart_are_both_found() {
    let found = both_found((0.0, 0.75), 200);
    assert!(found >= 198, "{found} of 200");
}

#[test]
fn a_target_far_stronger_than_another_does_not_hide_it() {
    let mut field = Field::new(5);
    let mut search = TargetSearch::new(&field.config, field.window());
    let (strong, weak) = (field.amplitude(1e6), field.amplitude(300.0));
    let echo = field.echo(0, &[scatterer(100.3, 0.5, strong, 0.1), scatterer(260.8, -0.4, weak, 0.9)]);
    let targets = search.find(&field.frame(&echo, 0.0), 4);
    assert_eq!(targets.len(), 2, "{targets:?}");
    assert!((targets[0].delay_samples - 100.3).abs() < 0.01 && (targets[0].arrival_sine - 0.5).abs() < 0.005);
    assert!((targets[1].delay_samples - 260.8).abs() < 0.3 && (targets[1].arrival_sine + 0.4).abs() < 0.1);
}

#[test]
fn noise_alone_shows_no_target() {
    let mut field = Field::new(6);
    let mut search = TargetSearch::new(&field.config, field.window());
    let mut found = 0;
    for number in 0..100 {
        let echo = field.echo(number, &[]);
        found += search.find(&field.frame(&echo, 0.0), 4).len();
    }
    assert_eq!(found, 0, "0.01 expected at a false-alarm probability of 1e-4");
}

#[test]
fn static_clutter_40_db_above_a_moving_target_is_removed_at_a_small_loss() {
    let mut field = Field::new(7);
    let window = field.window();
    let (weak, strong) = (field.amplitude(1e3), field.amplitude(1e7));
    // The transmitter's leakage along −y and two reflectors; 40 dB above the target each.
    let clutter =
        [scatterer(33.4, -1.0, strong, 0.2), scatterer(92.7, 0.6, strong, 1.9), scatterer(181.2, -0.35, strong, 4.0)];
    let place = (141.3, 0.2);
    // 5 m/s, a frame every 5 ms: 300 frames see 175 turns of the phase.
    let target = |number: u64| scatterer(place.0, place.1, weak, 0.0).turned(number as f64 * 5e-3 * 2.0 * 5.0 / 0.0857);
    let mut stationary = StationaryEchoes::new(&field.config, window);
    let mut left = vec![Complex32::default(); field.config.receive_antennas * field.samples()];
    for number in 0..300 {
        let echo = field.echo(number, &[clutter[0], clutter[1], clutter[2], target(number)]);
        stationary.remove(&field.frame(&echo, 0.0), &mut left);
        assert_eq!(stationary.is_settled(), number >= 60, "frame {number}");
        stationary.learn(&left);
    }
    let mut search = TargetSearch::new(&field.config, window);
    let (mut squares, mut lost) = ([[0.0; 2]; 2], 0);
    for number in 1000..3000 {
        for (case, squares) in squares.iter_mut().enumerate() {
            let mut all = vec![target(number)];
            if case == 1 {
                all.extend(clutter);
            }
            let mut echo = field.echo(number, &all);
            if case == 1 {
                stationary.remove(&field.frame(&echo, 0.0), &mut left);
                echo.copy_from_slice(&left);
            }
            let targets = search.find(&field.frame(&echo, 0.0), 1);
            match targets.first().filter(|found| (found.delay_samples - place.0).abs() < 2.0) {
                Some(found) => {
                    squares[0] += (found.delay_samples - place.0).powi(2);
                    squares[1] += (found.arrival_sine - place.1).powi(2);
                }
                None => lost += 1,
            }
        }
    }
    assert_eq!(lost, 0);
    // Left in place, the clutter is all that is found.
    let echo = field.echo(9, &[clutter[0], clutter[1], clutter[2], target(9)]);
    let targets = search.find(&field.frame(&echo, 0.0), 1);
    assert!((targets[0].delay_samples - place.0).abs() > 10.0);
    let [without, with] = squares;
    for (axis, (with, without)) in with.iter().zip(without).enumerate() {
        let loss_db = 10.0 * (with / without).log10();
        println!("loss on axis {axis}: {loss_db:.2} dB");
        // The ratio of two mean squares of n trials scatters by √(4/n), 0.19 dB; 4 000 trials gave 0.11 and 0.02 dB.
        assert!(loss_db < 1.0, "{loss_db} dB on axis {axis}");
    }
}

#[test]
fn clutter_whose_phase_does_not_hold_is_never_taken_for_learned() {
    let mut field = Field::new(8);
    let strong = field.amplitude(1e5);
    let mut stationary = StationaryEchoes::new(&field.config, field.window());
    let mut left = vec![Complex32::default(); field.config.receive_antennas * field.samples()];
    for number in 0..120 {
        let echo = field.echo(number, &[scatterer(92.7, 0.6, strong, 0.0).turned(0.37 * number as f64)]);
        stationary.remove(&field.frame(&echo, 0.0), &mut left);
        assert!(!stationary.is_settled(), "frame {number}");
        stationary.learn(&left);
    }
}

#[test]
fn a_strong_wave_of_other_symbols_in_the_end_of_what_is_heard_gives_no_position() {
    let (mut field, mut other) = (Field::new(9), Field::new(10));
    let (window, samples) = (field.window(), field.samples());
    let frames = CoherentFrames::of_scene(&Scene::paper(), 1).unwrap();
    let mut detector = Detector::new(CoherentEstimator::new(field.config.clone(), window, frames).unwrap(), window);
    let strong = field.amplitude(1e7);
    let mut refused = 0;
    for number in 0..100 {
        let mut echo = field.echo(number, &[]);
        // As where the target appears with the next frame, 30 dB above the noise of a sample.
        let wave = other.echo(number, &[scatterer(90.0, 0.48, strong, 0.3)]);
        for (echo, wave) in echo.chunks_exact_mut(samples).zip(wave.chunks_exact(samples)) {
            echo[samples - 1000..].copy_from_slice(&wave[samples - 1000..]);
        }
        let found = detector.take_in(&field.frame(&echo, 0.0), 0.0).unwrap();
        assert!(found.iter().all(|estimate| estimate.fix.is_none()), "frame {number}: {:?}", found[0]);
        refused += usize::from(found[0].status == Status::BelowThreshold);
    }
    println!("{refused} of 100 too weak");
    assert!(refused > 50, "{refused}");
}
