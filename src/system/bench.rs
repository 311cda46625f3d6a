//! What this machine sustains: processor time of each role of a flowgraph, and of each of its stages.

use std::time::Duration;

use serde::Serialize;

use super::{System, SystemSpec};
use crate::Result;
use crate::runtime::{Busy, time_of_process};

/// What a flowgraph's roles cost on this machine; medians over the runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speeds {
    /// Cores that this process may use.
    pub cores: usize,
    /// Frames of each run.
    pub frames: u64,
    /// Runs.
    pub runs: usize,
    /// Samples per second and antenna that the scene asks for.
    pub scene_samples_per_s: f64,
    /// The flowgraph's chains, in its order.
    pub roles: Vec<RoleSpeed>,
    /// The whole: its `samples_per_s` is by the clock on the wall, its processor time that of all threads, those beside the
    /// chains (pictures' codec, optimizer, report) among them.
    pub whole: RoleSpeed,
}

/// What a chain costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoleSpeed {
    /// The chain's name.
    pub role: String,
    /// Samples per antenna that one core does in a second.
    pub samples_per_s: f64,
    /// Processor time for a sample of all its antennas.
    pub cpu_s_per_sample: f64,
    /// Its stages.
    pub stages: Vec<StageSpeed>,
}

/// What a stage costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageSpeed {
    /// The stage's kind.
    pub stage: String,
    /// Its part of its chain's time.
    pub share: f64,
}

/// Runs a flowgraph several times, as fast as it goes, and measures. `done` hears how many runs are.
///
/// # Errors
/// Those of the runs; also where none is asked for.
pub fn bench(spec: &dyn Fn() -> Result<SystemSpec>, frames: u64, runs: usize, done: &dyn Fn(u64)) -> Result<Speeds> {
    let (mut measured, mut scene_samples_per_s) = (Vec::new(), 0.0);
    for run in 0..runs.max(1) {
        let system = System::build(spec()?.frames(frames))?;
        let waveform = &system.scene().waveform;
        scene_samples_per_s = waveform.bandwidth_hz * waveform.samples_per_symbol as f64;
        let before = time_of_process();
        let ended = system.start()?.finish()?;
        let process = time_of_process() - before;
        ended.failure.map_or(Ok(()), Err)?;
        let samples = ended.report.samples.max(1) as f64;
        measured.push((ended.busy, process, samples, ended.report.samples_per_s));
        done(run as u64 + 1);
    }
    let chains = measured[0].0.len();
    let role = |chain: usize| {
        let of = |figure: &dyn Fn(&Busy, f64) -> f64| {
            median(measured.iter().map(|(busy, _, samples, _)| figure(&busy[chain], *samples)))
        };
        let first = &measured[0].0[chain];
        let cpu_s_per_sample = of(&|busy, samples| busy.processor.as_secs_f64() / samples);
        let share = |stage: usize| {
            let all = |busy: &Busy| busy.stages.iter().map(|(_, time)| *time).sum::<Duration>().as_secs_f64();
            of(&|busy, _| busy.stages[stage].1.as_secs_f64() / all(busy).max(1e-12))
        };
        let stages = first.stages.iter().enumerate();
        RoleSpeed {
            role: first.chain.clone(),
            samples_per_s: cpu_s_per_sample.recip(),
            cpu_s_per_sample,
            stages: stages.map(|(index, (kind, _))| StageSpeed { stage: kind.clone(), share: share(index) }).collect(),
        }
    };
    let roles: Vec<_> = (0..chains).map(role).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let whole = RoleSpeed {
        role: "whole".into(),
        samples_per_s: median(measured.iter().map(|(_, _, _, speed)| *speed)),
        cpu_s_per_sample: median(measured.iter().map(|(_, process, samples, _)| process.as_secs_f64() / samples)),
        stages: Vec::new(),
    };
    Ok(Speeds { cores, frames, runs: measured.len(), scene_samples_per_s, roles, whole })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    0.5 * (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2])
}

impl Speeds {
    /// Lines for people.
    pub fn lines(&self) -> Vec<String> {
        let Self { cores, frames, runs, scene_samples_per_s, roles, whole } = self;
        let mut lines = vec![format!(
            "{runs} runs of {frames} frames on {cores} cores, medians; the scene asks for {} MS/s per antenna",
            scene_samples_per_s / 1e6
        )];
        for role in roles {
            let RoleSpeed { role, samples_per_s, cpu_s_per_sample, stages } = role;
            lines.push(format!(
                "{role:<24} {:>9.3} MS/s on one core   {:>8.2} ns a sample",
                samples_per_s / 1e6,
                1e9 * cpu_s_per_sample
            ));
            let shares = stages.iter().map(|stage| format!("    {:<20} {:>5.1} %", stage.stage, 100.0 * stage.share));
            lines.extend(shares);
        }
        lines.push(format!(
            "{:<24} {:>9.3} MS/s by the clock   {:>7.2} ns a sample in all threads",
            whole.role,
            whole.samples_per_s / 1e6,
            1e9 * whole.cpu_s_per_sample
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_their_chain_and_every_chain_is_told() {
        // Of one run: medians of shares over several need not add up.
        let speeds = bench(&|| SystemSpec::shipped("loopback"), 60, 1, &|_| {}).unwrap();
        assert_eq!((speeds.roles.len(), speeds.runs, speeds.scene_samples_per_s), (5, 1, 200e6));
        for role in &speeds.roles {
            let sum: f64 = role.stages.iter().map(|stage| stage.share).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{role:?}");
            assert!(role.samples_per_s > 0.0 && role.cpu_s_per_sample < speeds.whole.cpu_s_per_sample, "{role:?}");
        }
        assert_eq!(speeds.lines().len(), 2 + speeds.roles.iter().map(|role| 1 + role.stages.len()).sum::<usize>());
    }
}
