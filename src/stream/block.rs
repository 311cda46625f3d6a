//! Blocks: one inlet, one outlet, a shape checked once and a call per frame.

use super::{AnyFrame, Frame, Head, Sample, Shape};
use crate::Result;

/// What a call to [`Block::work`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The input is used up and the output holds a frame.
    Forward,
    /// The output holds a frame, and the same input gives another.
    Again,
    /// The input is used up, without an output.
    Consumed,
    /// Nothing can be done until somebody wakes the block (a source waiting for its plan or its picture).
    Pending,
    /// Nothing is to be done before this time has passed (a source that keeps to a pace).
    Later(std::time::Duration),
    /// The stream ends here, without an output.
    Finished,
}

/// How a [`Flow::Pending`] block's thread is woken: a handle that any thread may keep and call.
#[derive(Debug, Clone)]
pub struct Wake(pub std::thread::Thread);

impl Wake {
    /// Lets the waiting thread look again.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// A stage of a chain: from frames of `In` to frames of `Out`. Sources take `()`, sinks give `()`.
///
/// `work` never blocks, allocates, logs or panics on data.
pub trait Block: Send {
    /// Item of the inlet.
    type In: Sample;
    /// Item of the outlet.
    type Out: Sample;

    /// The outlet's shape for this inlet, or what is wrong with the inlet. Called once, at load; the block sizes
    /// its scratch here.
    fn shape(&mut self, inlet: Shape) -> Result<Shape, String>;

    /// Works on one frame. On entry the output's head equals the input's, but for the valid count, which is the
    /// outlet's capacity; the block changes what differs.
    fn work(&mut self, input: &Frame<Self::In>, output: &mut Frame<Self::Out>) -> Flow;

    /// Gives out what the block still holds when its input has ended; called until it says [`Flow::Finished`].
    fn flush(&mut self, _output: &mut Frame<Self::Out>) -> Flow {
        Flow::Finished
    }

    /// Tells a source that whoever stops the run wants it to end.
    fn stop(&mut self) {}
}

/// A block whose items the runtime does not know.
pub trait Stage: Send {
    /// See [`Block::shape`]; also refuses an inlet of another item.
    fn shape(&mut self, inlet: Shape) -> Result<Shape, String>;
    /// See [`Block::work`].
    fn work(&mut self, input: &AnyFrame, output: &mut AnyFrame) -> Flow;
    /// See [`Block::flush`].
    fn flush(&mut self, output: &mut AnyFrame) -> Flow;
    /// See [`Block::stop`].
    fn stop(&mut self);
}

struct Erased<B>(B);

/// A typed block as a stage.
pub fn erase<B: Block + 'static>(block: B) -> Box<dyn Stage> {
    Box::new(Erased(block))
}

impl<B: Block> Stage for Erased<B> {
    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.item != B::In::ITEM {
            return Err(format!("takes {}, is given {inlet}", B::In::ITEM));
        }
        let outlet = self.0.shape(inlet)?;
        debug_assert_eq!(outlet.item, B::Out::ITEM);
        Ok(outlet)
    }

    fn work(&mut self, input: &AnyFrame, output: &mut AnyFrame) -> Flow {
        match (B::In::of(input), B::Out::of_mut(output)) {
            (Some(input), Some(output)) => {
                output.head = Head { valid: output.capacity(), ..input.head };
                self.0.work(input, output)
            }
            _ => unreachable!("items were checked at load"),
        }
    }

    fn flush(&mut self, output: &mut AnyFrame) -> Flow {
        match B::Out::of_mut(output) {
            Some(output) => self.0.flush(output),
            None => unreachable!("items were checked at load"),
        }
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}
