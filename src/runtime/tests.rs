//! Chains joined by links, with blocks of the tests' own.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Flowgraph, Program, StopSwitch};
use crate::blocks::{Collected, Context, Kind, Port, Registry, Role};
use crate::scene::Scene;
use crate::stream::{Block, Event, Flow, Frame, Item, Policy, Shape, erase};

/// A device: so many frames of ten samples, as fast as they are taken; then it says that it is done.
struct Device {
    frames: u64,
    made: u64,
    done: Sender<()>,
}

impl Block for Device {
    type In = ();
    type Out = u8;

    fn shape(&mut self, _: Shape) -> Result<Shape, String> {
        Ok(Shape::bits(1, 10))
    }

    fn work(&mut self, _: &Frame<()>, output: &mut Frame<u8>) -> Flow {
        if self.made == self.frames {
            let _ = self.done.try_send(());
            return Flow::Finished;
        }
        (output.head.sequence, output.head.sample_time) = (self.made, 10 * self.made);
        self.made += 1;
        Flow::Forward
    }

    fn stop(&mut self) {
        self.frames = self.made;
    }
}

/// Hands the time of each frame over; before the first one it waits for a word.
struct Sink {
    word: Option<Receiver<()>>,
    times: Sender<u64>,
}

impl Block for Sink {
    type In = u8;
    type Out = ();

    fn shape(&mut self, _: Shape) -> Result<Shape, String> {
        Ok(Shape::NOTHING)
    }

    fn work(&mut self, input: &Frame<u8>, _: &mut Frame<()>) -> Flow {
        if let Some(word) = self.word.take() {
            word.recv().expect("the device lives");
        }
        self.times.send(input.head.sample_time).expect("the test lives");
        Flow::Consumed
    }
}

/// Passes frames on, and panics at the third where it is told to.
struct Pass {
    panics: bool,
}

impl Block for Pass {
    type In = u8;
    type Out = u8;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<u8>, output: &mut Frame<u8>) -> Flow {
        assert!(!self.panics || input.head.sequence < 2, "a test's own panic");
        output.copy_rows(input, 0);
        Flow::Forward
    }
}

const BITS: Port = Port { item: Some(Item::Bit), rows: "one" };

/// Kinds `device` (1000 frames), `pass`, `panics` and `sink`, which waits for the device's end where `late`; also the
/// times that the sink saw.
fn registry(late: bool) -> (Registry, Receiver<u64>) {
    let (done, word) = bounded(1);
    let (times, seen) = bounded(10_000);
    let device = Kind {
        role: Role::Hears,
        inlet: Port::NOTHING,
        outlet: BITS,
        ..Kind::new("device", move |_, _| Ok(erase(Device { frames: 1000, made: 0, done: done.clone() })))
    };
    let sink = move |_: &mut Context, _| Ok(erase(Sink { word: late.then(|| word.clone()), times: times.clone() }));
    let registry = Registry::shipped()
        .with(device)
        .with(Kind::new("pass", |_, _| Ok(erase(Pass { panics: false }))))
        .with(Kind::new("panics", |_, _| Ok(erase(Pass { panics: true }))))
        .with(Kind::new("sink", sink));
    (registry, seen)
}

fn graph(chains: &str) -> Result<Flowgraph, String> {
    let text = format!("summary = \"a test\"\nscene = \"paper\"\n{chains}");
    Flowgraph::from_toml(&text, "test").map_err(|error| error.to_string())
}

fn load(chains: &str, registry: &Registry) -> (Result<Program, String>, Collected) {
    let (mut context, heard) = Context::alone(Scene::paper());
    let graph = graph(chains).expect("it is a flowgraph");
    (Program::load(&graph, "test", registry, &mut context).map_err(|error| error.to_string()), heard)
}

fn chain(name: &str, from: &str, link: &str, kind: &str) -> String {
    let from = if from.is_empty() { String::new() } else { format!("from = \"{from}\"\n") };
    format!("[[chain]]\nname = \"{name}\"\n{from}{link}\nstages = [{{ kind = \"{kind}\" }}]\n")
}

