//! Independent trials of the whole chain for one scene: fresh symbols in the on-air frame, shaped, delayed exactly and
//! linearly with a fresh timing error, a fresh phase of β_0, its Doppler shift, arrays of fresh element errors, and noise.
//! What a trial knows, the estimator does not get.

use std::f64::consts::TAU;

use num_complex::{Complex32, Complex64};
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{CoherentEstimator, EchoFrame, Estimate, Estimator, Planar, Reflection, SensingConfig};
use crate::array::{Beams, ElementErrors, direction_rad, distance_m, path_rate_m_s, steering_vector};
use crate::channel::Impairments;
use crate::dsp::{DelayTaps, FILTER_TAPS, PulseShaper, SPAN_SYMBOLS, rotate, scale_add, tail_samples};
use crate::modem::frame::{
    Content, HeaderLength, Layout, PAYLOAD, PREAMBLE, SENSING_SYMBOLS, SENSING_WINDOW, SOUNDING_GUARD, assemble,
};
use crate::modem::words::{SensingSequence, Words};
use crate::scene::{Array, Point, SPEED_OF_LIGHT_M_S, Scene};
use crate::{Error, Result};

/// Everything one trial after the other needs.
pub struct Trials {
    config: SensingConfig,
    /// |β_0|.
    reflection: f64,
    target: Point,
    velocity_m_s: Point,
    wavelength_m: f64,
    beams: Beams,
    array: Array,
    errors: ElementErrors,
    seed: u64,
    layout: Layout,
    words: Words,
    shaper: PulseShaper,
    symbols: [Vec<Complex32>; 3],
    /// s_c and s_0 as shaped.
    reference: Vec<Complex32>,
    /// The sounding as shaped, of whichever antenna's turn it is; empty without one.
    sounding: Vec<Complex32>,
    /// α(θ)ᴴ x with silence on either side.
    sent: Vec<Complex32>,
    delayed: Vec<Complex32>,
    echo: Vec<Complex32>,
    /// As [`EchoFrame::late_samples`].
    late_samples: isize,
    /// What is wrong with the transmitter and the receiver; `None` where nothing is.
    impaired: Option<Impaired>,
}

/// The scene's impairments with state from trial to trial, and room for the samples that they need beside a window.
struct Impaired {
    transmitter: Impairments,
    receiver: Impairments,
    antennas: Vec<Vec<Complex32>>,
    /// α(θ)ᴴ of the antennas as they really send.
    sent: Vec<Complex32>,
    rows: Vec<Vec<Complex32>>,
    /// Samples sent and received so far.
    passed: [u64; 2],
    frames: u64,
}

/// Frames that impairments see before the first trial: levels are followed over 16 384 samples.
const WARMING: u64 = 5;
/// Samples before and after a window that impairments see: what filters and level meters need.
const AROUND: usize = 2048;

/// The antenna whose word passes at symbol `symbol` of a shaped frame.
fn sounding_antenna(layout: Layout, antennas: usize, symbol: usize) -> Option<usize> {
    let (first, slot) = layout.sounding_slot(0, antennas);
    let since = symbol.checked_sub(first + SOUNDING_GUARD)?;
    (slot > 0 && since / slot < antennas).then(|| since / slot)
}

/// The truth of one trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Where the target was.
    pub position_m: Point,
    /// T = τ + Δτ.
    pub delay_s: f64,
    /// How fast the path TR → target → SRE grows.
    pub path_rate_m_s: f64,
}

impl Trials {
    /// Trials of `scene` with these beams. Fails where the target is behind an array or outside the delay search.
    pub fn new(scene: &Scene, config: &SensingConfig, beams: &Beams, seed: u64) -> Result<Self> {
        Self::of_layout(scene, config, beams, seed, Layout::plain(HeaderLength::Short))
    }

    /// The same of frames that have a sounding each.
    pub fn sounded(scene: &Scene, config: &SensingConfig, beams: &Beams, seed: u64) -> Result<Self> {
        let layout = Layout::with_sounding(config.transmit_antennas, HeaderLength::Short);
        Self::of_layout(scene, config, beams, seed, layout)
    }

