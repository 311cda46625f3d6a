//! `issc run`: a flowgraph from its first frame to its report.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::unbounded;

pub use super::fly::Ended;
pub use super::prepare::{Prepared, RunOptions};
use super::radio::OpenRadios;
use super::{drawings, inputs, show};
use crate::control::PictureWriter;
use crate::control::socket::{self, ControlSocket};
use crate::runtime::StopSwitch;
use crate::{Error, Result};

/// Pace of a video of received pictures.
const PICTURES_PER_S: f64 = 25.0;

/// Runs a flowgraph, the loopback by default, and reports what was sent, lost and found.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: RunOptions,
    /// Listen for `issc set` at this socket.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Write pictures and plots to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Save the pictures that arrive: numbered files, e.g. seen.png, or a video, e.g. seen.mp4 (by `ffmpeg`).
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `issc run`.
pub fn run(arguments: Arguments) -> Result<()> {
    let snapshots = arguments.out.is_some();
    let mut prepared = RunOptions { snapshots, ..arguments.options }.prepare()?;
    let writer = |file: &PathBuf| PictureWriter::create(file, false, PICTURES_PER_S);
    prepared.writer = arguments.received.as_ref().map(writer).transpose()?;
    if let Some(note) = &prepared.note {
        eprintln!("issc: {note}");
    }
    let stop = StopSwitch::default();
    catch_signals(&stop, &prepared.radios)?;
    let listens = prepared.session.is_some() && (arguments.control.is_some() || prepared.paced);
    let _socket = if listens {
        let (requests, live) = unbounded();
        if let Some(session) = &mut prepared.session {
            session.live = Some(live);
        }
        let path = arguments.control.clone().unwrap_or_else(socket::default_path);
        Some(ControlSocket::listen(&path, requests)?)
    } else {
        None
    };
    let (snapshots, scene) = (Arc::clone(&prepared.snapshots), Arc::clone(&prepared.scene));
    let radios = prepared.radios.clone();
    let Ended { report, shown, .. } = prepared.go(&stop)?;
    for retune in report.retunes.iter().filter(|retune| !retune.feasible) {
        let reason = retune.reason.as_deref().unwrap_or("not feasible");
        eprintln!("issc: frame {}: {} kept as it was: {reason}", retune.frame, retune.cause);
    }
    if let Some(follow) = report.follow.as_ref().filter(|follow| follow.infeasible > 0) {
        let reason = follow.reason.as_deref().unwrap_or("not feasible");
        eprintln!(
            "issc: {} of {} plans after the track kept as they were: {reason}",
            follow.infeasible, follow.retunes
        );
    }
    if let Some(folder) = &arguments.out {
        show::write_pictures(folder, shown.as_ref())?;
        drawings::write(folder, &scene, &report, &snapshots)?;
    }
    if arguments.json {
        inputs::print_json(&report)?;
    } else {
        show::terminal(&report, shown.as_ref());
    }
    radios.finish()
}

/// First signal: drain; second: leave at once.
fn catch_signals(stop: &StopSwitch, radios: &OpenRadios) -> Result<()> {
    let (stop, radios) = (stop.clone(), radios.clone());
    ctrlc::set_handler(move || {
        if stop.is_pulled() {
            radios.cut();
            std::process::exit(130);
        }
        eprintln!("issc: stopping; once more to leave at once");
        stop.pull();
    })
    .map_err(|error| Error::device(format!("no signal handler: {error}")))
}
