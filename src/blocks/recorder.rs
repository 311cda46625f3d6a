//! Passes samples on and writes them to the recording of the run.

use num_complex::Complex32;
use serde::Deserialize;
use toml::Table;

use super::{Context, settings};
use crate::recording::SampleWriter;
use crate::stream::{Block, Flow, Frame, Shape, Stage, erase};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Name of the pair of files.
    name: String,
}

pub(super) fn make(context: &mut Context, keys: Table) -> Result<Box<dyn Stage>> {
    let Keys { name } = settings(keys)?;
    let Some(folder) = context.ends.recording.clone() else {
        return Err(Error::input("nothing is recorded; accepted: with --record FOLDER"));
    };
    let (rate_hz, carrier_hz) = (context.scene.sample_rate_hz(), context.scene.waveform.carrier_hz);
    let create = move |shape| SampleWriter::create(&folder, &name, shape, rate_hz, carrier_hz);
    Ok(erase(Recorder { create: Some(Box::new(create)), writer: None }))
}

type Create = Box<dyn FnOnce([usize; 2]) -> Result<SampleWriter> + Send>;

struct Recorder {
    create: Option<Create>,
    writer: Option<SampleWriter>,
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
            // The run goes on; without metadata nobody takes the rest for a recording.
            eprintln!("issc: the recording ends: {error}");
            self.writer = None;
        }
        Flow::Forward
    }

    fn flush(&mut self, _output: &mut Frame<Complex32>) -> Flow {
        if let Some(Err(error)) = self.writer.take().map(SampleWriter::finish) {
            eprintln!("issc: the recording is not whole: {error}");
        }
        Flow::Finished
    }
}