#[test]
fn behind_a_device_frames_are_dropped_unless_the_file_says_otherwise_and_chains_follow_their_feeders() {
    let (registry, _) = registry(false);
    let policies = |first: &str, second: &str| {
        let text = chain("radio", "", "", "device")
            + &chain("receiver", "radio", first, "pass")
            + &chain("pictures", "receiver", second, "sink");
        let program = load(&text, &registry).0.unwrap();
        program.links().iter().map(|link| link.policy).collect::<Vec<_>>()
    };
    assert_eq!(policies("", ""), [Policy::DropOldest, Policy::DropOldest]);
    assert_eq!(policies("link = \"wait\"", ""), [Policy::Wait, Policy::Wait]);
    assert_eq!(policies("link = \"wait\"", "link = \"drop-oldest\""), [Policy::Wait, Policy::DropOldest]);
    assert_eq!(policies("", "link = \"wait\""), [Policy::DropOldest, Policy::Wait]);
}

#[test]
fn a_late_reader_does_not_stop_a_device_and_its_gaps_are_seen_and_counted() {
    let (registry, seen) = registry(true);
    let text = chain("radio", "", "", "device") + &chain("late", "radio", "", "sink");
    let (program, heard) = load(&text, &registry);
    let program = program.unwrap();
    let link = program.links()[0].clone();
    // With a link that waits this would never end: the sink waits for the device's last frame.
    program.run(&StopSwitch::default()).unwrap();
    let times: Vec<_> = seen.try_iter().collect();
    assert_eq!(times.len() as u64 + link.dropped(), 1000);
    assert!(link.dropped() > 800 && link.chain == "late", "{link:?}");
    let gaps: u64 = times.windows(2).map(|pair| (pair[1] - pair[0]) / 10 - 1).sum();
    assert_eq!((gaps + times[0] / 10, times.last()), (link.dropped(), Some(&9990)), "the newest frame arrives");
    let told = heard.events.try_iter().map(|told| match told.event {
        Event::Lost { frames } => frames,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.sum::<u64>(), link.dropped());
}

#[test]
fn a_link_that_waits_loses_nothing() {
    let (registry, seen) = registry(false);
    let text = chain("radio", "", "", "device") + &chain("all", "radio", "link = \"wait\"", "sink");
    let program = load(&text, &registry).0.unwrap();
    let link = program.links()[0].clone();
    program.run(&StopSwitch::default()).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), (0..1000).map(|frame| 10 * frame).collect::<Vec<_>>());
    assert_eq!(link.dropped(), 0);
}

#[test]
fn a_panic_in_a_chain_ends_the_run_and_names_the_chain() {
    let (registry, _seen) = registry(false);
    let text = chain("radio", "", "", "device")
        + &chain("attic", "radio", "", "panics")
        + &chain("pictures", "attic", "", "sink");
    let error = load(&text, &registry).0.unwrap().run(&StopSwitch::default()).unwrap_err();
    assert_eq!((error.to_string(), error.exit_status()), ("chain `attic` panicked".into(), 1));
}

#[test]
fn links_that_cannot_be_are_refused_with_what_is_accepted() {
    let refused = |text: &str| graph(text).unwrap_err();
    let alone = refused(&chain("radio", "", "link = \"wait\"", "device"));
    assert!(alone.contains("chain `radio` has link but no from"), "{alone}");
    let both = chain("radio", "", "", "device") + &chain("late", "radio", "link = \"sometimes\"", "sink");
    let unknown = refused(&both);
    assert!(unknown.contains("sometimes") && unknown.contains("drop-oldest"), "{unknown}");
    let shallow = refused(&format!("link_frames = 1\n{}", chain("radio", "", "", "device")));
    assert!(shallow.contains("accepted: 2 to 64"), "{shallow}");
}

#[test]
fn a_kind_that_gives_something_else_than_it_says_is_a_failure() {
    let (registry, _) = registry(false);
    let kind = registry.get("device").unwrap().clone();
    let registry = registry.with(Kind { outlet: Port::CODED, ..kind });
    let text = chain("radio", "", "", "device") + &chain("late", "radio", "", "sink");
    let error = load(&text, &registry).0.err().unwrap();
    assert!(error.contains("says that it gives coded frames, and gives bits"), "{error}");
}
