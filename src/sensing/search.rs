//! Starting points and Newton's method for ℓ(u, v, T).
//!
//! The directions are found from all sides, not from a guess: v = sin φ by the energy in the two-stream response, then
//! u = sin θ by ℓ itself on a fine grid, every local maximum refined. Which of them wins is decided after refinement.

use nalgebra::{Matrix3, Vector3};
use num_complex::Complex64;

use super::likelihood::{Likelihood, Parameters, beam_jets, illumination, profile, wavenumber};
use super::spectrum::Gram;
use super::{Reflection, STREAMS};
use crate::dsp::dispatched;

/// Candidates that are followed to the end, at most: any ratio of two beams of N_T antennas is that of N_T − 1 directions.
pub(super) const CANDIDATES: usize = 64;
/// Local maxima that are refined for one arrival direction, at most.
const MAXIMA: usize = 64;
/// Arrival directions that are followed, at most.
const ARRIVALS: usize = 4;
/// An arrival direction is followed if its energy is this part of the best, or within [`ARRIVAL_NATS`] of it: on the
/// grid it can be lower than at its peak by a few percent.
const ARRIVAL_PART: f64 = 0.5;
const ARRIVAL_NATS: f64 = 30.0;
/// A departure direction is followed if its ℓ is within this many nats of the best, plus a part of it.
const DEPARTURE_NATS: f64 = 40.0;
const DEPARTURE_PART: f64 = 1e-4;
/// On the grid, ℓ can be lower than at its peak by this part.
const GRID_PART: f64 = 0.1;
/// A departure direction is refined to this in sin θ before ℓ is climbed in all parameters.
const DEPARTURE_STEP: f64 = 1e-5;
/// A Newton step that promises at most this much more log-likelihood (it is within 0.05 deviations of the maximum, and
/// the next one, quadratically smaller, would move nothing) is the last.
pub(super) const NEAR_NATS: f64 = 1e-3;
/// Newton's method counts as undamped below this.
pub(super) const UNDAMPED: f64 = 1e-6;

/// A point that was reached, with ℓ there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub point: Parameters,
    pub log_likelihood: f64,
}

/// The grids, and the table of beam responses that belongs to the beams in use.
pub(super) struct Search {
    departures: Departures,
    /// a_r* on the grid of v: `[row][part][cell]`.
    arrivals: Vec<f64>,
    /// Σ_r a_r* C_ru on the grid of v: `[stream][part][cell]`.
    sums: [Vec<f64>; 2 * STREAMS],
    energies: Vec<f64>,
    values: Vec<f64>,
}

/// What ℓ needs of the beams, on the grid of u.
struct Departures {
    /// h_c and h_0, each as real and imaginary part.
    responses: [Vec<f64>; 2 * STREAMS],
    /// |h_c|², |h_0|², and real and imaginary part of h_c h_0*.
    products: [Vec<f64>; 4],
}

/// Middle of cell `index` of `cells` equal cells of (−1, 1).
fn cell(index: usize, cells: usize) -> f64 {
    -1.0 + (2 * index + 1) as f64 / cells as f64
}

/// Indices of local maxima of `values`, ends included.
fn local_maxima(values: &[f64]) -> impl Iterator<Item = usize> + '_ {
    (0..values.len())
        .filter(|&i| (i == 0 || values[i] > values[i - 1]) && values.get(i + 1).is_none_or(|next| values[i] >= *next))
}

impl Search {
    pub fn new(transmit_antennas: usize, receive_antennas: usize, spacing_wavelengths: f64) -> Self {
        let wavenumber = wavenumber(spacing_wavelengths);
        let lobes = |antennas: usize| (antennas as f64 * (2.0 * spacing_wavelengths).max(1.0)).ceil() as usize;
        let (departures, arrivals) = (64 * lobes(transmit_antennas), 16 * lobes(receive_antennas));
        let steering = |part: fn(Complex64) -> f64, row: usize| {
            (0..arrivals).map(move |index| part(Complex64::cis(-wavenumber * row as f64 * cell(index, arrivals))))
        };
        Self {
            departures: Departures {
                responses: std::array::from_fn(|_| vec![0.0; departures]),
                products: std::array::from_fn(|_| vec![0.0; departures]),
            },
            arrivals: (0..receive_antennas)
                .flat_map(|row| steering(|z| z.re, row).chain(steering(|z| z.im, row)))
                .collect(),
            sums: std::array::from_fn(|_| vec![0.0; arrivals]),
            energies: vec![0.0; arrivals],
            values: vec![0.0; departures],
        }
    }

