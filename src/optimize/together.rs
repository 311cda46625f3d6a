//! The beams' problem for several targets, of each of which the bound is to stay below the threshold.
//!
//! A target's bound is that of the target alone: the others absent, with a timing error of its own. Over covariances the
//! problem is convex and gives the certificate. Two beams reach a covariance of rank two; where the best one has more,
//! the best pair near it is sought, and the certificate shows what that costs.

use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;

use super::barrier::THRESHOLD_TOLERANCE;
use super::beams::{Effort, NEGLIGIBLE, POWER_RESERVE, Problem, Solution, turned};
use super::covariance::{Covariances, isotropic};
use super::pair::{Pairs, strongest};
use super::path::{Level, Outcome, follow, functionals, reach};
use super::several::{Goal, Several};
use crate::array::Beams;

/// Relative gap to which the smallest bound is sought.
const GAP: f64 = 1e-5;
/// Relative gap to which the largest SINR is sought: 4e-5 dB.
const SINR_GAP: f64 = 1e-5;
/// Gap (relative) to the certificate at which a pair from a warm start is good enough: 4e-4 dB.
const GOOD_PAIR: f64 = 1e-4;
/// Weight of the first level.
const FIRST: f64 = 10.0;

/// Where the next solution for several targets may start.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Warm {
    targets: usize,
    smallest: Option<Level>,
    covariance: Option<Level>,
    pair: Option<Level>,
}

/// A run over several targets: the scaled problem and what it has cost.
struct Run<'a> {
    problem: &'a Problem,
    several: Several,
    effort: Effort<'a>,
    limit: f64,
    steps: usize,
    warm: Warm,
}

impl Problem {
    fn several(&self) -> Several {
        let power = self.power_w() * (1.0 - POWER_RESERVE);
        Several::new(self.bounds(), self.channel(), power, power / self.noise_power_w())
    }

    /// The largest SINR with every target's bound below the threshold.
    pub(super) fn solve_together(&self, effort: Effort<'_>) -> Solution {
        let several = self.several();
        let limit = self.hcrb_max_m2() / several.unit;
        let size = several.size();
        let usable = |warm: &&Warm| {
            let fits = |level: &Option<Level>| level.as_ref().is_none_or(|level| level.factor.nrows() == size);
            warm.targets == several.targets() && fits(&warm.pair) && fits(&warm.smallest) && fits(&warm.covariance)
        };
        let warm = effort.warm.and_then(|warm| warm.together.as_deref()).filter(usable).cloned().unwrap_or_default();
        let mut run = Run { problem: self, several, effort, limit, steps: 0, warm };
        run.warm.targets = run.several.targets();
        run.solve()
    }
}

