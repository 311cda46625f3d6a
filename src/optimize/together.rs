//! The beams' problem for several targets, of each of which the bound is to stay below the threshold.
//!
//! A target's bound is that of the target alone: the others absent, with a timing error of its own. Over covariances the
//! problem is convex and gives the certificate. Two beams reach a covariance of rank two; where the best one has more,
//! the best pair near it is sought, and the certificate shows what that costs.

use nalgebra::{DMatrix, DVector};
use num_complex::Complex64;

use super::barrier::THRESHOLD_TOLERANCE;
use super::beams::{Effort, NEGLIGIBLE, POWER_RESERVE, Problem, Solution, turned};
use super::covariance::{Covariances, cholesky, isotropic};
use super::pair::{Pairs, strongest};
use super::path::{Level, Outcome, follow, functionals, reach};
use super::several::{Goal, Several};
use crate::array::Beams;

/// Relative gap to which the smallest bound is sought.
const GAP: f64 = 1e-5;
/// Relative gap to which the covariance of the largest SINR is sought: 4e-4 dB.
const COVARIANCE_GAP: f64 = 1e-4;
/// The same where no pair is found that is as good.
const FINE_GAP: f64 = 5e-6;
/// The same of the pair of beams: 4e-5 dB.
const PAIR_GAP: f64 = 1e-5;
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

/// A problem in the reduced basis, for pairs of beams that are found elsewhere.
pub(super) struct Pairing<'a>(Run<'a>);

impl<'a> Pairing<'a> {
    pub fn new(problem: &'a Problem) -> Self {
        Self(problem.run(Effort::default()))
    }

    pub fn several(&self) -> &Several {
        &self.0.several
    }

    /// The pair of the smallest bound. Its two beams may be turned into one another: as near to `pair` as they can be.
    pub fn smallest_near(&self, pair: &DMatrix<Complex64>) -> DMatrix<Complex64> {
        let mut run = self.0.problem.run(Effort::default());
        let start = run.first();
        let goal = Goal::Bound { least_gain: None };
        let smallest = follow(&Covariances, &run.several, goal, start, GAP, &mut run.steps, |_, _| true);
        let smallest = run.smallest_pair(&strongest(&smallest.factor), None).factor;
        let turn = smallest.ad_mul(pair).svd(true, true);
        let turn = turn.u.zip(turn.v_t).map_or_else(|| DMatrix::identity(2, 2), |(u, v)| u * v);
        smallest * turn
    }

    /// Reduced beams as beams in √W; only their phases are chosen anew, which changes nothing.
    pub fn lift(&self, w_c: &DVector<Complex64>, w_0: &DVector<Complex64>) -> Beams {
        let reached = self.0.several.channel().dotc(w_c);
        let phase = if reached.norm() > 0.0 { reached.conj() / reached.norm() } else { Complex64::from(1.0) };
        Beams { w_c: self.0.lift(&(w_c * phase)), w_0: turned(self.0.lift(w_0)) }
    }
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

    fn run<'a>(&'a self, effort: Effort<'a>) -> Run<'a> {
        let several = self.several();
        let size = several.size();
        let usable = |warm: &&Warm| {
            let fits = |level: &Option<Level>| level.as_ref().is_none_or(|level| level.factor.nrows() == size);
            warm.targets == several.targets() && fits(&warm.pair) && fits(&warm.smallest) && fits(&warm.covariance)
        };
        let last = effort.warm.and_then(|warm| warm.together.as_deref()).filter(usable);
        let warm = last.cloned().unwrap_or(Warm { targets: several.targets(), ..Warm::default() });
        let limit = self.hcrb_max_m2() / several.unit;
        Run { problem: self, several, effort, limit, steps: 0, warm }
    }

    /// The largest SINR with every target's bound below the threshold.
    pub(super) fn solve_together(&self, effort: Effort<'_>) -> Solution {
        self.run(effort).solve()
    }
}

