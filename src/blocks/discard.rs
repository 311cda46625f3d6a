//! Takes samples and forgets them: the end of a chain whose purpose is a tap or a recording on its way.

use num_complex::Complex32;
use toml::Table;

use super::{Context, no_settings};
use crate::Result;
use crate::stream::{Block, Flow, Frame, Shape, Stage, erase};

pub(super) fn make(_context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    Ok(erase(Discard))
}

struct Discard;

impl Block for Discard {
    type In = Complex32;
    type Out = ();

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, _input: &Frame<Complex32>, _output: &mut Frame<()>) -> Flow {
        Flow::Consumed
    }
}