    fn of_layout(scene: &Scene, config: &SensingConfig, beams: &Beams, seed: u64, layout: Layout) -> Result<Self> {
        scene.check_air().map_err(Error::input)?;
        let geometry = &scene.geometry;
        let target = geometry.target;
        crate::channel::check_target(target, geometry.transmitter, geometry.sensing_receiver)
            .map_err(|what| Error::input(format!("geometry.{what}")))?;
        let path_m = distance_m(geometry.transmitter, target) + distance_m(target, geometry.sensing_receiver);
        let [nearest, farthest] = config.path_range_m;
        if !(path_m >= nearest && path_m <= farthest) {
            return Err(Error::input(format!(
                "geometry.target = {target:?} makes a path of {path_m:.1} m; accepted: {nearest:.1} to {farthest:.1} m"
            )));
        }
        let sps = config.samples_per_symbol;
        let shaped = layout.symbols() * sps + tail_samples(sps);
        Ok(Self {
            reflection: scene.channel.reflection_coefficient,
            velocity_m_s: scene.target.velocity_m_s,
            wavelength_m: scene.wavelength_m(),
            target,
            beams: beams.clone(),
            array: scene.array.clone(),
            errors: ElementErrors::none(&scene.array),
            seed,
            layout,
            words: Words::new(config.transmit_antennas),
            shaper: PulseShaper::new(layout.symbols(), sps, config.roll_off),
            symbols: std::array::from_fn(|_| vec![Complex32::default(); layout.symbols()]),
            reference: vec![Complex32::default(); 2 * shaped],
            sounding: vec![Complex32::default(); if layout.sounding > 0 { shaped } else { 0 }],
            sent: Vec::new(),
            delayed: Vec::new(),
            echo: Vec::new(),
            late_samples: 0,
            impaired: Impaired::new(scene, seed),
            config: config.clone(),
        })
    }

    /// Samples of the sensing window of a frame.
    pub fn window_samples(config: &SensingConfig) -> usize {
        SENSING_WINDOW * config.samples_per_symbol
    }

    /// First sample of the sensing window in the shaped frame: the pulse of its first symbol is centred there.
    pub fn window_start(&self) -> usize {
        self.layout.sensing_window() * self.config.samples_per_symbol + tail_samples(self.config.samples_per_symbol) / 2
    }

    /// Makes trial `number`; it does not depend on the trials before it.
    pub fn make(&mut self, number: u64, estimator: &Estimator) -> Truth {
        self.warm_up(estimator.echo_samples());
        let mut random = self.random(number);
        self.send(number, &mut random);
        let (error_s, phase) = self.draw(&mut random);
        let most = AROUND as isize / 2;
        self.late_samples = estimator.late_samples().clamp(-most, most);
        let truth = self.truth(self.target, error_s);
        self.receive(&truth, self.reflection * Complex64::cis(phase), estimator.echo_samples(), &mut random);
        truth
    }

    /// Makes frame `frame` of trial `number` over the frames of `estimator`: they share the timing error and β_0's
    /// phase, and the target moves on from one to the next. The truth returned is that of their middle.
    pub fn make_frame(&mut self, number: u64, frame: usize, estimator: &CoherentEstimator) -> Truth {
        let frames = estimator.frames();
        if frames.frames == 1 {
            return self.make(number, estimator.single());
        }
        self.warm_up(estimator.echo_samples());
        let (error_s, phase) = {
            let mut random = self.random(number);
            self.draw(&mut random)
        };
        let index = number * frames.frames as u64 + frame as u64;
        let mut random = self.random(!index);
        self.send(index, &mut random);
        let after_s = frames.interval_s * (frame as f64 - (frames.frames as f64 - 1.0) / 2.0);
        let moved = [0, 1].map(|axis| self.target[axis] + self.velocity_m_s[axis] * after_s);
        let (here, middle) = (self.truth(moved, error_s), self.truth(self.target, error_s));
        let turned = TAU * (here.delay_s - middle.delay_s) * SPEED_OF_LIGHT_M_S / self.wavelength_m;
        let reflection = self.reflection * Complex64::cis(phase - turned);
        self.receive(&here, reflection, estimator.echo_samples(), &mut random);
        middle
    }