impl Problem {
    /// The smallest largest bound with at least this SINR (linear), as [`Self::solve_exchanged`] says.
    pub(super) fn exchange_together(&self, least_sinr: f64, effort: Effort<'_>) -> Solution {
        let mut run = self.run(effort);
        run.limit = f64::INFINITY;
        let least = least_sinr / run.several.best;
        let size = run.several.size();
        let channel = run.several.channel().into_owned();
        if least > 1.0 - 1e-9 {
            let pair = DMatrix::from_columns(&[channel, DVector::zeros(size)]);
            let mut solution = run.finish(&pair, 1.0, (0.0, 0.0), true);
            solution.smallest_hcrb_trace_m2 = solution.hcrb_trace_m2;
            solution.feasible = least <= 1.0 + 1e-9;
            return solution;
        }
        // Between isotropic and maximum ratio there is a point inside.
        let even = 1.0 / size as f64;
        let aim = 0.5 * (1.0 + least);
        let share = ((aim - even) / (1.0 - even).max(1e-12)).clamp(0.0, 1.0 - 1e-9);
        let mut start = &channel * channel.adjoint() * Complex64::from(share);
        (0..size).for_each(|n| start[(n, n)] += (1.0 - share) * even);
        start *= Complex64::from(1.0 - 0.25 * (1.0 - least));
        let factor = cholesky(start).unwrap_or_else(|| isotropic(size));
        let weight = FIRST / run.bound(&factor).clamp(f64::MIN_POSITIVE, 1e300);
        let goal = Goal::Bound { least_gain: Some(least) };
        let level = Level { factor, weight };
        let best = follow(&Covariances, &run.several, goal, level, GAP, &mut run.steps, |_, _| effort.in_time());
        let pair = run.smallest_pair(&strongest(&best.factor), Some(least));
        let mut solution = run.finish(&pair.factor, 1.0, (0.0, best.proven.max(pair.proven)), true);
        solution.smallest_hcrb_trace_m2 = solution.hcrb_trace_m2;
        solution
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
                weight: level.weight,
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
            let pair = self.smallest_pair(&strongest(&smallest.factor), None);
            let proven = smallest.proven.max(pair.proven);
            return self.finish(&pair.factor, 0.0, (self.bound(&pair.factor), proven), false);
        }
        // A threshold that only just can be met is met within its tolerance.
        self.limit = limit.max(smallest_bound * (1.0 + 0.5 * THRESHOLD_TOLERANCE));
        let start = found.unwrap_or_else(|| Level { factor: inside.unwrap_or(smallest.factor.clone()), weight: FIRST });
        let (pair, proven) = self.largest_gain(start, &smallest);
        match pair {
            Some(pair) => self.finish(&pair, proven, (smallest_bound, smallest.proven), true),
            None => {
                let pair = self.smallest_pair(&strongest(&smallest.factor), None);
                let least = smallest.proven.max(pair.proven);
                self.finish(&pair.factor, proven, (self.bound(&pair.factor), least), false)
            }
        }
    }

    /// The pair of the largest gain, and what is proven of any. It is sought from further up the path of the best
    /// covariance, from its end and from the covariance of the smallest bound, until it is as good as the certificate;
    /// where it is not, once more with a finer covariance.
    fn largest_gain(&mut self, start: Level, smallest: &Outcome) -> (Option<DMatrix<Complex64>>, f64) {
        let (effort, goal) = (self.effort, Goal::Gain { limit: self.limit });
        let (mut level, mut proven, mut found) = (start, 1.0f64, None::<DMatrix<Complex64>>);
        for gap in [COVARIANCE_GAP, FINE_GAP] {
            let best = follow(&Covariances, &self.several, goal, level, gap, &mut self.steps, |_, _| effort.in_time());
            proven = proven.min(best.proven);
            let near = best.warm.as_ref().map(|level| Level { factor: strongest(&level.factor), weight: level.weight });
            self.warm.covariance.clone_from(&best.warm);
            let ends = [&best.factor, &smallest.factor];
            let far = ends.map(|factor| Level { factor: strongest(factor), weight: FIRST });
            for level in near.into_iter().chain(far) {
                let Some(pair) = self.best_pair(level) else { continue };
                proven = proven.min(pair.proven);
                let gain = self.gain(&pair.factor);
                if found.as_ref().is_none_or(|found| gain > self.gain(found)) {
                    found = Some(pair.factor);
                }
                if proven * (1.0 - GOOD_PAIR) <= gain || !effort.in_time() {
                    return (found, proven);
                }
            }
            level = Level { factor: best.factor, weight: best.weight };
        }
        (found, proven)
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

    /// The pair of the smallest largest bound near this one, with a gain above the least one where there is one.
    fn smallest_pair(&mut self, pair: &DMatrix<Complex64>, least_gain: Option<f64>) -> Outcome {
        let factor = match least_gain {
            Some(least) => self.with_gain(pair, least),
            None => pair * Complex64::from(0.99),
        };
        let weight = FIRST / self.bound(&factor).clamp(f64::MIN_POSITIVE, 1e300);
        let (effort, goal) = (self.effort, Goal::Bound { least_gain });
        let start = Level { factor, weight };
        follow(&Pairs::default(), &self.several, goal, start, GAP, &mut self.steps, |_, _| effort.in_time())
    }

    /// The pair, turned towards the channel as far as it takes to have more than this gain, inside the power.
    fn with_gain(&self, pair: &DMatrix<Complex64>, least_gain: f64) -> DMatrix<Complex64> {
        let channel = self.several.channel().into_owned();
        let [inner, rest] = self.turned_towards_channel(pair);
        let shares = (0..12).map(|k| 1e-6 * 4f64.powi(k)).chain([1.0]);
        let mixed = |share: f64| {
            let keep = Complex64::from(1.0 - share);
            let mut mixed = DMatrix::from_columns(&[&inner * keep + &channel * Complex64::from(share), &rest * keep]);
            mixed *= Complex64::from((1.0 - 1e-9) / mixed.norm().max(1.0));
            mixed
        };
        let enough = |pair: &DMatrix<Complex64>| self.gain(pair) > least_gain && pair.norm_squared() < 1.0;
        shares.map(mixed).find(enough).unwrap_or_else(|| mixed(1.0))
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
            level.factor = reach(&Pairs::default(), &self.several, level.factor, enough, &mut self.steps)?;
        }
        let goal = Goal::Gain { limit: self.limit };
        let effort = self.effort;
        let outcome =
            follow(&Pairs::default(), &self.several, goal, level, PAIR_GAP, &mut self.steps, |_, _| effort.in_time());
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
            feasible: feasible
                && (self.limit.is_infinite()
                    || hcrb_trace_m2 <= self.problem.hcrb_max_m2() * (1.0 + THRESHOLD_TOLERANCE)),
            iterations: self.steps,
            warm: self.warm.clone().into(),
            beams,
        }
    }

    /// w_c along what B Bᴴ reaches of the channel and w_0 as the rest. w_0 is zero where it is negligible and every bound
    /// without it stays under the limit.
    fn beams(&self, pair: &DMatrix<Complex64>) -> Beams {
        let problem = self.problem;
        let [inner, rest] = self.turned_towards_channel(pair);
        let total = pair.norm_squared();
        let full = Complex64::from((total.sqrt() / inner.norm()).max(1.0));
        let alone = Beams { w_c: self.lift(&(&inner * full)), w_0: DVector::zeros(problem.channel().len()) };
        let limit = self.limit * self.several.unit * (1.0 + 1e-7);
        if rest.norm_squared() < NEGLIGIBLE * total && problem.hcrb_trace_m2(&alone).is_ok_and(|trace| trace <= limit) {
            return alone;
        }
        Beams { w_c: self.lift(&inner), w_0: turned(self.lift(&rest)) }
    }

    /// A reduced beam as one in √W.
    fn lift(&self, beam: &DVector<Complex64>) -> DVector<Complex64> {
        let root = Complex64::from((self.problem.power_w() * (1.0 - POWER_RESERVE)).sqrt());
        self.several.basis.as_ref().map_or_else(|| beam.clone(), |u| u * beam) * root
    }

    /// The same B Bᴴ as a beam that reaches all that B Bᴴ does of the channel, and one that reaches nothing of it.
    fn turned_towards_channel(&self, pair: &DMatrix<Complex64>) -> [DVector<Complex64>; 2] {
        let reached = pair.ad_mul(&self.several.channel());
        let norm = reached.norm();
        let turn = if norm > 1e-9 * pair.norm() {
            [reached[0] / norm, reached[1] / norm]
        } else {
            // Where nothing of the channel is reached, the stronger beam carries the pictures.
            let first = pair.column(0).norm() >= pair.column(1).norm();
            [f64::from(u8::from(first)), f64::from(u8::from(!first))].map(Complex64::from)
        };
        [
            pair.column(0) * turn[0] + pair.column(1) * turn[1],
            pair.column(1) * turn[0].conj() - pair.column(0) * turn[1].conj(),
        ]
    }
}
