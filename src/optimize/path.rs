//! The barrier method for several targets: levels of the central path, Newton's method on each, and what the dual proves.
//!
//! It runs over covariances S = L Lᴴ, where the problem is convex, and over pairs of beams S = B Bᴴ: what differs is a
//! [`Shape`].

use nalgebra::DMatrix;
use num_complex::Complex64;

use super::barrier::{CENTRED, CENTRED_LAST, LEVEL_STEPS, LOWERING, QUADRATIC, THRESHOLD_TOLERANCE};
use super::several::{Blocks, Expansion, Goal, Several};

/// What S is made of: a factor F with S = F Fᴴ.
pub(super) trait Shape {
    /// Constraints beside those of the targets and the power.
    fn constraints(&self, several: &Several) -> f64;
    /// The barrier that keeps the factor what it is.
    fn barrier(&self, factor: &DMatrix<Complex64>) -> f64;
    /// Newton's direction and its squared decrement.
    fn newton(&self, several: &Several, here: &Here) -> Option<(DMatrix<Complex64>, f64)>;
    /// The factor a share of the direction further.
    fn moved(&self, here: &Here, direction: &DMatrix<Complex64>, length: f64) -> Option<DMatrix<Complex64>>;
}

/// Relative distance to which a search for a small enough bound tells the largest bound from the others, at first and at
/// last.
const REACHING: f64 = 100.0;
const GAP_REACHED: f64 = 1e-7;
/// Gap (relative) of the level that a warm start begins from at least.
const WARM_GAP: f64 = 2e-4;

/// A point on the central path, and the weight of the objective that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level {
    pub factor: DMatrix<Complex64>,
    pub weight: f64,
}

/// Where Newton's method ends within a level.
#[derive(Clone, Copy)]
struct Stop {
    /// Squared decrement.
    tolerance: f64,
    /// Largest bound that is small enough; 0: none is.
    enough: f64,
}

/// How far a run came.
pub(super) struct Outcome {
    /// The best point, strictly inside.
    pub factor: DMatrix<Complex64>,
    /// The objective's weight at it.
    pub weight: f64,
    /// What the dual proves of the optimum's value, in units.
    pub proven: f64,
    /// Multiplier of each target's bound.
    pub multipliers: Vec<f64>,
    /// Where a warm start may begin.
    pub warm: Option<Level>,
}

/// A point and what is known there.
pub(super) struct Here {
    pub factor: DMatrix<Complex64>,
    /// Fᴴ (vectors).
    pub images: DMatrix<Complex64>,
    pub functionals: Blocks,
    pub expansion: Expansion,
    /// With the shape's barrier.
    value: f64,
}

/// Functionals of a point.
pub(super) fn functionals(several: &Several, factor: &DMatrix<Complex64>) -> Blocks {
    several.functionals(&factor.ad_mul(&several.vectors), factor.norm_squared())
}

/// Follows the central path from a point inside. `visit` sees every level's point and its largest bound, and ends the
/// run by answering false.
pub(super) fn follow(
    shape: &impl Shape,
    several: &Several,
    goal: Goal,
    start: Level,
    gap: f64,
    steps: &mut usize,
    mut visit: impl FnMut(&DMatrix<Complex64>, f64) -> bool,
) -> Outcome {
    let constraints = shape.constraints(several)
        + (several.targets() + 1) as f64
        + f64::from(matches!(goal, Goal::Bound { least_gain: Some(_) }));
    let Level { mut factor, mut weight } = start;
    let mut outcome =
        Outcome { factor: factor.clone(), weight, proven: no_proof(goal), multipliers: Vec::new(), warm: None };
    loop {
        let now = functionals(several, &factor);
        let scale = match goal {
            Goal::Gain { .. } => now[several.targets()][0].max(1e-3),
            Goal::Bound { .. } => several.largest_bound(&now),
        };
        let end = constraints / (gap * scale);
        let last = weight >= end;
        let tolerance = if last { CENTRED_LAST } else { CENTRED };
        let centred = centre(shape, several, goal, weight, &mut factor, Stop { tolerance, enough: 0.0 }, steps);
        let now = functionals(several, &factor);
        let Some(expansion) = several.expand(goal, weight, &now) else { return outcome };
        outcome.factor.clone_from(&factor);
        outcome.weight = weight;
        let largest = several.largest_bound(&now);
        let go_on = visit(&factor, largest);
        let scale = if let Goal::Bound { .. } = goal { largest } else { 1.0 };
        if constraints / weight >= WARM_GAP * scale {
            outcome.warm = Some(Level { factor: factor.clone(), weight });
        }
        let ends = last || !centred || !go_on;
        if ends || constraints / weight < WARM_GAP * scale {
            let multipliers: Vec<f64> = expansion.weights.iter().map(|multiplier| multiplier / weight).collect();
            let proven = prove(several, goal, weight, &now, &multipliers);
            let better = match goal {
                Goal::Gain { .. } => proven < outcome.proven,
                Goal::Bound { .. } => proven > outcome.proven,
            };
            if better || outcome.multipliers.is_empty() {
                (outcome.proven, outcome.multipliers) = (proven, multipliers);
            }
        }
        if ends {
            return outcome;
        }
        weight = (weight * LOWERING).min((end * 1.1).max(weight * 1.5));
    }
}

