//! Starting points and Newton's method for ℓ(u, v, T).
//!
//! The directions are found from all sides, not from a guess: v = sin φ by the energy in the two-stream response, then
//! u = sin θ by ℓ itself on a fine grid, every local maximum refined. Which of them wins is decided after refinement.

use nalgebra::{Matrix3, Vector3};
use num_complex::Complex64;

use super::STREAMS;
use super::likelihood::{Likelihood, Parameters, Value, beam_jets, illumination, profile, wavenumber};
use super::spectrum::Gram;

/// Candidates that are followed to the end, at most.
pub(super) const CANDIDATES: usize = 8;
/// Local maxima that are refined for one arrival direction, at most.
const MAXIMA: usize = 16;
/// Arrival directions that are followed, at most.
const ARRIVALS: usize = 4;
/// An arrival direction is followed if its energy is this part of the best, or within [`ARRIVAL_NATS`] of it: on the
/// grid it can be lower than at its peak by a few percent.
const ARRIVAL_PART: f64 = 0.5;
const ARRIVAL_NATS: f64 = 30.0;
/// A departure direction is followed if its ℓ is within this many nats of the best, plus a part of it.
const DEPARTURE_NATS: f64 = 40.0;
const DEPARTURE_PART: f64 = 1e-4;

/// A point that was reached, with ℓ there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub point: Parameters,
    pub value: Value,
}