    /// Lets impairments that follow the level of what comes know it before the first trial, as those of a receiver that has
    /// been on for a while do.
    fn warm_up(&mut self, echo_samples: usize) {
        if self.impaired.as_ref().is_none_or(|impaired| impaired.frames > 0) {
            return;
        }
        for number in 0..WARMING {
            let mut random = self.random(u64::MAX / 2 + number);
            self.send(number, &mut random);
            let (error_s, phase) = self.draw(&mut random);
            let truth = self.truth(self.target, error_s);
            self.receive(&truth, self.reflection * Complex64::cis(phase), echo_samples, &mut random);
        }
    }

    fn random(&self, number: u64) -> Xoshiro256PlusPlus {
        let first = Xoshiro256PlusPlus::seed_from_u64(self.seed).next_u64();
        Xoshiro256PlusPlus::seed_from_u64(first ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Draws Δτ and the phase of β_0, which are returned, and the elements' errors.
    fn draw(&mut self, random: &mut impl Rng) -> (f64, f64) {
        let error: f64 = StandardNormal.sample(random);
        let phase = match self.config.reflection {
            Reflection::Known(_) => 0.0,
            Reflection::Unknown => random.random_range(0.0..TAU),
        };
        self.errors = ElementErrors::draw(&self.array, random);
        (self.config.clock().error_s(error), phase)
    }

    fn truth(&self, position_m: Point, error_s: f64) -> Truth {
        let (from, to) = (self.config.transmitter, self.config.receiver);
        let path_m = distance_m(from, position_m) + distance_m(position_m, to);
        Truth {
            position_m,
            delay_s: path_m / SPEED_OF_LIGHT_M_S + error_s,
            path_rate_m_s: path_rate_m_s(from, position_m, to, self.velocity_m_s),
        }
    }

    /// s_c and s_0 of the frame made last, as shaped.
    pub fn reference(&self) -> Planar<'_> {
        Planar::new(&self.reference, self.reference.len() / 2)
    }

    /// The estimate of the trial made last.
    pub fn estimate(&self, estimator: &mut Estimator) -> Estimate {
        estimator.estimate(&self.frame(0.0))
    }

    /// Hands the frame made last to an estimator over several frames, as their frame `index`.
    pub fn take_in(&self, index: usize, estimator: &mut CoherentEstimator) -> Option<Estimate> {
        estimator.take_in(&self.frame(estimator.frames().begin_s(index)))
    }

    /// The frame made last, as one whose window began at `time_s`.
    pub fn frame(&self, time_s: f64) -> EchoFrame<'_> {
        let before = self.impaired.as_ref().map_or(0, |impaired| impaired.passed[1]);
        EchoFrame {
            echo: Planar::new(&self.echo, self.echo.len() / self.config.receive_antennas),
            echo_start: self.lead(),
            reference: self.reference(),
            window_start: self.window_start(),
            beams: &self.beams,
            // Impairments go on from trial to trial, and so does time.
            time_s: time_s + before as f64 * self.config.sample_period_s(),
            late_samples: self.late_samples,
        }
    }

    /// Shapes a fresh frame.
    pub(super) fn send(&mut self, number: u64, random: &mut impl Rng) {
        let mut qpsk = || {
            let bits = random.next_u32();
            let axis =
                |bit: u32| if bit == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { -std::f32::consts::FRAC_1_SQRT_2 };
            Complex32::new(axis(bits & 1), axis(bits >> 1 & 1))
        };
        let data: [Complex32; SENSING_SYMBOLS] = std::array::from_fn(|_| qpsk());
        let mut sensing = [Complex32::default(); SENSING_SYMBOLS];
        SensingSequence { seed: self.seed as u16, ..SensingSequence::default() }.write(number, &mut sensing);
        let [s_c, s_0, sounding] = &mut self.symbols;
        let content = Content { header: &data[PAYLOAD..], payload: &data[..PAYLOAD], sensing: &sensing };
        assemble(self.layout, self.config.transmit_antennas, &self.words, content, [s_c, s_0, sounding]);
        let shaped = self.reference.len() / 2;
        for (symbols, samples) in self.symbols.iter().zip(self.reference.chunks_exact_mut(shaped)) {
            self.shaper.shape(symbols, samples);
        }
        if !self.sounding.is_empty() {
            self.shaper.shape(&self.symbols[2], &mut self.sounding);
        }
    }