/// What the dual proves of the optimum's value with these multipliers.
fn prove(several: &Several, goal: Goal, weight: f64, now: &Blocks, multipliers: &[f64]) -> f64 {
    let proven = match goal {
        Goal::Gain { limit } => several.proven_gain(now, multipliers, limit * (1.0 + THRESHOLD_TOLERANCE)),
        Goal::Bound { least_gain } => {
            let multiplier = |least: f64| 1.0 / (weight * (now[several.targets()][0] - least));
            several.proven_bound(now, multipliers, least_gain.map(|least| (least, multiplier(least))))
        }
    };
    proven.unwrap_or(no_proof(goal))
}

/// What is known without any proof.
fn no_proof(goal: Goal) -> f64 {
    match goal {
        Goal::Gain { .. } => 1.0,
        Goal::Bound { .. } => 0.0,
    }
}

fn look(shape: &impl Shape, several: &Several, goal: Goal, weight: f64, factor: DMatrix<Complex64>) -> Option<Here> {
    let images = factor.ad_mul(&several.vectors);
    let functionals = several.functionals(&images, factor.norm_squared());
    let expansion = several.expand(goal, weight, &functionals)?;
    let value = expansion.value + shape.barrier(&factor);
    value.is_finite().then_some(Here { factor, images, functionals, expansion, value })
}

/// A point with every bound below `enough`, as near to the start as the way there leads; `None` where none was found.
pub(super) fn reach(
    shape: &impl Shape,
    several: &Several,
    mut factor: DMatrix<Complex64>,
    enough: f64,
    steps: &mut usize,
) -> Option<DMatrix<Complex64>> {
    let goal = Goal::Bound { least_gain: None };
    let mut bound = several.largest_bound(&functionals(several, &factor));
    let mut weight = REACHING / bound;
    while bound >= enough && weight * bound * GAP_REACHED < 1.0 {
        centre(shape, several, goal, weight, &mut factor, Stop { tolerance: CENTRED, enough }, steps);
        bound = several.largest_bound(&functionals(several, &factor));
        weight *= LOWERING;
    }
    (bound < enough).then_some(factor)
}

