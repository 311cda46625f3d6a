//! One chain: stages called in turn on one thread, with one preallocated frame between neighbours.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::processor;
use super::schedule::Scheduling;
use crate::stream::{AnyFrame, Event, Flow, LinkReceiver, LinkSender, Shape, Stage, Telemetry};
use crate::{Error, Result};

/// Ends a run: sources stop, what is under way drains.
#[derive(Clone, Default)]
pub struct StopSwitch {
    pulled: Arc<AtomicBool>,
    threads: Arc<Mutex<Vec<Thread>>>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl StopSwitch {
    /// Asks all sources to stop.
    pub fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
        for thread in self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
            thread.unpark();
        }
    }

    /// Whether somebody asked.
    pub fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::SeqCst)
    }

    /// Asks all sources to stop because of this; the first reason stays.
    pub fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
        self.pull();
    }

    /// Why the run has to end, where it is not because somebody asked or because it is done.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Starts a thread of the run. Should it panic, all sources are asked to stop and the run fails.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let stop = self.clone();
        let guarded = move || {
            let guard = FailGuard { stop, name };
            let result = work();
            drop(guard);
            result
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(guarded);
        thread.map_err(|error| Error::device(format!("no thread for {name}: {error}")))
    }

    /// Something to hold while a chain runs: should it panic, all sources are asked to stop.
    pub(super) fn pulled_by_panic(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a StopSwitch);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.pull();
                }
            }
        }
        Guard(self)
    }

    fn enrol(&self) {
        self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(std::thread::current());
    }
}

/// Fails the run where its thread panics.
struct FailGuard {
    stop: StopSwitch,
    name: &'static str,
}

impl Drop for FailGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop.fail(Error::internal(format!("the {} thread panicked", self.name)));
        }
    }
}

/// Where the chain's frames go.
pub(super) struct Outlet {
    /// `Some(first)`: a copy of the rows from `first` on. `None`: the whole frame, by handle; only the last outlet.
    pub(super) rows: Option<usize>,
    pub(super) sender: LinkSender,
    /// Hears of frames that the link dropped.
    pub(super) telemetry: Telemetry,
    /// Dropped frames that it has heard of.
    pub(super) told: u64,
}

impl Outlet {
    /// Reports what the link has dropped since the last time.
    fn tell(&mut self) {
        let frames = self.sender.dropped_count() - self.told;
        if frames > 0 {
            self.told += frames;
            self.telemetry.report(Event::Lost { frames });
        }
    }
}

/// A loaded chain, ready to run on a thread of its own.
pub struct Chain {
    pub(super) name: String,
    pub(super) scheduling: Scheduling,
    pub(super) inlet: Option<LinkReceiver>,
    pub(super) stages: Vec<Box<dyn Stage>>,
    /// `frames[i]` is the output of stage `i`.
    pub(super) frames: Vec<Option<Box<AnyFrame>>>,
    pub(super) outlets: Vec<Outlet>,
    /// Time spent waiting for room in links.
    pub(super) waited: Duration,
    /// Time that each stage took, those behind it not counted.
    pub(super) stage_times: Vec<Duration>,
}

/// What a chain's thread did.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    /// Time that its stages took, waiting not counted.
    pub time: Duration,
    /// Processor time of its thread.
    pub processor: Duration,
    /// Time that each stage took.
    pub stages: Vec<Duration>,
}

/// Whether the chain goes on.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Go {
    On,
    Wait(Option<Duration>),
    End,
}

impl Chain {
    /// The chain's name, also its thread's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs to the end of the input, or until the switch is pulled if the chain begins with a source.
    pub(super) fn run(mut self, stop: &StopSwitch) -> Spent {
        // It was tried as the chain was loaded.
        if let Err(what) = self.scheduling.take() {
            remark!("issc: chain `{}`: {what}", self.name);
        }
        let busy = match self.inlet.take() {
            Some(inlet) => self.run_behind(inlet),
            None => self.run_source(stop),
        };
        Spent {
            time: busy.saturating_sub(self.waited),
            processor: processor::time_of_thread(),
            stages: self.stage_times,
        }
    }

    fn run_behind(&mut self, mut inlet: LinkReceiver) -> Duration {
        let mut busy = Duration::ZERO;
        while let Some(frame) = inlet.receive() {
            let started = Instant::now();
            let go = self.push(0, &frame);
            busy += started.elapsed();
            inlet.give_back(frame);
            if go == Go::End {
                return busy;
            }
        }
        self.drain();
        busy
    }

    fn run_source(&mut self, stop: &StopSwitch) -> Duration {
        let mut busy = Duration::ZERO;
        stop.enrol();
        let nothing = AnyFrame::new(Shape::NOTHING);
        loop {
            if stop.is_pulled() {
                self.stages[0].stop();
            }
            let started = Instant::now();
            let go = self.push(0, &nothing);
            busy += started.elapsed();
            match go {
                Go::On => {}
                Go::Wait(None) => std::thread::park(),
                Go::Wait(Some(time)) => std::thread::park_timeout(time),
                Go::End => break,
            }
        }
        self.drain();
        busy
    }

    /// Gives `input` to stage `index` and all it makes to the stages after it.
    fn push(&mut self, index: usize, input: &AnyFrame) -> Go {
        self.repeat(index, |stage, output| stage.work(input, output))
    }

    /// Lets each stage, first to last, give out what it still holds.
    fn drain(&mut self) {
        for index in 0..self.stages.len() {
            while self.repeat(index, |stage, output| stage.flush(output)) == Go::On {}
        }
    }

    /// Calls stage `index` and passes on what it makes, as often as it asks.
    fn repeat(&mut self, index: usize, mut call: impl FnMut(&mut dyn Stage, &mut AnyFrame) -> Flow) -> Go {
        loop {
            // The output is out of its place while the later stages work on it: they have places of their own.
            let mut output = self.frames[index].take().expect("every stage has an output frame");
            let started = Instant::now();
            let flow = call(self.stages[index].as_mut(), &mut output);
            self.stage_times[index] += started.elapsed();
            let go = match flow {
                Flow::Forward | Flow::Again if index + 1 == self.stages.len() => self.emit(&mut output),
                Flow::Forward | Flow::Again => self.push(index + 1, &output),
                Flow::Consumed => Go::On,
                Flow::Pending => Go::Wait(None),
                Flow::Later(time) => Go::Wait(Some(time)),
                Flow::Finished => Go::End,
            };
            self.frames[index] = Some(output);
            if flow != Flow::Again || go != Go::On {
                return go;
            }
        }
    }

    fn emit(&mut self, frame: &mut Box<AnyFrame>) -> Go {
        for outlet in &mut self.outlets {
            let started = Instant::now();
            let handle = outlet.sender.take();
            self.waited += started.elapsed();
            let Some(mut handle) = handle else { return Go::End };
            outlet.tell();
            match outlet.rows {
                Some(first) => handle.copy_rows(frame, first),
                None => std::mem::swap(&mut handle, frame),
            }
            outlet.sender.send(handle);
        }
        Go::On
    }
}
