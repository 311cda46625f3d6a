//! Passes the bits of frames on and hands a copy to whoever makes the frames' reference elsewhere: sensing receivers in
//! other processes, and recordings.

use std::sync::Arc;

use toml::Table;

use super::{Context, no_settings};
use crate::Result;
use crate::exchange::{FrameBits, Reference, ReferenceOutlet};
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, PlanBoard, Shape, Stage, Telemetry, erase};

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
    type In = CodedFrame;
    type Out = CodedFrame;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<CodedFrame>, output: &mut Frame<CodedFrame>) -> Flow {
        output.copy_rows(input, 0);
        let plan = self.plans.in_force(input.head.sequence);
        let bits = FrameBits::of(input);
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