/// Newton's method on one level, or until every bound is small enough; whether the level was centred.
fn centre(
    shape: &impl Shape,
    several: &Several,
    goal: Goal,
    weight: f64,
    factor: &mut DMatrix<Complex64>,
    stop: Stop,
    steps: &mut usize,
) -> bool {
    let Some(mut here) = look(shape, several, goal, weight, factor.clone()) else { return false };
    let mut last = f64::INFINITY;
    for _ in 0..LEVEL_STEPS {
        let Some((direction, decrement)) = shape.newton(several, &here) else { return false };
        *steps += 1;
        if decrement.is_nan() {
            return false;
        }
        // Once Newton's steps no longer shrink, what is left is rounding.
        if decrement < stop.tolerance || (decrement < QUADRATIC && decrement > 0.1 * last) {
            return true;
        }
        last = decrement;
        let mut length = 1.0;
        here = loop {
            let next = shape.moved(&here, &direction, length);
            match next.and_then(|next| look(shape, several, goal, weight, next)) {
                Some(there) if decrement < QUADRATIC || there.value <= here.value - 0.1 * length * decrement => {
                    factor.clone_from(&there.factor);
                    if stop.enough > 0.0 && several.largest_bound(&there.functionals) < stop.enough {
                        return false;
                    }
                    break there;
                }
                _ if length < 1e-7 => return false,
                _ => length *= 0.5,
            }
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::covariance::{Covariances, cholesky};
    use crate::optimize::pair::Pairs;
    use crate::optimize::{BelievedTarget, Problem, channel_vector};
    use crate::scene::{Reflectivity, Scene};

    fn several(reflectivity: Reflectivity) -> Several {
        let mut scene = Scene::paper();
        scene.model.reflectivity = reflectivity;
        scene.array.transmit_antennas = 6;
        let target = |x: f64, y: f64, beta: f64| BelievedTarget { position: [x, y], reflection_coefficient: beta };
        let targets = [target(100.0, 50.0, 0.6), target(60.0, -20.0, 0.9), target(80.0, 90.0, 1.3)];
        let problem = Problem::for_targets(&scene, channel_vector(&scene), &targets);
        Several::new(problem.bounds(), problem.channel(), problem.power_w(), 1.0)
    }

    fn factor(size: usize, columns: usize) -> DMatrix<Complex64> {
        let entry = |i: usize, k: usize| {
            let phase = (3 * i + 7 * k) as f64;
            Complex64::new(phase.sin() + if i == k { 2.0 } else { 0.0 }, (1.7 * phase).cos())
        };
        let full = DMatrix::from_fn(size, columns, entry);
        let norm = full.norm();
        full * Complex64::from(0.9 / norm)
    }

    /// Goals that a factor lies inside of.
    fn goals(several: &Several, factor: &DMatrix<Complex64>) -> [Goal; 3] {
        let now = functionals(several, factor);
        let (bound, gain) = (several.largest_bound(&now), now[several.targets()][0]);
        [
            Goal::Gain { limit: 1.3 * bound },
            Goal::Bound { least_gain: None },
            Goal::Bound { least_gain: Some(0.7 * gain) },
        ]
    }

    #[test]
    fn gradients_and_hessians_in_the_functionals_are_those_of_central_differences() {
        for reflectivity in [Reflectivity::Known, Reflectivity::Unknown] {
            let several = several(reflectivity);
            let factor = factor(several.size(), several.size());
            for goal in goals(&several, &factor) {
                let at = functionals(&several, &factor);
                let here = several.expand(goal, 20.0, &at).unwrap();
                let scale = |block: &nalgebra::Vector4<f64>| {
                    let cross = (block[0] * block[1]).sqrt();
                    nalgebra::Vector4::new(block[0], block[1], cross, cross)
                };
                let scales: Vec<_> = at.iter().map(scale).collect();
                for block in 0..at.len() {
                    for entry in 0..if block == several.targets() { 2 } else { 4 } {
                        let step = 1e-6 * scales[block][entry];
                        let moved = |sign: f64| {
                            let mut moved = at.clone();
                            moved[block][entry] += sign * step;
                            several.expand(goal, 20.0, &moved).unwrap()
                        };
                        let (above, below) = (moved(1.0), moved(-1.0));
                        // Per relative change of the functional, so that all are numbers of like size.
                        let slope = (above.value - below.value) / 2e-6;
                        let own = here.gradient[block][entry] * scales[block][entry];
                        assert!((slope - own).abs() < 1e-6 + 1e-4 * own.abs(), "{goal:?} {block} {entry}");
                        let mut unit = vec![nalgebra::Vector4::zeros(); at.len()];
                        unit[block][entry] = scales[block][entry];
                        let mut curve = vec![nalgebra::Vector4::zeros(); at.len()];
                        for column in &here.factor {
                            column.add_to(&mut curve, column.dot(&unit));
                        }
                        for (other, curve) in curve.iter().enumerate() {
                            let change = (above.gradient[other] - below.gradient[other]) / 2e-6;
                            let error = (change - curve).component_mul(&scales[other]).amax();
                            let size = curve.component_mul(&scales[other]).amax();
                            assert!(error < 1e-6 + 1e-4 * size, "{goal:?} {block} {entry} {other}: {error:e} {size:e}");
                        }
                    }
                }
            }
        }
    }

    /// The value falls along the step as the decrement says, and near the centre the decrement is squared by a step.
    fn newtons_steps_are_newtons(shape: &impl Shape, several: &Several, start: &DMatrix<Complex64>) {
        for goal in goals(several, start) {
            let mut here = look(shape, several, goal, 20.0, start.clone()).unwrap();
            let (direction, decrement) = shape.newton(several, &here).unwrap();
            let value = |length: f64| {
                let moved = shape.moved(&here, &direction, length).unwrap();
                look(shape, several, goal, 20.0, moved).unwrap().value
            };
            let slope = (value(1e-4) - value(-1e-4)) / 2e-4;
            assert!((slope + decrement).abs() < 1e-4 * decrement, "{goal:?}: {slope} {decrement}");
            let (mut steps, stop) = (0, Stop { tolerance: 1e-3, enough: 0.0 });
            let mut factor = start.clone();
            assert!(centre(shape, several, goal, 20.0, &mut factor, stop, &mut steps), "{goal:?}");
            here = look(shape, several, goal, 20.0, factor).unwrap();
            let (direction, before) = shape.newton(several, &here).unwrap();
            let next = look(shape, several, goal, 20.0, shape.moved(&here, &direction, 1.0).unwrap()).unwrap();
            let (_, after) = shape.newton(several, &next).unwrap();
            assert!(after < 1e-14 + 100.0 * before * before, "{goal:?}: {before:e} {after:e}");
        }
    }

    #[test]
    fn steps_over_covariances_and_over_pairs_are_newtons() {
        for reflectivity in [Reflectivity::Known, Reflectivity::Unknown] {
            let several = several(reflectivity);
            let size = several.size();
            let full = factor(size, size);
            let lower = cholesky(&full * full.adjoint()).unwrap();
            newtons_steps_are_newtons(&Covariances, &several, &lower);
            newtons_steps_are_newtons(&Pairs::default(), &several, &factor(size, 2));
        }
    }
}
