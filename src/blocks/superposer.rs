//! The two shaped streams on the antennas, with the weights of the frame's plan, and each antenna's sounding in its
//! slot at the plan's power.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use num_complex::{Complex32, Complex64};
use toml::Table;

use super::{Context, no_settings};
use crate::Result;
use crate::dsp::{Superposer, mean_power, tail_samples};
use crate::modem::frame::Layout;
use crate::stream::{Block, Event, Flow, Frame, PlanReader, Shape, Stage, Telemetry, erase};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    let samples_per_symbol = context.scene.waveform.samples_per_symbol;
    let antennas = context.scene.array.transmit_antennas;
    Ok(erase(SuperposerBlock {
        plans: PlanReader::new(Arc::clone(&context.plans)),
        superposer: Superposer::new(antennas, tail_samples(samples_per_symbol)),
        telemetry: context.sinks.telemetry.clone(),
        radiates_elsewhere: Arc::clone(&context.ends.radiates),
        antennas,
        samples_per_symbol,
        samples: context.longest_samples(),
        after: None,
    }))
}

struct SuperposerBlock {
    plans: PlanReader,
    superposer: Superposer,
    telemetry: Telemetry,
    radiates_elsewhere: Arc<AtomicBool>,
    antennas: usize,
    samples_per_symbol: usize,
    samples: usize,
    /// Sequence and time of what would come after the last frame, until the tail is flushed.
    after: Option<(u64, u64, u64)>,
}

impl Block for SuperposerBlock {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != 3 {
            return Err(format!("takes s_c, s_0 and the sounding, is given {inlet}"));
        }
        Ok(Shape::complex(self.antennas, self.samples))
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        let plan = self.plans.of_epoch(input.head.epoch);
        let (beams, length) = (&plan.beams, plan.header);
        let sounding_amplitude = beams.power_w().sqrt() as f32;
        let tail = tail_samples(self.samples_per_symbol);
        let count = input.head.valid - tail;
        let layout = Layout::of(input.head.sequence, self.antennas, length);
        let narrow = |z: Complex64| Complex32::new(z.re as f32, z.im as f32);
        let mut energy = 0.0;
        for antenna in 0..self.antennas {
            let weights = [narrow(beams.w_c[antenna]), narrow(beams.w_0[antenna])];
            let sound = |samples: &mut [Complex32]| {
                if layout.sounding == 0 {
                    return;
                }
                // The slot's pulses begin with its guard's end and are over before the next slot's.
                let (start, slot) = layout.sounding_slot(antenna, self.antennas);
                let from = start * self.samples_per_symbol + tail / 2;
                let range = from..from + slot * self.samples_per_symbol;
                for (sample, word) in samples[range.clone()].iter_mut().zip(&input.row(2)[range]) {
                    *sample += sounding_amplitude * word;
                }
            };
            let row = &mut output.row_mut(antenna)[..count];
            self.superposer.antenna(antenna, input.row(0), input.row(1), weights, sound, row);
            energy += mean_power(row) * count as f64;
        }
        output.head.valid = count;
        // A radio may send less than it is given, and says itself what it sent.
        if !self.radiates_elsewhere.load(Ordering::Relaxed) {
            self.telemetry.report(Event::Radiated { samples: count as u64, energy });
        }
        self.after = Some((input.head.sequence + 1, input.head.sample_time + count as u64, input.head.epoch));
        Flow::Forward
    }

    fn flush(&mut self, output: &mut Frame<Complex32>) -> Flow {
        let Some((sequence, sample_time, epoch)) = self.after.take() else { return Flow::Finished };
        for antenna in 0..self.antennas {
            let row = output.row_mut(antenna);
            self.superposer.flush(antenna, row);
        }
        output.head.valid = tail_samples(self.samples_per_symbol);
        (output.head.sequence, output.head.sample_time, output.head.epoch) = (sequence, sample_time, epoch);
        output.head.last = true;
        Flow::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, events, refusal};

    #[test]
    fn antennas_send_both_streams_by_their_weights_and_the_next_frame_takes_the_tail() {
        let (mut context, heard) = alone();
        let beams = context.plans.newest().beams.clone();
        let tail = tail_samples(context.scene.waveform.samples_per_symbol);
        let inlet = Shape::complex(3, context.longest_samples() + tail);
        let mut superposer = block::<Complex32, Complex32>("superposer", "", &mut context, inlet);
        let count = 400;
        let stream = |seed: usize| (0..count + tail).map(move |n| Complex32::cis((n * n * seed) as f32 * 0.1));
        let silence = std::iter::repeat_n(Complex32::default(), count + tail);
        let samples: Vec<_> = stream(1).chain(stream(3)).chain(silence).collect();
        let made = superposer.feed(&superposer.frame(1, 500, &samples)).remove(0);
        let rest = superposer.flush();
        assert_eq!((made.head.valid, made.channels(), rest.len(), rest[0].head.valid), (count, 4, 1, tail));
        assert_eq!((rest[0].head.sample_time, rest[0].head.last), (500 + count as u64, true));
        let mut energy = 0.0;
        for antenna in 0..4 {
            let sent: Vec<_> = made.row(antenna).iter().chain(rest[0].row(antenna)).collect();
            for (sent, (s_c, s_0)) in sent.iter().zip(stream(1).zip(stream(3))) {
                let wide = |z: Complex32| Complex64::new(f64::from(z.re), f64::from(z.im));
                let expected = beams.w_c[antenna] * wide(s_c) + beams.w_0[antenna] * wide(s_0);
                assert!((wide(**sent) - expected).norm() < 1e-6 * beams.power_w().sqrt());
            }
            energy += made.row(antenna).iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>();
        }
        let radiated = events(&heard, |event| match event {
            Event::Radiated { samples, energy } => Some((samples, energy)),
            _ => None,
        });
        assert_eq!((radiated.len(), radiated[0].0), (1, count as u64));
        assert!((radiated[0].1 / energy - 1.0).abs() < 1e-5, "{} {energy}", radiated[0].1);
    }

    #[test]
    fn nothing_was_sent_nothing_is_left() {
        let (mut context, _) = alone();
        let inlet = Shape::complex(3, context.longest_samples());
        assert!(block::<Complex32, Complex32>("superposer", "", &mut context, inlet).flush().is_empty());
        assert!(refusal("superposer", "", &mut context, Shape::complex(4, 8)).contains("is given 4 × 8"));
    }
}
