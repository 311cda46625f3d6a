//! Directions that a frame's echo does not tell from the target's.
//!
//! With β_0 unknown, θ follows from the ratio of the two streams' echoes, h_c(θ) : h_0(θ). The bound is local: it knows how fast
//! that ratio changes at θ, not that it comes back to the same value elsewhere. Optimal beams lie in the span of h_c, α(θ) and
//! α'(θ), and with uniform arrays their ratio is real but for a constant: one of two trigonometric polynomials, which takes
//! any value in up to N_T − 1 directions.
//!
//! A direction u costs L(u) = (N N_R |β_0|²/σ_s²)(‖h‖² − |⟨h(u), h⟩|²/‖h(u)‖²) nats of log-likelihood, h being that of the target.
//! Where the lines of u and φ meet in front of both arrays, the delay is off by δ deviations of the timing error, which costs
//! δ²/2 more. Noise and timing error make a frame prefer that place with probability Q(√((L + δ²/2)/2)): the difference of the
//! two log-posteriors is normal with mean L + δ²/2 and twice that as variance.

use std::f64::consts::TAU;

use num_complex::Complex64;

use super::BelievedTarget;
use crate::array::{Beams, direction_rad, distance_m};
use crate::scene::{Point, Reflectivity, SPEED_OF_LIGHT_M_S, Scene, dbm_to_w};

/// Directions that cost more nats are told apart.
const TOLD_APART_NATS: f64 = 20.0;
/// Directions that are looked at for each antenna: what lies nearer together than a thirtieth of a beam is one place.
const GRID: usize = 64;
/// A direction this part of a beam from the target's is the target's.
const SAME: f64 = 0.02;

/// What a frame under some beams does not tell apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Ambiguity {
    /// Departure directions, other than the target's, whose places explain its echo about as well, in rad.
    pub directions_rad: Vec<f64>,
    /// Their places.
    pub places_m: Vec<Point>,
    /// Probability that a frame by itself prefers one of them: the sum over them, 1 at most.
    pub wrong_probability: f64,
}

impl Ambiguity {
    /// For a target of a scene as it is believed, and these beams.
    pub fn of(scene: &Scene, target: &BelievedTarget, beams: &Beams) -> Self {
        let mut found = Self { directions_rad: Vec::new(), places_m: Vec::new(), wrong_probability: 0.0 };
        let echo = Echo::new(scene, target, beams);
        if scene.model.reflectivity == Reflectivity::Known || !echo.has_leverage() {
            return found;
        }
        let cells = GRID * scene.array.transmit_antennas;
        let sine = |cell: usize| -1.0 + (2 * cell + 1) as f64 / cells as f64;
        // From cell to cell the phase between two elements turns by the same angle.
        let turn = echo.step(2.0 / cells as f64);
        let steps = std::iter::successors(Some(echo.step(sine(0))), |step| Some(step * turn));
        let costs: Vec<f64> = steps.take(cells).map(|step| echo.cost_at(step)).collect();
        let own = echo.sine;
        for cell in 1..cells - 1 {
            if costs[cell] > costs[cell - 1] || costs[cell] >= costs[cell + 1] {
                continue;
            }
            let (sine, cost) = echo.refine(sine(cell - 1), sine(cell + 1));
            let is_own = (sine - own).abs() * (scene.array.transmit_antennas as f64) < SAME;
            let Some((place, late)) = echo.place(sine).filter(|_| !is_own && cost < TOLD_APART_NATS) else { continue };
            let behind = cost + 0.5 * late * late;
            if behind > 2.0 * TOLD_APART_NATS {
                continue;
            }
            found.directions_rad.push(sine.asin());
            found.places_m.push(place);
            found.wrong_probability += 0.5 * libm::erfc(0.5 * behind.sqrt());
        }
        found.wrong_probability = found.wrong_probability.min(1.0);
        found
    }
}

/// L(u) of directions, given by their sines: by how many nats a frame under these beams finds them less likely than the target's.
pub fn nats_by_beams(scene: &Scene, target: &BelievedTarget, beams: &Beams, sines: &[f64]) -> Vec<f64> {
    let echo = Echo::new(scene, target, beams);
    sines.iter().map(|sine| echo.cost(*sine)).collect()
}

