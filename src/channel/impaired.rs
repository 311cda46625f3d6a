//! The impairments of a scene at one place, made of what the scene says, in the order of the file: those of the air before
//! the receiver's noise, those of its front end after it.

use num_complex::Complex32;

use super::impairment::{
    Adc, Arrival, Bursts, CarrierOffset, Clip, ClockOffset, Coupling, DirectCurrent, Gain, GainStep, Gap, Impairment,
    IqImage, Jitter, Level, Multipath, PhaseNoise, PhaseShape, PowerAmplifier, Profile, RowError, RowFault, RowSwap,
    Tone,
};
use super::noise::mix;
use crate::scene::{Scene, SceneImpairment, dbm_to_w};

/// Symbols of a frame without sounding, which phase noise "in a frame" means; a test of the modem's layout holds it.
pub const FRAME_SYMBOLS: usize = 1528;

/// Samples that a clock may drift before the stream jumps back: a communication receiver's start is unknown anyway, but a
/// sensing receiver's must stay.
const CLOCK_RESERVE: [usize; 2] = [2048, 480];

/// What a number of a scene becomes in an impairment needs these.
#[derive(Debug, Clone, Copy)]
struct Waveform {
    sample_rate_hz: f64,
    carrier_hz: f64,
    samples_per_symbol: usize,
}

/// One kernel with its type, so that its numbers can be changed.
enum Kernel {
    Carrier(CarrierOffset),
    Clock(ClockOffset),
    PhaseNoise(PhaseNoise, PhaseShape),
    Paths(Multipath),
    Iq(IqImage),
    Dc(DirectCurrent),
    Adc(Adc),
    Clip(Clip),
    GainStep(GainStep),
    Tone(Tone),
    Bursts(Bursts),
    Gap(Gap),
    Level(Gain),
    Row(RowError, Option<RowSwap>, Option<RowFault>),
    Coupling(Coupling),
    Amplifier(PowerAmplifier),
    Jitter(Jitter),
}

/// One impairment of the scene where it is.
struct Applied {
    /// Its place in the scene's list.
    index: usize,
    numbers: Vec<f64>,
    description: &'static crate::scene::ImpairmentKind,
    kernel: Kernel,
    /// Whether it comes before the receiver's noise.
    of_air: bool,
    /// The only row that it changes.
    row: Option<usize>,
    waveform: Waveform,
}

/// All impairments of the transmitter or of one receiver, with state between chunks.
pub struct Impairments {
    applied: Vec<Applied>,
    lag: usize,
}

impl Impairments {
    /// Those of the transmitter's antennas.
    pub fn of_transmitter(scene: &Scene, seed: u64) -> Self {
        Self::new(scene, None, scene.array.transmit_antennas, CLOCK_RESERVE[1], seed)
    }

    /// Those of the receiver with this id, which has so many rows.
    pub fn of_receiver(scene: &Scene, id: &str, rows: usize, seed: u64) -> Self {
        let is_sensing = scene.sensing_receivers().iter().any(|receiver| receiver.id == id);
        Self::new(scene, Some(id), rows, CLOCK_RESERVE[usize::from(is_sensing)], seed)
    }

    fn new(scene: &Scene, place: Option<&str>, rows: usize, reserve: usize, seed: u64) -> Self {
        let waveform = Waveform {
            sample_rate_hz: scene.sample_rate_hz(),
            carrier_hz: scene.waveform.carrier_hz,
            samples_per_symbol: scene.waveform.samples_per_symbol,
        };
        let here = scene.impairments.iter().enumerate().filter_map(|(index, impairment)| {
            let (id, row) = impairment.receiver().map_or((None, None), |(id, row)| (Some(id), row));
            (id == place).then_some((index, impairment, row))
        });
        // An amplifier is made for what it is to send.
        let level = match place {
            None => Level::expected(dbm_to_w(scene.constraints.power_dbm) / rows as f64),
            Some(_) => Level::followed(),
        };
        let mut applied: Vec<_> = here
            .map(|(index, impairment, row)| {
                let own_seed = mix(seed, 0x1000 + index as u64);
                Applied::new(index, impairment, row, waveform, (rows, reserve, own_seed), &level)
            })
            .collect();
        let lag = applied.iter_mut().map(|applied| applied.kernel.as_impairment().lag()).sum();
        Self { applied, lag }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }

    /// Samples by which all of them together delay.
    pub fn lag(&self) -> usize {
        self.lag
    }

