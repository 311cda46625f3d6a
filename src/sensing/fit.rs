//! How well one echo fits what is known of arrays and streams: the noise that is left of each row and of two beams, and the
//! rows that are not as the others are.
//!
//! Row r shows the streams with a response of its own, g_r = Q⁻¹c_r. What that leaves of the row is noise, whatever the scene
//! says of it, and so is what it leaves of two beams: that of the rows' sum, Σ_r a_r* e_r, which θ and T follow from, and that
//! of their differences, Σ_r (r − r̄) a_r* e_r, which φ follows from. Where the noise of rows is alike (phase noise, an image),
//! they differ.
//!
//! The responses themselves ought to be a_r(φ) g with one g. Of what they are beside it, the part across g says that more than
//! one echo is there; that along g is an error of the row: Q-weighted, g_r = γ_r a_r g, of which the phase of γ_r, without the
//! mean and slope that β_0 and φ take up, moves φ. Such an error is the same in all frames: where a frame's echo is too weak to
//! show it, the mean of many does ([`Fit::remember`]).

use num_complex::Complex64;

use super::align::energy_threshold;
use super::likelihood::Parameters;
use super::spectra::Spectra;
use super::spectrum::{BEAMS, Correlations, Gram, Left};
use super::{STREAMS, SensingConfig, Status};

/// Probability that noise alone makes rows look as if they did not fit.
const MISFIT_PROBABILITY: f64 = 1e-6;
/// A row is looked at if it has so many times the noise that the rows have in the middle, or so many times less.
const LOUD: f64 = 6.0;
/// A row with this part of the middle row's energy is dead.
const DEAD: f64 = 1e-3;
/// A row whose part of the echo is so much weaker than the others' hears noise alone.
const SILENT: f64 = 0.03;
/// Largest phase error of a row, beside what is declared, that error bars make up for; larger ones are named.
const PHASE_LIMIT_RAD: f64 = 3.0 * std::f64::consts::PI / 180.0;
/// Samples by which a row may be late or early, and be found.
const MOST_LATE: i32 = 64;
/// Of a row's energy, the part that must be explained late or conjugated to be named so.
const EXPLAINED: f64 = 0.25;
/// An image in a row counts if its energy is so many times the noise of a bin, ...
const IMAGE_DEVIATIONS: f64 = 16.0;
/// ... and is removed up to this amplitude.
const MOST_IMAGE: f64 = 0.3;
/// Directions that are tried for rows in another order, per row.
const GRID: usize = 32;
/// Deviations squared of declared element errors that are accepted.
const DECLARED: f64 = 20.0;
/// A constant with more than this part of a row's energy is named.
const CONSTANT_PART: f64 = 0.05;

/// Frames that the mean of rows' errors reaches back, after how many it says something, and how many deviations count.
const REMEMBERED: f64 = 512.0;
const LEAST_REMEMBERED: f64 = 16.0;
const REMEMBERED_DEVIATIONS: f64 = 6.0;

/// Rows of an array, the first 64 of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowSet(pub u64);

impl RowSet {
    pub fn with(self, row: usize) -> Self {
        Self(self.0 | 1u64.checked_shl(row as u32).unwrap_or(0))
    }

    /// The first so many rows.
    pub fn first(rows: usize) -> Self {
        (0..rows).fold(Self::default(), Self::with)
    }

    fn has(self, row: usize) -> bool {
        row < 64 && self.0 >> row & 1 == 1
    }
}

/// Why an echo does not fit, and which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub status: Status,
    pub rows: RowSet,
}

