//! Symbols of the two streams and of the sounding to samples. Each frame is shaped whole: its pulses' tails are samples
//! beyond its end, which the superposer adds to the next frame.

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Context, TAP_FRAMES, settings};
use crate::Result;
use crate::dsp::{PulseShaper, tail_samples};
use crate::stream::{Block, Flow, Frame, Shape, Stage, TapWriter, erase, tap};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Name under which the shaped streams can be read.
    tap: Option<String>,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { tap: name } = settings(keys)?;
    let waveform = &context.scene.waveform;
    let samples = context.longest_samples() + tail_samples(waveform.samples_per_symbol);
    let shaper = PulseShaper::new(context.longest_frame(), waveform.samples_per_symbol, waveform.roll_off);
    let samples_per_symbol = waveform.samples_per_symbol;
    let writer = name.map(|name| {
        let (writer, reader) = tap(2, samples, TAP_FRAMES);
        context.taps.insert(name, reader);
        writer
    });
    Ok(erase(Shaper { shaper, samples, samples_per_symbol, tap: writer }))
}

struct Shaper {
    shaper: PulseShaper,
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
        for row in 0..3 {
            self.shaper.shape(input.row(row), &mut output.row_mut(row)[..count]);
        }
        output.head.valid = count;
        if let Some(tap) = &mut self.tap {
            tap.write(output);
        }
        Flow::Forward
    }
}