impl Run<'_> {
    fn solve(&mut self) -> Solution {
        // With a warm start and only the threshold to meet, a pair that its own multipliers prove good is enough.
        if self.effort.threshold_only
            && let Some(level) = self.warm.pair.clone()
            && let Some(outcome) = self.best_pair(level)
            && outcome.proven * (1.0 - GOOD_PAIR) <= self.gain(&outcome.factor)
        {
            let trace = self.several.largest_bound(&functionals(&self.several, &outcome.factor));
            return self.finish(&outcome.factor, outcome.proven, (trace, 0.0), true);
        }
        let mut inside = None;
        let limit = self.limit;
        let found = self
            .warm
            .covariance
            .clone()
            .filter(|level| self.effort.threshold_only && self.bound(&level.factor) < limit * (1.0 - 1e-6));
        let smallest = match &found {
            Some(level) => Outcome {
                factor: level.factor.clone(),
                proven: 0.0,
                multipliers: Vec::new(),
                warm: self.warm.smallest.clone(),
            },
            None => {
                let effort = self.effort;
                let start = self.first();
                let goal = Goal::Bound { least_gain: None };
                follow(&Covariances, &self.several, goal, start, GAP, &mut self.steps, |factor, bound| {
                    if inside.is_none() && bound < limit * 0.999 {
                        inside = Some(factor.clone());
                    }
                    effort.in_time() && !(effort.threshold_only && inside.is_some())
                })
            }
        };
        self.warm.smallest.clone_from(&smallest.warm);
        let smallest_bound = self.bound(&smallest.factor);
        if smallest_bound > limit {
            let pair = self.smallest_pair(&strongest(&smallest.factor), 0.0);
            return self.finish(&pair, 0.0, (self.bound(&pair), smallest.proven), false);
        }
        // A threshold that only just can be met is met within its tolerance.
        self.limit = limit.max(smallest_bound * (1.0 + 0.5 * THRESHOLD_TOLERANCE));
        let start = found.unwrap_or_else(|| Level { factor: inside.unwrap_or(smallest.factor.clone()), weight: FIRST });
        let effort = self.effort;
        let goal = Goal::Gain { limit: self.limit };
        let best = follow(&Covariances, &self.several, goal, start, SINR_GAP, &mut self.steps, |_, _| effort.in_time());
        self.warm.covariance.clone_from(&best.warm);
        match self.pair_of(&best, &smallest) {
            Some(pair) => {
                let proven = best.proven.min(pair.proven);
                self.finish(&pair.factor, proven, (smallest_bound, smallest.proven), true)
            }
            None => {
                let pair = self.smallest_pair(&strongest(&smallest.factor), 0.0);
                self.finish(&pair, best.proven, (self.bound(&pair), smallest.proven), false)
            }
        }
    }

    /// The best pair that is found from the best covariance, from further up its path, and from that of the smallest
    /// bound; the first that is as good as the certificate.
    fn pair_of(&mut self, best: &Outcome, smallest: &Outcome) -> Option<Outcome> {
        let near = best.warm.as_ref().map(|level| Level { factor: strongest(&level.factor), weight: level.weight });
        let starts = [(&best.factor, FIRST), (&smallest.factor, FIRST)];
        let others = starts.map(|(factor, weight)| Level { factor: strongest(factor), weight });
        let mut found: Option<Outcome> = None;
        for level in near.into_iter().chain(others) {
            let Some(pair) = self.best_pair(level) else { continue };
            let gain = self.gain(&pair.factor);
            if found.as_ref().is_none_or(|found| gain > self.gain(&found.factor)) {
                found = Some(pair);
            }
            if best.proven * (1.0 - GOOD_PAIR) <= gain || !self.effort.in_time() {
                break;
            }
        }
        found
    }

    /// Where a minimisation of the largest bound starts.
    fn first(&self) -> Level {
        let usable = |level: &Level| self.bound(&level.factor).is_finite();
        self.warm.smallest.clone().filter(usable).unwrap_or_else(|| {
            let factor = isotropic(self.several.size());
            let weight = FIRST / self.bound(&factor).clamp(f64::MIN_POSITIVE, 1e300);
            Level { factor, weight }
        })
    }

    /// The largest of the bounds of F Fᴴ, in units.
    fn bound(&self, factor: &DMatrix<Complex64>) -> f64 {
        self.several.largest_bound(&functionals(&self.several, factor))
    }

    fn gain(&self, factor: &DMatrix<Complex64>) -> f64 {
        functionals(&self.several, factor)[self.several.targets()][0]
    }

    /// The pair of the smallest largest bound near this one, or one whose bound is below `enough`.
    fn smallest_pair(&mut self, pair: &DMatrix<Complex64>, enough: f64) -> DMatrix<Complex64> {
        let factor = pair * Complex64::from(0.99);
        let weight = FIRST / self.bound(&factor).clamp(f64::MIN_POSITIVE, 1e300);
        let goal = Goal::Bound { least_gain: None };
        let effort = self.effort;
        let start = Level { factor, weight };
        let outcome = follow(&Pairs, &self.several, goal, start, GAP, &mut self.steps, |_, bound| {
            bound >= enough && effort.in_time()
        });
        outcome.factor
    }

    /// The pair of the largest gain near this one.
    fn best_pair(&mut self, start: Level) -> Option<Outcome> {
        let mut level = start;
        let power = level.factor.norm();
        if power >= 1.0 - 1e-9 {
            level.factor *= Complex64::from((1.0 - 1e-6) / power);
        }
        let enough = self.limit * (1.0 - 1e-6);
        if self.bound(&level.factor) >= enough {
            level.factor = reach(&Pairs, &self.several, level.factor, enough, &mut self.steps)?;
        }
        let goal = Goal::Gain { limit: self.limit };
        let effort = self.effort;
        let outcome = follow(&Pairs, &self.several, goal, level, SINR_GAP, &mut self.steps, |_, _| effort.in_time());
        self.warm.pair.clone_from(&outcome.warm);
        Some(outcome)
    }

    fn finish(&self, pair: &DMatrix<Complex64>, proven_gain: f64, smallest: (f64, f64), feasible: bool) -> Solution {
        let beams = self.beams(pair);
        let hcrb_trace_m2 = self.problem.hcrb_trace_m2(&beams).unwrap_or(f64::INFINITY);
        let unit = self.several.unit;
        Solution {
            sinr: self.problem.sinr(&beams),
            hcrb_trace_m2,
            smallest_hcrb_trace_m2: smallest.0 * unit,
            lower_bound_hcrb_trace_m2: smallest.1.max(0.0) * unit,
            upper_bound_sinr: proven_gain * self.several.best,
            feasible: feasible && hcrb_trace_m2 <= self.problem.hcrb_max_m2() * (1.0 + THRESHOLD_TOLERANCE),
            iterations: self.steps,
            warm: self.warm.clone().into(),
            beams,
        }
    }

    /// w_c along what B Bᴴ reaches of the channel and w_0 as the rest. w_0 is zero where it is negligible and every bound
    /// without it stays under the limit.
    fn beams(&self, pair: &DMatrix<Complex64>) -> Beams {
        let problem = self.problem;
        let root = Complex64::from((problem.power_w() * (1.0 - POWER_RESERVE)).sqrt());
        let lift =
            |beam: DVector<Complex64>| self.several.basis.as_ref().map_or_else(|| beam.clone(), |u| u * &beam) * root;
        let last = self.several.vectors.ncols() - 1;
        let reached = pair.ad_mul(&self.several.vectors.column(last));
        let norm = reached.norm();
        let turn = if norm > 1e-9 * pair.norm() {
            [reached[0] / norm, reached[1] / norm]
        } else {
            let first = pair.column(0).norm() >= pair.column(1).norm();
            [f64::from(u8::from(first)), f64::from(u8::from(!first))].map(Complex64::from)
        };
        let inner = pair.column(0) * turn[0] + pair.column(1) * turn[1];
        let rest = pair.column(1) * turn[0].conj() - pair.column(0) * turn[1].conj();
        let total = pair.norm_squared();
        let full = Complex64::from((total.sqrt() / inner.norm()).max(1.0));
        let alone = Beams { w_c: lift(&inner * full), w_0: DVector::zeros(problem.channel().len()) };
        let limit = self.limit * self.several.unit * (1.0 + 1e-7);
        if rest.norm_squared() < NEGLIGIBLE * total && problem.hcrb_trace_m2(&alone).is_ok_and(|trace| trace <= limit) {
            return alone;
        }
        Beams { w_c: lift(inner), w_0: turned(lift(rest)) }
    }
}