    /// Frame `number` begins at sample `at` of the rows.
    pub fn begin_frame(&mut self, number: u64, at: u64) {
        for applied in &mut self.applied {
            applied.kernel.as_impairment().begin_frame(number, at);
        }
    }

    /// Changes a number of the scene's impairment `index`, if it is here.
    pub fn set(&mut self, index: usize, number: usize, value: f64) {
        for applied in self.applied.iter_mut().filter(|applied| applied.index == index) {
            if let Some(changed) = applied.numbers.get_mut(number) {
                *changed = value;
                applied.update();
            }
        }
    }

    /// What happens on the way to the antennas.
    pub fn apply_air(&mut self, rows: &mut [&mut [Complex32]]) {
        self.apply_where(true, rows);
    }

    /// What happens behind them.
    pub fn apply_front_end(&mut self, rows: &mut [&mut [Complex32]]) {
        self.apply_where(false, rows);
    }

    /// All of it, where no noise comes between.
    pub fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        self.apply_air(rows);
        self.apply_front_end(rows);
    }

    fn apply_where(&mut self, of_air: bool, rows: &mut [&mut [Complex32]]) {
        for applied in self.applied.iter_mut().filter(|applied| applied.of_air == of_air) {
            applied.apply(rows);
        }
    }
}

/// The path of a list in samples.
fn arrivals(impairment: &SceneImpairment, samples_per_symbol: f64) -> Vec<Arrival> {
    let arrivals = impairment.list.iter().map(|path| Arrival {
        delay_samples: path.delay_symbols * samples_per_symbol,
        gain_db: path.gain_db,
        phase_deg: path.phase_deg,
    });
    arrivals.collect()
}

impl Applied {
    fn new(
        index: usize,
        impairment: &SceneImpairment,
        row: Option<usize>,
        waveform: Waveform,
        (rows, reserve, seed): (usize, usize, u64),
        level: &Level,
    ) -> Self {
        let is_row = impairment.kind.name == "row";
        // A row's error delays the other rows with it; all others see the one row alone.
        let seen = if row.is_some() && !is_row { 1 } else { rows };
        let sps = waveform.samples_per_symbol as f64;
        let shape = if impairment.word("shape") == Some("pll") { PhaseShape::Pll } else { PhaseShape::Wiener };
        let frame_samples = FRAME_SYMBOLS * waveform.samples_per_symbol;
        let fault = match impairment.word("fault") {
            Some("dead") => Some(RowFault::Dead),
            Some("conjugated") => Some(RowFault::Conjugated),
            _ => None,
        };
        // Numbers follow in `update`.
        let kernel = match impairment.kind.name {
            "carrier-offset" => Kernel::Carrier(CarrierOffset::new(0.0, 0.0)),
            "clock-offset" => Kernel::Clock(ClockOffset::new(0.0, reserve, seen)),
            "phase-noise" => {
                let rms_deg = impairment.number("rms_deg");
                let noise = PhaseNoise::new(shape, rms_deg, frame_samples, waveform.samples_per_symbol, seed);
                Kernel::PhaseNoise(noise, shape)
            }
            "paths" => {
                let profile = match impairment.word("profile") {
                    Some("tdl-a") => Some(Profile::TdlA),
                    Some("tdl-c") => Some(Profile::TdlC),
                    Some(_) => Some(Profile::Rayleigh),
                    None => None,
                };
                Kernel::Paths(match profile {
                    Some(profile) => {
                        let spread = impairment.number("spread_symbols") * sps;
                        let doppler = impairment.number("doppler_cycles_per_symbol") / sps;
                        Multipath::drawn(profile, spread, doppler, seen, seed)
                    }
                    None => Multipath::listed(&arrivals(impairment, sps), seen),
                })
            }
            "iq" => Kernel::Iq(IqImage::new(0.0, seen, seed)),
            "dc" => Kernel::Dc(DirectCurrent::new(0.0, level, seen, seed)),
            "adc" => Kernel::Adc(Adc::new(8, 12.0, level, seen)),
            "clip" => Kernel::Clip(Clip::new(0.0, level, seen)),
            "gain-step" => Kernel::GainStep(GainStep::new(0.0, 1, 0)),
            "tone" => Kernel::Tone(Tone::new(0.0, 0.0, level, seen, seed)),
            "bursts" => {
                let period = impairment.number("period") as u64;
                Kernel::Bursts(Bursts::new(0.0, [0, period], level, seen, seed))
            }
            "gap" => Kernel::Gap(Gap::new(0, 1, frame_samples as u64, seed)),
            "level" => Kernel::Level(Gain::new(0.0)),
            "row" => {
                let own = row.unwrap_or(0);
                let swap = impairment.swapped_with().map(|other| RowSwap(own, other));
                Kernel::Row(RowError::new(own, [0.0; 3], fault, rows), swap, fault)
            }
            "coupling" => Kernel::Coupling(Coupling::new(0.0)),
            "pa" => Kernel::Amplifier(PowerAmplifier::new(2.0, 0.0, level, seen)),
            _ => Kernel::Jitter(Jitter::new(0.0, 0.0, seed)),
        };
        let mut applied = Self {
            index,
            numbers: impairment.numbers.clone(),
            description: impairment.kind,
            kernel,
            of_air: impairment.kind.name == "paths",
            row: row.filter(|_| !is_row),
            waveform,
        };
        applied.update();
        applied
    }