    /// Samples of the echo before those of the window and its delays: the sounding.
    fn lead(&self) -> usize {
        match self.layout.sounding {
            0 => 0,
            _ => (self.layout.sensing_window() - PREAMBLE + SPAN_SYMBOLS) * self.config.samples_per_symbol,
        }
    }

    /// The echo rows over the `count` samples that the estimator reads.
    fn receive(&mut self, truth: &Truth, reflection: Complex64, count: usize, random: &mut impl Rng) {
        let config = &self.config;
        let spacing = config.spacing_wavelengths;
        let towards = |array: Point| direction_rad(array, truth.position_m);
        let mut departure = steering_vector(config.transmit_antennas, spacing, towards(config.transmitter));
        departure.iter_mut().zip(&self.errors.transmit).for_each(|(element, error)| *element *= error.conj());
        let mut arrival = steering_vector(config.receive_antennas, spacing, towards(config.receiver));
        arrival.iter_mut().zip(&self.errors.receive).for_each(|(element, error)| *element *= error);
        let single = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
        let [g_c, g_0] = [&self.beams.w_c, &self.beams.w_0].map(|beam| single(departure.dotc(beam)));
        let turn = -TAU * truth.path_rate_m_s / self.wavelength_m * config.sample_period_s();
        let deviation = (config.samples_per_symbol as f64 * config.noise_power_w / 2.0).sqrt();
        let taps = DelayTaps::new(truth.delay_s / config.sample_period_s());
        // Output sample 0 is the frame's sample `window_start + first lag`; the filter reads from `reach_back` earlier.
        let lead = self.lead();
        let (first, count) = (self.window_start() as i64 + config.lag_range()[0] as i64 - lead as i64, count + lead);
        // Each antenna sounds with the whole power.
        let amplitude = self.beams.power_w().sqrt();
        let sent_towards: Vec<Complex32> = departure.iter().map(|element| single(element.conj())).collect();
        let (words, layout) = (&self.sounding, self.layout);
        let (antennas, samples_per_symbol) = (config.transmit_antennas, config.samples_per_symbol);
        let sounding = move |index: usize| {
            let own = words.get(index)?;
            let antenna = sounding_antenna(layout, antennas, index / samples_per_symbol)?;
            Some((antenna, own * amplitude as f32))
        };
        let (s_c, s_0) = self.reference.split_at(self.reference.len() / 2);
        if let Some(impaired) = &mut self.impaired {
            impaired.send(&self.beams, &sent_towards, s_c, s_0, sounding);
            let (before, after) = (impaired.receiver.lag() + AROUND, AROUND);
            let length = before + count + after;
            // The transmitter's impairments have delayed what was sent by their lag.
            let from = first - before as i64 + (impaired.receiver.lag() + impaired.transmitter.lag()) as i64
                - taps.reach_back();
            let within = |index: i64| usize::try_from(index).ok().and_then(|index| impaired.sent.get(index)).copied();
            self.sent.clear();
            self.sent.extend((from..from + (length + FILTER_TAPS) as i64).map(|n| within(n).unwrap_or_default()));
            self.delayed.resize(length, Complex32::default());
            taps.apply(&self.sent, &mut self.delayed);
            rotate(&mut self.delayed, 0.0, turn);
            impaired.passed[1] += length as u64;
            // The frame's first sample comes to the receiver so late.
            let late = taps.reach_back() - (first - before as i64);
            let begins = (impaired.passed[1] - length as u64) as i64 + late;
            impaired.receiver.begin_frame(impaired.frames, begins.max(0) as u64);
            impaired.frames += 1;
            impaired.rows.resize(config.receive_antennas, Vec::new());
            for (row, element) in impaired.rows.iter_mut().zip(arrival.iter()) {
                let gain = single(reflection * element);
                row.clear();
                row.extend(self.delayed.iter().map(|sample| gain * sample));
            }
            let mut rows: Vec<&mut [Complex32]> = impaired.rows.iter_mut().map(|row| &mut row[..]).collect();
            impaired.receiver.apply_air(&mut rows);
            for sample in rows.iter_mut().flat_map(|row| row.iter_mut()) {
                let noise = Complex64::new(StandardNormal.sample(random), StandardNormal.sample(random));
                *sample += single(noise * deviation);
            }
            impaired.receiver.apply_front_end(&mut rows);
            self.echo.clear();
            let begin = before.saturating_add_signed(self.late_samples);
            // Sample `before` was the window's first before it was delayed by the receiver's lag, which was made up for.
            rows.iter().for_each(|row| self.echo.extend_from_slice(&row[begin..begin + count]));
            return;
        }
        let from = first - taps.reach_back();
        self.sent.clear();
        self.sent.extend((from..from + (count + FILTER_TAPS) as i64).map(|index| {
            usize::try_from(index).ok().filter(|index| *index < s_c.len()).map_or(Complex32::default(), |index| {
                let beams = g_c * s_c[index] + g_0 * s_0[index];
                sounding(index).map_or(beams, |(antenna, own)| beams + sent_towards[antenna] * own)
            })
        }));
        self.delayed.resize(count, Complex32::default());
        taps.apply(&self.sent, &mut self.delayed);
        rotate(&mut self.delayed, 0.0, turn);
        self.echo.clear();
        for element in arrival.iter() {
            let gain = single(reflection * element);
            self.echo.extend(self.delayed.iter().map(|sample| {
                let noise = Complex64::new(StandardNormal.sample(random), StandardNormal.sample(random));
                gain * sample + single(noise * deviation)
            }));
        }
    }
}

