//! Claims about the optimum for several targets.

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::tests::{decibel, isotropic_trace, random_scene};
use super::*;
use crate::scene::Scene;

/// Random targets about a random scene, and Π = a factor × the largest of their isotropic bounds.
fn random_targets(random: &mut Xoshiro256PlusPlus, targets: usize) -> (Scene, Vec<BelievedTarget>) {
    let mut scene = random_scene(random, 0.4..3.0);
    let factor = scene.constraints.hcrb_max_m2 / isotropic_trace(&scene);
    let mut believed = Vec::new();
    let mut largest = 0.0f64;
    for _ in 0..targets {
        let position = [random.random_range(20.0..150.0), random.random_range(-80.0..120.0)];
        let reflection_coefficient = random.random_range(0.3..1.5);
        believed.push(BelievedTarget { position, reflection_coefficient });
        let mut alone = scene.clone();
        alone.geometry.target = position;
        alone.channel.reflection_coefficient = reflection_coefficient;
        largest = largest.max(isotropic_trace(&alone));
    }
    scene.constraints.hcrb_max_m2 = factor * largest;
    (scene, believed)
}

#[test]
fn measure() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(21);
    for trial in 0..200 {
        let count = 1 + trial % 4;
        let (scene, targets) = random_targets(&mut random, count);
        let problem = Problem::for_targets(&scene, channel_vector(&scene), &targets);
        let mut problem = problem;
        if let Ok(tight) = std::env::var("TIGHT") {
            let most: f64 = tight.parse().unwrap();
            let low = problem.solve().lower_bound_hcrb_trace_m2;
            problem = problem.with_hcrb_max_m2(low * most.powf(random.random_range(0.0..1.0f64).powi(2)));
        }
        let begin = std::time::Instant::now();
        let solution = problem.solve();
        let time = begin.elapsed().as_secs_f64() * 1e6;
        let gap = decibel(solution.upper_bound_sinr / solution.sinr);
        println!(
            "{trial} K {count} N {} {:?} feasible {} gap {gap:.6} hcrb {:.7} low {:.7} small {:.7} steps {} {time:.0} us; {}",
            scene.array.transmit_antennas,
            scene.model.reflectivity,
            solution.feasible,
            solution.hcrb_trace_m2 / problem.hcrb_max_m2(),
            solution.lower_bound_hcrb_trace_m2 / problem.hcrb_max_m2(),
            solution.smallest_hcrb_trace_m2 / problem.hcrb_max_m2(),
            solution.iterations,
            "",
        );
    }
}