    /// Gives the kernel the numbers as they are now.
    fn update(&mut self) {
        let Waveform { sample_rate_hz, carrier_hz, samples_per_symbol } = self.waveform;
        let number = |key: &str| self.description.number(key).map_or(0.0, |place| self.numbers[place]);
        let whole = |key: &str| number(key) as u64;
        match &mut self.kernel {
            Kernel::Carrier(carrier) => {
                let offset = number("ppm") * 1e-6 * carrier_hz / sample_rate_hz
                    + number("cycles_per_symbol") / samples_per_symbol as f64;
                carrier.set(offset, number("drift_hz_per_s") / (sample_rate_hz * sample_rate_hz));
            }
            Kernel::Clock(clock) => clock.set(number("ppm")),
            Kernel::PhaseNoise(noise, shape) => {
                noise.set(*shape, number("rms_deg"), FRAME_SYMBOLS * samples_per_symbol, samples_per_symbol);
            }
            Kernel::Paths(_) => {}
            Kernel::Iq(iq) => iq.set(number("image_db")),
            Kernel::Dc(dc) => dc.set(number("dbc")),
            Kernel::Adc(adc) => adc.set(number("bits") as u32, number("full_scale_db")),
            Kernel::Clip(clip) => clip.set(number("over_rms_db")),
            Kernel::GainStep(step) => {
                step.set(number("db"), whole("every_frames"), whole("at_symbol") * samples_per_symbol as u64);
            }
            Kernel::Tone(tone) => tone.set(number("db"), number("cycles_per_sample")),
            Kernel::Bursts(bursts) => bursts.set(number("db"), [whole("length"), whole("period")]),
            Kernel::Gap(gap) => gap.set(whole("samples"), whole("every_frames")),
            Kernel::Level(gain) => *gain = Gain::new(number("db")),
            Kernel::Row(error, _, fault) => {
                error.set([number("gain_db"), number("phase_deg"), number("delay_samples")], *fault);
            }
            Kernel::Coupling(coupling) => coupling.set(number("db")),
            Kernel::Amplifier(amplifier) => amplifier.set(number("rapp_p"), number("backoff_db")),
            Kernel::Jitter(jitter) => jitter.set(number("phase_deg"), number("gain_db")),
        }
    }

    fn apply(&mut self, rows: &mut [&mut [Complex32]]) {
        match (self.row, &mut self.kernel) {
            (Some(row), kernel) => {
                if let Some(own) = rows.get_mut(row) {
                    kernel.as_impairment().apply(std::slice::from_mut(own));
                }
            }
            (None, Kernel::Row(error, swap, _)) => {
                error.apply(rows);
                if let Some(swap) = swap {
                    swap.apply(rows);
                }
            }
            (None, kernel) => kernel.as_impairment().apply(rows),
        }
    }
}

impl Kernel {
    fn as_impairment(&mut self) -> &mut dyn Impairment {
        match self {
            Self::Carrier(kernel) => kernel,
            Self::Clock(kernel) => kernel,
            Self::PhaseNoise(kernel, _) => kernel,
            Self::Paths(kernel) => kernel,
            Self::Iq(kernel) => kernel,
            Self::Dc(kernel) => kernel,
            Self::Adc(kernel) => kernel,
            Self::Clip(kernel) => kernel,
            Self::GainStep(kernel) => kernel,
            Self::Tone(kernel) => kernel,
            Self::Bursts(kernel) => kernel,
            Self::Gap(kernel) => kernel,
            Self::Level(kernel) => kernel,
            Self::Row(kernel, ..) => kernel,
            Self::Coupling(kernel) => kernel,
            Self::Amplifier(kernel) => kernel,
            Self::Jitter(kernel) => kernel,
        }
    }
}
