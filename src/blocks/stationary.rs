//! What stands still, removed from a frame's echo before the target is looked for.
//!
//! Streams go on without a gap on the air, so a frame's echo ends in that of the next one: the reference is the two
//! frames' shaped streams, overlapped as they were sent. The sounding is on neither stream: frames that have one, or
//! come before one, are cleaned but not learned from.

use num_complex::{Complex32, Complex64};

use crate::array::Beams;
use crate::dsp::SPAN_SYMBOLS;
use crate::modem::frame::{HeaderLength, Layout, SOUNDING_PERIOD};
use crate::scene::Scene;
use crate::sensing::{EchoFrame, Planar, SensingConfig, StationaryEchoes};
use crate::stream::Frame;
use crate::{Error, Result};

/// Rows of a frame of streams.
const STREAMS: usize = 2;

/// The keys of a locator that speak of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StationaryKeys {
    pub remove: bool,
    pub learn_frames: Option<usize>,
}

impl StationaryKeys {
    /// A remover, where one is asked for.
    pub fn make(self, scene: &Scene, config: &SensingConfig, window: usize) -> Result<Option<StationaryRemover>> {
        let ready = StationaryEchoes::READY_FRAMES;
        match self.learn_frames {
            Some(frames) if !self.remove => {
                return Err(Error::input(format!("learn_frames = {frames} needs remove_stationary = true")));
            }
            Some(frames) if frames < ready => {
                return Err(Error::input(format!("learn_frames = {frames} is too few; accepted: {ready} or more")));
            }
            _ if !self.remove => return Ok(None),
            _ => {}
        }
        if !scene.channel.holds_for_the_run() {
            return Err(Error::input(
                "remove_stationary = true learns over frames; accepted with channel.timing_error_hold = \"run\" and \
                 channel.reflection_phase = \"random-per-run\"",
            ));
        }
        let echoes = StationaryEchoes::new(config, window);
        let antennas = config.transmit_antennas;
        let before = config.samples_per_symbol * (Layout::plain(HeaderLength::Short).sensing_window() + SPAN_SYMBOLS);
        if echoes.lags() > before {
            return Err(Error::input(format!(
                "remove_stationary = true with {} delays to search, in samples; accepted: up to {before} \
                 (channel.timing_error_std_s, waveform.bandwidth_hz)",
                echoes.lags()
            )));
        }
        let longest = Layout::longest(antennas).sensing_window() + SPAN_SYMBOLS;
        let length = config.samples_per_symbol * longest + echoes.echo_samples();
        Ok(Some(StationaryRemover {
            learn_frames: self.learn_frames.unwrap_or(usize::MAX),
            beams: std::array::from_fn(|_| vec![Complex64::default(); antennas]),
            length,
            streams: vec![Complex32::default(); STREAMS * length],
            left: vec![Complex32::default(); config.receive_antennas * echoes.echo_samples()],
            echoes,
        }))
    }
}

/// Learns and removes, frame by frame.
pub(super) struct StationaryRemover {
    echoes: StationaryEchoes,
    /// Frames that are learned from under the same beams.
    learn_frames: usize,
    /// The beams under which all that is known was learned.
    beams: [Vec<Complex64>; STREAMS],
    /// Room per row of `streams`.
    length: usize,
    /// This frame's streams and the beginning of the next one's.
    streams: Vec<Complex32>,
    /// The echo without what stands still.
    left: Vec<Complex32>,
}

impl StationaryRemover {
    /// Removes from the echo of `frame`, sent as `sent`, what was learned, and learns. `next` is the frame after it with
    /// its beams, if one follows without a gap. `None` where the rest is not to be used yet.
    pub fn clean(
        &mut self,
        sent: &EchoFrame<'_>,
        frame: &Frame<Complex32>,
        next: Option<(&Frame<Complex32>, &Beams)>,
    ) -> Option<Planar<'_>> {
        if !self.uses(sent.beams) {
            self.echoes.turn_to(sent.beams);
            self.beams[0].copy_from_slice(sent.beams.w_c.as_slice());
            self.beams[1].copy_from_slice(sent.beams.w_0.as_slice());
        }
        self.join(frame, next.map(|(next, _)| next));
        let reference = Planar::new(&self.streams, self.length);
        self.echoes.remove(&EchoFrame { reference, ..*sent }, &mut self.left);
        // The end of the echo comes from the next frame, whose beams would differ.
        let is_whole = next.is_none_or(|(_, beams)| self.uses(beams));
        let sounds = |frame: &Frame<Complex32>| frame.head.sequence.is_multiple_of(SOUNDING_PERIOD);
        let learnable = is_whole && !sounds(frame) && !next.is_some_and(|(next, _)| sounds(next));
        let settled = is_whole && self.echoes.is_settled();
        if learnable && self.echoes.frames() < self.learn_frames {
            self.echoes.learn(&self.left);
        }
        settled.then(|| Planar::new(&self.left, self.echoes.echo_samples()))
    }

    /// As [`StationaryEchoes::left_part`].
    pub fn left_part(&self) -> f64 {
        self.echoes.left_part()
    }

    fn uses(&self, beams: &Beams) -> bool {
        self.beams.iter().zip([&beams.w_c, &beams.w_0]).all(|(own, beam)| own.iter().eq(beam.iter()))
    }

    /// Writes both frames' streams to `streams`, from the first one's first sample on.
    fn join(&mut self, frame: &Frame<Complex32>, next: Option<&Frame<Complex32>>) {
        for (row, streams) in self.streams.chunks_exact_mut(self.length).enumerate() {
            let count = frame.head.valid.min(streams.len());
            streams[..count].copy_from_slice(&frame.row(row)[..count]);
            streams[count..].fill(Complex32::default());
            let Some(next) = next else { continue };
            let offset = (next.head.sample_time - frame.head.sample_time) as usize;
            let samples = &next.row(row)[..next.head.valid];
            streams.iter_mut().skip(offset).zip(samples).for_each(|(to, sample)| *to += sample);
        }
    }
}
