//! Bits to pictures: blocks are laid where their frame's header says, and what is missing is left to the codec to
//! conceal. A picture is finished when its last frame came, or when the next one begins; it is decoded beside the chain.

use serde::Deserialize;
use toml::Table;

use super::coded_picture::CodedPicture;
use super::picture_decoders::Decoders;
use super::{Context, settings};
use crate::modem::header::unwrap_count;
use crate::stream::{Block, CodedFrame, Flow, Frame, Shape, Stage, erase};
use crate::{Error, Result};

/// Most threads of one sink.
const MAX_DECODERS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Threads that decode pictures.
    #[serde(default)]
    decoders: Option<usize>,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { decoders } = settings(keys)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = decoders.unwrap_or((cores / 2).clamp(1, MAX_DECODERS));
    if !(1..=MAX_DECODERS).contains(&count) {
        return Err(Error::input(format!("decoders = {count} is out of range; accepted: 1 to {MAX_DECODERS}")));
    }
    let receiver = context.chain.receiver;
    let (decoders, picture) =
        Decoders::start(count, &context.codec.bank, &context.sinks, context.chain.policy, receiver)?;
    Ok(erase(PictureSink { decoders, picture: Some(picture), current: None, next_number: 0 }))
}

struct PictureSink {
    decoders: Decoders,
    /// The picture under way, or room for the next one.
    picture: Option<Box<CodedPicture>>,
    /// Its number, low 16 bits.
    current: Option<u16>,
    next_number: u64,
}

impl Block for PictureSink {
    type In = CodedFrame;
    type Out = ();

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<CodedFrame>, _output: &mut Frame<()>) -> Flow {
        let frame = input.coded();
        // Between pictures there is nothing to show.
        if frame.used_blocks() == 0 {
            return Flow::Consumed;
        }
        if self.current.is_some_and(|number| number != frame.header.picture) {
            self.finish();
        }
        self.current = Some(frame.header.picture);
        if let Some(picture) = &mut self.picture {
            picture.lay(frame);
            picture.heard_ns = input.head.heard_ns;
        }
        if frame.header.last_of_picture {
            self.finish();
        }
        Flow::Consumed
    }

    fn flush(&mut self, _output: &mut Frame<()>) -> Flow {
        self.finish();
        self.decoders.finish();
        Flow::Finished
    }
}

impl PictureSink {
    /// Hands the picture under way to the decoders.
    fn finish(&mut self) {
        let (Some(low), Some(mut picture)) = (self.current.take(), self.picture.take()) else { return };
        picture.number = unwrap_count(u64::from(low), 16, self.next_number);
        self.next_number = picture.number + 1;
        self.picture = Some(self.decoders.hand_over(picture));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::blocks::testing::{alone, block, picture_frames, refusal};
    use crate::stream::Policy;

    #[test]
    fn pictures_that_arrive_whole_equal_the_error_free_ones_in_their_order_with_any_number_of_decoders() {
        let (frames, shown) = picture_frames(9);
        for decoders in [1, 3] {
            let (mut context, heard) = alone();
            let keys = format!("decoders = {decoders}");
            let mut sink = block::<CodedFrame, ()>("picture-sink", &keys, &mut context, Shape::CODED);
            frames.iter().for_each(|frame| drop(sink.feed(frame)));
            sink.flush();
            let pictures: Vec<_> = heard.pictures.try_iter().collect();
            assert_eq!(pictures.iter().map(|picture| picture.number).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
            assert!(pictures.iter().all(|picture| picture.image.as_ref() == Some(&shown) && picture.lost_slices == 0));
        }
    }

    #[test]
    fn a_lost_block_costs_slices_and_a_lost_protected_one_the_picture() {
        let (frames, shown) = picture_frames(3);
        let (mut context, heard) = alone();
        let mut sink = block::<CodedFrame, ()>("picture-sink", "", &mut context, Shape::CODED);
        for frame in &frames {
            let mut frame = frame.clone();
            let coded = frame.coded_mut();
            // Picture 1 loses its last block, picture 2 its first.
            match (coded.header.picture, coded.header.last_of_picture, coded.header.protected_offset) {
                (1, true, _) => coded.passed[coded.used_blocks() - 1] = false,
                (2, _, 0) => coded.passed[0] = false,
                _ => {}
            }
            sink.feed(&frame);
        }
        sink.flush();
        let pictures: Vec<_> = heard.pictures.try_iter().collect();
        assert_eq!(pictures.len(), 3);
        assert_eq!(pictures[0].image.as_ref(), Some(&shown));
        assert!(
            pictures[1].image.is_some() && pictures[1].lost_slices > 0 && pictures[1].blocks + 1 == pictures[0].blocks
        );
        assert!(pictures[2].image.is_none() && pictures[2].blocks + 1 == pictures[0].blocks);
    }

    #[test]
    fn headers_that_contradict_themselves_and_frames_without_a_picture_are_survived() {
        let (mut context, heard) = alone();
        let mut sink = block::<CodedFrame, ()>("picture-sink", "", &mut context, Shape::CODED);
        let mut frame = CodedFrame { passed: [true; 4], ..CodedFrame::default() };
        (frame.header.body_offset, frame.header.protected_offset) = (u32::MAX, u32::MAX);
        frame.header.placed = true;
        (frame.header.used_blocks, frame.header.protected_blocks) = (9, 200);
        (frame.header.payload_bits, frame.header.protected_bits) = (u16::MAX, 3);
        for picture in [0, 0, 7, 65_535] {
            frame.header.picture = picture;
            sink.feed(&sink.frame(0, 0, &[frame]));
        }
        sink.flush();
        let pictures: Vec<_> = heard.pictures.try_iter().collect();
        assert!(pictures.len() == 3 && pictures.iter().all(|picture| picture.image.is_none()));
    }

    #[test]
    fn where_nobody_takes_the_pictures_a_dropping_chain_goes_on_and_every_picture_is_counted() {
        let (frames, _) = picture_frames(40);
        let (mut context, _) = alone();
        // One picture fits, and nobody reads before the end.
        let (sender, report) = crossbeam_channel::bounded(1);
        context.sinks.pictures = sender;
        context.chain.policy = Policy::DropOldest;
        let mut sink = block::<CodedFrame, ()>("picture-sink", "decoders = 1", &mut context, Shape::CODED);
        frames.iter().for_each(|frame| drop(sink.feed(frame)));
        let dropped = context.sinks.dropped_pictures.load(Ordering::Relaxed);
        let reading = std::thread::spawn(move || report.iter().collect::<Vec<_>>());
        sink.flush();
        drop((sink, context));
        let pictures = reading.join().unwrap();
        assert_eq!(pictures.iter().map(|picture| picture.number).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        assert_eq!(pictures.iter().filter(|picture| picture.dropped).count() as u64, dropped);
        // One was delivered, one waits for the report, and two wait for the decoder.
        assert!(dropped >= 40 - 5, "{dropped}");
        assert!(pictures.last().unwrap().image.is_some(), "the newest is never dropped");
    }

    #[test]
    fn a_number_of_decoders_out_of_range_is_refused() {
        let (mut context, _) = alone();
        for decoders in [0, 17] {
            let keys = format!("decoders = {decoders}");
            assert!(refusal("picture-sink", &keys, &mut context, Shape::CODED).contains("accepted: 1 to 16"));
        }
    }
}
