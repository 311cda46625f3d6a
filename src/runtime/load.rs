//! From a flowgraph to chains that run: makes every stage, checks every shape, joins the links.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::thread;
use std::time::Duration;

use super::chain::{Chain, Outlet, Spent, StopSwitch};
use super::flowgraph::{ChainText, Flowgraph, StageText};
use super::schedule::{self, Scheduling};
use crate::blocks::{ChainContext, Context, Port, Registry, Role};
use crate::recording::Device;
use crate::stream::{AnyFrame, Item, Policy, Shape, Stage, link};
use crate::{Cause, Error, Result};

/// A loaded flowgraph.
pub struct Program {
    chains: Vec<Chain>,
    shapes: Vec<(String, Vec<(String, Shape)>)>,
    links: Vec<LinkCount>,
    /// Where each chain stands.
    places: Vec<ChainContext>,
}

/// Frames that a link holds where the file says nothing and its writer waits.
const WAITING_FRAMES: usize = 4;

/// The same where the oldest frames are dropped: a reader that is late for a moment loses nothing.
const DROPPING_FRAMES: usize = 64;

/// The link that feeds a chain. Clones count the same link, also while the chains run.
#[derive(Debug, Clone)]
pub struct LinkCount {
    /// The chain that it feeds.
    pub chain: String,
    /// What happens where that chain is late.
    pub policy: Policy,
    dropped: Arc<AtomicU64>,
}

impl LinkCount {
    /// Frames dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Makes one stage and checks it against the shape before it, which becomes the shape behind it.
fn make(text: &StageText, registry: &Registry, context: &mut Context, shape: &mut Shape) -> Result<Box<dyn Stage>> {
    let kind = registry.find(&text.kind)?;
    let mut stage = (kind.make)(context, text.keys.clone())?;
    *shape = stage.shape(*shape).map_err(Error::input)?;
    match kind.outlet.item {
        Some(item) if item != shape.item => {
            Err(Error::internal(format!("kind `{}` says that it gives {item}, and gives {}", kind.name, shape.item)))
        }
        _ => Ok(stage),
    }
}

/// What a chain's work took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The chain.
    pub chain: String,
    /// Time that its stages took, waiting not counted.
    pub time: Duration,
    /// Processor time of its thread.
    pub processor: Duration,
    /// Its stages' kinds and the time that each took, those behind it not counted.
    pub stages: Vec<(String, Duration)>,
}

impl Program {
    /// Makes the stages of `graph` (named `name` in error lines) from the kinds of `registry`, with what `context` offers
    /// them.
    pub fn load(graph: &Flowgraph, name: &str, registry: &Registry, context: &mut Context) -> Result<Self> {
        let mut program = Self { chains: Vec::new(), shapes: Vec::new(), links: Vec::new(), places: Vec::new() };
        for text in &graph.chains {
            program.add(graph, text, registry, context).map_err(|error| match error.cause() {
                Cause::Input => error.within(format!("{name}: chain `{}`", text.name)),
                _ => error,
            })?;
        }
        program.finish(graph, name)?;
        Ok(program)
    }

