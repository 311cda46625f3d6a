//! What a scene must be where anything is sent, in trials, in a simulated run or on a radio: numbers that only the
//! waveform's own mathematics could do without.

use super::Scene;

/// Samples by which a simulated sensing receiver's clock may be early at most.
const EARLIEST_SAMPLES: f64 = 1024.0;
/// Symbols by which a timing error may move a frame's echo, so that its sensing window is never cut.
const MOST_SYMBOLS: f64 = 240.0;
/// Deviations of the timing error that must stay within: 2·10⁻⁹ of the errors do not.
const DEVIATIONS: f64 = 6.0;
/// Largest carrier offset that a communication receiver finds, in cycles per symbol.
const MAX_CARRIER_OFFSET: f64 = 0.0038;

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
        let symbols = (EARLIEST_SAMPLES / waveform.samples_per_symbol as f64).min(MOST_SYMBOLS) / DEVIATIONS;
        let (found_s, most_s) = (self.channel.timing_error_std_s, symbols * self.symbol_period_s());
        if found_s > most_s {
            return Err(format!(
                "channel.timing_error_std_s = {found_s:e} is {:.3e} symbols of waveform.bandwidth_hz = {:e}; accepted \
                 where anything is sent: up to {symbols:.1} symbols, {most_s:.3e} s",
                found_s * waveform.bandwidth_hz,
                waveform.bandwidth_hz
            ));
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
