//! Passes the bits of frames on and hands a copy to whoever makes the frames' reference elsewhere: sensing receivers in
//! other processes, and recordings.

use std::sync::Arc;

use toml::Table;

use super::{BIT_ROWS, Context, no_settings};
use crate::Result;
use crate::exchange::{FrameBits, Reference, ReferenceOutlet};
use crate::modem::header::{FrameHeader, HEADER_BITS};
use crate::stream::{Block, Event, Flow, Frame, PlanBoard, Shape, Stage, Telemetry, erase};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    no_settings(keys)?;
    Ok(erase(ReferenceSender {
        plans: Arc::clone(&context.plans),
        telemetry: context.telemetry.clone(),
        outlets: context.ends.outlets.clone(),
        epoch: None,
    }))
}

struct ReferenceSender {
    plans: Arc<PlanBoard>,
    telemetry: Telemetry,
    outlets: Vec<ReferenceOutlet>,
    /// The plan that was handed on last.
    epoch: Option<u64>,
}

impl Block for ReferenceSender {
    type In = u8;
    type Out = u8;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        if inlet.channels != BIT_ROWS {
            return Err(format!("takes {BIT_ROWS} rows of bits, is given {inlet}"));
        }
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<u8>, output: &mut Frame<u8>) -> Flow {
        output.copy_rows(input, 0);
        let plan = self.plans.in_force(input.head.sequence);
        let header = FrameHeader::unpack(&input.row(0)[..HEADER_BITS]);
        let protected = header.map_or(0, |header| usize::from(header.protected_blocks));
        let bits = FrameBits::pack(input, &plan, protected);
        let news = (self.epoch.replace(plan.epoch) != Some(plan.epoch)).then_some(plan);
        for outlet in &self.outlets {
            let reference = Reference { plan: news.clone(), bits };
            if outlet.waits {
                // As a sink waits for its device; without a reader there is nobody to wait for.
                let _ = outlet.sender.send(reference);
            } else if outlet.sender.try_send(reference).is_err() {
                self.telemetry.report(Event::Lost { frames: 1 });
            }
        }
        Flow::Forward
    }
}
