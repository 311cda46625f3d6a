//! What given beams let sensing receivers know of the targets: Fisher information and position bounds.

use nalgebra::Matrix2;
use serde_json::{Value, json};

use super::decibel;
use crate::array::Beams;
use crate::optimize::{BoundModel, FisherInformation, Problem, Unidentifiable};
use crate::scene::Scene;
use crate::{Error, Result};

/// The bounds that given beams reach in a scene, and their SINR.
pub struct Bounds {
    /// Fisher information of the first target at the first receiver in θ, φ (rad) and T (s); then Re β and Im β where the
    /// receiver does not know them.
    pub fim: Vec<Vec<f64>>,
    /// The bound on the covariance of its position, in m².
    pub covariance_m2: Matrix2<f64>,
    /// SINR at the communication receiver, linear.
    pub sinr: f64,
    /// Every target, each as if the others were absent.
    pub targets: Vec<TargetBound>,
}

impl Bounds {
    /// The bound of these beams, used as they are.
    ///
    /// # Errors
    /// Where the first target's place cannot be identified at the first receiver.
    pub fn of(scene: &Scene, beams: &Beams) -> Result<Self> {
        let model = BoundModel::new(scene, scene.geometry.target, scene.waveform.frame_symbols);
        let information = model.of_beams(beams);
        let covariance_m2 = information.position_covariance().map_err(|error| Error::infeasible(error.to_string()))?;
        let fim = model.in_angles(&information).ok_or_else(|| {
            Error::infeasible(
                "the target stands in line with transmitter and sensing receiver: its range cannot be identified",
            )
        })?;
        Ok(Self {
            fim: fim.row_iter().map(|row| row.iter().copied().collect()).collect(),
            covariance_m2,
            sinr: Problem::from_scene(scene).sinr(beams),
            targets: (0..scene.targets().len()).map(|target| TargetBound::new(scene, target, beams)).collect(),
        })
    }

    /// All of them, as `issc hcrb --json` prints them.
    pub fn report(&self) -> Value {
        let trace_m2 = self.covariance_m2.trace();
        let mut report = json!({
            "fim": self.fim,
            "position_covariance_m2": pairs(&self.covariance_m2),
            "trace_m2": trace_m2,
            "rmse_m": trace_m2.sqrt(),
            "sinr_db": decibel(self.sinr),
            "targets": self.targets.iter().map(TargetBound::report).collect::<Vec<_>>(),
        });
        for key in ["joint", "receivers"] {
            if let Some(value) = report["targets"][0].get(key).cloned() {
                report[key] = value;
            }
        }
        report
    }
}

/// A bound, or why there is none.
pub type Bound = std::result::Result<Matrix2<f64>, Unidentifiable>;

/// The bounds of one target, the others absent.
pub struct TargetBound {
    /// The target's id.
    pub id: String,
    /// At each sensing receiver, with its id.
    pub receivers: Vec<(String, Bound)>,
    /// The bound from the echoes at all receivers together.
    pub joint: Bound,
}

impl TargetBound {
    fn new(scene: &Scene, target: usize, beams: &Beams) -> Self {
        let sensing = scene.sensing_receivers();
        let information: Vec<_> = (0..sensing.len())
            .map(|receiver| {
                let seen = scene.seen_by(target, 0, receiver);
                BoundModel::new(&seen, seen.geometry.target, seen.waveform.frame_symbols).of_beams(beams)
            })
            .collect();
        Self {
            id: scene.targets()[target].id.clone(),
            joint: FisherInformation::joint_position_covariance(&information),
            receivers: sensing
                .into_iter()
                .zip(&information)
                .map(|(receiver, information)| (receiver.id, information.position_covariance()))
                .collect(),
        }
    }

    /// The bound at the first receiver; with several of them each one's and that of all together as well.
    fn report(&self) -> Value {
        let mut report = entry(&self.receivers[0].1);
        report["id"] = json!(self.id);
        if self.receivers.len() > 1 {
            report["joint"] = entry(&self.joint);
            let receiver = |(id, bound): &(String, Bound)| {
                let mut report = entry(bound);
                report["id"] = json!(id);
                report
            };
            report["receivers"] = self.receivers.iter().map(receiver).collect();
        }
        report
    }
}

fn entry(bound: &Bound) -> Value {
    let bound = bound.as_ref().ok();
    json!({ "trace_m2": bound.map(|bound| bound.trace()), "position_covariance_m2": bound.map(pairs) })
}

fn pairs(matrix: &Matrix2<f64>) -> [[f64; 2]; 2] {
    [[matrix[(0, 0)], matrix[(0, 1)]], [matrix[(1, 0)], matrix[(1, 1)]]]
}
