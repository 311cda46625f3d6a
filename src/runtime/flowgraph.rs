//! Flowgraph files: which chains there are, what they are made of and how they are joined.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Table;

use super::KEYS;
use crate::blocks::{Registry, Role};
use crate::exchange;
use crate::stream::Policy;
use crate::{Error, Result, config, keys};

impl ChainText {
    /// Whether it takes its feeder's frames whole.
    pub(super) fn takes_all(&self) -> bool {
        self.first_row == 0 && self.rows.is_none()
    }
}

/// A flowgraph file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flowgraph {
    /// What it is for, in one line.
    pub summary: String,
    /// The scene: a shipped name or a path.
    pub scene: String,
    /// Frames to send where the command line says nothing.
    #[serde(default)]
    pub frames: Option<u64>,
    /// The beams follow the sensing receiver's track, with a new plan every so many frames; absent: they do not.
    #[serde(default)]
    pub follow_frames: Option<u64>,
    /// The first plan's beams are kept: soundings do not change them, commands do.
    #[serde(default)]
    pub hold_beams: bool,
    /// Id of the communication receiver that the plan is made for; absent: the scene's first.
    #[serde(default)]
    pub serves: Option<String>,
    /// Frames that a link between two chains holds; absent: 4 where the writer waits, 64 where frames are dropped.
    #[serde(default)]
    pub link_frames: Option<usize>,
    /// Where the run is seen by HTTP: ADDRESS:PORT; absent: nowhere.
    #[serde(default)]
    pub http: Option<String>,
    /// How this process is joined to others of the same system; absent: it is alone.
    #[serde(default)]
    pub link: Option<LinkText>,
    /// The chains.
    #[serde(rename = "chain")]
    pub chains: Vec<ChainText>,
}

/// A process among others: the transmitter listens, receivers connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkText {
    /// Where receivers find this transmitter: HOST:PORT.
    #[serde(default)]
    pub listen: Option<String>,
    /// The receivers without which it does not begin.
    #[serde(default)]
    pub peers: Vec<exchange::Role>,
    /// Where this receiver finds its transmitter: HOST:PORT.
    #[serde(default)]
    pub connect: Option<String>,
    /// What this receiver is.
    #[serde(default)]
    pub role: Option<exchange::Role>,
    /// File with the secret that all processes of the system share: without it the transmitter listens on this machine alone.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Seconds that the others may take to come.
    #[serde(default = "a_minute")]
    pub wait_s: f64,
}

fn a_minute() -> f64 {
    60.0
}

impl LinkText {
    /// The secret of its file.
    pub fn secret(&self) -> Result<Option<exchange::Secret>> {
        self.key_file.as_deref().map(exchange::Secret::read).transpose()
    }

    fn check(&self) -> Result<(), String> {
        match (&self.listen, &self.connect, self.role) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            _ => Err("link: accepted: listen and peers at a transmitter, connect and role at a receiver".into()),
        }
    }
}

/// One chain of a flowgraph file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainText {
    /// Its name, also its thread's.
    pub name: String,
    /// The chain that feeds it; none for a chain that begins with a source.
    #[serde(default)]
    pub from: Option<String>,
    /// First row taken from that chain.
    #[serde(default)]
    pub first_row: usize,
    /// Number of rows taken; all that follow where absent.
    #[serde(default)]
    pub rows: Option<usize>,
    /// What happens to the frames from that chain where this one is late: `wait` or `drop-oldest`. Absent: a chain that a
    /// device feeds drops, one fed by any other chain does as that chain does, and the rest wait.
    #[serde(default)]
    pub link: Option<Policy>,
    /// Processor cores that its thread may run on; any where absent.
    #[serde(default)]
    pub cores: Option<Vec<usize>>,
    /// Priority of its thread in real time (SCHED_FIFO); the usual scheduling where absent.
    #[serde(default)]
    pub realtime_priority: Option<u8>,
    /// The stages in order.
    pub stages: Vec<StageText>,
}

/// One stage: its kind and that kind's own keys.
#[derive(Debug, Clone, Deserialize)]
pub struct StageText {
    /// A kind of the block table.
    pub kind: String,
    /// The kind's keys.
    #[serde(flatten)]
    pub keys: Table,
}

impl Flowgraph {
    /// Parses and checks a flowgraph; `name` stands in error lines.
    pub fn from_toml(text: &str, name: &str) -> Result<Self> {
        let in_file = |what: String| Error::input(format!("{name}: {what}"));
        let graph: Self = config::from_toml(text, name)?;
        let file = toml::from_str(text).map_err(|error| in_file(error.to_string()))?;
        keys::check(KEYS, &toml::Value::Table(file)).map_err(in_file)?;
        graph.check().map_err(in_file)?;
        Ok(graph)
    }

    fn check(&self) -> Result<(), String> {
        if self.hold_beams && self.follow_frames.is_some() {
            return Err("hold_beams = true and follow_frames; accepted: one of them".into());
        }
        self.link.as_ref().map_or(Ok(()), LinkText::check)?;
        for (index, chain) in self.chains.iter().enumerate() {
            let name = &chain.name;
            if self.chains[..index].iter().any(|other| other.name == *name) {
                return Err(format!("chain `{name}` stands twice; accepted: different names"));
            }
            if chain.cores.as_ref().is_some_and(|cores| cores.is_empty() || cores.iter().any(|core| *core > 1023)) {
                return Err(format!("chain `{name}`: cores; accepted: one or more of 0 to 1023"));
            }
            if chain.realtime_priority.is_some_and(|priority| !(1..=99).contains(&priority)) {
                return Err(format!("chain `{name}`: realtime_priority; accepted: 1 to 99"));
            }
            if chain.stages.is_empty() {
                return Err(format!("chain `{name}` has no stages; accepted: one or more"));
            }
            match &chain.from {
                Some(from) if !self.chains[..index].iter().any(|other| other.name == *from) => {
                    let known: Vec<_> = self.chains[..index].iter().map(|chain| chain.name.as_str()).collect();
                    return Err(format!(
                        "chain `{name}`: from = \"{from}\" is no chain above it; accepted: {}",
                        if known.is_empty() { "none here".into() } else { known.join(", ") }
                    ));
                }
                None if chain.rows.is_some() || chain.first_row > 0 => {
                    return Err(format!("chain `{name}` has rows but no from; accepted: both, or neither"));
                }
                None if chain.link.is_some() => {
                    return Err(format!("chain `{name}` has link but no from; accepted: both, or neither"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The stages of this role, with their chains.
    pub fn stages_with<'a>(
        &'a self,
        registry: &'a Registry,
        role: Role,
    ) -> impl Iterator<Item = (&'a ChainText, &'a StageText)> {
        let stages = self.chains.iter().flat_map(|chain| chain.stages.iter().map(move |stage| (chain, stage)));
        stages.filter(move |(_, stage)| registry.role(&stage.kind) == Some(role))
    }

    /// Whether there is a stage of this role.
    pub fn has(&self, registry: &Registry, role: Role) -> bool {
        self.stages_with(registry, role).next().is_some()
    }
}
