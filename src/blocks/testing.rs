//! What the tests of blocks share.

use std::sync::Arc;

use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Collected, Context, Feed, PictureFeed, Registry};
use crate::modem::frame::BLOCKS;
use crate::modem::header::{FrameHeader, VERSION};
use crate::scene::Scene;
use crate::semantic::{Bank, Decoder, Encoder, Picture};
use crate::stream::{CodedFrame, Event, Frame, Harness, Plan, Sample, Shape};

/// A context on the paper's scene.
pub(super) fn alone() -> (Context, Collected) {
    Context::alone(Scene::paper())
}

/// A shipped block by itself; a refusal is the test's failure.
pub(super) fn block<In: Sample, Out: Sample>(
    kind: &str,
    keys: &str,
    context: &mut Context,
    inlet: Shape,
) -> Harness<In, Out> {
    let stage = Registry::shipped().make(kind, keys, context).unwrap_or_else(|error| panic!("{kind}: {error}"));
    Harness::new(stage, inlet).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// Why a shipped block is refused.
pub(super) fn refusal(kind: &str, keys: &str, context: &mut Context, inlet: Shape) -> String {
    let made = Registry::shipped()
        .make(kind, keys, context)
        .and_then(|mut stage| stage.shape(inlet).map_err(crate::Error::input));
    made.expect_err("it is refused").to_string()
}

/// Frames of random payload bits as the context's source would make them, the numbers of one picture each.
pub(super) fn coded_frames(context: &Context, numbers: std::ops::Range<u64>) -> Vec<Frame<CodedFrame>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let (plan, clock) = (context.plans.newest(), context.clock());
    let mut made = Vec::new();
    for number in numbers {
        let mut frame = Frame::new(1, 1);
        (frame.head.sequence, frame.head.valid) = (number, 1);
        frame.head.sample_time = super::FIRST_SAMPLE + clock.start_sample(number);
        let coded: &mut CodedFrame = frame.coded_mut();
        coded.header = FrameHeader {
            version: VERSION,
            number,
            picture: number as u16,
            protected_blocks: 1,
            used_blocks: BLOCKS as u8,
            placed: true,
            ..FrameHeader::default()
        }
        .with_formats([&plan.payload, &plan.protected].map(|code| code.format()));
        for block in 0..BLOCKS {
            let bits = coded.payload_bits(block);
            coded.blocks[block][..bits].fill_with(|| random.random_range(0..2));
        }
        made.push(frame);
    }
    made
}

/// One picture, over and over up to a number.
pub(super) struct Pictures {
    pub picture: Arc<Picture>,
    pub count: u64,
}

impl PictureFeed for Pictures {
    fn picture(&self, number: u64, plan: &Plan) -> Feed {
        let (picture, payload) = (Arc::clone(&self.picture), Arc::clone(&plan.payload));
        if number < self.count { Feed::Ready { picture, source: 0, payload } } else { Feed::End }
    }
}

/// A coded picture, and what a receiver shows that loses nothing of it.
pub(super) fn picture() -> (Arc<Picture>, RgbImage) {
    let bank = Bank::shipped();
    let pixel = |x, y| image::Rgb([(3 * x) as u8, (2 * y) as u8, ((x * y) / 16) as u8]);
    let original = RgbImage::from_fn(96, 64, pixel);
    let picture = Encoder::new(Arc::clone(&bank)).encode(&original, 0, 0).expect("a small picture can be coded");
    let shown = Decoder::new(bank).decode(&picture.protected, &picture.body, &[]).expect("it is whole").image;
    (Arc::new(picture), shown)
}

/// The frames that carry that picture `count` times, all received.
pub(super) fn picture_frames(count: u64) -> (Vec<Frame<CodedFrame>>, RgbImage) {
    let (mut context, _) = alone();
    let (picture, shown) = picture();
    context.codec.feed = Arc::new(Pictures { picture, count });
    let mut frames = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING).pull(10_000);
    frames.iter_mut().for_each(|frame| frame.coded_mut().passed = [true; BLOCKS]);
    (frames, shown)
}

/// All events of one sort.
pub(super) fn events<T>(heard: &Collected, pick: impl Fn(Event) -> Option<T>) -> Vec<T> {
    heard.events.try_iter().filter_map(|told| pick(told.event)).collect()
}