/// The fit of one echo, with its scratch.
pub(super) struct Fit {
    wavenumber: f64,
    /// Deviations of declared errors, phase and gain together, squared.
    declared: f64,
    declared_phase: f64,
    /// g_r.
    responses: Vec<[Complex64; STREAMS]>,
    /// a_r* and (r − r̄) a_r*.
    beams: Vec<[Complex64; BEAMS]>,
    /// Energy left of each row, then its noise in a bin.
    noise: Vec<f64>,
    sorted: Vec<f64>,
    /// Noise in a bin of both beams, as if of one row.
    pub beam_noise: [f64; BEAMS],
    /// Variance of sin φ by errors of rows that are seen.
    pub displaced: f64,
    /// The part of the energy of the rows' sum towards the echo that the streams explain.
    pub echo_part: f64,
    /// How much the echo turns, in radians a sample, and the deviation of that.
    pub turning: [f64; 2],
    /// Bins of a row that are looked at.
    looked_at: f64,
    /// Rows with a constant in them.
    pub constant: RowSet,
    limit: f64,
    /// γ_r of the last echo without mean and slope of its phases, its energy and its noise.
    ratios: Vec<Complex64>,
    shown: [f64; 2],
    /// Sums of them over frames: energy times γ_r, energy, and energy times noise.
    sums: Vec<Complex64>,
    weights: [f64; 2],
    frames: f64,
}

impl Fit {
    pub fn new(config: &SensingConfig, wavenumber: f64, spectra: &Spectra) -> Self {
        let rows = config.receive_antennas;
        let (phase, gain) = (config.element_phase_std_rad, config.element_gain_std);
        Self {
            wavenumber,
            declared: phase * phase + gain * gain,
            declared_phase: phase,
            responses: vec![[Complex64::ZERO; STREAMS]; rows],
            beams: vec![[Complex64::ZERO; BEAMS]; rows],
            noise: vec![0.0; rows],
            sorted: vec![0.0; rows],
            beam_noise: [0.0; BEAMS],
            displaced: 0.0,
            echo_part: 0.0,
            turning: [0.0; 2],
            looked_at: spectra.looked_at() as f64,
            constant: RowSet::default(),
            limit: energy_threshold(rows, MISFIT_PROBABILITY),
            ratios: vec![Complex64::ZERO; rows],
            shown: [0.0; 2],
            sums: vec![Complex64::ZERO; rows],
            weights: [0.0; 2],
            frames: 0.0,
        }
    }

    /// The noise in a bin, in the middle of the rows.
    pub fn noise(&mut self) -> f64 {
        self.sorted.copy_from_slice(&self.noise);
        middle(&mut self.sorted)
    }

    /// Noise in a bin, in the mean of the rows.
    pub fn left(&self) -> f64 {
        self.noise.iter().sum::<f64>() / self.noise.len() as f64
    }

    /// Takes a frame's echo apart at a point, by the correlations taken next to it, `fraction` samples behind the whole delay.
    pub fn take_apart(
        &mut self,
        spectra: &mut Spectra,
        correlations: &Correlations,
        gram: &Gram,
        point: &Parameters,
        fraction: f64,
        window: usize,
    ) {
        let rows = self.responses.len();
        let step = Complex64::cis(-self.wavenumber * point[1]);
        let centre = 0.5 * (rows as f64 - 1.0);
        let [values, slopes, bends] = correlations;
        let mut steering = Complex64::ONE;
        for (row, (response, beams)) in self.responses.iter_mut().zip(&mut self.beams).enumerate() {
            let at = |stream: usize| {
                values[row][stream] + (slopes[row][stream] + bends[row][stream] * (0.5 * point[2])) * point[2]
            };
            *response = gram.response([at(0), at(1)]);
            *beams = [steering, steering * (row as f64 - centre)];
            steering *= step;
        }
        let left = spectra.leave(fraction + point[2], &self.responses, &self.beams, &mut self.noise);
        let (bins, looked_at) = (spectra.bins() as f64, self.looked_at);
        let free = looked_at * (bins - STREAMS as f64) / bins;
        self.noise.iter_mut().for_each(|noise| *noise /= free);
        let lever = rows as f64 * (rows * rows - 1) as f64 / 12.0;
        self.beam_noise = [left.beams[0] / (free * rows as f64), left.beams[1] / (free * lever.max(f64::MIN_POSITIVE))];
        self.echo_part = left.fitted / (left.fitted + left.beams[0]).max(f64::MIN_POSITIVE);
        self.turning = turning(&left, window, self.beam_noise[0] * rows as f64);
        self.constant = (0..rows).fold(RowSet::default(), |set, row| {
            let [energy, constant, _] = spectra.row_energy(row);
            let stands_out = constant > CONSTANT_PART * (energy + constant) && constant > 64.0 * energy / bins;
            if stands_out { set.with(row) } else { set }
        });
    }

