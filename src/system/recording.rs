//! `--record` and `--replay`: a flowgraph with recorders after its receiving ends, and the same flowgraph with recordings
//! in their place. The folder holds the flowgraph, the scene, the pictures where they are the user's, the exchange of the
//! run, and a SigMF pair per receiving chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::report::RadioFigures;
use crate::blocks::{Registry, Role};
use crate::control::SessionLog;
use crate::exchange::{Journal, PlanMessage, Recorded, Reference, Trouble};
use crate::part::write_whole;
use crate::runtime::{ChainText, Flowgraph, StageText};
use crate::stream::{Event, Plan};
use crate::{Error, Result};

/// Version of the folder's form.
const VERSION: u32 = 2;

/// What a folder says of its run: from the beginning on, and last of all once more.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    version: u32,
    /// Whether the recording came to its end.
    #[serde(default = "came_to_its_end")]
    finished: bool,
    /// Seed of the sensing stream.
    pub seed: u64,
    /// Whether the transmitter was in the recorded process.
    pub transmits: bool,
    /// Whether the sensing stream carried bits of its own: `probing.bits`.
    pub probing: bool,
    /// Whether the pictures were the user's: `pictures/`.
    pub pictures: bool,
    /// The newest plan.
    pub plan: PlanMessage,
    /// What the optimizer did.
    pub log: SessionLog,
    /// What happened at each radio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub radios: Vec<RadioFigures>,
}

/// What only the end of a run knows and a replay does not find again.
#[derive(Default, Clone)]
pub struct AtEnd {
    /// What the optimizer did.
    pub log: SessionLog,
    /// What happened at each radio.
    pub radios: Vec<RadioFigures>,
}

/// Outcomes of before there were others were written at the end alone.
fn came_to_its_end() -> bool {
    true
}

/// Roles of stages whose output is the bits of frames.
const FRAMES: [Role; 2] = [Role::Creates, Role::Repeats];

/// A recording that is made.
pub struct Recording {
    folder: PathBuf,
    /// Until the end.
    journal: Option<Journal>,
    seed: u64,
    transmits: bool,
    probing: bool,
    pictures: bool,
    trouble: Trouble,
}

/// What a recording is of.
pub struct Subject<'a> {
    /// The flowgraph's text and its scene's.
    pub texts: [&'a str; 2],
    /// Seed of the run.
    pub seed: u64,
    /// Bits of the sensing stream, if there are any.
    pub probing: Option<&'a Path>,
    /// Pictures of the user, in their order.
    pub pictures: &'a [image::RgbImage],
}

impl Recording {
    /// Begins in a folder that is new or empty, and puts the recorders into the flowgraph.
    pub fn begin(folder: &Path, graph: &mut Flowgraph, subject: &Subject<'_>, registry: &Registry) -> Result<Self> {
        let wrong = |error: std::io::Error| Error::file(folder, error);
        std::fs::create_dir_all(folder).map_err(wrong)?;
        if std::fs::read_dir(folder).map_err(wrong)?.next().is_some() {
            return Err(Error::file(folder, "not empty; accepted with --record: a new or an empty folder"));
        }
        let [flowgraph, scene] = subject.texts;
        write(&folder.join("flowgraph.toml"), flowgraph.as_bytes())?;
        write(&folder.join("scene.toml"), scene.as_bytes())?;
        if let Some(bits) = subject.probing {
            std::fs::copy(bits, folder.join("probing.bits")).map_err(wrong)?;
        }
        if !subject.pictures.is_empty() {
            let pictures = folder.join("pictures");
            std::fs::create_dir(&pictures).map_err(wrong)?;
            for (number, picture) in subject.pictures.iter().enumerate() {
                let (file, mut png) = (pictures.join(format!("{number:06}.png")), std::io::Cursor::new(Vec::new()));
                picture.write_to(&mut png, image::ImageFormat::Png).map_err(|error| Error::file(&file, error))?;
                write(&file, png.get_ref())?;
            }
        }
        let transmits = graph.has(registry, Role::Creates);
        insert_recorders(graph, registry);
        let trouble = Trouble::default();
        Ok(Self {
            folder: folder.to_owned(),
            journal: Some(Journal::create(folder, trouble.clone())?),
            trouble,
            seed: subject.seed,
            transmits,
            probing: subject.probing.is_some(),
            pictures: !subject.pictures.is_empty(),
        })
    }

