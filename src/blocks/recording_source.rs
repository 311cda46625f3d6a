//! Samples of a recording, in the place of a radio's or of the simulated air's. A gap in time is reported as the radio
//! reported it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Context, settings};
use crate::exchange::{FarTransmitter, Received};
use crate::recording::SampleReader;
use crate::stream::{Block, Event, Flow, Frame, Shape, Stage, Telemetry, erase};
use crate::{Error, Result};

/// Samples of one frame.
const CHUNK: usize = 2048;

/// Time for the reference to come.
const CATCH_UP: Duration = Duration::from_millis(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// The metadata file; beside the recording that is played where it is a bare name.
    recording: PathBuf,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { recording } = settings(keys)?;
    let path = context.ends.recording.as_ref().map_or(recording.clone(), |folder| folder.join(&recording));
    let reader = SampleReader::open(&path, CHUNK)?;
    // Where a recording does not say its rate, the scene does.
    let accepted = context.scene.sample_rate_hz();
    let found = reader.sample_rate_hz().unwrap_or(accepted);
    if (found / accepted - 1.0).abs() > 1e-9 {
        return Err(Error::file(&path, format!("core:sample_rate {found}; accepted with this scene: {accepted}")));
    }
    let far = context.ends.far.clone().unwrap_or_default();
    Ok(erase(RecordingSource {
        reader,
        received: Some(far.source()),
        far,
        telemetry: context.sinks.telemetry.clone(),
        sequence: 0,
        next: None,
        held: None,
        stopped: false,
    }))
}

struct RecordingSource {
    reader: SampleReader,
    far: Arc<FarTransmitter>,
    /// Nothing once it has ended: then it holds nobody back.
    received: Option<Received>,
    telemetry: Telemetry,
    sequence: u64,
    /// Time of the sample after those given.
    next: Option<u64>,
    /// Read, but without a reference yet.
    held: Option<Box<Frame<Complex32>>>,
    stopped: bool,
}

impl Block for RecordingSource {
    type In = ();
    type Out = Complex32;

    fn shape(&mut self, _inlet: Shape) -> Result<Shape, String> {
        let channels = self.reader.channels();
        self.held = Some(Box::new(Frame::new(channels, CHUNK)));
        Ok(Shape::complex(channels, CHUNK))
    }

    fn work(&mut self, _input: &Frame<()>, output: &mut Frame<Complex32>) -> Flow {
        let flow = self.play(output);
        if flow == Flow::Finished {
            self.received = None;
        }
        flow
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}

impl RecordingSource {
    fn play(&mut self, output: &mut Frame<Complex32>) -> Flow {
        let Some(held) = self.held.as_mut().filter(|_| !self.stopped) else { return Flow::Finished };
        if held.head.valid == 0 {
            match self.reader.read(held) {
                Ok(true) => {}
                Ok(false) => return Flow::Finished,
                Err(error) => {
                    self.far.fail(format!("the recording cannot be read: {error}"));
                    return Flow::Finished;
                }
            }
        }
        let end = held.head.sample_time + held.head.valid as u64;
        self.received.iter().for_each(|received| received.up_to(end));
        if !self.far.refers_to(end) {
            return Flow::Later(CATCH_UP);
        }
        if self.next.is_some_and(|next| next != held.head.sample_time) {
            self.telemetry.report(Event::Lost { frames: 1 });
        }
        self.next = Some(end);
        output.copy_rows(held, 0);
        output.head.sequence = self.sequence;
        self.sequence += 1;
        held.head.valid = 0;
        Flow::Forward
    }
}

impl Drop for RecordingSource {
    fn drop(&mut self) {
        if let Some(line) = self.reader.blemishes() {
            remark!("issc: {line}: played as zeros");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::testing::{alone, block, refusal};

    #[test]
    fn a_recording_of_another_rate_and_one_that_is_not_there_are_refused() {
        let (mut context, _) = alone();
        let folder = tempfile::tempdir().unwrap();
        context.ends.recording = Some(folder.path().to_owned());
        let mut recorder =
            block::<Complex32, Complex32>("recorder", "name = \"a\"", &mut context, Shape::complex(1, 8));
        recorder.feed(&recorder.frame(0, 0, &[Complex32::ONE; 8]));
        recorder.flush();
        let mut other = (*context.scene).clone();
        other.waveform.bandwidth_hz *= 2.0;
        context.scene = Arc::new(other);
        let keys = "recording = \"a.sigmf-meta\"";
        assert!(refusal("recording-source", keys, &mut context, Shape::NOTHING).contains("core:sample_rate"));
        let keys = "recording = \"b.sigmf-meta\"";
        assert!(refusal("recording-source", keys, &mut context, Shape::NOTHING).contains("b.sigmf-meta"));
    }

    #[test]
    fn samples_wait_for_their_reference_and_it_ends_when_it_is_told_to() {
        let (mut context, _) = alone();
        let folder = tempfile::tempdir().unwrap();
        context.ends.recording = Some(folder.path().to_owned());
        let mut recorder =
            block::<Complex32, Complex32>("recorder", "name = \"a\"", &mut context, Shape::complex(1, CHUNK));
        (0..4).for_each(|n| {
            recorder.feed(&recorder.frame(n, n * CHUNK as u64, &[Complex32::ONE; CHUNK]));
        });
        recorder.flush();
        let far = Arc::new(FarTransmitter::default());
        far.refer_to(CHUNK as u64);
        context.ends.far = Some(Arc::clone(&far));
        let keys = "recording = \"a.sigmf-meta\"";
        let mut source = block::<(), Complex32>("recording-source", keys, &mut context, Shape::NOTHING);
        assert_eq!(source.pull(10).len(), 1);
        assert_eq!((source.flow(), far.received()), (Flow::Later(CATCH_UP), 2 * CHUNK as u64));
        source.stop();
        assert_eq!((source.pull(10).len(), source.flow()), (0, Flow::Finished));
    }
}