    /// The part of each row's complex conjugate that is in it, where that is more than noise; says whether any is.
    pub fn find_images(&self, spectra: &mut Spectra, delay: f64, images: &mut [Complex64]) -> bool {
        let mut any = false;
        for (row, image) in images.iter_mut().enumerate() {
            let (sum, energy) = spectra.image_of_row(row, delay, self.responses[row]);
            let part = if energy > 0.0 { sum / energy } else { Complex64::ZERO };
            let stands_out = part.norm_sqr() * energy > IMAGE_DEVIATIONS * self.noise[row];
            if stands_out && part.norm() < MOST_IMAGE {
                *image += part;
                any = true;
            }
        }
        any
    }

    /// What the rows show of one echo, g, and the energy ⟨g, g⟩ of that.
    pub fn common_response(&self, gram: &Gram) -> ([Complex64; STREAMS], f64) {
        self.common(gram, None)
    }

    /// Looks at the rows; `None` where they fit. Sets what their errors displace sin φ by.
    pub fn judge(&mut self, spectra: &mut Spectra, gram: &Gram, fraction: f64) -> Option<Fault> {
        self.displaced = 0.0;
        let noise = self.noise();
        let quiet = noise / LOUD;
        if self.noise.iter().any(|own| *own > LOUD * noise || *own < quiet) {
            return Some(self.name_loud(spectra, fraction, noise));
        }
        let (common, power) = self.common(gram, None);
        self.shown = [power, noise];
        if power <= 0.0 {
            return None;
        }
        self.keep_ratios(gram, common, power);
        let allowed = DECLARED * self.declared * power / noise;
        let mut across = 0.0;
        let rows = self.responses.len();
        for row in 0..rows {
            let own = self.responses[row];
            let along = inner(gram, common, own).norm_sqr() / power;
            across += (inner(gram, own, own).re - along) / self.noise[row];
        }
        let fits = across <= self.limit + rows as f64 * allowed;
        // Mostly there is nothing to see.
        let plain: f64 = self.ratios(gram, common, power).map(|ratio| (ratio - 1.0).norm_sqr()).sum();
        if fits && plain * power <= self.limit * noise {
            return None;
        }
        let (phases, energy) = self.phase_errors(gram, common, power, noise);
        // A row's error shows by this part in what is left of the phases at least, where it is the only one.
        let shown = 1.0 - self.edge_lever() - 1.0 / rows as f64;
        let limit = PHASE_LIMIT_RAD * PHASE_LIMIT_RAD * shown + DECLARED * self.declared_phase * self.declared_phase;
        if fits && (energy <= self.limit || phases <= limit) {
            self.displaced = if energy <= self.limit { 0.0 } else { self.displacement(phases, noise / power) };
            return None;
        }
        Some(self.name_row(gram, noise, allowed))
    }

    /// Notes γ_r down, without the mean and the slope of its phases.
    fn keep_ratios(&mut self, gram: &Gram, common: [Complex64; STREAMS], power: f64) {
        let mut ratios = std::mem::take(&mut self.ratios);
        ratios.iter_mut().zip(self.ratios(gram, common, power)).for_each(|(to, ratio)| *to = ratio);
        level(&mut ratios);
        self.ratios = ratios;
    }

