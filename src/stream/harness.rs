//! One block by itself: frames go in by hand and what it makes comes back, without a thread or a flowgraph.

use super::{AnyFrame, Flow, Frame, Head, Sample, Shape, Stage};
use crate::{Error, Result};

/// More frames than any block makes of one: a block that goes on for longer never ends.
const MOST: usize = 1 << 16;

/// A stage with `In` and `Out` as its items, ready to be fed.
///
/// ```
/// use issc::blocks::{Context, Registry};
/// use issc::scene::Scene;
/// use issc::stream::{CodedFrame, Frame, Harness, Shape};
/// use num_complex::Complex32;
///
/// let (mut context, _) = Context::alone(Scene::paper());
/// let stage = Registry::shipped().make("frame-builder", "", &mut context)?;
/// let mut builder = Harness::<CodedFrame, Complex32>::new(stage, Shape::CODED)?;
/// let made = builder.feed(&builder.frame(1, 0, &[CodedFrame::default()]));
/// assert_eq!((made.len(), made[0].head.valid), (1, 1528), "one frame of 1528 symbols");
/// # Ok::<(), issc::Error>(())
/// ```
pub struct Harness<In, Out> {
    stage: Box<dyn Stage>,
    inlet: Shape,
    outlet: Shape,
    output: AnyFrame,
    /// What the stage said last.
    flow: Flow,
    items: std::marker::PhantomData<(In, Out)>,
}

impl<In: Sample, Out: Sample> Harness<In, Out> {
    /// Checks shapes as a flowgraph's load does: an error says what is wrong with the inlet.
    pub fn new(mut stage: Box<dyn Stage>, inlet: Shape) -> Result<Self> {
        let outlet = stage.shape(inlet).map_err(Error::input)?;
        if (inlet.item, outlet.item) != (In::ITEM, Out::ITEM) {
            return Err(Error::input(format!(
                "from {} to {}; accepted here: from {} to {}",
                inlet.item,
                outlet.item,
                In::ITEM,
                Out::ITEM
            )));
        }
        let output = AnyFrame::new(outlet);
        Ok(Self { stage, inlet, outlet, output, flow: Flow::Consumed, items: std::marker::PhantomData })
    }

    /// The shape of what comes out.
    pub fn outlet(&self) -> Shape {
        self.outlet
    }

    /// What the block said last.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// A frame of the inlet's shape; `samples` go to its rows, one after the other, and are its valid ones: as many in each
    /// row.
    pub fn frame(&self, sequence: u64, sample_time: u64, samples: &[In]) -> Frame<In> {
        let mut frame = Frame::new(self.inlet.channels, self.inlet.samples);
        let valid = samples.len() / self.inlet.channels.max(1);
        frame.head = Head { sequence, sample_time, valid, ..Head::default() };
        for (row, samples) in samples.chunks_exact(valid.max(1)).enumerate() {
            frame.row_mut(row)[..valid].copy_from_slice(samples);
        }
        frame
    }

    /// Feeds one frame; all that the block makes of it.
    pub fn feed(&mut self, input: &Frame<In>) -> Vec<Frame<Out>> {
        let input = In::wrap(input.clone());
        self.collect(|stage, output| stage.work(&input, output))
    }

    /// Lets a source work `times` times, or until it ends or waits for something; all that it made.
    pub fn pull(&mut self, times: usize) -> Vec<Frame<Out>> {
        let nothing = Frame::new(self.inlet.channels, self.inlet.samples);
        let mut made = Vec::new();
        for _ in 0..times {
            made.extend(self.feed(&nothing));
            if !matches!(self.flow, Flow::Forward | Flow::Consumed) {
                break;
            }
        }
        made
    }

    /// Ends the input; all that the block still holds.
    pub fn flush(&mut self) -> Vec<Frame<Out>> {
        let mut made = Vec::new();
        while made.len() < MOST {
            made.extend(self.collect(|stage, output| stage.flush(output)));
            if self.flow == Flow::Finished {
                break;
            }
        }
        made
    }

    /// Tells a source to end.
    pub fn stop(&mut self) {
        self.stage.stop();
    }

    /// Calls as often as the block asks for the same input again.
    fn collect(&mut self, mut call: impl FnMut(&mut dyn Stage, &mut AnyFrame) -> Flow) -> Vec<Frame<Out>> {
        let mut made = Vec::new();
        while made.len() < MOST {
            self.flow = call(self.stage.as_mut(), &mut self.output);
            if matches!(self.flow, Flow::Forward | Flow::Again) {
                made.extend(Out::of(&self.output).cloned());
            }
            if self.flow != Flow::Again {
                break;
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Block, erase};

    /// Gives every input twice, and one frame more at the end.
    struct Twice {
        given: bool,
        ended: bool,
    }

    impl Block for Twice {
        type In = u8;
        type Out = u8;

        fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
            if inlet.channels == 2 { Ok(inlet) } else { Err("takes two rows".into()) }
        }

        fn work(&mut self, input: &Frame<u8>, output: &mut Frame<u8>) -> Flow {
            output.copy_rows(input, 0);
            self.given = !self.given;
            if self.given { Flow::Again } else { Flow::Forward }
        }

        fn flush(&mut self, output: &mut Frame<u8>) -> Flow {
            if std::mem::replace(&mut self.ended, true) {
                return Flow::Finished;
            }
            output.head.last = true;
            Flow::Forward
        }
    }

    #[test]
    fn all_that_a_block_makes_of_a_frame_and_at_its_end_comes_back() {
        let twice = || erase(Twice { given: false, ended: false });
        let mut harness = Harness::<u8, u8>::new(twice(), Shape::bits(2, 4)).unwrap();
        let made = harness.feed(&harness.frame(7, 100, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(made.iter().map(|frame| frame.head.sequence).collect::<Vec<_>>(), [7, 7]);
        assert_eq!((made[1].row(0), made[1].row(1)), (&[1, 2, 3][..], &[4, 5, 6][..]));
        assert_eq!((harness.flush().len(), harness.flow()), (1, Flow::Finished));
        assert!(Harness::<u8, u8>::new(twice(), Shape::bits(1, 4)).is_err(), "the block refuses one row");
        assert!(Harness::<u8, i8>::new(twice(), Shape::bits(2, 4)).is_err(), "it gives bits");
    }
}