    /// Tabulates the responses of new beams.
    ///
    /// Returns the largest part of the ratio h_c : h_0 that a direction changes, |h_c h_0' − h_0 h_c'|/(‖w_c‖² + ‖w_0‖²):
    /// zero where one beam has no power or both are parallel, and θ then hides behind an unknown β_0.
    pub fn tabulate(&mut self, beams: &[Vec<Complex64>; STREAMS], wavenumber: f64) -> f64 {
        let cells = self.values.len();
        let power: f64 = beams.iter().flatten().map(Complex64::norm_sqr).sum();
        let mut leverage = 0.0f64;
        let Departures { responses, products } = &mut self.departures;
        for index in 0..cells {
            let [[h, h_slope, _], [g, g_slope, _]] = beam_jets(beams, wavenumber, cell(index, cells));
            leverage = leverage.max((h * g_slope - g * h_slope).norm_sqr());
            let cross = h * g.conj();
            responses.iter_mut().zip([h.re, h.im, g.re, g.im]).for_each(|(row, part)| row[index] = part);
            let values = [h.norm_sqr(), g.norm_sqr(), cross.re, cross.im];
            products.iter_mut().zip(values).for_each(|(row, value)| row[index] = value);
        }
        leverage.sqrt() / power
    }

    /// Fills `candidates` with starting points, and returns how many there are.
    /// Those that are behind by `errors_part` of ℓ are among them.
    pub fn starts(
        &mut self,
        likelihood: &Likelihood<'_>,
        errors_part: f64,
        candidates: &mut [Parameters; CANDIDATES],
    ) -> usize {
        let form = likelihood.gram.form().map(|factor| factor / (likelihood.rows() * likelihood.noise_variance));
        energies(&likelihood.correlations[0], &self.arrivals, &form, &mut self.sums, &mut self.energies);
        let best = self.energies.iter().copied().fold(0.0, f64::max);
        let worst = (ARRIVAL_PART * best).min(best - ARRIVAL_NATS);
        let mut kept = Kept::<CANDIDATES>::new();
        let mut arrivals = Kept::<ARRIVALS>::new();
        for index in local_maxima(&self.energies).filter(|&index| self.energies[index] >= worst) {
            arrivals.offer(self.energies[index], [peak_of(&self.energies, index), 0.0]);
        }
        for (_, [v, _]) in arrivals.iter() {
            self.departures_for(likelihood, v, &mut kept);
        }
        let best = kept.iter().map(|(value, _)| value).fold(f64::NEG_INFINITY, f64::max);
        let worst = best - DEPARTURE_NATS - (DEPARTURE_PART + errors_part) * best.abs();
        let mut count = 0;
        for (_, [u, v]) in kept.iter().filter(|(value, _)| *value >= worst) {
            candidates[count] = Vector3::new(u, v, 0.0);
            count += 1;
        }
        count
    }

    /// All local maxima of ℓ over u at one v.
    fn departures_for(&mut self, likelihood: &Likelihood<'_>, v: f64, kept: &mut Kept<CANDIDATES>) {
        let [[a, b], ..] = likelihood.arrival_jets(v, 0.0);
        let arrival = [a[0], b[0]];
        let (weights, law) = (likelihood.gram.weights(), Law::of(likelihood));
        values_of(&self.departures, &arrival, &weights, &law, &mut self.values);
        let cells = self.values.len();
        let best = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let worst = best - DEPARTURE_NATS - GRID_PART * best.abs();
        let mut maxima = Kept::<MAXIMA>::new();
        for index in local_maxima(&self.values).filter(|index| self.values[*index] >= worst) {
            maxima.offer(self.values[index], [cell(index, cells), 0.0]);
        }
        for (_, [u, _]) in maxima.iter() {
            let (u, value) = refine_departure(likelihood, arrival, u, 2.0 / cells as f64);
            kept.offer(value, [u, v]);
        }
    }
}

/// How ℓ follows from c and q.
#[derive(Clone, Copy)]
enum Law {
    /// |c|² times this over q.
    Concentrated(f64),
    /// The real part of c times the conjugate of the first, less q times the second.
    Known(Complex64, f64),
}

impl Law {
    fn of(likelihood: &Likelihood<'_>) -> Self {
        let (rows, noise_variance) = (likelihood.rows(), likelihood.noise_variance);
        match likelihood.reflection {
            Reflection::Unknown => Self::Concentrated(1.0 / (noise_variance * rows)),
            Reflection::Known(beta) => {
                Self::Known(beta * (2.0 / noise_variance), beta.norm_sqr() * rows / noise_variance)
            }
        }
    }
}