    /// Takes the last echo into the mean of the rows' errors, and names a row whose phase is off in that.
    pub fn remember(&mut self) -> Option<Fault> {
        let [power, noise] = self.shown;
        if power > 0.0 {
            let keep = if self.frames < REMEMBERED { 1.0 } else { 1.0 - 1.0 / REMEMBERED };
            self.frames = self.frames * keep + 1.0;
            self.weights = [self.weights[0] * keep + power, self.weights[1] * keep + power * noise];
            self.sums.iter_mut().zip(&self.ratios).for_each(|(sum, ratio)| *sum = *sum * keep + ratio * power);
        }
        if self.frames < LEAST_REMEMBERED || self.sums.len() < 4 {
            return None;
        }
        self.ratios.copy_from_slice(&self.sums);
        level(&mut self.ratios);
        let squares = |ratios: &[Complex64]| ratios.iter().map(|ratio| ratio.arg().powi(2)).sum::<f64>();
        let deviation = (0.5 * self.weights[1]).sqrt() / self.weights[0];
        let shown = 1.0 - self.edge_lever() - 1.0 / self.sums.len() as f64;
        let limit = PHASE_LIMIT_RAD * PHASE_LIMIT_RAD * shown
            + DECLARED * self.declared_phase * self.declared_phase
            + (REMEMBERED_DEVIATIONS * deviation).powi(2);
        if squares(&self.ratios) <= limit {
            return None;
        }
        // The row without which the others fit best.
        let off = |row: usize| {
            let others = || (0..self.sums.len()).filter(move |other| *other != row);
            let count = others().count() as f64;
            let centre = others().sum::<usize>() as f64 / count;
            let phase = |row: usize| self.ratios[row].arg();
            let mean = others().map(phase).sum::<f64>() / count;
            let lever: f64 = others().map(|other| (other as f64 - centre).powi(2)).sum();
            let slope = others().map(|other| phase(other) * (other as f64 - centre)).sum::<f64>() / lever;
            others().map(|other| (phase(other) - mean - slope * (other as f64 - centre)).powi(2)).sum::<f64>()
        };
        let row = (0..self.sums.len()).min_by(|a, b| off(*a).total_cmp(&off(*b)))?;
        Some(Fault { status: Status::Phase, rows: RowSet::default().with(row) })
    }

    /// The mean of a_r* g_r over all rows but one, and its energy.
    fn common(&self, gram: &Gram, except: Option<usize>) -> ([Complex64; STREAMS], f64) {
        let mut sum = [Complex64::ZERO; STREAMS];
        let mut count = 0.0;
        for (row, (response, beams)) in self.responses.iter().zip(&self.beams).enumerate() {
            if Some(row) != except {
                sum.iter_mut().zip(response).for_each(|(sum, g)| *sum += beams[0] * g);
                count += 1.0;
            }
        }
        let common = sum.map(|g| g / count);
        (common, inner(gram, common, common).re)
    }

