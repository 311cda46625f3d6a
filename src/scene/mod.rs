//! The scene: geometry, arrays, channel, waveform, constraints and model assumptions, as a TOML file states them.
//!
//! Units are SI unless the key's name says otherwise. `target` is the truth of a simulation and the optimizer's
//! first belief; a receiver never reads it.

mod air;
mod check;
mod file;
mod impairment;
pub mod keys;
#[cfg(test)]
mod list_tests;
mod nodes;

pub use air::ReceiverClock;
pub use check::{MAX_PATH_M, SEARCH_SYMBOLS};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, config};
use file::{SceneFile, absent, absent_point, finite, finite_numbers, is_absent, is_absent_point, is_zero, one_or_more};
pub use impairment::{AT_TRANSMITTER, ImpairmentKind, KINDS, MAX_IMPAIRMENTS, Place, SceneImpairment, ScenePath};
pub use nodes::{
    COMMUNICATION_RECEIVER_ID, MAX_RECEIVERS, MAX_TARGETS, ReceiverKind, SENSING_RECEIVER_ID, SceneReceiver,
    SceneTarget, TARGET_ID,
};

/// Speed of light in m/s.
pub const SPEED_OF_LIGHT_M_S: f64 = 299_792_458.0;

/// A point in the plane, in metres.
pub type Point = [f64; 2];

/// Two numbers and no more: what an array's own deserialiser leaves unread, TOML forgets.
fn two_numbers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Point, D::Error> {
    let numbers = Vec::<f64>::deserialize(deserializer)?;
    <[f64; 2]>::try_from(numbers)
        .map_err(|numbers| serde::de::Error::custom(format!("{numbers:?} has {} numbers; accepted: 2", numbers.len())))
}

/// The paper's scene (Section V), compiled in.
pub const PAPER_TOML: &str = include_str!("../../scenes/paper.toml");

/// One scene file. Its single keys speak of the first target and of the first receiver of each kind; where the file has
/// lists, [`Scene::targets`] and [`Scene::receivers`] give all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SceneFile", into = "SceneFile")]
pub struct Scene {
    /// Where everything stands.
    pub geometry: Geometry,
    /// The two uniform linear arrays.
    pub array: Array,
    /// The target's motion.
    pub target: Target,
    /// Propagation and noise.
    pub channel: Channel,
    /// What reflects beside the target and stands still.
    pub clutter: Vec<Clutter>,
    /// What the channel and the front ends do beyond that.
    pub impairments: Vec<SceneImpairment>,
    /// `[[target]]` as the file has it, empty where it has the single keys. Of the first entry only `id` and `believed`
    /// are read: the single keys hold the rest.
    pub target_list: Vec<SceneTarget>,
    /// `[[receiver]]` as the file has it, empty where it has the single keys. Of the first entry of each kind only the
    /// `id` is read: the single keys hold the rest.
    pub receiver_list: Vec<SceneReceiver>,
    /// Bandwidth, frame and pulse.
    pub waveform: Waveform,
    /// What the optimizer must respect.
    pub constraints: Constraints,
    /// What the bound assumes.
    pub model: Model,
}

/// Positions in metres, (x, y).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// The transmitter (TR), p_b.
    #[serde(deserialize_with = "two_numbers")]
    pub transmitter: Point,
    /// The target, p_o.
    #[serde(default = "absent_point", deserialize_with = "finite_numbers", skip_serializing_if = "is_absent_point")]
    pub target: Point,
    /// The sensing receiver (SRE), p_r.
    #[serde(default = "absent_point", deserialize_with = "finite_numbers", skip_serializing_if = "is_absent_point")]
    pub sensing_receiver: Point,
    /// The communication receiver (CRE), p_c.
    #[serde(default = "absent_point", deserialize_with = "finite_numbers", skip_serializing_if = "is_absent_point")]
    pub communication_receiver: Point,
}

/// Uniform linear arrays at the transmitter and the sensing receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Array {
    /// N_T.
    pub transmit_antennas: usize,
    /// N_R.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "is_zero")]
    pub receive_antennas: usize,
    /// Distance of neighbouring elements in wavelengths, d_a/λ.
    pub spacing_wavelengths: f64,
    /// Largest error in degrees that calibration has left in an element's phase, in both arrays. A simulation draws each
    /// element's once, uniformly within; the receiver knows this limit, and its error bars cover it.
    #[serde(default)]
    pub phase_error_deg: f64,
    /// The same of an element's gain, in dB.
    #[serde(default)]
    pub gain_error_db: f64,
}