dispatched! {
    /// ℓ on the grid of u: c = Σ_u h_u* x_u, and q from its four products with these weights.
    fn values_of(
        departures: &Departures,
        arrival: &[Complex64; STREAMS],
        weights: &[f64; 4],
        law: &Law,
        values: &mut [f64],
    ) = values_body
}

#[inline(always)]
fn values_body(
    departures: &Departures,
    arrival: &[Complex64; STREAMS],
    weights: &[f64; 4],
    law: &Law,
    values: &mut [f64],
) {
    let cells = values.len();
    let [h_re, h_im, g_re, g_im] = departures.responses.each_ref().map(|row| &row[..cells]);
    let [p, s, x_re, x_im] = departures.products.each_ref().map(|row| &row[..cells]);
    let [a, b] = arrival;
    let (gain, beta, loss) = match *law {
        Law::Concentrated(scale) => (scale, Complex64::ZERO, 0.0),
        Law::Known(beta, scale) => (0.0, beta, scale),
    };
    for n in 0..cells {
        let re = h_re[n] * a.re + h_im[n] * a.im + g_re[n] * b.re + g_im[n] * b.im;
        let im = h_re[n] * a.im - h_im[n] * a.re + g_re[n] * b.im - g_im[n] * b.re;
        let q = weights[0] * p[n] + weights[1] * s[n] + weights[2] * x_re[n] + weights[3] * x_im[n];
        values[n] = gain * (re * re + im * im) / q + beta.re * re + beta.im * im - loss * q;
    }
}

dispatched! {
    /// The energy in the two-stream response from each direction on the grid of v: the quadratic form of Σ_r a_r* C_ru.
    fn energies(
        correlations: &[[Complex64; STREAMS]],
        arrivals: &[f64],
        form: &[f64; 4],
        sums: &mut [Vec<f64>; 2 * STREAMS],
        energies: &mut [f64],
    ) = energies_body
}

#[inline(always)]
fn energies_body(
    correlations: &[[Complex64; STREAMS]],
    arrivals: &[f64],
    form: &[f64; 4],
    sums: &mut [Vec<f64>; 2 * STREAMS],
    energies: &mut [f64],
) {
    let cells = energies.len();
    let [a_re, a_im, b_re, b_im] = sums.each_mut().map(|row| {
        row.fill(0.0);
        &mut row[..cells]
    });
    for ([a, b], steering) in correlations.iter().zip(arrivals.chunks_exact(2 * cells)) {
        let (re, im) = steering.split_at(cells);
        let im = &im[..cells];
        for n in 0..cells {
            a_re[n] += a.re * re[n] - a.im * im[n];
            a_im[n] += a.re * im[n] + a.im * re[n];
            b_re[n] += b.re * re[n] - b.im * im[n];
            b_im[n] += b.re * im[n] + b.im * re[n];
        }
    }
    for (n, energy) in energies.iter_mut().enumerate() {
        let cross = [a_re[n] * b_re[n] + a_im[n] * b_im[n], a_im[n] * b_re[n] - a_re[n] * b_im[n]];
        *energy = form[0] * (a_re[n] * a_re[n] + a_im[n] * a_im[n])
            + form[1] * (b_re[n] * b_re[n] + b_im[n] * b_im[n])
            + form[2] * cross[0]
            + form[3] * cross[1];
    }
}

/// Refines the vertex at a grid maximum by a parabola through its neighbours; returns the direction's sine.
fn peak_of(values: &[f64], index: usize) -> f64 {
    let cells = values.len();
    let middle = cell(index, cells);
    if index == 0 || index + 1 == cells {
        return middle;
    }
    let (before, after) = (values[index - 1], values[index + 1]);
    let curvature = before - 2.0 * values[index] + after;
    if curvature < 0.0 { middle + (before - after) / curvature / cells as f64 } else { middle }
}

/// Newton steps for u alone, held inside one grid cell on either side.
fn refine_departure(likelihood: &Likelihood<'_>, arrival: [Complex64; STREAMS], start: f64, reach: f64) -> (f64, f64) {
    let at = |u: f64| {
        let beams = beam_jets(likelihood.beams, likelihood.wavenumber, u);
        let q = illumination(&likelihood.gram, &beams);
        let c = std::array::from_fn(|i| beams[0][i].conj() * arrival[0] + beams[1][i].conj() * arrival[1]);
        profile(&c, &q, likelihood.rows(), likelihood.noise_variance, likelihood.reflection)
    };
    let (mut low, mut high) = ((start - reach).max(-1.0), (start + reach).min(1.0));
    let mut u = start;
    let mut value = at(u);
    for _ in 0..12 {
        if value[1] > 0.0 {
            low = u
        } else {
            high = u
        }
        let newton = u - value[1] / value[2];
        let next = if value[2] < 0.0 && newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - u).abs() < DEPARTURE_STEP {
            break;
        }
        u = next;
        value = at(u);
    }
    (u, value[0])
}

