//! Beams for a scene by the methods that are compared, and what each reaches: SINR, bounds, certificate, rates.

use std::time::Instant;

use nalgebra::DVector;
use num_complex::Complex64;
use serde_json::{Value, json};

use super::decibel;
use crate::array::Beams;
use crate::coding::BlockErrorLaw;
use crate::modem::frame::{HeaderLength, Layout, SOUNDING_PERIOD};
use crate::optimize::{
    Alternation, Ambiguity, BelievedTarget, BlockErrorModel, Effort, Problem, RateLimits, SourceModel, WarmStart,
    alternate, approximate_choice, block_error_rate, channel_vector, select_rate, zero_forcing,
};
use crate::scene::Scene;
use crate::semantic::Bank;

/// Pixels of the picture that the rates are chosen for.
const PIXELS: usize = 256 * 256;

/// How the beams are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The global optimum, with its certificate.
    Global,
    /// The paper's alternating algorithm.
    Alternating,
    /// The paper's benchmark: zero-forcing beams, water-filled power.
    ZfWf,
}

impl Method {
    /// Its name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Alternating => "alternating",
            Self::ZfWf => "zf-wf",
        }
    }
}

/// Beams and what is known of them.
#[derive(Debug, Clone)]
struct Found {
    beams: Beams,
    feasible: bool,
    smallest_hcrb_trace_m2: f64,
    upper_bound_sinr: f64,
    iterations: usize,
    solve_time_s: f64,
    warm: WarmStart,
}

/// How beams are asked for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// How they are found.
    pub method: Method,
    /// For the global method: the SINR (linear) that they reach, the bound being what they are best at.
    pub least_sinr: Option<f64>,
    /// The communication receiver's channel where it is known better than from the scene.
    pub channel: Option<DVector<Complex64>>,
    /// Where a solution of a problem like this lay; it changes the time taken, not the result.
    pub warm: Option<&'a WarmStart>,
}

impl Request<'_> {
    fn problem(&self, scene: &Scene) -> Problem {
        let channel = self.channel.clone().unwrap_or_else(|| channel_vector(scene));
        Problem::for_targets(scene, channel, &BelievedTarget::of_scene(scene))
    }
}

/// Beams, what they reach, and the rates that a planner would choose with them.
#[derive(Debug, Clone)]
pub struct Outcome {
    method: Method,
    found: Found,
    sinr: f64,
    hcrb_trace_m2: Option<f64>,
    /// Every believed target's bound.
    targets: Vec<(String, Option<f64>)>,
    /// How far the SINR is from what any beams could have, where that was asked for.
    gap: Option<f64>,
    rates: Option<Rates>,
    header_loss: f64,
    ambiguity: Ambiguity,
    ambiguity_price_db: f64,
}

/// Beams by this method with what they reach, and the rates that a planner would choose with them, as `issc optimize --json`
/// prints it. With `least_sinr` (linear, for the global method) the bound is what they are best at.
pub fn report(scene: &Scene, method: Method, least_sinr: Option<f64>) -> Value {
    solve(scene, &Request { method, least_sinr, channel: None, warm: None }).report()
}

/// The same as it is asked for.
pub fn solve(scene: &Scene, request: &Request<'_>) -> Outcome {
    let Request { method, least_sinr, .. } = *request;
    let begin = Instant::now();
    let problem = request.problem(scene);
    let found = find(scene, request, &problem, begin);
    let sinr = problem.sinr(&found.beams);
    let bank = Bank::shipped();
    let models: Vec<_> =
        bank.planned(scene.model.metric.name()).iter().map(|model| model.source_model(PIXELS)).collect();
    let ambiguity = Ambiguity::of(scene, &BelievedTarget::of_scene(scene)[0], &found.beams);
    Outcome {
        method,
        sinr,
        hcrb_trace_m2: problem.hcrb_trace_m2(&found.beams).ok(),
        targets: targets(scene, &problem, &found.beams),
        gap: (found.feasible && least_sinr.is_none()).then(|| found.upper_bound_sinr / sinr),
        rates: rates(scene, method, &models, sinr),
        header_loss: BlockErrorLaw::from_scene(scene).header_loss(sinr),
        // Without rivals nothing needs to be told apart.
        ambiguity_price_db: if ambiguity.directions_rad.is_empty() { 0.0 } else { sounding_price_db(scene) },
        ambiguity,
        found,
    }
}

impl Outcome {
    /// Where the solution of a problem like this one may start.
    pub fn warm(&self) -> &WarmStart {
        &self.found.warm
    }

    /// The beams.
    pub fn beams(&self) -> &Beams {
        &self.found.beams
    }

