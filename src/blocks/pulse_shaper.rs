//! Symbols of the two streams and of the sounding to samples. Each frame is shaped whole: its pulses' tails are samples
//! beyond its end, which the superposer adds to the next frame.

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Context, TAP_FRAMES, settings};
use crate::dsp::{PulseShaper, tail_samples};
use crate::stream::{Block, Flow, Frame, Shape, Stage, TapWriter, erase};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Name under which the shaped streams can be read.
    tap: Option<String>,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { tap: name } = settings(keys)?;
    let waveform = &context.scene.waveform;
    let samples = context.longest_samples() + tail_samples(waveform.samples_per_symbol);
    let shaper = || PulseShaper::new(context.longest_frame(), waveform.samples_per_symbol, waveform.roll_off);
    // Each row begins as it did before.
    let shapers = std::array::from_fn(|_| shaper());
    let samples_per_symbol = waveform.samples_per_symbol;
    let writer = name.map(|name| context.taps.writer(&name, 2, samples, TAP_FRAMES)).transpose();
    Ok(erase(Shaper { shapers, samples, samples_per_symbol, tap: writer.map_err(Error::input)? }))
}

struct Shaper {
    /// One for each row.
    shapers: [PulseShaper; 3],
    samples: usize,
    samples_per_symbol: usize,
    tap: Option<TapWriter>,
}

impl Block for Shaper {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != 3 {
            return Err(format!("takes s_c, s_0 and the sounding, is given {inlet}"));
        }
        Ok(Shape::complex(3, self.samples))
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        let count = input.head.valid * self.samples_per_symbol + tail_samples(self.samples_per_symbol);
        for (row, shaper) in self.shapers.iter_mut().enumerate() {
            let (symbols, samples) = (input.row(row), &mut output.row_mut(row)[..count]);
            // Most frames have no sounding.
            if symbols.iter().all(|symbol| *symbol == Complex32::ZERO) {
                samples.fill(Complex32::ZERO);
            } else {
                shaper.shape(symbols, samples);
            }
        }
        output.head.valid = count;
        if let Some(tap) = &mut self.tap {
            tap.write(output);
        }
        Flow::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, refusal};
    use crate::dsp::root_raised_cosine;

    #[test]
    fn one_symbol_becomes_one_pulse_in_its_place() {
        let (mut context, _) = alone();
        let inlet = Shape::complex(3, context.longest_frame());
        let (sps, roll_off) = (context.scene.waveform.samples_per_symbol, context.scene.waveform.roll_off);
        let mut shaper = block::<Complex32, Complex32>("pulse-shaper", "", &mut context, inlet);
        let mut symbols = vec![Complex32::default(); 3 * 100];
        symbols[100 + 40] = Complex32::new(0.0, 2.0);
        let made = shaper.feed(&shaper.frame(1, 0, &symbols)).remove(0);
        assert_eq!(made.head.valid, 100 * sps + tail_samples(sps));
        assert!(made.row(0).iter().chain(made.row(2)).all(|sample| sample.norm() == 0.0));
        let middle = 40 * sps + tail_samples(sps) / 2;
        for offset in -20i32..=20 {
            let sample = made.row(1)[(middle as i32 + offset) as usize];
            let pulse = 2.0 * root_raised_cosine(f64::from(offset) / sps as f64, roll_off) as f32;
            // The pulse is cut after a number of symbols and scaled to unit energy: a thousandth of its height.
            assert!((sample - Complex32::new(0.0, pulse)).norm() < 5e-3, "{offset}: {sample} {pulse}");
        }
    }

    #[test]
    fn every_reader_of_its_tap_has_both_shaped_streams() {
        let (mut context, _) = alone();
        let inlet = Shape::complex(3, context.longest_frame());
        let mut shaper = block::<Complex32, Complex32>("pulse-shaper", "tap = \"a\"", &mut context, inlet);
        let mut readers = [context.taps.reader("a").unwrap(), context.taps.reader("a").unwrap()];
        let symbols: Vec<_> = (0..90u16).map(|n| Complex32::from(f32::from(n % 7))).collect();
        let made = shaper.feed(&shaper.frame(5, 1000, &symbols)).remove(0);
        for reader in &mut readers {
            let copy = reader.read().expect("the frame that was shaped");
            assert_eq!((copy.row(0), copy.row(1), copy.head), (made.row(0), made.row(1), made.head));
            assert_eq!(copy.channels(), 2);
        }
        assert!(refusal("pulse-shaper", "tap = \"a\"", &mut context, inlet).contains("stands twice"));
        assert!(refusal("pulse-shaper", "", &mut context, Shape::complex(2, 8)).contains("s_c, s_0 and the sounding"));
    }
}
