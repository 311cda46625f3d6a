//! User data out of the blocks that carry it.

use toml::Table;

use super::datagram_ends::Outlet;
pub(super) use super::datagram_ends::SinkKeys as Keys;
use super::datagrams::Unpacker;
use super::{Context, settings};
use crate::Result;
use crate::stream::{Block, CodedFrame, Event, Flow, Frame, Shape, Stage, Telemetry, erase, now_ns};

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let outlet = Outlet::open(settings::<Keys>(keys)?, context.chain.policy, context.ends.unwritten.clone())?;
    let telemetry = context.receivers_telemetry();
    Ok(erase(DataSink { outlet, unpacker: Unpacker::new(), telemetry, next: None }))
}

struct DataSink {
    outlet: Outlet,
    unpacker: Unpacker,
    telemetry: Telemetry,
    /// Number of the next frame.
    next: Option<u64>,
}

impl Block for DataSink {
    type In = CodedFrame;
    type Out = CodedFrame;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        Ok(Shape::CODED)
    }

    fn work(&mut self, input: &Frame<CodedFrame>, output: &mut Frame<CodedFrame>) -> Flow {
        output.copy_rows(input, 0);
        let (number, frame) = (input.head.sequence, input.coded());
        if self.next.replace(number + 1) != Some(number) {
            self.unpacker.lose();
        }
        let before = self.unpacker.counts;
        let mut refused = 0;
        for block in frame.data_blocks() {
            if frame.passed[block] {
                let outlet = &mut self.outlet;
                self.unpacker.take(frame.payload(block), |datagram| refused += u32::from(!outlet.give(datagram)));
            } else {
                self.unpacker.lose();
            }
        }
        let now = self.unpacker.counts;
        if now != before {
            self.telemetry.report(Event::DataReceived {
                frame: number,
                datagrams: (now.received - before.received) as u32,
                bytes: now.bytes - before.bytes,
                lost: (now.lost - before.lost) as u32,
                damaged: (now.damaged - before.damaged) as u32,
                refused,
                at_ns: now_ns(),
            });
        }
        Flow::Forward
    }

    fn flush(&mut self, _output: &mut Frame<CodedFrame>) -> Flow {
        self.outlet.finish();
        Flow::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{Pictures, alone, block, events, picture, refusal};
    use crate::modem::frame::BLOCKS;
    use std::path::Path;
    use std::sync::Arc;

    /// Frames with a file's bytes in what twenty pictures a second leave free, all received.
    fn frames_with(file: &Path, count: usize) -> (Vec<Frame<CodedFrame>>, Vec<Event>) {
        let (mut context, heard) = alone();
        context.codec.feed = Arc::new(Pictures { picture: picture().0, count: u64::MAX });
        context.run.pictures_per_s = Some(20.0);
        let mut pictures = block::<(), CodedFrame>("picture-source", "", &mut context, Shape::NOTHING);
        let keys = format!("file = \"{}\"", file.display());
        let mut source = block::<CodedFrame, CodedFrame>("data-source", &keys, &mut context, Shape::CODED);
        let mut made = Vec::new();
        for frame in pictures.pull(count) {
            // The thread that reads the file is not waited for: the first frames may be without.
            let mut with = source.feed(&frame).remove(0);
            with.coded_mut().passed = [true; BLOCKS];
            made.push(with);
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        (made, events(&heard, Some))
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n * n / 7 + n) as u8).collect()
    }

    #[test]
    fn a_file_arrives_as_it_was_sent_beside_whole_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        std::fs::write(&from, bytes(20_000)).unwrap();
        let (frames, told) = frames_with(&from, 400);
        let (mut context, heard) = alone();
        let keys = format!("file = \"{}\"", to.display());
        let mut sink = block::<CodedFrame, CodedFrame>("data-sink", &keys, &mut context, Shape::CODED);
        for frame in &frames {
            let coded = frame.coded();
            assert_eq!(sink.feed(frame)[0].coded(), coded, "frames pass as they are");
            assert!(coded.data_blocks().end <= BLOCKS && coded.data_blocks().start == coded.used_blocks());
        }
        assert!(!to.exists(), "it is not whole");
        sink.flush();
        assert!(std::fs::read(&to).unwrap() == bytes(20_000));
        let sums = |events: &[Event]| {
            events.iter().fold([0; 2], |[datagrams, octets], event| match *event {
                Event::DataSent { datagrams: more, bytes, .. } | Event::DataReceived { datagrams: more, bytes, .. } => {
                    [datagrams + u64::from(more), octets + bytes]
                }
                _ => [datagrams, octets],
            })
        };
        let received: Vec<_> = events(&heard, Some);
        assert_eq!([sums(&told), sums(&received)], [[17, 20_000]; 2]);
    }

    #[test]
    fn lost_blocks_and_frames_cost_the_datagrams_in_them_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        std::fs::write(&from, bytes(24_000)).unwrap();
        let (mut frames, _) = frames_with(&from, 400);
        let carrying: Vec<_> =
            (0..frames.len()).filter(|index| !frames[*index].coded().data_blocks().is_empty()).collect();
        let (block_lost, frame_lost) = (carrying[40], carrying[120]);
        let blocks = frames[block_lost].coded().data_blocks();
        frames[block_lost].coded_mut().passed[blocks.start] = false;
        frames.remove(frame_lost);
        let (mut context, heard) = alone();
        let keys = format!("file = \"{}\"", to.display());
        let mut sink = block::<CodedFrame, CodedFrame>("data-sink", &keys, &mut context, Shape::CODED);
        frames.iter().for_each(|frame| drop(sink.feed(frame)));
        sink.flush();
        let lost: u32 = events(&heard, |event| match event {
            Event::DataReceived { lost, damaged, .. } => Some(lost + 1000 * damaged),
            _ => None,
        })
        .iter()
        .sum();
        // One datagram of 1 200 bytes takes dozens of blocks: either loss touches one, or two.
        assert!((2..=4).contains(&lost), "{lost}");
        let came = std::fs::read(&to).unwrap();
        assert_eq!(came.len(), 24_000 - 1200 * lost as usize);
        let sent = bytes(24_000);
        assert!(came.chunks(1200).all(|datagram| sent.chunks(1200).any(|known| known == datagram)));
    }

    #[test]
    fn ends_that_are_none_are_refused_in_one_line() {
        let (mut context, _) = alone();
        for (kind, keys, said) in [
            ("data-source", "", "accepted: one of udp"),
            ("data-source", "stdin = true\nudp = \"127.0.0.1:0\"", "2 of udp, file and stdin"),
            ("data-source", "file = \"/no/such/file\"", "/no/such/file"),
            ("data-source", "file = \"/\"", "file = \"/\""),
            ("data-source", "udp = \"here\"", "ADDRESS:PORT"),
            ("data-sink", "udp = \"\"", "accepted: one of udp"),
            ("data-sink", "file = \"/no/such/folder/file\"", "/no/such/folder/file"),
        ] {
            assert!(refusal(kind, keys, &mut context, Shape::CODED).contains(said), "{kind} {keys}");
        }
    }
}