/// The best few of many, in no order.
struct Kept<const N: usize> {
    items: [(f64, [f64; 2]); N],
    count: usize,
}

impl<const N: usize> Kept<N> {
    fn new() -> Self {
        Self { items: [(0.0, [0.0; 2]); N], count: 0 }
    }

    fn offer(&mut self, value: f64, item: [f64; 2]) {
        if self.count < N {
            self.items[self.count] = (value, item);
            self.count += 1;
        } else if let Some(worst) = self.items.iter_mut().min_by(|a, b| a.0.total_cmp(&b.0))
            && worst.0 < value
        {
            *worst = (value, item);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (f64, [f64; 2])> + '_ {
        self.items[..self.count].iter().copied()
    }
}

impl Gram {
    /// xᴴ Q⁻¹ x: the energy that the streams explain, where x holds their correlations with one signal.
    pub(super) fn explained(&self, x: [Complex64; STREAMS]) -> f64 {
        let cross = x[0] * x[1].conj();
        let [first, second, re, im] = self.form();
        first * x[0].norm_sqr() + second * x[1].norm_sqr() + re * cross.re + im * cross.im
    }

    /// xᴴ Q⁻¹ x as factors of |x_0|², |x_1|², and the real and imaginary part of x_0 x_1*.
    fn form(&self) -> [f64; 4] {
        let determinant = self.semantic * self.sensing - self.cross.norm_sqr();
        if determinant <= 1e-9 * self.semantic * self.sensing {
            let strongest = usize::from(self.semantic < self.sensing);
            let mut form = [0.0; 4];
            form[strongest] = self.semantic.max(self.sensing).max(f64::MIN_POSITIVE).recip();
            return form;
        }
        [self.sensing, self.semantic, -2.0 * self.cross.re, 2.0 * self.cross.im].map(|factor| factor / determinant)
    }

    /// q as factors of |h_c|², |h_0|², and the real and imaginary part of h_c h_0*.
    fn weights(&self) -> [f64; 4] {
        [self.semantic, self.sensing, 2.0 * self.cross.re, -2.0 * self.cross.im]
    }

