//! A run from its start to its report.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use image::RgbImage;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::companions::Companions;
use super::prepare::Prepared;
use super::radio::OpenRadios;
use crate::blocks::ReceivedPicture;
use crate::control::{Collector, PictureWriter, Report, Session, SessionLog, Shown};
use crate::runtime::{Busy, StopSwitch};
use crate::stream::Event;
use crate::{Error, Result};

/// What is left of a run.
pub struct Ended {
    /// Its figures.
    pub report: Report,
    /// The newest picture received.
    pub shown: Option<Shown>,
    /// How long each chain was busy.
    pub busy: Vec<Busy>,
    /// The radios used.
    pub radios: OpenRadios,
}

impl Prepared {
    /// Runs to the end and makes the report.
    pub fn go(self, stop: &StopSwitch) -> Result<Ended> {
        let Self { program, scene, bank, library, plans, session, telemetry, events, received, radios, .. } = self;
        let (frames, mut writer, mut written) = (self.frames, self.writer, Ok(()));
        let mut companions = self.companions;
        let mut collector = Collector::new(scene, library, Arc::clone(&plans));
        collector.knows_sender = self.knows_sender;
        companions.begin(&mut collector, self.fed_back, stop)?;
        let started = Instant::now();
        let (busy, log, took) = thread::scope(|scope| {
            let optimize = || session.map_or_else(SessionLog::default, Session::run);
            let optimizer = thread::Builder::new().name("optimizer".into()).spawn_scoped(scope, optimize);
            let chains = thread::Builder::new().name("chains".into()).spawn_scoped(scope, || {
                let busy = program.run(stop);
                (busy, started.elapsed())
            });
            let mut write = |image: &RgbImage| {
                // After a failure the run goes on without the file: its chains wait for somebody to take their pictures.
                if let (Some(writer), Ok(())) = (&mut writer, &written) {
                    written = writer.put(image);
                }
            };
            let heard = Heard { telemetry: &telemetry, received: &received, frames };
            heard.collect(&mut collector, &mut companions, &mut write, |companions| {
                if radios.failed() || companions.failed() {
                    stop.pull();
                }
                let ended = chains.as_ref().map_or(true, thread::ScopedJoinHandle::is_finished);
                ended && (companions.have_finished() || stop.is_pulled())
            });
            companions.leave();
            let gone = |name: &str| Error::internal(format!("the {name} thread panicked"));
            let (busy, took) = chains
                .map_err(|error| Error::device(format!("no thread: {error}")))?
                .join()
                .map_err(|_| gone("chains"))?;
            let log = optimizer
                .map_err(|error| Error::device(format!("no thread: {error}")))?
                .join()
                .map_err(|_| gone("optimizer"))?;
            Ok::<_, Error>((busy, log, took))
        })?;
        let busy = busy?;
        written?;
        writer.map_or(Ok(()), PictureWriter::finish)?;
        if events.dropped() > 0 {
            eprintln!("issc: {} events found no room: the report lacks them", events.dropped());
        }
        let log = companions.finish(log, &plans)?;
        let shown = collector.shown.take();
        Ok(Ended { report: collector.report(&bank, log, took), shown, busy, radios })
    }
}

/// What a run has to tell while it goes on.
struct Heard<'a> {
    telemetry: &'a Receiver<Event>,
    received: &'a Receiver<ReceivedPicture>,
    /// Frames to come.
    frames: Option<u64>,
}

impl Heard<'_> {
    /// Feeds the collector, and passes on what companions have to know, until the run is done and nothing is left.
    fn collect(
        &self,
        collector: &mut Collector,
        companions: &mut Companions,
        write: &mut impl FnMut(&RgbImage),
        done: impl Fn(&mut Companions) -> bool,
    ) {
        let bar = ProgressBar::with_draw_target(self.frames, ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames {elapsed}") {
            bar.set_style(style);
        }
        loop {
            let finished = done(companions);
            if let Ok(event) = self.telemetry.recv_timeout(Duration::from_millis(20)) {
                take(collector, companions, &event);
                self.take_all(collector, companions);
            }
            while let Ok(picture) = self.received.try_recv() {
                self.take_all(collector, companions);
                if let Some(image) = &picture.image {
                    write(image);
                }
                companions.tell_picture(&picture);
                collector.picture(picture);
            }
            while let Some(picture) = companions.far_picture() {
                self.take_all(collector, companions);
                collector.far_picture(&picture);
            }
            bar.set_position(collector.frames_sent());
            if finished && self.telemetry.is_empty() && self.received.is_empty() {
                bar.finish_and_clear();
                return;
            }
        }
    }

    /// Events are older than the pictures that came of them.
    fn take_all(&self, collector: &mut Collector, companions: &mut Companions) {
        self.telemetry.try_iter().for_each(|event| take(collector, companions, &event));
    }
}

fn take(collector: &mut Collector, companions: &mut Companions, event: &Event) {
    companions.tell(event);
    collector.event(event);
}