    /// What `issc optimize --json` prints.
    pub fn report(&self) -> Value {
        let Self { found, rates, .. } = self;
        let bank = Bank::shipped();
        let finite = |value: f64| value.is_finite().then_some(value);
        let pairs = |beam: &DVector<Complex64>| beam.iter().map(|z| [z.re, z.im]).collect::<Vec<_>>();
        let rates = rates.as_ref();
        let model = rates.map(|rates| &bank.models()[rates.model]);
        let target = |(id, bound): &(String, Option<f64>)| json!({ "id": id, "hcrb_trace_m2": bound });
        json!({
            "method": self.method.name(),
            "feasible": found.feasible,
            "rate_feasible": rates.is_some(),
            "sinr_db": decibel(self.sinr),
            "hcrb_trace_m2": self.hcrb_trace_m2,
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(),
            "power_w": found.beams.power_w(),
            "smallest_hcrb_trace_m2": finite(found.smallest_hcrb_trace_m2),
            "upper_bound_sinr_db": decibel(found.upper_bound_sinr),
            "gap_db": self.gap.map(decibel),
            "ambiguous_directions_rad": self.ambiguity.directions_rad,
            "wrong_root_probability": self.ambiguity.wrong_probability,
            "ambiguity_price_db": self.ambiguity_price_db,
            "w_c": pairs(&found.beams.w_c),
            "w_0": pairs(&found.beams.w_0),
            "iterations": found.iterations,
            "solve_time_s": found.solve_time_s,
            "model": model.map(|model| model.name.clone()),
            "source_rate_bits_per_sample": model.map(|model| model.bits(PIXELS) / (3 * PIXELS) as f64),
            "channel_rate_bits_per_use": rates.map(|rates| rates.channel_rate),
            "block_error_rate": rates.map(|rates| rates.block_error_rate),
            "header_loss": self.header_loss,
            "bit_error_rate": rates.map(|rates| rates.bit_error_rate),
            "predicted_mse": rates.map(|rates| rates.predicted_mse),
        })
    }
}

/// What soundings cost the link, as a loss of SINR of the same airtime, in dB: they tell all directions apart, and beams stay the
/// best ones.
pub fn sounding_price_db(scene: &Scene) -> f64 {
    let length = HeaderLength::Short;
    let sounding = Layout::with_sounding(scene.array.transmit_antennas, length).sounding as f64;
    let all = SOUNDING_PERIOD as f64 * Layout::plain(length).symbols() as f64 + sounding;
    -10.0 * (1.0 - sounding / all).log10()
}

/// Source model and channel rate for given beams.
#[derive(Debug, Clone, Copy)]
struct Rates {
    model: usize,
    channel_rate: f64,
    block_error_rate: f64,
    bit_error_rate: f64,
    predicted_mse: f64,
}

/// What a planner would choose; with the paper's algorithm what its (P4.3) comes to, by eq. (4) as it stands.
fn rates(scene: &Scene, method: Method, models: &[SourceModel], sinr: f64) -> Option<Rates> {
    let limits = RateLimits::from_scene(scene, 3 * PIXELS);
    if method == Method::Alternating {
        let (model, rate) = approximate_choice(models, &limits, sinr)?;
        return Some(Rates {
            model,
            channel_rate: rate.channel_rate,
            block_error_rate: block_error_rate(sinr, rate.channel_rate, limits.block_symbols),
            bit_error_rate: rate.bit_error_rate,
            predicted_mse: rate.predicted_mse,
        });
    }
    let choice = select_rate(models, &limits, sinr, &BlockErrorLaw::from_scene(scene))?;
    Some(Rates {
        model: choice.model,
        channel_rate: choice.payload_bits as f64 / limits.block_symbols as f64,
        block_error_rate: choice.block_error_rate,
        bit_error_rate: choice.bit_error_rate,
        predicted_mse: choice.predicted_mse,
    })
}

/// Every believed target's bound.
fn targets(scene: &Scene, problem: &Problem, beams: &Beams) -> Vec<(String, Option<f64>)> {
    let believed = scene.targets().into_iter().filter(|target| target.believed);
    believed
        .zip(problem.bounds())
        .map(|(target, bound)| (target.id.clone(), bound.of_beams(beams).trace_m2().ok()))
        .collect()
}

/// Beams for a problem whose making began at `begin`, as all of a solution counts.
fn find(scene: &Scene, request: &Request<'_>, problem: &Problem, begin: Instant) -> Found {
    let effort = Effort { warm: request.warm, ..Effort::default() };
    let solution = match request.least_sinr {
        Some(least) => problem.solve_exchanged(least, effort),
        None => problem.solve_with(effort),
    };
    let mut found = Found {
        beams: solution.beams,
        feasible: solution.feasible,
        smallest_hcrb_trace_m2: solution.smallest_hcrb_trace_m2,
        upper_bound_sinr: solution.upper_bound_sinr,
        iterations: solution.iterations,
        solve_time_s: begin.elapsed().as_secs_f64(),
        warm: solution.warm,
    };
    let begin = Instant::now();
    match request.method {
        Method::Global => return found,
        Method::ZfWf => (found.beams, found.iterations) = (zero_forcing(scene, problem), 0),
        // Where the threshold cannot be met there is nothing to alternate about: the beams of the smallest bound stay.
        Method::Alternating if found.feasible => {
            let result = alternate(problem, &Alternation::default());
            (found.beams, found.iterations) = (result.beams, result.iterations);
        }
        Method::Alternating => {}
    }
    found.solve_time_s = begin.elapsed().as_secs_f64();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soundings_cost_hundredths_of_a_db() {
        let mut scene = Scene::paper();
        assert!((sounding_price_db(&scene) - 0.0114).abs() < 2e-4, "{}", sounding_price_db(&scene));
        scene.array.transmit_antennas = 16;
        assert!((sounding_price_db(&scene) - 0.0452).abs() < 1e-3, "{}", sounding_price_db(&scene));
    }
}