    /// Makes one chain and joins it to the one that feeds it.
    fn add(&mut self, graph: &Flowgraph, text: &ChainText, registry: &Registry, context: &mut Context) -> Result<()> {
        let inlet = self.inlet(text).map_err(Error::input)?;
        context.chain = self.place(text, graph, registry);
        let mut shape = inlet.unwrap_or(Shape::NOTHING);
        let (mut stages, mut frames, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        for stage_text in &text.stages {
            let stage = make(stage_text, registry, context, &mut shape).map_err(|error| match error.cause() {
                Cause::Input => error.within(format!("stage `{}`", stage_text.kind)),
                _ => error,
            })?;
            shapes.push((stage_text.kind.clone(), shape));
            frames.push(Some(Box::new(AnyFrame::new(shape))));
            stages.push(stage);
        }
        let place = std::mem::take(&mut context.chain);
        let scheduling = Scheduling { cores: text.cores.clone(), priority: text.realtime_priority };
        schedule::check(&text.name, &scheduling)?;
        let (name, policy) = (text.name.clone(), place.policy);
        let (waited, stage_times) = (Duration::ZERO, vec![Duration::ZERO; stages.len()]);
        let mut chain =
            Chain { name, scheduling, inlet: None, stages, frames, outlets: Vec::new(), waited, stage_times };
        if let (Some(from), Some(inlet)) = (&text.from, inlet) {
            let usual = if policy == Policy::Wait { WAITING_FRAMES } else { DROPPING_FRAMES };
            let (sender, receiver) = link(inlet, graph.link_frames.unwrap_or(usual), policy);
            chain.inlet = Some(receiver);
            self.links.push(LinkCount { chain: text.name.clone(), policy, dropped: sender.dropped() });
            let telemetry = context.sinks.telemetry.clone();
            let feeder = self.chains.iter_mut().find(|chain| chain.name == *from).expect("checked with the file");
            feeder.outlets.push(Outlet { rows: Some(text.first_row), sender, telemetry, told: 0 });
        }
        self.chains.push(chain);
        self.shapes.push((text.name.clone(), shapes));
        self.places.push(place);
        Ok(())
    }

    /// Where a chain stands: behind a device its frames are dropped where it is late, behind any other chain it does as
    /// that one does, and whose receiver it is part of follows from the chain that feeds it too.
    fn place(&self, text: &ChainText, graph: &Flowgraph, registry: &Registry) -> ChainContext {
        let feeder = text
            .from
            .as_ref()
            .and_then(|from| self.places.iter().zip(&graph.chains).find(|(_, chain)| chain.name == *from));
        let is_device = |chain: &ChainText| {
            let first = chain.stages.first().and_then(|stage| registry.get(&stage.kind));
            first.is_some_and(|kind| kind.role == Role::Hears && kind.inlet == Port::NOTHING)
        };
        let usual = match feeder {
            Some((_, chain)) if is_device(chain) => Policy::DropOldest,
            Some((place, _)) => place.policy,
            None => Policy::Wait,
        };
        ChainContext {
            name: text.name.clone(),
            policy: text.link.unwrap_or(usual),
            receiver: feeder.map_or(0, |(place, _)| place.receiver),
            device: Device::default(),
        }
    }

    /// The shape that a chain is fed with.
    fn inlet(&self, text: &ChainText) -> Result<Option<Shape>, String> {
        let Some(from) = &text.from else { return Ok(None) };
        let (_, shapes) = self.shapes.iter().find(|(name, _)| name == from).expect("checked with the file");
        let shape = shapes.last().expect("a chain has a stage").1;
        if shape.item == Item::Nothing {
            return Err(format!("from = \"{from}\" ends in a sink"));
        }
        let (first, left) = (text.first_row, shape.channels.saturating_sub(text.first_row));
        let count = text.rows.unwrap_or(left);
        if count == 0 || count > left {
            return Err(format!(
                "first_row = {first}, rows = {count}, but `{from}` makes {shape}; accepted: rows that exist"
            ));
        }
        Ok(Some(Shape { channels: count, ..shape }))
    }

    /// Whole frames go by handle where no other reader needs them; output that nobody takes is a mistake.
    fn finish(&mut self, graph: &Flowgraph, name: &str) -> Result<()> {
        for (chain, (_, shapes)) in self.chains.iter_mut().zip(&self.shapes) {
            let made = shapes.last().expect("a chain has a stage").1;
            if made.item != Item::Nothing && chain.outlets.is_empty() {
                return Err(Error::input(format!(
                    "{name}: chain `{}` makes {made} that no chain takes; accepted: a sink at its end, or another chain's from",
                    chain.name
                )));
            }
            let last_reader = graph.chains.iter().rfind(|text| text.from.as_ref() == Some(&chain.name));
            if last_reader.is_some_and(ChainText::takes_all) {
                chain.outlets.last_mut().expect("it has a reader").rows = None;
            }
        }
        Ok(())
    }

    /// The links between chains and what was dropped from them: to be kept before the program runs.
    pub fn links(&self) -> &[LinkCount] {
        &self.links
    }

    /// Chains with their stages' kinds and outlets.
    pub fn shapes(&self) -> &[(String, Vec<(String, Shape)>)] {
        &self.shapes
    }

    /// Runs every chain on a thread of its own until all have ended; what each one's work took.
    pub fn run(self, stop: &StopSwitch) -> Result<Vec<Busy>> {
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .chains
                .into_iter()
                .map(|chain| {
                    let name = chain.name().to_owned();
                    let thread = thread::Builder::new().name(name.clone()).spawn_scoped(scope, || {
                        let _guard = stop.pulled_by_panic();
                        chain.run(stop)
                    });
                    (name, thread)
                })
                .collect();
            threads
                .into_iter()
                .zip(self.shapes)
                .map(|((chain, thread), (_, shapes))| {
                    let Spent { time, processor, stages } = thread
                        .map_err(|error| Error::device(format!("chain `{chain}`: no thread: {error}")))?
                        .join()
                        .map_err(|_| Error::internal(format!("chain `{chain}` panicked")))?;
                    let kinds = shapes.into_iter().map(|(kind, _)| kind);
                    Ok(Busy { chain, time, processor, stages: kinds.zip(stages).collect() })
                })
                .collect()
        })
    }
}
