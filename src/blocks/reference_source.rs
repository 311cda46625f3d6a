//! The bits of frames that were sent elsewhere, over a link or in a recording: with a frame builder and a pulse shaper they
//! become the reference of a sensing receiver. Stays within a tap's length of the samples received.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use toml::Table;

use super::{Context, TAP_FRAMES, digest_of_bits, no_settings};
use crate::exchange::{FarTransmitter, FrameBits, ReferenceInlet};
use crate::modem::frame::{BLOCKS, FrameClock};
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, Shape, Stage, Telemetry, erase};
use crate::{Error, Result};

/// Longest wait for a frame.
const WAIT: Duration = Duration::from_millis(50);

/// Time for the samples to come closer.
const CATCH_UP: Duration = Duration::from_millis(1);

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    let (Some(inlet), Some(far)) = (context.ends.inlet.take(), context.ends.far.clone()) else {
        return Err(Error::input(
            "no frames come from elsewhere; accepted: once, in a flowgraph with link.connect or in a replay",
        ));
    };
    far.refer_to(0);
    Ok(erase(ReferenceSource {
        inlet,
        far,
        telemetry: context.sinks.telemetry.clone(),
        clock: context.clock(),
        ahead: (TAP_FRAMES / 2 * context.longest_samples()) as u64,
        next: None,
        done: 0,
        stopped: false,
    }))
}

struct ReferenceSource {
    inlet: ReferenceInlet,
    far: Arc<FarTransmitter>,
    telemetry: Telemetry,
    clock: FrameClock,
    /// Samples that the reference may be ahead.
    ahead: u64,
    next: Option<FrameBits>,
    /// End of the last frame given.
    done: u64,
    stopped: bool,
}

impl Block for ReferenceSource {
    type In = ();
    type Out = CodedFrame;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::CODED)
    }

    fn work(&mut self, _input: &Frame<()>, output: &mut Frame<CodedFrame>) -> Flow {
        // The stages after this one are done with what it gave last.
        self.far.refer_to(self.done);
        if self.next.is_none() {
            match self.inlet.frames.recv_timeout(WAIT) {
                Ok(bits) => self.next = Some(bits),
                Err(RecvTimeoutError::Disconnected) => return Flow::Finished,
                Err(RecvTimeoutError::Timeout) if self.stopped => return Flow::Finished,
                Err(RecvTimeoutError::Timeout) => return Flow::Later(Duration::ZERO),
            }
        }
        // Before the frame there is nothing to wait for.
        self.far.refer_to(self.next.as_ref().map_or(self.done, |bits| bits.sample_time.max(self.done)));
        let Some(bits) = self.next.take_if(|bits| bits.sample_time <= self.far.received() + self.ahead) else {
            return if self.stopped { Flow::Finished } else { Flow::Later(CATCH_UP) };
        };
        bits.write(output);
        self.done = bits.end(&self.clock);
        if self.inlet.recorded {
            self.report(output);
        }
        Flow::Forward
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Drop for ReferenceSource {
    fn drop(&mut self) {
        self.far.refer_to(u64::MAX);
    }
}

impl ReferenceSource {
    /// Says what the transmitter said when it sent the frame.
    fn report(&self, frame: &Frame<CodedFrame>) {
        let coded = frame.coded();
        let mut digests = [0; BLOCKS];
        let blocks = coded.data_blocks().end;
        for (block, sent) in digests.iter_mut().enumerate().take(blocks) {
            *sent = digest_of_bits(coded.payload(block));
        }
        let blocks = blocks as u8;
        self.telemetry.report(Event::FrameSent { frame: frame.head.sequence, blocks, digests });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, coded_frames, events, refusal};

    #[test]
    fn frames_come_as_they_were_sent_no_further_ahead_than_a_tap_holds_and_to_their_end() {
        let (mut context, heard) = alone();
        assert!(refusal("reference-source", "", &mut context, Shape::NOTHING).contains("link.connect"));
        let (sender, frames) = crossbeam_channel::bounded(100);
        let far = Arc::new(FarTransmitter::default());
        let samples = far.source();
        context.ends.inlet = Some(ReferenceInlet { frames, recorded: true });
        context.ends.far = Some(Arc::clone(&far));
        let sent = coded_frames(&context, 0..100);
        sent.iter().for_each(|frame| sender.send(FrameBits::of(frame)).unwrap());
        drop(sender);
        let mut source = block::<(), CodedFrame>("reference-source", "", &mut context, Shape::NOTHING);
        let first = source.pull(1000);
        assert!(first.len() < TAP_FRAMES && matches!(source.flow(), Flow::Later(_)), "{}", first.len());
        assert!(!far.refers_to(u64::MAX), "samples have to wait for their reference");
        samples.up_to(u64::MAX / 2);
        let rest = source.pull(1000);
        assert_eq!((first.len() + rest.len(), source.flow()), (100, Flow::Finished));
        for (came, frame) in first.iter().chain(&rest).zip(&sent) {
            assert_eq!((came.head.sequence, came.head.sample_time), (frame.head.sequence, frame.head.sample_time));
            assert_eq!(came.coded(), frame.coded());
        }
        let told = events(&heard, |event| match event {
            Event::FrameSent { digests, .. } => Some(digests),
            _ => None,
        });
        let digests =
            sent.iter().map(|frame| std::array::from_fn(|block| digest_of_bits(frame.coded().payload(block))));
        assert_eq!(told, digests.collect::<Vec<_>>(), "a recording's frames are reported as when they were sent");
        drop(source);
        assert!(far.refers_to(u64::MAX), "nobody waits for a reference that will not come");
    }
}
