//! The exchange of a run in files, beside the samples of a recording. `frames.jsonl` has what a sensing receiver needs
//! (plans and the bits of frames), `report.jsonl` what only the report does: the simulation's truth, powers, what pictures
//! were sent. A line is an [`Envelope`].

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::peer::now_us;
use super::{Envelope, FarTransmitter, FrameBits, FrameMessage, Message, PlanMessage, Reference};
use crate::modem::frame::FrameClock;
use crate::stream::{Event, LeftOut, Plan, PlanBoard};
use crate::{Error, Result};

const FRAMES_FILE: &str = "frames.jsonl";
const REPORT_FILE: &str = "report.jsonl";

/// Frames that may wait to be written, and to be played.
const FRAMES: usize = 256;

/// Lines of one file.
struct Lines {
    file: BufWriter<File>,
    sequence: u64,
}

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(|error| Error::file(&path, error))?;
        Ok(Self { file: BufWriter::new(file), sequence: 0 })
    }

    fn write(&mut self, message: &Message) -> std::io::Result<()> {
        let envelope = Envelope { sequence: self.sequence, sent_us: now_us(), message };
        self.sequence += 1;
        serde_json::to_writer(&mut self.file, &envelope)?;
        self.file.write_all(b"\n")
    }
}

/// Writes the exchange of a run.
pub struct Journal {
    references: Sender<Reference>,
    frames: JoinHandle<std::io::Result<()>>,
    events: Lines,
    written: std::io::Result<()>,
}

impl Journal {
    /// Begins in a folder.
    pub fn create(folder: &Path) -> Result<Self> {
        let mut lines = Lines::create(folder, FRAMES_FILE)?;
        let (references, taken) = bounded::<Reference>(FRAMES);
        let write = move || {
            for Reference { plan, bits } in taken {
                if let Some(plan) = plan {
                    lines.write(&Message::Plan((&*plan).into()))?;
                }
                lines.write(&Message::Frame((&bits).into()))?;
            }
            lines.file.flush()
        };
        let frames = thread::Builder::new()
            .name("journal".into())
            .spawn(write)
            .map_err(|error| Error::device(format!("no thread for the journal: {error}")))?;
        Ok(Self { references, frames, events: Lines::create(folder, REPORT_FILE)?, written: Ok(()) })
    }

    /// Where frames go.
    pub fn references(&self) -> Sender<Reference> {
        self.references.clone()
    }

    /// Keeps an event that a replay of the receivers does not make again ([`Audience::recording`](crate::stream::Audience)).
    pub fn tell(&mut self, event: &Event) {
        if self.written.is_ok() {
            self.written = self.events.write(&Message::Event(*event));
        }
    }

    /// Writes what is left, once the blocks of the run are gone.
    pub fn finish(mut self) -> Result<()> {
        drop(self.references);
        let frames = self.frames.join().unwrap_or_else(|_| Err(std::io::Error::other("its thread panicked")));
        frames
            .and(self.written)
            .and_then(|()| self.events.file.flush())
            .map_err(|error| Error::device(format!("the recording is not whole: {error}")))
    }
}

/// The exchange of a run of the past.
pub struct Recorded {
    /// The first plan, where there is any.
    pub first: Option<Plan>,
    /// What happened that receivers cannot tell.
    pub events: Vec<Event>,
    items: Vec<Item>,
}

enum Item {
    Plan(Plan),
    Frame(FrameMessage),
}

impl Recorded {
    /// Reads the files of a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let (mut items, mut events, mut first) = (Vec::new(), Vec::new(), None);
        each_line(&folder.join(FRAMES_FILE), |message| {
            match message {
                Message::Plan(plan) => {
                    let plan: Plan = PlanMessage::plan(plan)?;
                    first.get_or_insert_with(|| plan.clone());
                    items.push(Item::Plan(plan));
                }
                Message::Frame(frame) => {
                    // The text of a frame is kept: its bits, one per byte, would take ten times the memory.
                    frame.bits()?;
                    items.push(Item::Frame(frame));
                }
                _ => return Err("neither a plan nor a frame".into()),
            }
            Ok(())
        })?;
        each_line(&folder.join(REPORT_FILE), |message| match message {
            Message::Event(event) => {
                events.push(event);
                Ok(())
            }
            _ => Err("no event".into()),
        })?;
        Ok(Self { first, events, items })
    }

    /// How many frames there are.
    pub fn frames(&self) -> u64 {
        self.items.iter().filter(|item| matches!(item, Item::Frame(_))).count() as u64
    }

    /// Plays it: plans to `plans`, the end to `far`, what was not sent to `left_out`, the frames to what is returned.
    pub fn play(
        self,
        plans: Arc<PlanBoard>,
        far: Arc<FarTransmitter>,
        left_out: Arc<LeftOut>,
        clock: FrameClock,
    ) -> Result<Receiver<FrameBits>> {
        let silent: HashSet<u64> = self.events.iter().filter_map(left_out_frame).collect();
        let (frames, taken) = bounded(FRAMES);
        let play = move || {
            let mut end = 0;
            for item in self.items {
                match item {
                    Item::Plan(plan) if plan.epoch > plans.newest().epoch => plans.publish(vec![plan]),
                    Item::Plan(_) => {}
                    Item::Frame(frame) => {
                        let Ok(bits) = frame.bits() else { continue };
                        if silent.contains(&bits.number) {
                            left_out.insert(bits.number);
                        }
                        end = bits.end(&clock);
                        if frames.send(bits).is_err() {
                            break;
                        }
                    }
                }
            }
            far.finish(end);
        };
        let thread = thread::Builder::new().name("journal".into()).spawn(play);
        thread.map_err(|error| Error::device(format!("no thread for the journal: {error}")))?;
        Ok(taken)
    }
}

fn left_out_frame(event: &Event) -> Option<u64> {
    match event {
        Event::LeftOut { frame } => Some(*frame),
        _ => None,
    }
}

/// Reads a file of messages; an error names the line.
fn each_line(path: &Path, mut take: impl FnMut(Message) -> Result<(), String>) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    for (sequence, line) in text.lines().enumerate() {
        let wrong = |what: String| Error::input(format!("{}:{}: {what}", path.display(), sequence + 1));
        let envelope: Envelope = serde_json::from_str(line).map_err(|_| wrong("damaged".into()))?;
        if envelope.sequence != sequence as u64 {
            return Err(wrong(format!("message {} where {sequence} is due", envelope.sequence)));
        }
        take(envelope.message).map_err(wrong)?;
    }
    Ok(())
}