/// The target's motion.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Velocity in m/s, (x, y), at the start.
    #[serde(default, deserialize_with = "two_numbers")]
    pub velocity_m_s: Point,
    /// Rate in rad/s at which the velocity turns, counter-clockwise: 0 = a straight line.
    #[serde(default)]
    pub turn_rate_rad_s: f64,
}

impl Target {
    /// Velocity in m/s, `seconds` after the start.
    pub fn velocity_at(&self, seconds: f64) -> Point {
        let ([x, y], (sine, cosine)) = (self.velocity_m_s, (self.turn_rate_rad_s * seconds).sin_cos());
        [cosine * x - sine * y, sine * x + cosine * y]
    }

    /// Metres moved in the first `seconds`: the integral of the velocity.
    pub fn displacement_m(&self, seconds: f64) -> Point {
        let ([x, y], rate) = (self.velocity_m_s, self.turn_rate_rad_s);
        if rate == 0.0 {
            return [x * seconds, y * seconds];
        }
        let (sine, cosine) = (rate * seconds).sin_cos();
        let (along, across) = (sine / rate, (1.0 - cosine) / rate);
        [along * x - across * y, across * x + along * y]
    }
}

/// Propagation and noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// ε in η = d^−ε.
    pub path_loss_exponent: f64,
    /// σ_n² in dBm, variance of a matched-filter output symbol at the CRE.
    #[serde(default = "absent", deserialize_with = "finite", skip_serializing_if = "is_absent")]
    pub communication_noise_dbm: f64,
    /// σ_s² in dBm, per receive antenna at the SRE.
    #[serde(default = "absent", deserialize_with = "finite", skip_serializing_if = "is_absent")]
    pub sensing_noise_dbm: f64,
    /// |β_0|.
    #[serde(default = "absent", deserialize_with = "finite", skip_serializing_if = "is_absent")]
    pub reflection_coefficient: f64,
    /// σ_Δ in seconds.
    pub timing_error_std_s: f64,
    /// How long one timing error holds.
    #[serde(default)]
    pub timing_error_hold: TimingErrorHold,
    /// How the reflection's phase is drawn; `None` = per frame, or 0 where the reflectivity is known.
    #[serde(default)]
    pub reflection_phase: Option<ReflectionPhase>,
    /// Carrier offset of the CRE's oscillator, in parts per million of the carrier.
    #[serde(default)]
    pub carrier_offset_ppm: f64,
    /// Power gain in dB from a transmit antenna to one of the SRE on the straight way, before the arrays' responses in
    /// that direction; absent: nothing comes that way.
    #[serde(default)]
    pub leakage_db: Option<f64>,
}

impl Channel {
    /// Whether timing error and phase hold for the run, so that frames can be compared with one another.
    pub fn holds_for_the_run(&self) -> bool {
        self.timing_error_hold == TimingErrorHold::Run && self.reflection_phase == Some(ReflectionPhase::RandomPerRun)
    }
}

/// A reflector that stands still. Like the target it is the simulation's: no receiver knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clutter {
    /// Where it stands, (x, y) in metres.
    #[serde(deserialize_with = "two_numbers")]
    pub position_m: Point,
    /// |β| of its echo, as |β_0| is of the target's.
    pub reflection_coefficient: f64,
}

/// How long one timing error holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingErrorHold {
    /// A fresh error in each frame.
    #[default]
    Frame,
    /// One error for the whole run.
    Run,
}

/// How the phase of β_0 is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReflectionPhase {
    /// Uniform, fresh in each frame.
    RandomPerFrame,
    /// Uniform, one for the run.
    RandomPerRun,
}

/// Bandwidth, frame and pulse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waveform {
    /// Symbol rate: one symbol per 1/bandwidth_hz.
    pub bandwidth_hz: f64,
    /// N, payload symbols a frame.
    pub frame_symbols: usize,
    /// L, symbols a block.
    pub block_symbols: usize,
    /// Carrier frequency.
    #[serde(default = "default_carrier_hz")]
    pub carrier_hz: f64,
    /// Roll-off of the root-raised-cosine pulse.
    #[serde(default = "default_roll_off")]
    pub roll_off: f64,
    /// Samples per symbol on the air.
    #[serde(default = "default_samples_per_symbol")]
    pub samples_per_symbol: usize,
    /// Seconds from the start of one frame to the next one's; absent: frames follow without a gap.
    #[serde(default)]
    pub frame_interval_s: Option<f64>,
}

fn default_carrier_hz() -> f64 {
    3.5e9
}
fn default_roll_off() -> f64 {
    0.25
}
fn default_samples_per_symbol() -> usize {
    2
}

