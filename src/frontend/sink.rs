//! `soapy-sink`: antenna samples to a radio's transmitting side. The end of its chain waits for the device.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Profile, Radio, Radios};
use crate::blocks::{Context, settings};
use crate::stream::{Block, Event, Flow, Frame, LeftOut, Shape, Stage, Telemetry, erase};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The profile: a shipped name or a path.
    radio: String,
}

pub(super) fn make(radios: &mut Radios, context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { radio } = settings(keys)?;
    let profile = Profile::find(&radio)?;
    let antennas = context.scene.array.transmit_antennas;
    if profile.tx.channels.len() != antennas {
        return Err(Error::input(format!(
            "radio {}: {} TX channels; accepted with this scene: {antennas} (array.transmit_antennas)",
            profile.name,
            profile.tx.channels.len()
        )));
    }
    let radio = if radios.opens() {
        // Before the device is so much as opened.
        let permission = radios.permit(context, &profile)?;
        let radio = radios.get(context, &profile)?;
        if let Some(radio) = &radio {
            radio.add_transmitter(&permission)?;
            context.ends.radiates.store(true, Ordering::Relaxed);
            remark!("issc: transmitting: {}", radio.transmission(&permission, &context.scene));
        }
        radio
    } else {
        None
    };
    let (telemetry, left_out) = (context.sinks.telemetry.clone(), Arc::clone(&context.ends.left_out));
    if let Some(radio) = radio.as_ref().filter(|radio| radio.sends_in_real_time()) {
        // It waits for nobody: the source is told how long there is to each sample, and does without what is not there.
        let timed = Arc::clone(radio);
        drop(context.ends.timeline.set(Box::new(move |sample_time| timed.seconds_until(sample_time))));
    }
    Ok(erase(Sink { radio, antennas, telemetry, left_out, end: 0, told: 0, lost: Vec::with_capacity(1024) }))
}

struct Sink {
    radio: Option<Arc<Radio>>,
    antennas: usize,
    telemetry: Telemetry,
    /// Frames that have no echo.
    left_out: Arc<LeftOut>,
    /// The first sample after the last frame, in the device's clock.
    end: i64,
    /// Events of the device reported so far.
    told: u64,
    /// Room for frames that were lost on their way.
    lost: Vec<u64>,
}

impl Sink {
    fn leave_out(&self, frame: u64) {
        self.left_out.insert(frame);
        self.telemetry.report(Event::LeftOut { frame });
    }
}

impl Block for Sink {
    type In = Complex32;
    type Out = ();

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != self.antennas {
            return Err(format!("takes {} antennas (array.transmit_antennas), is given {inlet}", self.antennas));
        }
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<Complex32>, _output: &mut Frame<()>) -> Flow {
        let Some(radio) = &self.radio else { return Flow::Consumed };
        let Some(started) = radio.start() else { return Flow::Consumed };
        let at = started.origin + input.head.sample_time as i64;
        self.end = at + input.head.valid as i64;
        let mut sent = None;
        radio.with_transmitter(|transmitter| sent = transmitter.send(at, input));
        match sent {
            Some(power_w) => {
                let samples = input.head.valid as u64;
                self.telemetry.report(Event::Radiated { samples, energy: power_w * samples as f64 });
                radio.note_sent(input);
            }
            None => self.leave_out(input.head.sequence),
        }
        // A fault is told after the frames that it touches were written.
        let mut lost = std::mem::take(&mut self.lost);
        radio.with_transmitter(|transmitter| lost.extend(transmitter.take_lost()));
        lost.drain(..).for_each(|frame| self.leave_out(frame));
        self.lost = lost;
        let counters = &radio.counters;
        let events =
            [&counters.late, &counters.underflows, &counters.packets_lost, &counters.stream_errors, &counters.timeouts];
        let sum: u64 = events.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
        if sum > self.told {
            self.telemetry.report(Event::Starved { events: sum - self.told });
            self.told = sum;
        }
        Flow::Consumed
    }

    fn flush(&mut self, _output: &mut Frame<()>) -> Flow {
        if let Some(radio) = self.radio.take() {
            radio.end(self.end);
        }
        Flow::Finished
    }
}

impl Drop for Sink {
    /// Also where a stage of the chain panicked, or where the chain never ran.
    fn drop(&mut self) {
        if let Some(radio) = self.radio.take() {
            radio.end(self.end);
        }
    }
}
