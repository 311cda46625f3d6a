//! The impairments that are tried, as a scene states them.

use crate::Result;
use crate::scene::{PAPER_TOML, Scene};

/// One row of the table.
#[derive(Debug)]
pub struct Case {
    /// Kind of the impairment.
    pub name: &'static str,
    /// How strong it is, for people.
    pub level: &'static str,
    /// The entry of `[[impairment]]` without `at`; empty for none.
    pub entry: &'static str,
    /// Row of the receiver that it is at.
    pub row: Option<usize>,
    /// How many channels are drawn, each with a seed of its own; 0 where nothing is drawn.
    pub draws: u64,
    /// Keys of `[array]`.
    pub array: &'static str,
}

const fn case(name: &'static str, level: &'static str, entry: &'static str) -> Case {
    Case { name, level, entry, row: None, draws: 0, array: "" }
}

const fn drawn(level: &'static str, entry: &'static str) -> Case {
    Case { name: "paths", level, entry, row: None, draws: 20, array: "" }
}

const fn of_row(level: &'static str, entry: &'static str) -> Case {
    Case { name: "row", level, entry, row: Some(1), draws: 0, array: "" }
}

const fn of_array(level: &'static str, array: &'static str) -> Case {
    Case { name: "array", level, entry: "", row: None, draws: 0, array }
}

/// The shipped scene `outdoor`.
pub const OUTDOOR_TOML: &str = include_str!("../../../scenes/outdoor.toml");

/// The scenes in which targets are located.
pub const SENSED: [(&str, &str); 2] = [("paper", PAPER_TOML), ("outdoor", OUTDOOR_TOML)];

impl Case {
    /// The paper's scene with this impairment at a receiver.
    pub fn scene(&self, at: &str) -> Result<Scene> {
        self.in_scene(PAPER_TOML, at)
    }

    /// A scene with this impairment at a receiver.
    pub fn in_scene(&self, toml: &str, at: &str) -> Result<Scene> {
        let toml = toml.replacen("[array]", &format!("[array]\n{}", self.array), 1);
        if self.entry.is_empty() {
            return Scene::from_toml(&toml, self.name);
        }
        let at = match self.row {
            Some(row) => format!("{at}.{row}"),
            None => at.to_owned(),
        };
        let text = format!("{toml}\n[[impairment]]\nat = \"{at}\"\nkind = \"{}\"\n{}\n", self.name, self.entry);
        Scene::from_toml(&text, self.name)
    }
}

/// Beyond the table: what once passed wrong blocks.
pub const EXTREME: &[Case] = &[
    case("gain-step", "20 dB in every frame, at symbol 848", "db = 20.0\nat_symbol = 848"),
    case("gain-step", "40 dB in every frame, at symbol 848", "db = 40.0\nat_symbol = 848"),
    case("gain-step", "60 dB in every frame, at symbol 700", "db = 60.0\nat_symbol = 700"),
    case("gain-step", "-40 dB in every frame, at symbol 1000", "db = -40.0\nat_symbol = 1000"),
    case("bursts", "10 samples, +50 dB, every 3000", "db = 50.0\nlength = 10\nperiod = 3000"),
    case("bursts", "100 samples, +40 dB, every 1000", "db = 40.0\nlength = 100\nperiod = 1000"),
];