    /// Where frames go.
    pub fn references(&self) -> Option<Sender<Reference>> {
        self.journal.as_ref().map(Journal::references)
    }

    /// Keeps an event.
    pub fn tell(&mut self, event: &Event) {
        self.journal.iter_mut().for_each(|journal| journal.tell(event));
    }

    /// Where all that write it say that they cannot go on.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Writes what a replay needs where the run does not come to its end: the first plan.
    pub fn provide(&self, plan: &Plan) -> Result<()> {
        self.write_outcome(false, &AtEnd::default(), plan)
    }

    /// Writes what a replay cannot find again.
    ///
    /// # Errors
    /// Where the disk did not take all of it; what is there can be played as one that was not finished.
    pub fn finish(mut self, at_end: &AtEnd, plan: &Plan) -> Result<()> {
        let journal = self.journal.take().map_or(Ok(()), Journal::finish);
        if let Some(what) = self.trouble.said() {
            return Err(Error::device(format!("the recording is not whole: {what}; what is there can be played")));
        }
        journal?;
        self.write_outcome(true, at_end, plan)
    }

    fn write_outcome(&self, finished: bool, at_end: &AtEnd, plan: &Plan) -> Result<()> {
        let outcome = Outcome {
            version: VERSION,
            finished,
            seed: self.seed,
            transmits: self.transmits,
            probing: self.probing,
            pictures: self.pictures,
            plan: plan.into(),
            log: at_end.log.clone(),
            radios: at_end.radios.clone(),
        };
        let text = serde_json::to_string_pretty(&outcome).expect("an outcome is valid JSON");
        write(&self.folder.join("outcome.json"), (text + "\n").as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).map_err(|error| Error::device(format!("{}: {error}", path.display())))
}

fn stage(kind: &str, keys: &[(&str, String)]) -> StageText {
    let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), Value::String(value.clone()))).collect::<Table>();
    StageText { kind: kind.into(), keys }
}

fn insert_recorders(graph: &mut Flowgraph, registry: &Registry) {
    for chain in &mut graph.chains {
        let mut stages = Vec::new();
        for text in chain.stages.drain(..) {
            let role = registry.role(&text.kind);
            let (hears, sends) = (role == Some(Role::Hears), role.is_some_and(|role| FRAMES.contains(&role)));
            // A flowgraph with a link has one already.
            if role != Some(Role::Relays) {
                stages.push(text);
            }
            if hears {
                stages.push(stage("recorder", &[("name", chain.name.clone())]));
            }
            if sends {
                stages.push(stage("reference-sender", &[]));
            }
        }
        chain.stages = stages;
    }
}

/// Puts recordings into a flowgraph, in the place of everything that sends and of everything between there and the receivers.
fn insert_recordings(graph: &mut Flowgraph, registry: &Registry) {
    graph.link = None;
    graph.follow_frames = None;
    // Chains that feed nobody any more.
    let mut silent: Vec<String> = Vec::new();
    graph.chains.retain_mut(|chain| {
        // A recording waits for everybody, whatever its radio did.
        chain.link = None;
        let kept = replay_chain(chain, &silent, registry);
        if !kept || chain.stages.last().is_some_and(|stage| registry.role(&stage.kind) == Some(Role::Discards)) {
            silent.push(chain.name.clone());
        }
        kept
    });
}