    /// γ_r.
    fn ratios(&self, gram: &Gram, common: [Complex64; STREAMS], power: f64) -> impl Iterator<Item = Complex64> + '_ {
        let gram = *gram;
        let pairs = self.responses.iter().zip(&self.beams);
        pairs.map(move |(response, beams)| inner(&gram, common, *response) * beams[0] / power)
    }

    /// Σ ψ_r² of the rows' phases without mean and slope, and Σ |γ_r e^{−j(mean + slope)} − 1|² over its variance by noise: on
    /// noise alone that is at most a sum of N_R unit exponentials.
    fn phase_errors(&self, gram: &Gram, common: [Complex64; STREAMS], power: f64, noise: f64) -> (f64, f64) {
        let rows = self.responses.len() as f64;
        let centre = 0.5 * (rows - 1.0);
        let lever = rows * (rows * rows - 1.0) / 12.0;
        let ratios = || self.ratios(gram, common, power);
        let (mut mean, mut slope) = (0.0, 0.0);
        for (row, ratio) in ratios().enumerate() {
            let phase = ratio.arg();
            mean += phase / rows;
            slope += if lever > 0.0 { phase * (row as f64 - centre) / lever } else { 0.0 };
        }
        let (mut phases, mut energy) = (0.0, 0.0);
        for (row, ratio) in ratios().enumerate() {
            let left = ratio * Complex64::cis(-mean - slope * (row as f64 - centre));
            phases += left.arg().powi(2);
            energy += (left - 1.0).norm_sqr();
        }
        (phases, energy * power / noise)
    }

    /// The part of an outermost row's error that looks like a direction.
    fn edge_lever(&self) -> f64 {
        let rows = self.responses.len() as f64;
        let lever = rows * (rows * rows - 1.0) / 12.0;
        if lever > 0.0 { (0.5 * (rows - 1.0)).powi(2) / lever } else { 0.0 }
    }

    /// Variance of sin φ that goes with Σ ψ_r² left of the phases, if one row made it; `relative` is the noise over a row's
    /// power.
    fn displacement(&self, phases: f64, relative: f64) -> f64 {
        let rows = self.responses.len() as f64;
        let shown = 1.0 - self.edge_lever() - 1.0 / rows;
        let by_noise = 0.5 * relative * (rows - 2.0).max(0.0);
        let declared = self.declared_phase * self.declared_phase * (rows - 2.0).max(0.0);
        let square = phases - by_noise - DECLARED * declared;
        if shown <= 1e-9 || square <= 0.0 {
            return 0.0;
        }
        let lever = self.wavenumber * self.wavenumber * rows * (rows * rows - 1.0) / 12.0;
        square * self.edge_lever() / shown / lever
    }

    /// Names rows whose noise is not that of the others.
    fn name_loud(&mut self, spectra: &mut Spectra, fraction: f64, noise: f64) -> Fault {
        let rows = self.responses.len();
        for row in 0..rows {
            self.sorted[row] = spectra.row_energy(row)[0];
        }
        let usual = middle(&mut self.sorted);
        let (mut loud, mut dead) = (RowSet::default(), RowSet::default());
        for row in 0..rows {
            if spectra.row_energy(row)[0] < DEAD * usual {
                dead = dead.with(row);
            } else if self.noise[row] > LOUD * noise || self.noise[row] < noise / LOUD {
                loud = loud.with(row);
            }
        }
        if dead.0 != 0 {
            return Fault { status: Status::Dead, rows: dead };
        }
        let mut named: Option<Fault> = None;
        for row in (0..rows).filter(|row| loud.has(*row)) {
            let energy = spectra.row_energy(row)[0];
            let now = spectra.explained_of_row(row, fraction, false) / energy;
            let conjugated = spectra.explained_of_row(row, fraction, true) / energy;
            let late = (-MOST_LATE..=MOST_LATE)
                .filter(|half| *half != 0)
                .map(|half| spectra.explained_of_row(row, fraction + 0.5 * f64::from(half), false) / energy)
                .fold(0.0, f64::max);
            let status = if conjugated > EXPLAINED && now > EXPLAINED && conjugated + now > 0.7 {
                Status::NoQuadrature
            } else if conjugated > EXPLAINED && conjugated > now {
                Status::Conjugated
            } else if late > EXPLAINED && late > 1.02 * now {
                Status::Late
            } else {
                Status::Interference
            };
            match &mut named {
                Some(fault) if fault.status == status => fault.rows = fault.rows.with(row),
                Some(_) => {}
                None => named = Some(Fault { status, rows: RowSet::default().with(row) }),
            }
        }
        named.unwrap_or(Fault { status: Status::PoorFit, rows: loud })
    }

    /// Names the row that is off in phase, or two rows that are exchanged.
    fn name_row(&mut self, gram: &Gram, noise: f64, allowed: f64) -> Fault {
        let rows = self.responses.len();
        let all: f64 = self.responses.iter().map(|g| inner(gram, *g, *g).re).sum();
        let whole = self.left_by(gram, &|row| Some(row), all);
        let acceptable = (2.0 * self.limit + rows as f64 * allowed) * noise + 0.02 * whole;
        let mut best = (f64::INFINITY, [0; 2]);
        for first in 0..rows {
            for second in first + 1..rows {
                let order = |row: usize| {
                    Some(match row {
                        row if row == first => second,
                        row if row == second => first,
                        row => row,
                    })
                };
                let left = self.left_by(gram, &order, all);
                if left < best.0 {
                    best = (left, [first, second]);
                }
            }
        }
        if rows > 2 && best.0 <= acceptable {
            let rows = RowSet::default().with(best.1[0]).with(best.1[1]);
            return Fault { status: Status::Swapped, rows };
        }
        let mut best = (f64::INFINITY, 0);
        for off in 0..rows {
            let own = inner(gram, self.responses[off], self.responses[off]).re;
            let left = self.left_by(gram, &|row| (row != off).then_some(row), all - own);
            if left < best.0 {
                best = (left, off);
            }
        }
        if rows > 3 && best.0 <= acceptable {
            let own = self.responses[best.1];
            let silent = inner(gram, own, own).re < SILENT * all / rows as f64;
            let status = if silent { Status::Dead } else { Status::Phase };
            return Fault { status, rows: RowSet::default().with(best.1) };
        }
        Fault { status: Status::PoorFit, rows: RowSet::default() }
    }

    /// The energy that one direction and one response leave of rows in another order, `all` being theirs.
    fn left_by(&self, gram: &Gram, order: &dyn Fn(usize) -> Option<usize>, all: f64) -> f64 {
        let rows = self.responses.len();
        let count = (0..rows).filter(|row| order(*row).is_some()).count() as f64;
        let explained = |sine: f64| {
            let mut sum = [Complex64::ZERO; STREAMS];
            for row in 0..rows {
                let Some(from) = order(row) else { continue };
                let steering = Complex64::cis(-self.wavenumber * row as f64 * sine);
                sum.iter_mut().zip(self.responses[from]).for_each(|(sum, g)| *sum += steering * g);
            }
            inner(gram, sum, sum).re / count
        };
        let cells = GRID * rows;
        let sine = |cell: f64| -1.0 + 2.0 * cell / cells as f64;
        let best = (0..=cells).max_by(|a, b| explained(sine(*a as f64)).total_cmp(&explained(sine(*b as f64))));
        // Golden section about the best cell.
        let centre = best.unwrap_or(0) as f64;
        let (mut low, mut high) = (sine(centre - 1.0), sine(centre + 1.0));
        const GOLDEN: f64 = 0.618_033_988_749_895;
        for _ in 0..40 {
            let (a, b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
            if explained(a) > explained(b) {
                high = b;
            } else {
                low = a;
            }
        }
        (all - explained(0.5 * (low + high))).max(0.0)
    }
}

