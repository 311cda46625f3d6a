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
        telemetry: context.sinks.telemetry.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, coded_frames, events};
    use crate::stream::Plan;

    #[test]
    fn frames_pass_unchanged_and_the_copies_bring_each_plan_once() {
        let (mut context, heard) = alone();
        let first = (*context.plans.newest()).clone();
        context.plans = Arc::new(PlanBoard::new(first.clone(), 0));
        context.plans.publish(vec![Plan { epoch: 1, from_frame: 3, ..first }]);
        let (roomy, copies) = crossbeam_channel::bounded(8);
        let (narrow, few) = crossbeam_channel::bounded(2);
        for sender in [roomy, narrow] {
            context.ends.outlets.push(ReferenceOutlet { sender, waits: false });
        }
        let frames = coded_frames(&context, 0..5);
        let mut sender = block::<CodedFrame, CodedFrame>("reference-sender", "", &mut context, Shape::CODED);
        for frame in &frames {
            let passed = sender.feed(frame).remove(0);
            assert_eq!((passed.head, passed.coded()), (frame.head, frame.coded()));
        }
        let copies: Vec<_> = copies.try_iter().collect();
        let plans: Vec<_> = copies.iter().map(|copy| copy.plan.as_ref().map(|plan| plan.epoch)).collect();
        assert_eq!(plans, [Some(0), None, None, Some(1), None]);
        assert!(copies.iter().zip(&frames).all(|(copy, frame)| copy.bits == FrameBits::of(frame)));
        let lost = events(&heard, |event| matches!(event, Event::Lost { frames: 1 }).then_some(()));
        assert_eq!((few.len(), lost.len()), (2, 3), "what finds no room is counted");
    }
}