/// The same by a sounding in which every antenna sends so many symbols with the whole power: N_R |β_0|² P_T/σ_s² times the symbols
/// and what one direction leaves of another's steering vector, N_T − |α(u)ᴴα|²/N_T.
pub fn nats_by_sounding(scene: &Scene, target: &BelievedTarget, symbols: usize, sines: &[f64]) -> Vec<f64> {
    let antennas = scene.array.transmit_antennas;
    let own = direction_rad(scene.geometry.transmitter, target.position).sin();
    let level = dbm_to_w(scene.constraints.power_dbm) / dbm_to_w(scene.channel.sensing_noise_dbm);
    let scale = level * target.reflection_coefficient.powi(2) * (symbols * scene.array.receive_antennas) as f64;
    let wavenumber = TAU * scene.array.spacing_wavelengths;
    let left = |sine: &f64| {
        let along: Complex64 = (0..antennas).map(|n| Complex64::cis(wavenumber * n as f64 * (sine - own))).sum();
        scale * (antennas as f64 - along.norm_sqr() / antennas as f64).max(0.0)
    };
    sines.iter().map(left).collect()
}

/// The echo of a target.
struct Echo<'a> {
    beams: &'a Beams,
    wavenumber: f64,
    /// sin θ, and h_c and h_0 there.
    sine: f64,
    response: [Complex64; 2],
    /// N N_R |β_0|²/σ_s².
    scale: f64,
    transmitter: Point,
    receiver: Point,
    /// Unit vector of φ.
    back: [f64; 2],
    path_m: f64,
    timing_error_m: f64,
}

impl<'a> Echo<'a> {
    fn new(scene: &Scene, target: &BelievedTarget, beams: &'a Beams) -> Self {
        let geometry = &scene.geometry;
        let (transmitter, receiver) = (geometry.transmitter, geometry.sensing_receiver);
        let phi = direction_rad(receiver, target.position);
        let symbols = scene.waveform.frame_symbols as f64 * scene.array.receive_antennas as f64;
        let mut echo = Self {
            beams,
            wavenumber: TAU * scene.array.spacing_wavelengths,
            sine: direction_rad(transmitter, target.position).sin(),
            response: [Complex64::ZERO; 2],
            scale: symbols * target.reflection_coefficient.powi(2) / dbm_to_w(scene.channel.sensing_noise_dbm),
            transmitter,
            receiver,
            back: [phi.cos(), phi.sin()],
            path_m: distance_m(transmitter, target.position) + distance_m(target.position, receiver),
            timing_error_m: SPEED_OF_LIGHT_M_S * scene.channel.timing_error_std_s.max(1e-14),
        };
        echo.response = echo.at(echo.step(echo.sine));
        echo
    }

    /// From one element to the next, what a direction adds.
    fn step(&self, sine: f64) -> Complex64 {
        Complex64::cis(-self.wavenumber * sine)
    }

    /// h_c and h_0 of a direction with this step.
    fn at(&self, step: Complex64) -> [Complex64; 2] {
        // A polynomial in the step, from its highest power down.
        let of = |beam: &[Complex64]| beam.iter().rev().fold(Complex64::ZERO, |sum, weight| sum * step + weight);
        [of(self.beams.w_c.as_slice()), of(self.beams.w_0.as_slice())]
    }

    /// Whether both streams are sent.
    fn has_leverage(&self) -> bool {
        let powers = [self.beams.w_c.norm_squared(), self.beams.w_0.norm_squared()];
        powers.iter().all(|power| *power > 1e-9 * (powers[0] + powers[1]))
    }

    /// L(u).
    fn cost(&self, sine: f64) -> f64 {
        self.cost_at(self.step(sine))
    }

    fn cost_at(&self, step: Complex64) -> f64 {
        let ([a, b], [c, d]) = (self.response, self.at(step));
        let power = c.norm_sqr() + d.norm_sqr();
        // ‖h‖² less the part along h(u) is |h_c h_0(u) − h_0 h_c(u)|²/‖h(u)‖².
        if power > 0.0 { self.scale * (a * d - b * c).norm_sqr() / power } else { f64::INFINITY }
    }