/// What the optimizer must respect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// P_T.
    pub power_dbm: f64,
    /// Π, the threshold on Tr HCRB in m².
    pub hcrb_max_m2: f64,
    /// ABR, channel uses per source sample.
    pub bandwidth_ratio_max: f64,
    /// Distance in dB kept from the SINR that a rate needs.
    #[serde(default)]
    pub snr_margin_db: Option<f64>,
    /// Largest block error rate that a plan may predict.
    #[serde(default)]
    pub block_error_rate_max: Option<f64>,
}

/// What the bound assumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Whether β_0 is known.
    pub reflectivity: Reflectivity,
    /// Which frequencies the DFT bins stand for.
    pub frequencies: Frequencies,
    /// What is assumed of the channel code.
    #[serde(default)]
    pub channel_code: ChannelCode,
    /// Whose models carry pictures.
    #[serde(default)]
    pub metric: Metric,
}

/// What the source models that plans choose among are tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The mean squared error (the paper).
    #[default]
    Mse,
    /// MS-SSIM. Among these models, too, more rate means less squared error, so eq. (7) ranks them.
    MsSsim,
}

impl Metric {
    /// As in scene files and on the cards of source models.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mse => "mse",
            Self::MsSsim => "ms-ssim",
        }
    }
}

/// What is assumed of the channel code when a rate is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelCode {
    /// The block error rates measured of the code that is sent.
    #[default]
    Calibrated,
    /// Random coding, eq. (4) (the paper).
    Paper,
}

/// Whether the SRE knows β_0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reflectivity {
    /// Complex β_0 is a nuisance parameter: the FIM is 5×5.
    Unknown,
    /// β_0 is known (the paper): the FIM is 3×3.
    Known,
}

/// Which frequencies the DFT bins stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequencies {
    /// w_k = 2π(k − N)/(NΔt) for k ≥ N/2: physical.
    Centered,
    /// w_k = 2πk/(NΔt), k = 0 … N−1: the paper.
    OneSided,
}

impl Scene {
    /// Says so where the position bound of this scene is not a physical one: frequencies counted from 0 have a mean, and a
    /// known reflectivity lets the bound take that mean's phase for knowledge of the delay.
    pub fn bound_note(&self) -> Option<&'static str> {
        let paper = self.model.reflectivity == Reflectivity::Known && self.model.frequencies == Frequencies::OneSided;
        paper.then_some(
            "model.reflectivity = \"known\" with model.frequencies = \"one-sided\": the position bound is the paper's and \
             not a physical one, no receiver reaches it; physical: \"centered\"",
        )
    }

    /// The paper's scene.
    pub fn paper() -> Self {
        Self::from_toml(PAPER_TOML, "scenes/paper.toml").expect("the shipped scene is valid")
    }

    /// Parses and checks a scene; `name` stands in error lines.
    pub fn from_toml(text: &str, name: &str) -> Result<Self> {
        let in_file = |what: String| Error::input(format!("{name}: {what}"));
        let has = |header: &str| text.lines().any(|line| line.trim() == header);
        if has("[target]") && has("[[target]]") {
            return Err(in_file("[target] and [[target]] say the same; accepted: one of the two".into()));
        }
        let file: SceneFile = config::from_toml(text, name)?;
        let scene = Self::try_from(file).map_err(in_file)?;
        scene.check().map_err(in_file)?;
        Ok(scene)
    }

    /// Symbol period Δt in seconds.
    pub fn symbol_period_s(&self) -> f64 {
        1.0 / self.waveform.bandwidth_hz
    }

    /// Samples per second on the air.
    pub fn sample_rate_hz(&self) -> f64 {
        self.waveform.bandwidth_hz * self.waveform.samples_per_symbol as f64
    }

    /// Carrier wavelength in metres.
    pub fn wavelength_m(&self) -> f64 {
        SPEED_OF_LIGHT_M_S / self.waveform.carrier_hz
    }
}

/// Watts of a level in dBm.
pub fn dbm_to_w(dbm: f64) -> f64 {
    1e-3 * 10f64.powf(dbm / 10.0)
}

/// Level in dBm of a power in watts.
pub fn w_to_dbm(w: f64) -> f64 {
    decibel(w * 1e3)
}

