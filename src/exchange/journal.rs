//! The exchange of a run in files, beside the samples of a recording. `frames.jsonl` has what a sensing receiver needs
//! (plans and the bits of frames), `report.jsonl` what only the report does: the simulation's truth, powers, what pictures
//! were sent. A line is an [`Envelope`].

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::peer::now_us;
use super::{Envelope, FarTransmitter, FrameBits, FrameMessage, Message, PlanMessage, Reference, Trouble};
use crate::modem::frame::FrameClock;
use crate::stream::{Event, Head, LeftOut, Plan, PlanBoard};
use crate::{Error, Result};

const FRAMES_FILE: &str = "frames.jsonl";
const REPORT_FILE: &str = "report.jsonl";

/// Frames that may wait to be written, and to be played.
const FRAMES: usize = 256;

/// How long lines may wait for the disk.
const SETTLED: Duration = Duration::from_millis(100);

/// Most frames of a run: their samples' times stay far from the last ones there are.
const MOST_FRAMES: u64 = 1 << 40;

/// Lines of one file.
struct Lines {
    file: BufWriter<File>,
    sequence: u64,
    /// When the lines so far were handed to the system.
    settled: Instant,
}

impl Lines {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let file = File::create(&path).map_err(|error| Error::file(&path, error))?;
        Ok(Self { file: BufWriter::new(file), sequence: 0, settled: Instant::now() })
    }

    /// Adds a line, which [`Lines::settle`] and the end hand to the system; the first goes there at once.
    fn write(&mut self, message: &Message) -> std::io::Result<()> {
        let envelope = Envelope { sequence: self.sequence, sent_us: now_us(), message };
        self.sequence += 1;
        serde_json::to_writer(&mut self.file, &envelope)?;
        self.file.write_all(b"\n")?;
        // Samples without their first frame cannot be played: that one must not wait for others while the disk fills.
        if self.sequence == 1 { self.file.flush() } else { Ok(()) }
    }

    /// Hands what was written some time ago to the system, so that little is lost where the process is killed.
    fn settle(&mut self) -> std::io::Result<()> {
        if self.settled.elapsed() < SETTLED {
            return Ok(());
        }
        self.settled = Instant::now();
        self.file.flush()
    }
}

/// Writes the exchange of a run.
pub struct Journal {
    references: Sender<Reference>,
    frames: JoinHandle<std::io::Result<()>>,
    events: Lines,
    written: std::io::Result<()>,
    trouble: Trouble,
}

impl Journal {
    /// Begins in a folder.
    ///
    /// # Errors
    /// Where the files cannot be made. What cannot be written later goes to `trouble`.
    pub fn create(folder: &Path, trouble: Trouble) -> Result<Self> {
        let told = trouble.clone();
        let mut lines = Lines::create(folder, FRAMES_FILE)?;
        let (references, taken) = bounded::<Reference>(FRAMES);
        let write = move || {
            for Reference { plan, bits } in taken {
                if let Some(plan) = plan {
                    lines.write(&Message::Plan((&*plan).into()))?;
                }
                lines.write(&Message::Frame((&bits).into()))?;
                lines.settle()?;
            }
            lines.file.flush()
        };
        let write = move || {
            let written = write();
            if let Err(error) = &written {
                trouble.say(format!("{FRAMES_FILE}: {error}"));
            }
            written
        };
        let frames = thread::Builder::new()
            .name("journal".into())
            .spawn(write)
            .map_err(|error| Error::device(format!("no thread for the journal: {error}")))?;
        Ok(Self { references, frames, events: Lines::create(folder, REPORT_FILE)?, written: Ok(()), trouble: told })
    }

    /// Where frames go.
    pub fn references(&self) -> Sender<Reference> {
        self.references.clone()
    }

    /// Keeps an event that a replay of the receivers does not make again ([`Audience::recording`](crate::stream::Audience)).
    pub fn tell(&mut self, event: &Event) {
        if self.written.is_ok() {
            self.written = self.events.write(&Message::Event(*event)).and_then(|()| self.events.settle());
            if let Err(error) = &self.written {
                self.trouble.say(format!("{REPORT_FILE}: {error}"));
            }
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
    /// Reads the files of a folder. Where the recording was not finished, the last line of each may be there in part, and is
    /// left out then.
    ///
    /// # Errors
    /// Names file and line.
    pub fn read(folder: &Path, finished: bool) -> Result<Self> {
        let (mut items, mut events, mut first) = (Vec::new(), Vec::new(), None);
        each_line(&folder.join(FRAMES_FILE), finished, |message| {
            match message {
                Message::Plan(plan) => {
                    let plan: Plan = PlanMessage::plan(plan)?;
                    first.get_or_insert_with(|| plan.clone());
                    items.push(Item::Plan(plan));
                }
                Message::Frame(frame) => {
                    // The text of a frame is kept: its bits, one per byte, would take ten times the memory.
                    let bits = frame.bits()?;
                    if bits.number > MOST_FRAMES || bits.sample_time > Head::MOST_TIME {
                        let (number, time) = (bits.number, bits.sample_time);
                        return Err(format!("frame {number} at sample {time}; accepted: up to {MOST_FRAMES} and 2^63"));
                    }
                    items.push(Item::Frame(frame));
                }
                _ => return Err("neither a plan nor a frame".into()),
            }
            Ok(())
        })?;
        each_line(&folder.join(REPORT_FILE), finished, |message| match message {
            Message::Event(event) => {
                events.push(event);
                Ok(())
            }
            _ => Err("no event".into()),
        })?;
        Ok(Self { first, events, items })
    }

    /// All plans, in their order.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.items.iter().filter_map(|item| match item {
            Item::Plan(plan) => Some(plan),
            Item::Frame(_) => None,
        })
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
fn each_line(path: &Path, finished: bool, mut take: impl FnMut(Message) -> Result<(), String>) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
    let whole = if finished { &text[..] } else { &text[..text.rfind('\n').map_or(0, |end| end + 1)] };
    for (sequence, line) in whole.lines().enumerate() {
        let wrong = |what: String| Error::input(format!("{}:{}: {what}", path.display(), sequence + 1));
        let envelope: Envelope = serde_json::from_str(line)
            .map_err(|_| Error::damaged("damaged").within(format!("{}:{}", path.display(), sequence + 1)))?;
        if envelope.sequence != sequence as u64 {
            return Err(wrong(format!("message {} where {sequence} is due", envelope.sequence)));
        }
        take(envelope.message).map_err(wrong)?;
    }
    Ok(())
}