    /// The response g that explains x, for one row: x_u = Σ_v Q_vu g_v.
    pub(super) fn response(&self, x: [Complex64; STREAMS]) -> [Complex64; STREAMS] {
        let determinant = self.semantic * self.sensing - self.cross.norm_sqr();
        if determinant <= 1e-9 * self.semantic * self.sensing {
            let power = [self.semantic, self.sensing];
            let strongest = usize::from(power[1] > power[0]);
            let mut response = [Complex64::ZERO; STREAMS];
            response[strongest] = x[strongest] / power[strongest].max(f64::MIN_POSITIVE);
            return response;
        }
        [
            (x[0] * self.sensing - x[1] * self.cross.conj()) / determinant,
            (x[1] * self.semantic - x[0] * self.cross) / determinant,
        ]
    }
}

/// Furthest that T may move from where the correlations were taken, in samples.
const DELAY_REACH: f64 = 0.35;

/// Climbs to the maximum of ℓ near `start`: Newton where ℓ is concave, damped until it climbs elsewhere.
pub(super) fn climb(likelihood: &Likelihood<'_>, start: Parameters) -> Candidate {
    let clamp = |point: Parameters| {
        Vector3::new(point[0].clamp(-1.0, 1.0), point[1].clamp(-1.0, 1.0), point[2].clamp(-DELAY_REACH, DELAY_REACH))
    };
    let mut point = clamp(start);
    let mut here = likelihood.evaluate(&point);
    let mut damping = 0.0;
    for _ in 0..40 {
        let Some(step) = ascent(&here.hessian, &here.gradient, &mut damping) else { break };
        let next = clamp(point + step);
        let decrement = here.gradient.dot(&step);
        if decrement < NEAR_NATS && damping < UNDAMPED {
            return Candidate { point: next, log_likelihood: here.log_likelihood + 0.5 * decrement };
        }
        let there = likelihood.evaluate(&next);
        // Rounding of ℓ itself, of which only differences matter.
        let floor = 1e-13 * here.log_likelihood.abs();
        if there.log_likelihood >= here.log_likelihood - floor {
            (point, here) = (next, there);
            damping *= 0.1;
        } else {
            damping = (10.0 * damping).max(1e-3);
            if damping > 1e9 {
                break;
            }
        }
    }
    Candidate { point, log_likelihood: here.log_likelihood }
}

/// The step (D − H)⁻¹ g with D = damping·|diag H|, the damping raised until D − H is positive definite.
fn ascent(hessian: &Matrix3<f64>, gradient: &Vector3<f64>, damping: &mut f64) -> Option<Vector3<f64>> {
    let diagonal = hessian.diagonal().map(|h| h.abs().max(1e-12));
    let scale = diagonal.map(|h| h.sqrt().recip());
    let scaled = Matrix3::from_fn(|i, j| -hessian[(i, j)] * scale[i] * scale[j]);
    for _ in 0..20 {
        if let Some(factor) = (scaled + Matrix3::identity() * *damping).cholesky() {
            return Some(factor.solve(&gradient.component_mul(&scale)).component_mul(&scale));
        }
        *damping = (4.0 * *damping).max(1e-2);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::spectrum::Correlations;
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn a_response_is_recovered_and_its_energy_explained() {
        let gram = Gram { semantic: 2.0, sensing: 3.0, cross: Complex64::new(0.7, -0.9) };
        let g = [Complex64::new(0.3, 0.4), Complex64::new(-1.0, 0.2)];
        // x_u = Σ_v g_v ⟨S_v, S_u⟩ with ⟨S_c, S_0⟩ = cross.
        let x = [g[0] * gram.semantic + g[1] * gram.cross.conj(), g[0] * gram.cross + g[1] * gram.sensing];
        let found = gram.response(x);
        assert!((found[0] - g[0]).norm() < 1e-12 && (found[1] - g[1]).norm() < 1e-12);
        let jets = g.map(|g| [g, Complex64::ZERO, Complex64::ZERO]);
        assert!((gram.explained(x) - illumination(&gram, &jets)[0]).abs() < 1e-12);
    }

    #[test]
    fn the_dispatched_kernels_equal_their_bodies_and_what_they_stand_for() {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(8);
        let mut complex = || Complex64::new(random.random::<f64>() - 0.5, random.random::<f64>() - 0.5);
        let beams: [Vec<Complex64>; STREAMS] = std::array::from_fn(|_| (0..5).map(|_| complex()).collect());
        let correlations: Correlations = std::array::from_fn(|_| (0..3).map(|_| [complex(), complex()]).collect());
        let gram = Gram { semantic: 2.0, sensing: 3.0, cross: Complex64::new(0.7, -0.9) };
        let mut search = Search::new(5, 3, 0.5);
        let wavenumber = wavenumber(0.5);
        search.tabulate(&beams, wavenumber);
        for reflection in [Reflection::Unknown, Reflection::Known(Complex64::new(0.5, 0.2))] {
            let correlations = &correlations;
            let likelihood = Likelihood {
                correlations,
                gram,
                beams: &beams,
                wavenumber,
                noise_variance: 0.7,
                arrival_part: 1.0,
                displaced: [0.0; 2],
                reflection,
            };
            let form = gram.form();
            let (mut sums, mut slow) = (search.sums.clone(), search.energies.clone());
            energies(&correlations[0], &search.arrivals, &form, &mut search.sums, &mut search.energies);
            energies_body(&correlations[0], &search.arrivals, &form, &mut sums, &mut slow);
            assert_eq!(search.energies, slow);
            for (index, energy) in slow.iter().enumerate() {
                let [arrivals, ..] = likelihood.arrival_jets(cell(index, slow.len()), 0.0);
                let expected = gram.explained(arrivals.map(|jet| jet[0]));
                assert!((energy - expected).abs() < 1e-12, "{index}: {energy} {expected}");
            }
            let v = 0.3;
            let [[a, b], ..] = likelihood.arrival_jets(v, 0.0);
            let weights = gram.weights();
            let law = Law::of(&likelihood);
            let mut slow = search.values.clone();
            values_of(&search.departures, &[a[0], b[0]], &weights, &law, &mut search.values);
            values_body(&search.departures, &[a[0], b[0]], &weights, &law, &mut slow);
            assert_eq!(search.values, slow);
            for (index, value) in slow.iter().enumerate() {
                let expected = likelihood.evaluate(&Vector3::new(cell(index, slow.len()), v, 0.0)).log_likelihood;
                assert!((value - expected).abs() < 1e-10 * (1.0 + expected.abs()), "{index}: {value} {expected}");
            }
        }
    }
}
