//! The command line: one subcommand per file, one variant per subcommand.

mod bench;
mod blocks;
mod calibrate;
mod check;
mod codec_curve;
mod decode;
mod doctor;
mod encode;
mod figures;
mod hcrb;
mod inputs;
mod keys;
mod link;
mod merge;
mod optimize;
mod probe;
mod progress;
mod radio;
mod rate_distortion;
mod robustness;
mod run;
mod sense;
mod serve;
mod set;
mod status;
mod supervise;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;

/// Integrated sensing and semantic communication, on the air.
#[derive(Debug, Parser)]
#[command(name = "issc", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// One variant per subcommand.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure what this machine sustains, role by role, and where the time goes.
    Bench(bench::Arguments),
    /// List the kinds of stages that flowgraphs may use.
    Blocks(blocks::Arguments),
    /// Measure how a radio's channels differ.
    Calibrate(calibrate::Arguments),
    /// Load a flowgraph, check it and run nothing.
    Check(check::Arguments),
    /// Measure the source models over bit error rates and fit eq. (7) to them.
    CodecCurve(codec_curve::Arguments),
    /// Decode a coded file to a picture.
    Decode(decode::Arguments),
    /// Look whether this machine can keep up with a radio, and say what mends what is in the way.
    Doctor(doctor::Arguments),
    /// Encode a picture with a source model.
    Encode(encode::Arguments),
    /// The paper's figures, the trade-off with its certificate and the beams' patterns.
    Figures(figures::Arguments),
    /// Fisher information and position bound of given beams.
    Hcrb(hcrb::Arguments),
    /// Beams, source model and channel rate for a scene.
    Optimize(optimize::Arguments),
    /// List every key of scenes, flowgraphs and live commands: unit, range, default and meaning.
    Keys(keys::Arguments),
    /// Measure a coded link: block and bit errors at one modulation, rate and SNR.
    Link(link::Arguments),
    /// Add up what the shards of one measurement found.
    Merge(merge::Arguments),
    /// The source models beside JPEG and published points: bits, PSNR, MS-SSIM and mean differences of rate.
    RateDistortion(rate_distortion::Arguments),
    /// What each impairment of channel and front end costs both receivers.
    Robustness(robustness::Arguments),
    /// Locate the target in simulated echoes, trial by trial, beside the bound.
    Sense(sense::Arguments),
    /// Try a radio in ten steps.
    Probe(probe::Arguments),
    /// Run a flowgraph and report what was sent, lost and found.
    Run(Box<run::Arguments>),
    /// Hold a system that is started, stopped and changed from a page in a browser.
    Serve(Box<serve::Arguments>),
    /// Ask a running system what it is doing.
    Status(status::Arguments),
    /// Change a running system.
    Set(set::Arguments),
    /// Silence a radio when the program that transmits with it dies.
    #[command(hide = true)]
    Supervise(supervise::Arguments),
}

/// Runs the program: exit status 0 = done, 2 = the input is wrong, 1 = it failed otherwise.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = dispatch(arguments.command);
    crate::system::wait_for_end();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            remark!("issc: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn dispatch(command: Option<Command>) -> Result<()> {
    match command {
        Some(Command::Bench(arguments)) => bench::run(arguments),
        Some(Command::Blocks(arguments)) => blocks::run(arguments),
        Some(Command::Calibrate(arguments)) => calibrate::run(arguments),
        Some(Command::Probe(arguments)) => probe::run(arguments),
        Some(Command::Check(arguments)) => check::run(arguments),
        Some(Command::RateDistortion(arguments)) => rate_distortion::run(arguments),
        Some(Command::Run(arguments)) => run::run(*arguments),
        Some(Command::Serve(arguments)) => serve::run(*arguments),
        Some(Command::Set(arguments)) => set::run(arguments),
        Some(Command::Status(arguments)) => status::run(arguments),
        Some(Command::CodecCurve(arguments)) => codec_curve::run(arguments),
        Some(Command::Decode(arguments)) => decode::run(arguments),
        Some(Command::Doctor(arguments)) => doctor::run(arguments),
        Some(Command::Encode(arguments)) => encode::run(arguments),
        Some(Command::Figures(arguments)) => figures::run(arguments),
        Some(Command::Hcrb(arguments)) => hcrb::run(arguments),
        Some(Command::Optimize(arguments)) => optimize::run(arguments),
        Some(Command::Keys(arguments)) => keys::run(arguments),
        Some(Command::Link(arguments)) => link::run(arguments),
        Some(Command::Merge(arguments)) => merge::run(arguments),
        Some(Command::Robustness(arguments)) => robustness::run(arguments),
        Some(Command::Sense(arguments)) => sense::run(arguments),
        Some(Command::Supervise(arguments)) => supervise::run(arguments),
        None => dispatch(Arguments::parse_from(["issc", "run"]).command),
    }
}