/// Takes mean and slope of their phases from numbers, twice: the first time phases may be far off.
fn level(ratios: &mut [Complex64]) {
    let rows = ratios.len() as f64;
    let centre = 0.5 * (rows - 1.0);
    let lever = rows * (rows * rows - 1.0) / 12.0;
    for _ in 0..2 {
        let (mut mean, mut slope) = (0.0, 0.0);
        for (row, ratio) in ratios.iter().enumerate() {
            mean += ratio.arg() / rows;
            slope += if lever > 0.0 { ratio.arg() * (row as f64 - centre) / lever } else { 0.0 };
        }
        for (row, ratio) in ratios.iter_mut().enumerate() {
            *ratio *= Complex64::cis(-mean - slope * (row as f64 - centre));
        }
    }
}

/// xᴴQy of two responses, in the order in which the streams' Gram matrix takes them.
pub(super) fn inner(gram: &Gram, x: [Complex64; STREAMS], y: [Complex64; STREAMS]) -> Complex64 {
    let cross = x[0].conj() * y[1] * gram.cross.conj() + x[1].conj() * y[0] * gram.cross;
    x[0].conj() * y[0] * gram.semantic + x[1].conj() * y[1] * gram.sensing + cross
}

/// Radians a sample that an echo turns by, and the deviation of that: with the ramp of time replaced by
/// sin(2πt/N), which needs only neighbouring bins, ν = π A/(N Σ|M|²), A being [`Left::turns`].
fn turning(left: &Left, window: usize, beam_noise: f64) -> [f64; 2] {
    if left.fitted <= 0.0 {
        return [0.0, f64::INFINITY];
    }
    let per = std::f64::consts::PI / window as f64;
    [per * left.turns / left.fitted, per * (beam_noise / left.fitted).sqrt()]
}

/// The median of some values, which are put in order.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    0.5 * (values[(count - 1) / 2] + values[count / 2])
}