/// A ratio of powers in dB.
pub fn decibel(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_three_numbers_or_one_is_refused_by_name() {
        for point in ["[100.0, 50.0, 7.0]", "[100.0]"] {
            let text = PAPER_TOML.replace("target = [100.0, 50.0]", &format!("target = {point}"));
            let error = Scene::from_toml(&text, "s.toml").unwrap_err().to_string();
            assert!(error.contains("target") && error.contains(point) && error.contains("accepted: 2"), "{error}");
        }
    }

    #[test]
    fn element_errors_beyond_first_order_or_with_a_known_reflection_are_refused() {
        let with = |keys: &str, reflectivity: &str| {
            let text = PAPER_TOML
                .replace("spacing_wavelengths = 0.5", &format!("spacing_wavelengths = 0.5\n{keys}"))
                .replace("reflectivity = \"unknown\"", &format!("reflectivity = \"{reflectivity}\""));
            Scene::from_toml(&text, "s.toml").map_err(|error| error.to_string())
        };
        assert_eq!(with("phase_error_deg = 5.0\ngain_error_db = 0.5", "unknown").unwrap().array.phase_error_deg, 5.0);
        for (keys, reflectivity, named) in [
            ("phase_error_deg = 45.0", "unknown", "array.phase_error_deg = 45 is out of range; accepted: 0 to 10"),
            ("gain_error_db = -1.0", "unknown", "array.gain_error_db = -1 is out of range; accepted: 0 to 1"),
            ("phase_error_deg = nan", "unknown", "array.phase_error_deg = NaN"),
            ("phase_error_deg = 1.0", "known", "model.reflectivity is \"known\""),
        ] {
            let error = with(keys, reflectivity).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_paper_scene_is_valid_and_carries_the_defaults() {
        let scene = Scene::paper();
        assert_eq!(scene.geometry.target, [100.0, 50.0]);
        assert_eq!(scene.waveform.samples_per_symbol, 2);
        assert_eq!(scene.channel.timing_error_hold, TimingErrorHold::Frame);
    }

    #[test]
    fn a_turning_target_moves_on_a_circle_and_its_displacement_is_the_integral_of_its_velocity() {
        let target = Target { velocity_m_s: [30.0, 0.0], turn_rate_rad_s: 0.5 };
        for quarter in 0..4 {
            let seconds = f64::from(quarter) * std::f64::consts::PI;
            let [x, y] = target.displacement_m(seconds);
            // Radius 30/0.5 = 60 m round (0, 60).
            assert!((x.hypot(y - 60.0) - 60.0).abs() < 1e-9, "{x}, {y}");
            let step = 1e-6;
            let [later_x, later_y] = target.displacement_m(seconds + step);
            let [vx, vy] = target.velocity_at(seconds + 0.5 * step);
            assert!(((later_x - x) / step - vx).abs() < 1e-6 && ((later_y - y) / step - vy).abs() < 1e-6);
        }
    }

    #[test]
    fn clutter_and_leakage_are_optional_and_their_mistakes_are_named() {
        assert!(Scene::paper().clutter.is_empty() && Scene::paper().channel.leakage_db.is_none());
        let with = |position: &str, coefficient: &str, leakage: &str| {
            let text = PAPER_TOML.replace("[waveform]", &format!("leakage_db = {leakage}\n\n[waveform]"));
            let clutter = format!("[[clutter]]\nposition_m = {position}\nreflection_coefficient = {coefficient}\n");
            Scene::from_toml(&format!("{text}\n{clutter}"), "s.toml")
        };
        let scene = with("[60, 10]", "6", "-20").unwrap();
        assert_eq!(scene.clutter, [Clutter { position_m: [60.0, 10.0], reflection_coefficient: 6.0 }]);
        assert_eq!(Scene::from_toml(&toml::to_string(&scene).unwrap(), "again").unwrap(), scene);
        for (position, coefficient, leakage, said) in [
            (
                "[inf, 1.0]",
                "1.0",
                "-20.0",
                "clutter[0].position_m = [inf, 1] is out of range; accepted: [x, y], two finite numbers",
            ),
            ("[1.0, 1.0]", "0.0", "-20.0", "clutter[0].reflection_coefficient = 0 is out of range"),
            ("[1.0, 1.0]", "1.0", "nan", "channel.leakage_db = NaN is out of range; accepted: -1000 to 20"),
            ("[1.0]", "1.0", "-20.0", "position_m"),
        ] {
            let error = with(position, coefficient, leakage).unwrap_err().to_string();
            assert!(error.starts_with("s.toml") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_value_out_of_range_names_key_and_range() {
        let text = PAPER_TOML.replace("transmit_antennas = 4", "transmit_antennas = 0");
        let error = Scene::from_toml(&text, "s.toml").unwrap_err().to_string();
        assert_eq!(error, "s.toml: array.transmit_antennas = 0 is out of range; accepted: 1 to 256");
    }
}
