//! From a flowgraph to chains that run: makes every stage, checks every shape, joins the links.

use std::thread;
use std::time::Duration;

use super::chain::{Chain, Outlet, StopSwitch};
use super::flowgraph::{ChainText, Flowgraph};
use crate::blocks::{self, Context};
use crate::stream::{AnyFrame, Item, Shape, link};
use crate::{Cause, Error, Result, config};

/// A loaded flowgraph.
pub struct Program {
    chains: Vec<Chain>,
    shapes: Vec<(String, Vec<(String, Shape)>)>,
}

/// The time that a chain's stages took, waiting not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The chain.
    pub chain: String,
    /// Its time.
    pub time: Duration,
}

impl Program {
    /// Makes the stages of `graph` (named `name` in error lines) from `table`, with what `context` offers them.
    pub fn load(graph: &Flowgraph, name: &str, table: &[blocks::Kind], context: &mut Context) -> Result<Self> {
        let mut program = Self { chains: Vec::new(), shapes: Vec::new() };
        for text in &graph.chains {
            let wrong = |what: String| Error::input(format!("{name}: chain `{}`: {what}", text.name));
            let inlet = program.inlet(text).map_err(wrong)?;
            let mut shape = inlet.unwrap_or(Shape::NOTHING);
            let (mut stages, mut frames, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
            for stage_text in &text.stages {
                let kind = &stage_text.kind;
                let wrong = |what: String| wrong(format!("stage `{kind}`: {what}"));
                let Some(entry) = table.iter().find(|entry| entry.name == *kind) else {
                    let near = config::nearest(kind, table.iter().map(|entry| entry.name)).unwrap_or_default();
                    return Err(wrong(format!("no such kind; the nearest is `{near}` (see `issc blocks`)")));
                };
                let mut stage =
                    (entry.make)(context, stage_text.keys.clone()).map_err(|error| match error.cause() {
                        Cause::Input => wrong(error.to_string()),
                        _ => error,
                    })?;
                shape = stage.shape(shape).map_err(wrong)?;
                shapes.push((kind.clone(), shape));
                frames.push(Some(Box::new(AnyFrame::new(shape))));
                stages.push(stage);
            }
            let mut chain = Chain {
                name: text.name.clone(),
                inlet: None,
                stages,
                frames,
                outlets: Vec::new(),
                waited: Duration::ZERO,
            };
            if let (Some(from), Some(inlet)) = (&text.from, inlet) {
                let (sender, receiver) = link(inlet, graph.link_frames);
                chain.inlet = Some(receiver);
                let feeder =
                    program.chains.iter_mut().find(|chain| chain.name == *from).expect("checked with the file");
                feeder.outlets.push(Outlet { rows: Some(text.first_row), sender });
            }
            program.chains.push(chain);
            program.shapes.push((text.name.clone(), shapes));
        }
        program.finish(graph, name)?;
        Ok(program)
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

    /// Chains with their stages' kinds and outlets.
    pub fn shapes(&self) -> &[(String, Vec<(String, Shape)>)] {
        &self.shapes
    }

    /// Runs every chain on a thread of its own until all have ended; the time that each was busy.
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
                .map(|(chain, thread)| {
                    let time = thread
                        .map_err(|error| Error::device(format!("chain `{chain}`: no thread: {error}")))?
                        .join()
                        .map_err(|_| Error::internal(format!("chain `{chain}` panicked")))?;
                    Ok(Busy { chain, time })
                })
                .collect()
        })
    }
}