    /// The least cost between two sines, and where.
    fn refine(&self, mut low: f64, mut high: f64) -> (f64, f64) {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let place = |part: f64, low: f64, high: f64| low + part * (high - low);
        let mut inner = [1.0 - GOLDEN, GOLDEN].map(|part| place(part, low, high));
        let mut costs = inner.map(|sine| self.cost(sine));
        // Down to where the cost is a parabola.
        for _ in 0..20 {
            if costs[0] < costs[1] {
                high = inner[1];
                (inner[1], costs[1]) = (inner[0], costs[0]);
                inner[0] = place(1.0 - GOLDEN, low, high);
                costs[0] = self.cost(inner[0]);
            } else {
                low = inner[0];
                (inner[0], costs[0]) = (inner[1], costs[1]);
                inner[1] = place(GOLDEN, low, high);
                costs[1] = self.cost(inner[1]);
            }
        }
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let [before, here, after] = [-half, 0.0, half].map(|step| self.cost(middle + step));
        let bend = before - 2.0 * here + after;
        let step = if bend > 0.0 { (0.5 * (before - after) / bend).clamp(-1.0, 1.0) } else { 0.0 };
        let sine = middle + step * half;
        (sine, self.cost(sine))
    }

    /// Where a direction's line meets that of φ, in front of both arrays, and by how many deviations the delay misses it.
    fn place(&self, sine: f64) -> Option<(Point, f64)> {
        let (out, back) = ([(1.0 - sine * sine).max(0.0).sqrt(), sine], self.back);
        let base = [self.receiver[0] - self.transmitter[0], self.receiver[1] - self.transmitter[1]];
        let cross = |a: [f64; 2], b: [f64; 2]| a[0] * b[1] - a[1] * b[0];
        let parallel = cross(out, back);
        let (range, other) = (cross(base, back) / parallel, cross(base, out) / parallel);
        let point = [self.transmitter[0] + range * out[0], self.transmitter[1] + range * out[1]];
        let in_view = range > 0.0 && other > 0.0 && point[0] > self.transmitter[0] && point[0] > self.receiver[0];
        let path_m = distance_m(self.transmitter, point) + distance_m(point, self.receiver);
        (in_view && path_m.is_finite()).then(|| (point, (path_m - self.path_m) / self.timing_error_m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::Problem;

    /// The paper's scene with this many transmit antennas and the target here; the ambiguity of its optimal beams.
    fn of(antennas: usize, position: Point) -> Ambiguity {
        let mut scene = Scene::paper();
        scene.array.transmit_antennas = antennas;
        scene.geometry.target = position;
        let smallest = Problem::from_scene(&scene).solve().smallest_hcrb_trace_m2;
        scene.constraints.hcrb_max_m2 = (2.0 * smallest).max(5e-5);
        let beams = Problem::from_scene(&scene).solve().beams;
        Ambiguity::of(&scene, &BelievedTarget::of_scene(&scene)[0], &beams)
    }

    #[test]
    fn rivals_have_the_targets_ratio_of_beams_and_grow_in_number_with_the_antennas() {
        let mut counts = Vec::new();
        for antennas in [4, 8, 16] {
            let found = of(antennas, [80.0, 0.0]);
            assert!(found.directions_rad.len() < antennas, "{found:?}");
            counts.push(found.directions_rad.len());
        }
        assert!(counts[2] > counts[0], "{counts:?}");
    }

    #[test]
    fn a_known_reflection_or_a_single_beam_leaves_no_rivals() {
        let mut scene = Scene::paper();
        let target = BelievedTarget::of_scene(&scene)[0];
        let mut beams = Problem::from_scene(&scene).solve().beams;
        scene.model.reflectivity = Reflectivity::Known;
        assert_eq!(Ambiguity::of(&scene, &target, &beams).wrong_probability, 0.0);
        scene.model.reflectivity = Reflectivity::Unknown;
        beams.w_0.fill(Complex64::ZERO);
        assert_eq!(Ambiguity::of(&scene, &target, &beams).directions_rad, Vec::<f64>::new());
    }
}
