//! What a sensing receiver knows before the first sample arrives. The target is not among it.

use num_complex::Complex64;

use crate::array::distance_m;
use crate::scene::{
    Point, ReceiverClock, Reflectivity, SEARCH_SYMBOLS, SPEED_OF_LIGHT_M_S, Scene, TimingErrorHold, dbm_to_w,
};

/// What is known of the reflection coefficient β_0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reflection {
    /// Nothing: it is a complex nuisance parameter.
    Unknown,
    /// All of it.
    Known(Complex64),
}

/// The sensing receiver's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SensingConfig {
    /// Where the transmitter stands.
    pub transmitter: Point,
    /// Where this receiver stands.
    pub receiver: Point,
    /// N_T.
    pub transmit_antennas: usize,
    /// N_R.
    pub receive_antennas: usize,
    /// d_a/λ of both arrays.
    pub spacing_wavelengths: f64,
    /// Standard deviation of what calibration has left in an element's phase, in both arrays.
    pub element_phase_std_rad: f64,
    /// The same of an element's gain, as a part of it.
    pub element_gain_std: f64,
    /// σ_s², noise power per symbol and antenna.
    pub noise_power_w: f64,
    /// σ_Δ.
    pub timing_error_std_s: f64,
    /// Largest deviation of Δτ that delays are searched for: above it the clock is unknown.
    pub timing_error_most_s: f64,
    /// Whether all frames share one Δτ.
    pub timing_error_held: bool,
    /// Δt.
    pub symbol_period_s: f64,
    /// λ in metres.
    pub wavelength_m: f64,
    /// Whether the echo's turning within a frame (Doppler) is estimated. A target at rest costs nothing then but time;
    /// one that moves is off its bound without, as soon as the phase drifts by more than the noise lets one see.
    pub moving: bool,
    /// Whether a clock that runs beyond its declared error is followed from frame to frame. Off: where directions say little
    /// the follower takes chance for an offset, and costs more positions than it saves.
    pub follow_clock: bool,
    /// Roll-off of the pulse.
    pub roll_off: f64,
    /// Samples per symbol.
    pub samples_per_symbol: usize,
    /// What is known of β_0.
    pub reflection: Reflection,
    /// Shortest and longest path TR → target → SRE that is searched, in metres; ±5 σ_Δ are added on either side.
    pub path_range_m: [f64; 2],
    /// Probability that noise alone passes for an echo, per look at a frame; there are three, for carrier offsets.
    pub false_alarm_probability: f64,
    /// A position is reported only where its log-posterior leads every other candidate by this many nats.
    pub ambiguity_nats: f64,
}

impl SensingConfig {
    /// The receiver of `scene`, which knows everything of it but the target (and β_0, where that is unknown). The search
    /// ends a quarter of a payload, 256 symbols, behind the direct path.
    pub fn from_scene(scene: &Scene) -> Self {
        let direct_m = distance_m(scene.geometry.transmitter, scene.geometry.sensing_receiver);
        let symbol_m = SPEED_OF_LIGHT_M_S * scene.symbol_period_s();
        Self {
            transmitter: scene.geometry.transmitter,
            receiver: scene.geometry.sensing_receiver,
            transmit_antennas: scene.array.transmit_antennas,
            receive_antennas: scene.array.receive_antennas,
            spacing_wavelengths: scene.array.spacing_wavelengths,
            // Uniform within the limits; a gain in dB is 20 log₁₀ of a factor.
            element_phase_std_rad: scene.array.phase_error_deg.to_radians() / 3f64.sqrt(),
            element_gain_std: scene.array.gain_error_db * std::f64::consts::LN_10 / 20.0 / 3f64.sqrt(),
            noise_power_w: dbm_to_w(scene.channel.sensing_noise_dbm),
            timing_error_std_s: scene.channel.timing_error_std_s,
            timing_error_most_s: scene.receiver_clock().most_s,
            timing_error_held: scene.channel.timing_error_hold == TimingErrorHold::Run,
            symbol_period_s: scene.symbol_period_s(),
            wavelength_m: scene.wavelength_m(),
            moving: false,
            follow_clock: false,
            roll_off: scene.waveform.roll_off,
            samples_per_symbol: scene.waveform.samples_per_symbol,
            reflection: match scene.model.reflectivity {
                Reflectivity::Unknown => Reflection::Unknown,
                Reflectivity::Known => Reflection::Known(scene.channel.reflection_coefficient.into()),
            },
            path_range_m: [direct_m, direct_m + SEARCH_SYMBOLS * symbol_m],
            false_alarm_probability: 3.5e-5,
            ambiguity_nats: 8.0,
        }
    }

    /// Sample period in seconds.
    pub fn sample_period_s(&self) -> f64 {
        self.symbol_period_s / self.samples_per_symbol as f64
    }

    /// Metres that a wave travels in one sample period.
    pub fn sample_path_m(&self) -> f64 {
        SPEED_OF_LIGHT_M_S * self.sample_period_s()
    }

    /// Whether elements may be off.
    pub(super) fn declares_errors(&self) -> bool {
        self.element_phase_std_rad > 0.0 || self.element_gain_std > 0.0
    }

    /// The part of an echo's energy that elements which are off may make it miss its model by, at most.
    pub(super) fn errors_part(&self) -> f64 {
        let variance = self.element_phase_std_rad.powi(2) + self.element_gain_std.powi(2);
        (40.0 * variance).min(0.5)
    }

    /// Half the streams' band, in cycles per sample.
    pub(super) fn half_band(&self) -> f64 {
        (1.0 + self.roll_off) / 2.0 / self.samples_per_symbol as f64
    }

    /// How well the clock is known.
    pub(super) fn clock(&self) -> ReceiverClock {
        ReceiverClock { std_s: self.timing_error_std_s, most_s: self.timing_error_most_s }
    }

    /// σ_Δ in samples.
    pub(super) fn timing_error_std(&self) -> f64 {
        self.timing_error_std_s / self.sample_period_s()
    }

    /// First and last delay that is searched, in samples behind the transmitter's clock; the first may be negative.
    pub fn lag_range(&self) -> [isize; 2] {
        let [near, far] = self.path_range_m.map(|path_m| path_m / self.sample_path_m());
        let margin = 5.0 * self.clock().simulated_std_s() / self.sample_period_s();
        [(near - margin).floor() as isize, (far + margin).ceil() as isize]
    }
}
