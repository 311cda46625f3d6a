//! Every key of a scene file: unit, range, default and meaning.
//!
//! The ranges keep a simulation's memory below 1 GB and every sum finite; what depends on several keys at once is in
//! `check.rs`.

use crate::keys::Default::{Absent, Required, Toml};
use crate::keys::Range::{Number, Point, Text, Truth, Whole, Word};
use crate::keys::{Default, Key, Range};

const fn key(path: &'static str, unit: &'static str, range: Range, default: Default, doc: &'static str) -> Key {
    Key { path, unit, range, default, doc }
}

/// Anywhere in the plane.
const PLACE: Range = Point(-1e5, 1e5);
/// Anything that moves.
const VELOCITY: Range = Point(-1e4, 1e4);
const TURN_RATE: Range = Number(-100.0, 100.0);
const NOISE: Range = Number(-250.0, 100.0);
const REFLECTION: Range = Number(1e-12, 1e3);

/// A list takes the place of these keys, so none of them has a default; one of both must be there.
const OR_LIST: Default = Required;

/// All keys of a scene file.
pub const KEYS: &[Key] = &[
    key("geometry.transmitter", "m", PLACE, Required, "Where the transmitter stands."),
    key("geometry.target", "m", PLACE, OR_LIST, "Where the target is at the start; [[target]] replaces it."),
    key(
        "geometry.sensing_receiver",
        "m",
        PLACE,
        OR_LIST,
        "Where the sensing receiver stands; [[receiver]] replaces it.",
    ),
    key(
        "geometry.communication_receiver",
        "m",
        PLACE,
        OR_LIST,
        "Where the communication receiver stands; [[receiver]] replaces it.",
    ),
    key("array.transmit_antennas", "", Whole(1, 256), Required, "Elements of the transmitter's array."),
    key(
        "array.receive_antennas",
        "",
        Whole(1, 256),
        OR_LIST,
        "Elements of the sensing receiver's array; [[receiver]] replaces it.",
    ),
    key(
        "array.spacing_wavelengths",
        "wavelengths",
        Number(0.05, 0.5),
        Required,
        "Distance of neighbouring elements of both arrays.",
    ),
    key(
        "array.phase_error_deg",
        "deg",
        Number(0.0, 10.0),
        Toml("0.0"),
        "Largest error that calibration has left in an element's phase.",
    ),
    key(
        "array.gain_error_db",
        "dB",
        Number(0.0, 1.0),
        Toml("0.0"),
        "Largest error that calibration has left in an element's gain.",
    ),
    key("target.velocity_m_s", "m/s", VELOCITY, Toml("[0.0, 0.0]"), "The target's velocity at the start."),
    key(
        "target.turn_rate_rad_s",
        "rad/s",
        TURN_RATE,
        Toml("0.0"),
        "Rate at which the target's velocity turns, counter-clockwise.",
    ),
    key("target[].id", "", super::nodes::ID, Toml("\"target\""), "The target's name in commands, events and reports."),
    key("target[].position_m", "m", PLACE, Required, "Where this target is at the start."),
    key("target[].velocity_m_s", "m/s", VELOCITY, Toml("[0.0, 0.0]"), "This target's velocity at the start."),
    key("target[].turn_rate_rad_s", "rad/s", TURN_RATE, Toml("0.0"), "Rate at which this target's velocity turns."),
    key("target[].reflection_coefficient", "", REFLECTION, Required, "Size of this target's reflection coefficient."),
    key(
        "target[].believed",
        "",
        Truth,
        Toml("true"),
        "Whether the optimizer knows of this target from the start and keeps the threshold for it.",
    ),
    key("channel.path_loss_exponent", "", Number(0.0, 8.0), Required, "Exponent of the distance in the path loss."),
    key(
        "channel.communication_noise_dbm",
        "dBm",
        NOISE,
        OR_LIST,
        "Noise power of a symbol at the communication receiver; [[receiver]] replaces it.",
    ),
    key(
        "channel.sensing_noise_dbm",
        "dBm",
        NOISE,
        OR_LIST,
        "Noise power of a symbol at each antenna of the sensing receiver; [[receiver]] replaces it.",
    ),
    key(
        "channel.reflection_coefficient",
        "",
        REFLECTION,
        OR_LIST,
        "Size of the target's reflection coefficient; [[target]] replaces it.",
    ),
    key(
        "channel.timing_error_std_s",
        "s",
        Number(0.0, 1.0),
        Required,
        "Standard deviation of the sensing receiver's timing error: 0 is a clock that is known exactly; above 40 symbols, or \
         171 samples, delays say nothing of positions.",
    ),
    key(
        "channel.timing_error_hold",
        "",
        Word(&["frame", "run"]),
        Toml("\"frame\""),
        "How long one timing error holds.",
    ),
    key(
        "channel.reflection_phase",
        "",
        Word(&["random-per-frame", "random-per-run"]),
        Absent,
        "How the reflection's phase is drawn: per frame where absent, or 0 where the reflectivity is known.",
    ),
    key(
        "channel.carrier_offset_ppm",
        "ppm",
        Number(-5.0, 5.0),
        Toml("0.0"),
        "Offset of the communication receiver's oscillator, of the carrier.",
    ),
    key(
        "channel.leakage_db",
        "dB",
        Number(-1000.0, 20.0),
        Absent,
        "Power gain from a transmit antenna to one of the sensing receiver on the straight way; nothing comes that way \
         where absent.",
    ),
    key("clutter[].position_m", "m", PLACE, Required, "Where this stationary reflector stands."),
    key(
        "clutter[].reflection_coefficient",
        "",
        REFLECTION,
        Required,
        "Size of this reflector's reflection coefficient.",
    ),
    key(
        "receiver[].id",
        "",
        super::nodes::ID,
        Absent,
        "The receiver's name in events and reports: communication-receiver or sensing-receiver where absent.",
    ),
    key("receiver[].kind", "", Word(&["communication", "sensing"]), Required, "What this receiver is for."),
    key("receiver[].position_m", "m", PLACE, Required, "Where this receiver stands."),
    key(
        "receiver[].antennas",
        "",
        Whole(1, 256),
        Absent,
        "Elements of this receiver's array: 1 for communication, to be stated for sensing.",
    ),
    key("receiver[].noise_dbm", "dBm", NOISE, Required, "Noise power of a symbol at each antenna of this receiver."),
    key("impairment[].id", "", super::nodes::ID, Absent, "The impairment's name in commands: its kind where absent."),
    key(
        "impairment[].at",
        "",
        Text("transmitter, a receiver's id, or ID.ROW with rows from 0"),
        Required,
        "Where this impairment is.",
    ),
    key(
        "impairment[].kind",
        "",
        Word(&super::impairment::KIND_NAMES),
        Required,
        "What the simulated world does there; each kind has some of the keys below.",
    ),
    key(
        "impairment[].ppm",
        "ppm",
        Number(-1000.0, 1000.0),
        Absent,
        "carrier-offset: of the carrier, 0 where absent; clock-offset: how slow the clock is.",
    ),
    key(
        "impairment[].cycles_per_symbol",
        "cycles per symbol",
        Number(-0.5, 0.5),
        Absent,
        "carrier-offset: added to that of ppm, 0 where absent.",
    ),
    key(
        "impairment[].drift_hz_per_s",
        "Hz/s",
        Number(-1e12, 1e12),
        Absent,
        "carrier-offset: change of the offset, 0 where absent.",
    ),
    key(
        "impairment[].rms_deg",
        "deg",
        Number(0.0, 180.0),
        Absent,
        "phase-noise: deviation of the phase, about its mean within a frame where it walks.",
    ),
    key(
        "impairment[].shape",
        "",
        Word(&["wiener", "pll"]),
        Absent,
        "phase-noise: a random walk (where absent), or flat up to 0.01 cycles per symbol.",
    ),
    key("impairment[].profile", "", Word(&["tdl-a", "tdl-c", "rayleigh"]), Absent, "paths: drawn of this profile."),
    key(
        "impairment[].spread_symbols",
        "symbols",
        Number(0.0, 16.0),
        Absent,
        "paths: RMS delay spread of a profile, 1 where absent.",
    ),
    key(
        "impairment[].doppler_cycles_per_symbol",
        "cycles per symbol",
        Number(0.0, 1e-3),
        Absent,
        "paths: largest Doppler shift of a profile's paths, which are at rest where absent.",
    ),
    key(
        "impairment[].list[].delay_symbols",
        "symbols",
        Number(0.0, 64.0),
        Required,
        "paths: delay of this path behind the first.",
    ),
    key(
        "impairment[].list[].gain_db",
        "dB",
        Number(-200.0, 20.0),
        Required,
        "paths: power of this path over the first's; the mean power of all is the first's alone.",
    ),
    key(
        "impairment[].list[].phase_deg",
        "deg",
        Number(-360.0, 360.0),
        Absent,
        "paths: phase of this path against the first's, 0 where absent.",
    ),
    key("impairment[].image_db", "dB", Number(-200.0, 20.0), Absent, "iq: power of the image over the signal's."),
    key("impairment[].dbc", "dB", Number(-200.0, 60.0), Absent, "dc: power of the direct current over the row's."),
    key("impairment[].bits", "bits", Whole(1, 24), Absent, "adc: bits of each real part."),
    key(
        "impairment[].full_scale_db",
        "dB",
        Number(-20.0, 60.0),
        Absent,
        "adc: full scale over the RMS of each real part, 12 where absent.",
    ),
    key("impairment[].over_rms_db", "dB", Number(-20.0, 60.0), Absent, "clip: limit of the envelope over the RMS."),
    key(
        "impairment[].db",
        "dB",
        Number(-200.0, 60.0),
        Absent,
        "gain-step, level: the gain; tone, bursts: power over the row's; coupling: of a neighbour.",
    ),
    key(
        "impairment[].every_frames",
        "frames",
        Whole(1, 1_000_000_000),
        Absent,
        "gain-step, gap: one in so many frames; a gain-step's is 1 where absent.",
    ),
    key(
        "impairment[].at_symbol",
        "symbols",
        Whole(0, 1695),
        Absent,
        "gain-step: symbols into the frame, 0 where absent.",
    ),
    key("impairment[].cycles_per_sample", "cycles per sample", Number(-0.5, 0.5), Absent, "tone: its frequency."),
    key("impairment[].length", "samples", Whole(1, 1_000_000_000), Absent, "bursts: length of each."),
    key("impairment[].period", "samples", Whole(1, 1_000_000_000), Absent, "bursts: from one to the next."),
    key(
        "impairment[].samples",
        "samples",
        Whole(1, 1_000_000_000),
        Absent,
        "gap: samples that are lost, zeros instead.",
    ),
    key(
        "impairment[].gain_db",
        "dB",
        Number(-60.0, 20.0),
        Absent,
        "row: its gain; jitter: deviation of each frame's gain; 0 where absent.",
    ),
    key(
        "impairment[].phase_deg",
        "deg",
        Number(-360.0, 360.0),
        Absent,
        "row: its phase; jitter: deviation of each frame's phase; 0 where absent.",
    ),
    key("impairment[].delay_samples", "samples", Number(0.0, 64.0), Absent, "row: how late it is, 0 where absent."),
    key(
        "impairment[].fault",
        "",
        Text("dead, conjugated or swapped-with-N"),
        Absent,
        "row: what is wrong with it beside gain, phase and delay.",
    ),
    key("impairment[].rapp_p", "", Number(0.1, 100.0), Absent, "pa: smoothness of the limit (Rapp), 2 where absent."),
    key(
        "impairment[].backoff_db",
        "dB",
        Number(-20.0, 60.0),
        Absent,
        "pa: saturation over the RMS of each antenna's signal.",
    ),
    key("waveform.bandwidth_hz", "Hz", Number(1e3, 1e9), Required, "Symbols per second."),
    key("waveform.frame_symbols", "symbols", Whole(1, 1 << 20), Required, "Payload symbols of a frame; 1024 in a run."),
    key("waveform.block_symbols", "symbols", Whole(1, 1 << 20), Required, "Symbols of a block; 256 in a run."),
    key("waveform.carrier_hz", "Hz", Number(1e6, 1e12), Toml("3.5e9"), "Carrier frequency."),
    key("waveform.roll_off", "", Number(0.05, 1.0), Toml("0.25"), "Roll-off of the root-raised-cosine pulse."),
    key(
        "waveform.samples_per_symbol",
        "",
        Whole(1, 8),
        Toml("2"),
        "Samples per symbol on the air; 2 or more where anything is sent.",
    ),
    key(
        "waveform.frame_interval_s",
        "s",
        Number(1e-7, 3600.0),
        Absent,
        "Time from the start of one frame to the next one's; frames follow without a gap where absent.",
    ),
    key("constraints.power_dbm", "dBm", Number(-200.0, 100.0), Required, "Largest transmit power."),
    key(
        "constraints.hcrb_max_m2",
        "m²",
        Number(1e-15, 1e12),
        Required,
        "Threshold on the trace of the position bound, for every target that the optimizer believes in.",
    ),
    key(
        "constraints.bandwidth_ratio_max",
        "channel uses per source sample",
        Number(1e-9, 100.0),
        Required,
        "Largest number of payload symbols for a sample of a picture.",
    ),
    key(
        "constraints.snr_margin_db",
        "dB",
        Number(-100.0, 100.0),
        Absent,
        "Distance kept from the SINR that a rate needs.",
    ),
    key(
        "constraints.block_error_rate_max",
        "",
        Number(1e-12, 0.999_999),
        Absent,
        "Largest block error rate that a plan may predict.",
    ),
    key(
        "model.reflectivity",
        "",
        Word(&["unknown", "known"]),
        Required,
        "Whether the sensing receiver knows the reflection coefficient.",
    ),
    key(
        "model.frequencies",
        "",
        Word(&["centered", "one-sided"]),
        Required,
        "Which frequencies the bins of the transform stand for.",
    ),
    key(
        "model.channel_code",
        "",
        Word(&["calibrated", "paper"]),
        Toml("\"calibrated\""),
        "What is assumed of the channel code when a rate is chosen.",
    ),
    key(
        "model.metric",
        "",
        Word(&["mse", "ms-ssim"]),
        Toml("\"mse\""),
        "What the source models that a plan chooses among are tuned for.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{PAPER_TOML, Scene, list_tests};
    use super::*;
    use crate::keys::each_value;

    /// A scene that states every key of its form.
    fn full(text: &str) -> toml::Value {
        let keys = [
            ("[array]", "phase_error_deg = 1.0\ngain_error_db = 0.5"),
            (
                "[channel]",
                "timing_error_hold = \"run\"\nreflection_phase = \"random-per-run\"\ncarrier_offset_ppm = 0.1\nleakage_db = -20.0",
            ),
            ("[waveform]", "carrier_hz = 3e9\nroll_off = 0.3\nsamples_per_symbol = 4\nframe_interval_s = 1.0"),
            ("[constraints]", "snr_margin_db = 1.0\nblock_error_rate_max = 0.1"),
            ("[model]", "channel_code = \"paper\"\nmetric = \"ms-ssim\""),
        ];
        let text = keys
            .iter()
            .fold(text.to_owned(), |text, (section, more)| text.replace(section, &format!("{section}\n{more}")));
        let clutter = "\n[[clutter]]\nposition_m = [60.0, 10.0]\nreflection_coefficient = 1.0\n";
        let impairments = "
[[impairment]]
id = \"carrier\"
at = \"transmitter\"
kind = \"carrier-offset\"
ppm = 1.0
cycles_per_symbol = 0.1
drift_hz_per_s = 1.0
[[impairment]]
at = \"transmitter\"
kind = \"phase-noise\"
rms_deg = 1.0
shape = \"pll\"
[[impairment]]
id = \"fading\"
at = \"transmitter\"
kind = \"paths\"
profile = \"tdl-a\"
spread_symbols = 1.0
doppler_cycles_per_symbol = 1e-5
[[impairment]]
at = \"transmitter\"
kind = \"paths\"
list = [{ delay_symbols = 1.0, gain_db = -6.0, phase_deg = 90.0 }]
[[impairment]]
at = \"transmitter\"
kind = \"iq\"
image_db = -20.0
[[impairment]]
at = \"transmitter\"
kind = \"dc\"
dbc = -20.0
[[impairment]]
at = \"transmitter\"
kind = \"adc\"
bits = 8
full_scale_db = 12.0
[[impairment]]
at = \"transmitter\"
kind = \"clip\"
over_rms_db = 6.0
[[impairment]]
at = \"transmitter\"
kind = \"gain-step\"
db = 6.0
every_frames = 2
at_symbol = 100
[[impairment]]
at = \"transmitter\"
kind = \"tone\"
db = -10.0
cycles_per_sample = 0.1
[[impairment]]
at = \"transmitter\"
kind = \"bursts\"
db = 30.0
length = 10
period = 3000
[[impairment]]
at = \"transmitter\"
kind = \"gap\"
samples = 100
every_frames = 10
[[impairment]]
at = \"transmitter\"
kind = \"pa\"
rapp_p = 2.0
backoff_db = 8.0
[[impairment]]
at = \"RECEIVER.0\"
kind = \"row\"
gain_db = 1.0
phase_deg = 5.0
delay_samples = 0.5
fault = \"conjugated\"
";
        let text = text + clutter + &impairments.replace("RECEIVER", "sensing-receiver");
        let scene = Scene::from_toml(&text, "s.toml").unwrap();
        toml::Value::try_from(&scene).unwrap()
    }

    #[test]
    fn the_table_has_every_key_that_a_scene_has_and_no_other() {
        let mut found = BTreeSet::new();
        for text in [PAPER_TOML.to_owned(), list_tests::listed(list_tests::LISTS)] {
            let mut take = |_: &str, pattern: &str, _: &toml::Value| {
                found.insert(pattern.to_owned());
            };
            each_value(&full(&text), &mut String::new(), &mut String::new(), &mut take);
        }
        let known: BTreeSet<_> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        assert_eq!(known.len(), KEYS.len(), "a key stands twice");
        assert_eq!(found, known);
    }

    #[test]
    fn the_defaults_are_those_of_the_files_reader() {
        let scene = toml::Value::try_from(Scene::paper()).unwrap();
        let mut checked = 0;
        let mut compare = |path: &str, pattern: &str, value: &toml::Value| {
            let key = crate::keys::find(KEYS, pattern).unwrap();
            if let Some(default) = key.default.value()
                && !PAPER_TOML.contains(path.rsplit('.').next().unwrap())
            {
                assert_eq!(*value, default, "{path}");
                checked += 1;
            }
        };
        each_value(&scene, &mut String::new(), &mut String::new(), &mut compare);
        assert!(checked >= 9, "{checked}");
        for key in KEYS {
            assert_eq!(key.default.value().is_some(), matches!(key.default, Toml(_)), "{}", key.path);
            assert!(key.doc.ends_with('.') && !key.doc.contains('\n'), "{}", key.path);
        }
    }
}