/// Whether anything of a chain is left, which then replays.
fn replay_chain(chain: &mut ChainText, silent: &[String], registry: &Registry) -> bool {
    let role = |stage: &StageText| registry.role(&stage.kind);
    let place =
        |roles: &[Role]| chain.stages.iter().position(|stage| role(stage).is_some_and(|role| roles.contains(&role)));
    if let Some(hears) = place(&[Role::Hears]) {
        let file = format!("{}.sigmf-meta", chain.name);
        chain.stages.splice(..=hears, [stage("recording-source", &[("recording", file)])]);
        (chain.from, chain.first_row, chain.rows) = (None, 0, None);
        return true;
    }
    if let Some(sends) = place(&FRAMES) {
        let shaper = |stage: &StageText| role(stage) == Some(Role::Shapes) && stage.keys.contains_key("tap");
        let Some(end) = chain.stages.iter().position(shaper) else { return false };
        chain.stages.truncate(end + 1);
        chain.stages.push(stage("discard", &[]));
        chain.stages.splice(..=sends, [stage("reference-source", &[])]);
        chain.stages.retain(|stage| role(stage) != Some(Role::Relays));
        return true;
    }
    chain.from.as_ref().is_none_or(|from| !silent.contains(from))
}

/// A recording that is played.
pub struct Replay {
    /// Its flowgraph.
    pub graph: Flowgraph,
    /// Its scene.
    pub scene: Table,
    /// What it says of the run.
    pub outcome: Outcome,
    /// Its exchange.
    pub recorded: Recorded,
    /// Where it lies.
    pub folder: PathBuf,
}

impl Replay {
    /// Reads a folder that `--record` made.
    pub fn read(folder: &Path, registry: &Registry) -> Result<Self> {
        let path = folder.join("outcome.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::file(&path, format!("{error}; accepted with --replay: a folder that --record made"))
        })?;
        let damaged = |error: serde_json::Error| Error::file(&path, format!("damaged: {error}"));
        let outcome: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
        let version = outcome["version"].as_u64().unwrap_or_default();
        if version != u64::from(VERSION) {
            let what = format!("version {version}, whose frames have other headers; accepted: {VERSION}");
            return Err(Error::file(&path, what));
        }
        let outcome: Outcome = serde_json::from_value(outcome).map_err(damaged)?;
        let read = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
            Ok::<_, Error>((text, path.display().to_string()))
        };
        let (text, name) = read("flowgraph.toml")?;
        let mut graph = Flowgraph::from_toml(&text, &name)?;
        let has_frames = FRAMES.iter().any(|role| graph.has(registry, *role));
        insert_recordings(&mut graph, registry);
        let (text, name) = read("scene.toml")?;
        let scene = crate::config::from_toml(&text, &name)?;
        let recorded = Recorded::read(folder, outcome.finished)?;
        let frames = recorded.frames();
        if has_frames && frames == 0 {
            return Err(Error::file(&folder.join("frames.jsonl"), "no frame in it; accepted: what was sent"));
        }
        if !outcome.finished {
            remark!("issc: {}: the recording was not finished: {frames} frames", folder.display());
        }
        Ok(Self { graph, scene, outcome, recorded, folder: folder.to_owned() })
    }

    /// The newest plan of the run.
    pub fn last_plan(&self) -> Result<Plan> {
        self.outcome.plan.clone().plan().map_err(|what| Error::input(format!("outcome.json: {what}")))
    }
}

/// The last plan that was made, where no frame has used it.
pub fn newer_plan(newest: &Arc<Plan>, last: Plan) -> Option<Plan> {
    (last.epoch > newest.epoch).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(graph: &Flowgraph) -> Vec<String> {
        let stages =
            |chain: &ChainText| chain.stages.iter().map(|stage| stage.kind.as_str()).collect::<Vec<_>>().join(" ");
        graph.chains.iter().map(stages).collect()
    }

    #[test]
    fn a_replay_keeps_the_receivers_and_nothing_that_sends() {
        let text = include_str!("../../flowgraphs/virtual.toml");
        let mut graph = Flowgraph::from_toml(text, "virtual").unwrap();
        insert_recorders(&mut graph, &Registry::shipped());
        assert_eq!(kinds(&graph)[0], "picture-source reference-sender frame-builder pulse-shaper superposer");
        assert_eq!(kinds(&graph)[2], "soapy-source recorder");
        let mut graph = Flowgraph::from_toml(text, "virtual").unwrap();
        insert_recordings(&mut graph, &Registry::shipped());
        let left = [
            "reference-source frame-builder pulse-shaper discard",
            "recording-source",
            "frame-receiver",
            "picture-sink",
            "echo-locator",
        ];
        assert_eq!(kinds(&graph), left);
    }
}
