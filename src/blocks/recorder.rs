//! Passes samples on and writes them to the recording of the run.

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Context, settings};
use crate::exchange::Trouble;
use crate::recording::{Reception, SampleWriter};
use crate::stream::{Block, Flow, Frame, Shape, Stage, erase};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// Name of the pair of files.
    name: String,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { name } = settings(keys)?;
    let Some(folder) = context.ends.recording.clone() else {
        return Err(Error::input("nothing is recorded; accepted: with --record FOLDER"));
    };
    let reception = Reception {
        rate_hz: context.scene.sample_rate_hz(),
        carrier_hz: context.scene.waveform.carrier_hz,
        device: context.chain.device.clone(),
    };
    let create = move |shape| SampleWriter::create(&folder, &name, shape, reception);
    let trouble = context.ends.trouble.clone();
    Ok(erase(Recorder { create: Some(Box::new(create)), writer: None, trouble }))
}

type Create = Box<dyn FnOnce([usize; 2]) -> Result<SampleWriter> + Send>;

struct Recorder {
    create: Option<Create>,
    writer: Option<SampleWriter>,
    /// Where it says that the disk takes no more, which ends the run.
    trouble: Trouble,
}

impl Block for Recorder {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        let create = self.create.take().ok_or("a recorder takes one shape")?;
        self.writer = Some(create([inlet.channels, inlet.samples]).map_err(|error| error.to_string())?);
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        output.copy_rows(input, 0);
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.write(input)
        {
            // What is written can be played; the metadata on the disk say that it was not finished.
            self.trouble.say(&error);
            self.writer = None;
        }
        Flow::Forward
    }

    fn flush(&mut self, _output: &mut Frame<Complex32>) -> Flow {
        if let Some(Err(error)) = self.writer.take().map(SampleWriter::finish) {
            self.trouble.say(&error);
        }
        Flow::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, events, refusal};
    use crate::stream::Event;

    #[test]
    fn samples_pass_unchanged_and_come_back_from_the_file_gaps_and_times_too() {
        let (mut context, heard) = alone();
        assert!(refusal("recorder", "name = \"a\"", &mut context, Shape::complex(2, 64)).contains("--record FOLDER"));
        let folder = tempfile::tempdir().unwrap();
        context.ends.recording = Some(folder.path().to_owned());
        let mut recorder =
            block::<Complex32, Complex32>("recorder", "name = \"a\"", &mut context, Shape::complex(2, 64));
        let samples = |time: u64| (0..128).map(move |n| Complex32::new(n as f32, time as f32)).collect::<Vec<_>>();
        // 64 samples each; a gap of 100 before the last frame.
        for (sequence, time) in [(0, 500), (1, 564), (2, 728)] {
            let frame = recorder.frame(sequence, time, &samples(time));
            let passed = recorder.feed(&frame).remove(0);
            assert_eq!((passed.head, passed.samples()), (frame.head, frame.samples()));
        }
        recorder.flush();
        let keys = "recording = \"a.sigmf-meta\"";
        let mut source = block::<(), Complex32>("recording-source", keys, &mut context, Shape::NOTHING);
        let played = source.pull(100);
        assert_eq!((source.outlet().channels, source.flow()), (2, Flow::Finished));
        let rows = |row: usize| {
            let times =
                |frame: &Frame<Complex32>| (frame.head.sample_time..).take(frame.head.valid).collect::<Vec<_>>();
            let all = played.iter().flat_map(|frame| times(frame).into_iter().zip(frame.row(row).to_vec()));
            all.collect::<Vec<_>>()
        };
        for row in 0..2 {
            let expected = [500, 564, 728].into_iter().flat_map(|time| {
                let row = samples(time)[64 * row..][..64].to_vec();
                (time..).zip(row).collect::<Vec<_>>()
            });
            assert_eq!(rows(row), expected.collect::<Vec<_>>());
        }
        let gaps = events(&heard, |event| matches!(event, Event::Lost { .. }).then_some(()));
        assert_eq!(gaps.len(), 1);
    }
}