/// The grids, and the table of beam responses that belongs to the beams in use.
pub(super) struct Search {
    /// h_u on the grid of u.
    departures: Vec<[Complex64; STREAMS]>,
    /// a_r* on the grid of v: `[cell][row]`.
    arrivals: Vec<Complex64>,
    energies: Vec<f64>,
    values: Vec<f64>,
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
        Self {
            departures: vec![[Complex64::ZERO; STREAMS]; departures],
            arrivals: (0..arrivals * receive_antennas)
                .map(|index| {
                    let (cell_index, row) = (index / receive_antennas, index % receive_antennas);
                    Complex64::cis(-wavenumber * row as f64 * cell(cell_index, arrivals))
                })
                .collect(),
            energies: vec![0.0; arrivals],
            values: vec![0.0; departures],
        }
    }

    /// Tabulates the responses of new beams.
    ///
    /// Returns the largest part of the ratio h_c : h_0 that a direction changes, |h_c h_0' − h_0 h_c'|/(‖w_c‖² + ‖w_0‖²):
    /// zero where one beam has no power or both are parallel, and θ then hides behind an unknown β_0.
    pub fn tabulate(&mut self, beams: &[Vec<Complex64>; STREAMS], wavenumber: f64) -> f64 {
        let cells = self.departures.len();
        let power: f64 = beams.iter().flatten().map(Complex64::norm_sqr).sum();
        let mut leverage = 0.0f64;
        for (index, entry) in self.departures.iter_mut().enumerate() {
            let [h, g] = beam_jets(beams, wavenumber, cell(index, cells));
            leverage = leverage.max((h[0] * g[1] - g[0] * h[1]).norm_sqr());
            *entry = [h[0], g[0]];
        }
        leverage.sqrt() / power
    }

    /// Fills `candidates` with starting points, and returns how many there are.
    pub fn starts(&mut self, likelihood: &Likelihood<'_>, candidates: &mut [Parameters; CANDIDATES]) -> usize {
        let scale = 1.0 / (likelihood.rows() * likelihood.noise_variance);
        let correlations = &likelihood.correlations[0];
        for (energy, steering) in self.energies.iter_mut().zip(self.arrivals.chunks_exact(correlations.len())) {
            let mut sums = [Complex64::ZERO; STREAMS];
            for (values, phase) in correlations.iter().zip(steering) {
                sums[0] += values[0] * phase;
                sums[1] += values[1] * phase;
            }
            *energy = scale * likelihood.gram.explained(sums);
        }
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
        let worst = best - DEPARTURE_NATS - DEPARTURE_PART * best.abs();
        let mut count = 0;
        for (_, [u, v]) in kept.iter().filter(|(value, _)| *value >= worst) {
            candidates[count] = Vector3::new(u, v, 0.0);
            count += 1;
        }
        count
    }

    /// All local maxima of ℓ over u at one v.
    fn departures_for(&mut self, likelihood: &Likelihood<'_>, v: f64, kept: &mut Kept<CANDIDATES>) {
        let [[a, b]] = likelihood.arrival_jets(v);
        let arrival = [a[0], b[0]];
        let rows = likelihood.rows();
        for (entry, value) in self.departures.iter().zip(&mut self.values) {
            let c = entry[0].conj() * arrival[0] + entry[1].conj() * arrival[1];
            let q = likelihood.gram.of_response(entry);
            *value = profile(
                &[c, Complex64::ZERO, Complex64::ZERO],
                &[q, 0.0, 0.0],
                rows,
                likelihood.noise_variance,
                likelihood.reflection,
            )[0];
        }
        let cells = self.departures.len();
        let mut maxima = Kept::<MAXIMA>::new();
        for index in local_maxima(&self.values) {
            maxima.offer(self.values[index], [cell(index, cells), 0.0]);
        }
        for (_, [u, _]) in maxima.iter() {
            let (u, value) = refine_departure(likelihood, arrival, u, 2.0 / cells as f64);
            kept.offer(value, [u, v]);
        }
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
        if (next - u).abs() < 1e-9 {
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
        let determinant = self.semantic * self.sensing - self.cross.norm_sqr();
        if determinant <= 1e-9 * self.semantic * self.sensing {
            let (index, power) = if self.semantic >= self.sensing { (0, self.semantic) } else { (1, self.sensing) };
            return x[index].norm_sqr() / power.max(f64::MIN_POSITIVE);
        }
        let cross = (x[0] * x[1].conj() * self.cross).re;
        (self.sensing * x[0].norm_sqr() + self.semantic * x[1].norm_sqr() - 2.0 * cross) / determinant
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

    /// q of one response h.
    fn of_response(&self, [h, g]: &[Complex64; STREAMS]) -> f64 {
        self.semantic * h.norm_sqr() + self.sensing * g.norm_sqr() + 2.0 * (self.cross * h * g.conj()).re
    }
}

/// Furthest that T may move from where the correlations were taken, in samples.
const DELAY_REACH: f64 = 0.35;

/// Climbs to the maximum of ℓ near `start`: Newton where ℓ is concave, damped until it climbs elsewhere.
pub(super) fn climb(likelihood: &Likelihood<'_>, start: Parameters) -> Candidate {
    let clamp = |point: Parameters| {
        Vector3::new(point[0].clamp(-1.0, 1.0), point[1].clamp(-1.0, 1.0), point[2].clamp(-DELAY_REACH, DELAY_REACH))
    };
    let mut here = Candidate { point: start, value: likelihood.evaluate(&start) };
    let mut damping = 0.0;
    for _ in 0..40 {
        let Some(step) = ascent(&here.value.hessian, &here.value.gradient, &mut damping) else { break };
        let point = clamp(here.point + step);
        let value = likelihood.evaluate(&point);
        // Rounding of ℓ itself, of which only differences matter.
        let floor = 1e-13 * here.value.log_likelihood.abs();
        if value.log_likelihood >= here.value.log_likelihood - floor {
            let decrement = here.value.gradient.dot(&step);
            here = Candidate { point, value };
            damping *= 0.1;
            if decrement < 1e-8 + floor && damping < 1e-6 {
                break;
            }
        } else {
            damping = (10.0 * damping).max(1e-3);
            if damping > 1e9 {
                break;
            }
        }
    }
    here
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
    use super::*;

    #[test]
    fn a_response_is_recovered_and_its_energy_explained() {
        let gram = Gram { semantic: 2.0, sensing: 3.0, cross: Complex64::new(0.7, -0.9) };
        let g = [Complex64::new(0.3, 0.4), Complex64::new(-1.0, 0.2)];
        // x_u = Σ_v g_v ⟨S_v, S_u⟩ with ⟨S_c, S_0⟩ = cross.
        let x = [g[0] * gram.semantic + g[1] * gram.cross.conj(), g[0] * gram.cross + g[1] * gram.sensing];
        let found = gram.response(x);
        assert!((found[0] - g[0]).norm() < 1e-12 && (found[1] - g[1]).norm() < 1e-12);
        assert!((gram.explained(x) - gram.of_response(&g)).abs() < 1e-12);
    }
}