/// Those of the communication receiver.
pub const COMMUNICATION: &[Case] = &[
    case("none", "Es/N0 needed", ""),
    case("carrier-offset", "0.0038 cycles/symbol", "cycles_per_symbol = 0.0038"),
    case("carrier-offset", "0.05 cycles/symbol", "cycles_per_symbol = 0.05"),
    case("carrier-offset", "0.3 cycles/symbol", "cycles_per_symbol = 0.3"),
    case("carrier-offset", "-0.3 cycles/symbol", "cycles_per_symbol = -0.3"),
    // 10⁻⁷ cycles per symbol² at 100 MHz.
    case("carrier-offset", "drift of 1e-7 cycles/symbol²", "drift_hz_per_s = 1e9"),
    case("clock-offset", "20 ppm", "ppm = 20.0"),
    case("clock-offset", "40 ppm", "ppm = 40.0"),
    case("phase-noise", "walk of 3° in a frame", "rms_deg = 3.0"),
    case("phase-noise", "walk of 6° in a frame", "rms_deg = 6.0"),
    case("paths", "1 symbol later, -20 dB", "list = [{ delay_symbols = 1.0, gain_db = -20.0, phase_deg = 90.0 }]"),
    case("paths", "1 symbol later, -10 dB", "list = [{ delay_symbols = 1.0, gain_db = -10.0, phase_deg = 90.0 }]"),
    case("paths", "1 symbol later, -6 dB", "list = [{ delay_symbols = 1.0, gain_db = -6.0, phase_deg = 90.0 }]"),
    case("paths", "1 symbol later, -3 dB", "list = [{ delay_symbols = 1.0, gain_db = -3.0, phase_deg = 90.0 }]"),
    case("paths", "2.5 symbols later, -10 dB", "list = [{ delay_symbols = 2.5, gain_db = -10.0, phase_deg = 90.0 }]"),
    case("paths", "2.5 symbols later, -6 dB", "list = [{ delay_symbols = 2.5, gain_db = -6.0, phase_deg = 90.0 }]"),
    case("paths", "2.5 symbols later, -3 dB", "list = [{ delay_symbols = 2.5, gain_db = -3.0, phase_deg = 90.0 }]"),
    drawn("TDL-A, spread 0.1 symbols, 25 dB", "profile = \"tdl-a\"\nspread_symbols = 0.1"),
    drawn("TDL-A, spread 0.5 symbols, 25 dB", "profile = \"tdl-a\"\nspread_symbols = 0.5"),
    drawn("TDL-A, spread 1 symbol, 25 dB", "profile = \"tdl-a\"\nspread_symbols = 1.0"),
    drawn("TDL-A, spread 2 symbols, 25 dB", "profile = \"tdl-a\"\nspread_symbols = 2.0"),
    drawn("TDL-C, spread 0.5 symbols, 25 dB", "profile = \"tdl-c\"\nspread_symbols = 0.5"),
    drawn("TDL-C, spread 2 symbols, 25 dB", "profile = \"tdl-c\"\nspread_symbols = 2.0"),
    drawn(
        "Rayleigh, Doppler 1e-5 cycles/symbol, 25 dB",
        "profile = \"rayleigh\"\nspread_symbols = 0.0\ndoppler_cycles_per_symbol = 1e-5",
    ),
    case("iq", "image -25 dB", "image_db = -25.0"),
    case("iq", "image -20 dB", "image_db = -20.0"),
    case("dc", "-20 dBc", "dbc = -20.0"),
    case("dc", "-10 dBc", "dbc = -10.0"),
    case("dc", "0 dBc", "dbc = 0.0"),
    case("tone", "-20 dB", "db = -20.0\ncycles_per_sample = 0.05"),
    case("tone", "-10 dB", "db = -10.0\ncycles_per_sample = 0.05"),
    case("tone", "-6 dB", "db = -6.0\ncycles_per_sample = 0.05"),
    case("clip", "6 dB over RMS", "over_rms_db = 6.0"),
    case("clip", "3 dB over RMS", "over_rms_db = 3.0"),
    case("clip", "0 dB over RMS", "over_rms_db = 0.0"),
    case("pa", "Rapp, p = 2, back-off 6 dB", "backoff_db = 6.0"),
    case("adc", "6 bits, full scale 12 dB over RMS", "bits = 6"),
    case("adc", "4 bits, full scale 12 dB over RMS", "bits = 4"),
    case("gain-step", "6 dB in every frame, at symbol 848", "db = 6.0\nat_symbol = 848"),
    case("gain-step", "-6 dB in every 5th frame, at symbol 1000", "db = -6.0\nevery_frames = 5\nat_symbol = 1000"),
    case("bursts", "10 samples, +30 dB, every 3000", "db = 30.0\nlength = 10\nperiod = 3000"),
    case("bursts", "10 samples, +40 dB, every 3000", "db = 40.0\nlength = 10\nperiod = 3000"),
    case("gap", "100 samples in every 10th frame", "samples = 100\nevery_frames = 10"),
    case("gap", "5000 samples in every 20th frame", "samples = 5000\nevery_frames = 20"),
    case("jitter", "1° a frame", "phase_deg = 1.0"),
];

/// Those of the sensing receiver.
pub const SENSING: &[Case] = &[
    case("none", "", ""),
    case("level", "+3 dB over what the scene says", "db = 3.0"),
    case("level", "-10 dB", "db = -10.0"),
    case("level", "+10 dB", "db = 10.0"),
    of_row("one off by 1°", "phase_deg = 1.0"),
    of_row("one off by 5°", "phase_deg = 5.0"),
    of_row("one off by 20°", "phase_deg = 20.0"),
    of_row("one late by a sample", "delay_samples = 1.0"),
    of_row("one ×j", "phase_deg = 90.0"),
    of_row("one dead", "fault = \"dead\""),
    of_row("one conjugated", "fault = \"conjugated\""),
    of_row("rows 1 and 2 exchanged", "fault = \"swapped-with-2\""),
    of_array("declared, 0.5° of phase", "phase_error_deg = 0.5"),
    of_array("declared, 3° of phase", "phase_error_deg = 3.0"),
    of_array("declared, 10° of phase", "phase_error_deg = 10.0"),
    of_array("declared, 1 dB of gain", "gain_error_db = 1.0"),
    case("coupling", "-20 dB", "db = -20.0"),
    case("carrier-offset", "0.1 ppm", "ppm = 0.1"),
    case("carrier-offset", "1 ppm", "ppm = 1.0"),
    case("clock-offset", "10 ppm", "ppm = 10.0"),
    case("phase-noise", "walk of 1° in a frame", "rms_deg = 1.0"),
    case("phase-noise", "walk of 3° in a frame", "rms_deg = 3.0"),
    case("paths", "1 symbol later, -20 dB", "list = [{ delay_symbols = 1.0, gain_db = -20.0, phase_deg = 90.0 }]"),
    case("paths", "1 symbol later, -10 dB", "list = [{ delay_symbols = 1.0, gain_db = -10.0, phase_deg = 90.0 }]"),
    case("iq", "image -30 dB", "image_db = -30.0"),
    case("iq", "image -20 dB", "image_db = -20.0"),
    case("dc", "-20 dBc", "dbc = -20.0"),
    case("tone", "-10 dB", "db = -10.0\ncycles_per_sample = 0.05"),
    case("clip", "3 dB over RMS", "over_rms_db = 3.0"),
    case("pa", "Rapp, p = 2, back-off 10 dB", "backoff_db = 10.0"),
    case("adc", "6 bits, full scale 12 dB over RMS", "bits = 6"),
    case("adc", "4 bits, full scale 12 dB over RMS", "bits = 4"),
    case("bursts", "10 samples, +30 dB, every 3000", "db = 30.0\nlength = 10\nperiod = 3000"),
];
