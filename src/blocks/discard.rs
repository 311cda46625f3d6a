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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, refusal};

    #[test]
    fn samples_of_any_shape_go_in_and_nothing_comes_out() {
        let (mut context, _) = alone();
        let mut discard = block::<Complex32, ()>("discard", "", &mut context, Shape::complex(7, 3));
        assert!(discard.feed(&discard.frame(0, 0, &[Complex32::ONE; 21])).is_empty());
        assert_eq!((discard.flow(), discard.outlet()), (Flow::Consumed, Shape::NOTHING));
        assert!(refusal("discard", "", &mut context, Shape::CODED).contains("takes complex samples"));
    }
}
