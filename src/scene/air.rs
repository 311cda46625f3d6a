//! What a scene must be where anything is sent, in trials, in a simulated run or on a radio: numbers that only the
//! waveform's own mathematics could do without.

use super::Scene;

/// Samples by which a simulated sensing receiver's clock may be early at most.
const EARLIEST_SAMPLES: f64 = 1024.0;
/// Symbols by which a timing error may move a frame's echo, so that its sensing window is never cut.
const MOST_SYMBOLS: f64 = 240.0;
/// Deviations of the timing error that must stay within: 2·10⁻⁹ of the errors do not.
const DEVIATIONS: f64 = 6.0;
/// Highest level of an echo over a sensing receiver's noise: above, the precision of samples of 24 bits and of the pulses
/// limits what is measured, and error bars that know of noise alone are not true.
const MAX_ECHO_DB: f64 = 96.0;
/// Largest carrier offset that a communication receiver finds, in cycles per symbol.
const MAX_CARRIER_OFFSET: f64 = 0.35;

/// How well a sensing receiver's clock is known.
///
/// A receiver finds frames by their preambles, so an echo comes within [`Self::most_s`] times a few of where it is looked for,
/// however far its clock is off: a deviation above that says no more than that the clock is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReceiverClock {
    /// σ_Δ.
    pub std_s: f64,
    /// Largest deviation with which echoes stay in the frames that they belong to.
    pub most_s: f64,
}

impl ReceiverClock {
    /// The deviation by which echoes come early or late.
    pub fn simulated_std_s(self) -> f64 {
        self.std_s.min(self.most_s)
    }

    /// The timing error that belongs to a standard normal number: that of a clock which is unknown is anything that the search
    /// for frames leaves.
    pub fn error_s(self, normal: f64) -> f64 {
        let error_s = self.std_s * normal;
        if self.std_s <= self.most_s {
            return error_s;
        }
        let around_s = 2.0 * (DEVIATIONS - 1.0) * self.most_s;
        error_s - around_s * (error_s / around_s).round()
    }
}

impl Scene {
    /// Checks what is needed to send a frame and to hear its echo, beyond [`Self::check`].
    pub fn check_air(&self) -> Result<(), String> {
        let waveform = &self.waveform;
        if waveform.samples_per_symbol < 2 {
            return Err(format!(
                "waveform.samples_per_symbol = {}; accepted where anything is sent: 2 or more",
                waveform.samples_per_symbol
            ));
        }
        self.check_echo_level()
    }

    /// The clock of its sensing receivers.
    pub fn receiver_clock(&self) -> ReceiverClock {
        let symbols = (EARLIEST_SAMPLES / self.waveform.samples_per_symbol as f64).min(MOST_SYMBOLS) / DEVIATIONS;
        ReceiverClock { std_s: self.channel.timing_error_std_s, most_s: symbols * self.symbol_period_s() }
    }

    fn check_echo_level(&self) -> Result<(), String> {
        let power_dbm = self.constraints.power_dbm;
        // Lists have keys of the same meaning under shorter names.
        let (reflection, noise) = match (self.target_list.is_empty(), self.receiver_list.is_empty()) {
            (true, true) => ("channel.reflection_coefficient", "channel.sensing_noise_dbm"),
            (true, false) => ("channel.reflection_coefficient", "noise_dbm"),
            (false, true) => ("reflection_coefficient", "channel.sensing_noise_dbm"),
            (false, false) => ("reflection_coefficient", "noise_dbm"),
        };
        for target in self.targets() {
            let gain_db = 20.0 * target.reflection_coefficient.log10();
            for receiver in self.sensing_receivers() {
                let level_db = power_dbm + gain_db - receiver.noise_dbm;
                if level_db > MAX_ECHO_DB {
                    return Err(format!(
                        "constraints.power_dbm = {power_dbm}: the echo of `{}` ({reflection} = {}) is {level_db:.1} dB \
                         over the noise of `{}` ({noise} = {}); accepted where anything is sent: up to {MAX_ECHO_DB} dB",
                        target.id, target.reflection_coefficient, receiver.id, receiver.noise_dbm
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks what a communication receiver of the scene can find: its carrier offset.
    pub fn check_reception(&self) -> Result<(), String> {
        let waveform = &self.waveform;
        let per_ppm = 1e-6 * waveform.carrier_hz / waveform.bandwidth_hz;
        let offset = self.channel.carrier_offset_ppm;
        if (offset * per_ppm).abs() > MAX_CARRIER_OFFSET {
            return Err(format!(
                "channel.carrier_offset_ppm = {offset} is {:.4} cycles per symbol of waveform.bandwidth_hz = {:e}; \
                 accepted there: up to {:.3}, {MAX_CARRIER_OFFSET} cycles per symbol",
                offset * per_ppm,
                waveform.bandwidth_hz,
                MAX_CARRIER_OFFSET / per_ppm
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_or_heard_names_its_keys_and_the_limit() {
        Scene::paper().check_air().and_then(|()| Scene::paper().check_reception()).unwrap();
        let said = |change: fn(&mut Scene)| {
            let mut scene = Scene::paper();
            change(&mut scene);
            scene.check().unwrap();
            scene.check_air().and_then(|()| scene.check_reception()).unwrap_err()
        };
        for (found, parts) in [
            (said(|scene| scene.waveform.samples_per_symbol = 1), ["waveform.samples_per_symbol = 1", "2 or more"]),
            (said(|scene| scene.constraints.power_dbm = 60.0), ["constraints.power_dbm = 60", "up to 96 dB"]),
            (
                said(|scene| scene.channel.sensing_noise_dbm = -110.0),
                ["(channel.sensing_noise_dbm = -110)", "up to 96 dB"],
            ),
            (
                said(|scene| {
                    scene.waveform.bandwidth_hz = 4e4;
                    scene.channel.timing_error_std_s = 1e-6;
                    scene.channel.carrier_offset_ppm = -5.0;
                }),
                ["channel.carrier_offset_ppm = -5", "up to 4.000"],
            ),
        ] {
            assert!(parts.iter().all(|part| found.contains(part)), "{found}");
        }
    }

    #[test]
    fn a_timing_error_neither_cuts_a_window_nor_comes_before_the_transmitter_however_little_is_known_of_the_clock() {
        for samples_per_symbol in [2, 4, 8] {
            let mut scene = Scene::paper();
            scene.waveform.samples_per_symbol = samples_per_symbol;
            for std_s in [0.0, 1e-9, 1e-7, 3.9e-7, 4.1e-7, 1e-5, 1.0] {
                scene.channel.timing_error_std_s = std_s;
                scene.check_air().unwrap();
                let clock = scene.receiver_clock();
                for normal in [-6.0, -1.3, 0.0, 0.4, 6.0] {
                    let symbols = clock.error_s(normal) / scene.symbol_period_s();
                    assert!(symbols.abs() <= 240.0 + 1e-9, "{std_s}: {symbols}");
                    assert!(symbols.abs() * samples_per_symbol as f64 <= 1024.0 + 1e-9, "{std_s}: {symbols}");
                }
                assert!(clock.error_s(1.0) == std_s || std_s > clock.most_s);
            }
        }
    }
}