impl Impaired {
    fn new(scene: &Scene, seed: u64) -> Option<Self> {
        let id = &scene.sensing_receivers()[0].id;
        let transmitter = Impairments::of_transmitter(scene, seed ^ 0x17);
        let receiver = Impairments::of_receiver(scene, id, scene.array.receive_antennas, seed ^ 0x5117);
        let antennas = vec![Vec::new(); scene.array.transmit_antennas];
        (!transmitter.is_empty() || !receiver.is_empty()).then(|| Self {
            transmitter,
            receiver,
            antennas,
            sent: Vec::new(),
            rows: Vec::new(),
            passed: [0; 2],
            frames: 0,
        })
    }

    /// Sends a shaped frame from all antennas with what is wrong with them, and some silence behind it; `departure` is
    /// α(θ)*, towards the target.
    fn send(
        &mut self,
        beams: &Beams,
        departure: &[Complex32],
        s_c: &[Complex32],
        s_0: &[Complex32],
        sounding: impl Fn(usize) -> Option<(usize, Complex32)>,
    ) {
        let length = s_c.len() + AROUND;
        let single = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
        for (antenna, (w_c, w_0)) in self.antennas.iter_mut().zip(beams.w_c.iter().zip(beams.w_0.iter())) {
            antenna.clear();
            let (w_c, w_0) = (single(*w_c), single(*w_0));
            antenna.extend(s_c.iter().zip(s_0).map(|(c, o)| w_c * c + w_0 * o));
            antenna.resize(length, Complex32::default());
        }
        for (index, (antenna, own)) in (0..s_c.len()).filter_map(|index| Some((index, sounding(index)?))) {
            self.antennas[antenna][index] += own;
        }
        let mut antennas: Vec<&mut [Complex32]> = self.antennas.iter_mut().map(|antenna| &mut antenna[..]).collect();
        self.transmitter.begin_frame(self.frames, self.passed[0]);
        self.transmitter.apply(&mut antennas);
        self.passed[0] += length as u64;
        self.sent.clear();
        self.sent.resize(length, Complex32::default());
        for (antenna, element) in self.antennas.iter().zip(departure) {
            scale_add(*element, antenna, &mut self.sent);
        }
    }
}
