//! Whether the channels still differ as their calibration found. Oscillators drift apart as they warm up, and a divider that
//! takes another of its states turns a channel by a multiple of 90° at once: directions are then wrong, and nothing else is.
//!
//! Every few frames the samples that each antenna sends are kept beside what the receiving channels hear of them. In a
//! sounding, where one antenna sends after the other, that gives each path's response by itself, and with it how phases
//! have moved since the calibration. Between soundings the two streams tell which single turn of a channel explains what
//! is heard. Paths that may move are no reference for a drift: the array's own count where the leakage from array to array
//! is stronger than any echo, or where the profile says that what is heard stands still (`sync.still_echo`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use nalgebra::{DMatrix, DVector};
use num_complex::{Complex32, Complex64};

use super::Profile;
use super::calibration::ERROR_MAX_DEG;
use crate::array::distance_m;
use crate::dsp::correlate;
use crate::modem::frame::{Layout, PREAMBLE, SOUNDING_PERIOD};
use crate::scene::{SPEED_OF_LIGHT_M_S, Scene};
use crate::stream::Frame;
use crate::{Error, Result};

/// Frames from one look to the next: a turn is named at the second look after it.
const EVERY: u64 = 8;

/// Looks under way at once.
const LOOKS: usize = 8;

/// Samples before the first and after the longest path's delay that are searched: clocks may be off.
const AROUND: i64 = 64;

/// Soundings of which the reference is made, and over how many the drift is averaged at most.
const REFERENCE: usize = 4;
const LONGEST: usize = 32;

/// Power of a path over an echo's from which it counts as leakage.
const LEAKAGE: f64 = 10.0;

/// Part of what is heard that the paths must explain for a row to count.
const EXPLAINED: f64 = 0.5;

/// Part of what is heard that is always left: delays between two samples, converters.
const LEAST_MISFIT: f64 = 1e-3;

/// Deviations by which a drift must stand out: the reference's own error is in all means alike, and many are looked at.
const CLEAR: f64 = 6.0;

/// Degrees beside a multiple of 90 that a turn may be.
const TURN_DEG: f64 = 15.0;

/// What was sent for a while, and what was heard of it.
struct Look {
    frame: u64,
    /// Whether one antenna after the other sends.
    sounds: bool,
    /// Stream time of the first sample sent.
    begin: i64,
    sent: Vec<Complex32>,
    heard: Vec<Complex32>,
    filled: usize,
}

/// The sides of a watch that the streams have.
pub(super) struct DriftWatch {
    shape: Shape,
    spare: Receiver<Box<Look>>,
    spare_back: Sender<Box<Look>>,
    sent: Sender<Box<Look>>,
    to_hear: Receiver<Box<Look>>,
    heard: Sender<Box<Look>>,
}

/// How many samples of how many channels, and where in a frame.
#[derive(Debug, Clone, Copy)]
struct Shape {
    transmitters: usize,
    receivers: usize,
    /// Samples from a frame's first to the first that is looked at, and how many are.
    offset: usize,
    count: usize,
    /// The first delay that is searched, and how many are.
    first_lag: i64,
    lags: usize,
}

impl Shape {
    fn heard(self) -> usize {
        self.count + self.lags - 1
    }
}

/// What a watch needs to know.
pub(super) struct About {
    /// The radio, in lines for people.
    pub(super) name: String,
    /// Channels of both sides.
    pub(super) channels: [Vec<usize>; 2],
    /// The first receiving channel that is the array's.
    pub(super) array_from: usize,
    /// Whether all that the array hears stands still.
    pub(super) still_echo: bool,
    /// Set where positions are not to be trusted any more.
    pub(super) void: Arc<AtomicBool>,
}

impl About {
    pub(super) fn new(profile: &Profile, scene: &Scene, void: &Arc<AtomicBool>) -> Self {
        Self {
            name: profile.name.clone(),
            channels: [profile.tx.channels.clone(), profile.rx.channels.clone()],
            array_from: profile.rx.channels.len().saturating_sub(scene.array.receive_antennas),
            still_echo: profile.sync.still_echo,
            void: Arc::clone(void),
        }
    }
}

/// Worst drift that is lived with, in degrees: what the scene says of its arrays' errors, else what a calibration may leave.
fn limit_deg(scene: &Scene) -> f64 {
    if scene.array.phase_error_deg > 0.0 { scene.array.phase_error_deg } else { ERROR_MAX_DEG }
}

impl DriftWatch {
    /// A watch with a thread of its own, which ends with it.
    pub(super) fn start(scene: &Scene, about: About) -> Result<Self> {
        let samples_per_symbol = scene.waveform.samples_per_symbol;
        let [transmitters, receivers] = [0, 1].map(|side| about.channels[side].len());
        let symbols = Layout::longest(transmitters).sounding;
        let geometry = &scene.geometry;
        let echo_m =
            distance_m(geometry.transmitter, geometry.target) + distance_m(geometry.target, geometry.sensing_receiver);
        let direct_m = distance_m(geometry.transmitter, geometry.communication_receiver);
        let longest = (echo_m.max(direct_m) / SPEED_OF_LIGHT_M_S * scene.sample_rate_hz()).ceil() as i64;
        let shape = Shape {
            transmitters,
            receivers,
            offset: PREAMBLE * samples_per_symbol,
            count: symbols * samples_per_symbol,
            first_lag: -AROUND,
            lags: (longest + 2 * AROUND) as usize,
        };
        let (spare_back, spare) = bounded(LOOKS);
        let (sent, to_hear) = bounded(LOOKS);
        let (heard, looks): (Sender<Box<Look>>, Receiver<Box<Look>>) = bounded(LOOKS);
        for _ in 0..LOOKS {
            let look = Look {
                frame: 0,
                sounds: false,
                begin: 0,
                sent: vec![Complex32::default(); transmitters * shape.count],
                heard: vec![Complex32::default(); receivers * shape.heard()],
                filled: 0,
            };
            drop(spare_back.try_send(Box::new(look)));
        }
        let mut judge = Judge::new(shape, limit_deg(scene), scene.channel.reflection_coefficient, &about);
        let back = spare_back.clone();
        let work = move || {
            for look in looks {
                judge.look(&look).iter().for_each(|verdict| judge.say(verdict, &about));
                drop(back.try_send(look));
            }
        };
        let thread = std::thread::Builder::new().name("drift-watch".into()).spawn(work);
        thread.map_err(|error| Error::device(format!("no thread for the drift watch: {error}")))?;
        Ok(Self { shape, spare, spare_back, sent, to_hear, heard })
    }

    /// A frame is on its way. Neither waits nor allocates.
    pub(super) fn note(&self, frame: &Frame<Complex32>) {
        let Shape { offset, count, .. } = self.shape;
        if !frame.head.sequence.is_multiple_of(EVERY) || offset + count > frame.head.valid {
            return;
        }
        let Ok(mut look) = self.spare.try_recv() else { return };
        (look.frame, look.sounds) = (frame.head.sequence, frame.head.sequence.is_multiple_of(SOUNDING_PERIOD));
        (look.begin, look.filled) = ((frame.head.sample_time as usize + offset) as i64, 0);
        for (row, samples) in look.sent.chunks_exact_mut(count).enumerate() {
            samples.copy_from_slice(&frame.row(row)[offset..offset + count]);
        }
        if let Err(full) = self.sent.try_send(look) {
            drop(self.spare_back.try_send(full.into_inner()));
        }
    }

    /// Samples came. Neither waits nor allocates.
    pub(super) fn hear(&self, at: &mut Hearing, frame: &Frame<Complex32>) {
        let (time, valid) = (frame.head.sample_time as i64, frame.head.valid as i64);
        let length = self.shape.heard();
        loop {
            if at.look.is_none() {
                at.look = self.to_hear.try_recv().ok();
            }
            let Some(look) = &mut at.look else { return };
            let wanted = look.begin + self.shape.first_lag + look.filled as i64;
            if time + valid <= wanted {
                return;
            }
            if time > wanted {
                // Samples are missing: nothing can be said.
                at.look.take().into_iter().for_each(|look| drop(self.spare_back.try_send(look)));
                continue;
            }
            let from = (wanted - time) as usize;
            let count = (frame.head.valid - from).min(length - look.filled);
            for (row, samples) in look.heard.chunks_exact_mut(length).enumerate() {
                samples[look.filled..look.filled + count].copy_from_slice(&frame.row(row)[from..from + count]);
            }
            look.filled += count;
            if look.filled < length {
                return;
            }
            if let Some(look) = at.look.take()
                && let Err(full) = self.heard.try_send(look)
            {
                drop(self.spare_back.try_send(full.into_inner()));
            }
        }
    }
}

/// The look that is heard just now.
#[derive(Default)]
pub(super) struct Hearing {
    look: Option<Box<Look>>,
}

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// More than half of what is lived with.
    Drifts { place: Place, deg: f64, error_deg: f64 },
    /// More than what is lived with.
    Exceeds { place: Place, deg: f64, error_deg: f64 },
    /// A turn by a multiple of 90°.
    Turned { place: Place, deg: f64, frame: u64 },
    /// No path is good enough to see a drift.
    Blind,
}

/// A channel by its place in its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Tx(usize),
    Rx(usize),
}

/// What a look says by itself.
struct Responses {
    /// By receiver: correlations with each antenna at the row's delay, and energy.
    correlations: Vec<DVector<Complex64>>,
    energies: Vec<f64>,
    /// Products of what the antennas sent.
    gram: DMatrix<Complex64>,
}

impl Responses {
    /// What a row's response leaves of its energy, of 1, whatever the phase.
    fn left(&self, row: usize, model: &DVector<Complex64>) -> f64 {
        let power = model.dotc(&(&self.gram * model)).re.max(f64::MIN_POSITIVE);
        1.0 - model.dotc(&self.correlations[row]).norm_sqr() / power / self.energies[row]
    }
}

/// Correlations on either side of a delay between which it is interpolated.
const BESIDE: usize = 8;

/// Delays between two samples that are tried.
const PARTS: i32 = 40;

/// What each correlation from `BESIDE` before to `BESIDE` after counts for a delay that lies `part` of a sample later: a sinc
/// under a raised cosine, as the streams have two samples a symbol and more.
fn between(part: f64) -> [f64; 2 * BESIDE + 1] {
    std::array::from_fn(|at| {
        let x = at as f64 - BESIDE as f64 - part;
        let sinc = if x.abs() < 1e-9 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
        sinc * (0.5 + 0.5 * (std::f64::consts::PI * x / (BESIDE + 1) as f64).cos())
    })
}

struct Judge {
    shape: Shape,
    limit_deg: f64,
    reflection: f64,
    array_from: usize,
    still_echo: bool,
    /// The responses of the last sounding, by receiver; and the rows that they explain.
    known: Option<(Vec<DVector<Complex64>>, Vec<bool>)>,
    /// Phases of each channel against the first of its side, summed over soundings as products of responses.
    reference: Vec<Vec<Complex64>>,
    references: usize,
    /// Drifts in degrees by sounding, the newest last; channels of both sides.
    history: Vec<Vec<f64>>,
    /// What is left of each row, summed over the last looks without a turn.
    misfit: Vec<f64>,
    misfits: usize,
    suspected: Option<(Place, i32)>,
    warned: bool,
    blind: bool,
    ended: bool,
}

impl Judge {
    fn new(shape: Shape, limit_deg: f64, reflection: f64, about: &About) -> Self {
        Self {
            shape,
            limit_deg,
            reflection,
            array_from: about.array_from,
            still_echo: about.still_echo,
            known: None,
            reference: Vec::new(),
            references: 0,
            history: Vec::new(),
            misfit: vec![0.0; shape.receivers],
            misfits: 0,
            suspected: None,
            warned: false,
            blind: false,
            ended: false,
        }
    }

    /// Takes a look in.
    fn look(&mut self, look: &Look) -> Vec<Verdict> {
        if self.ended {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        let turn = self.turn(look);
        match (turn, self.suspected) {
            (Some(turn), Some(before)) if turn == before => {
                self.ended = true;
                return vec![Verdict::Turned { place: turn.0, deg: f64::from(90 * turn.1), frame: look.frame }];
            }
            (turn, _) => self.suspected = turn,
        }
        if look.sounds && self.suspected.is_none() {
            verdicts.extend(self.sounding(look));
        }
        self.ended |= verdicts.iter().any(|verdict| matches!(verdict, Verdict::Exceeds { .. }));
        verdicts
    }

    /// Correlations of a row with all antennas at a delay.
    fn correlation(&self, look: &Look, row: usize, lag: usize) -> DVector<Complex64> {
        let Shape { transmitters, count, .. } = self.shape;
        let heard = &look.heard[row * self.shape.heard() + lag..][..count];
        DVector::from_fn(transmitters, |tx, _| correlate(heard, &look.sent[tx * count..][..count]))
    }

    /// What a look's rows say at the delay that explains most: rows of the array share one. Rows without one have no energy.
    fn responses(&self, look: &Look) -> Option<(Responses, Vec<DVector<Complex64>>)> {
        let Shape { transmitters, receivers, count, lags, .. } = self.shape;
        let sent = |tx: usize| &look.sent[tx * count..][..count];
        let gram = DMatrix::from_fn(transmitters, transmitters, |a, b| correlate(sent(b), sent(a)));
        // A sounding alone tells the antennas apart.
        let inverse = look.sounds.then(|| gram.clone().try_inverse()).flatten();
        if look.sounds && inverse.is_none() {
            return None;
        }
        let worth = |row: usize, c: &DVector<Complex64>| match (&inverse, &self.known) {
            (Some(inverse), _) => c.dotc(&(inverse * c)).re,
            (None, Some((known, good))) if good[row] => {
                let model = &known[row];
                model.dotc(c).norm_sqr() / model.dotc(&(&gram * model)).re.max(f64::MIN_POSITIVE)
            }
            _ => 0.0,
        };
        let groups: Vec<Vec<usize>> = (0..self.array_from)
            .map(|row| vec![row])
            .chain(std::iter::once((self.array_from..receivers).collect()))
            .filter(|group: &Vec<usize>| !group.is_empty())
            .collect();
        let mut correlations = vec![DVector::zeros(transmitters); receivers];
        let mut energies = vec![0.0; receivers];
        for group in groups {
            // Rows that hear too little say nothing, and leave what others say as it is.
            if self.known.as_ref().is_some_and(|(_, good)| !look.sounds && group.iter().all(|row| !good[*row])) {
                continue;
            }
            let sum =
                |at: &dyn Fn(usize) -> DVector<Complex64>| group.iter().map(|row| worth(*row, &at(*row))).sum::<f64>();
            let all: Vec<f64> = (0..lags).map(|lag| sum(&|row| self.correlation(look, row, lag))).collect();
            let best = (0..lags).max_by(|a, b| all[*a].total_cmp(&all[*b])).unwrap_or(0);
            if best < BESIDE || best + BESIDE >= lags {
                continue;
            }
            // The delay lies somewhere between two samples.
            let beside: Vec<Vec<DVector<Complex64>>> = (0..receivers)
                .map(|row| match group.contains(&row) {
                    true => (0..=2 * BESIDE).map(|at| self.correlation(look, row, best + at - BESIDE)).collect(),
                    false => Vec::new(),
                })
                .collect();
            let at = |row: usize, part: i32| {
                let weights = between(f64::from(part) / f64::from(PARTS));
                beside[row]
                    .iter()
                    .zip(weights)
                    .fold(DVector::zeros(transmitters), |sum: DVector<Complex64>, (c, weight)| {
                        sum + c * Complex64::from(weight)
                    })
            };
            let part = (-PARTS / 2..=PARTS / 2)
                .max_by(|a, b| sum(&|row| at(row, *a)).total_cmp(&sum(&|row| at(row, *b))))
                .unwrap_or(0);
            for row in group {
                correlations[row] = at(row, part);
                let heard = &look.heard[row * self.shape.heard() + best..][..count];
                energies[row] = heard.iter().map(|sample| f64::from(sample.norm_sqr())).sum();
            }
        }
        let found = match &inverse {
            Some(inverse) => correlations.iter().map(|c| inverse * c).collect(),
            None => Vec::new(),
        };
        Some((Responses { correlations, energies, gram }, found))
    }

    /// The single turn that explains a look so much better than none does, where there is one.
    fn turn(&mut self, look: &Look) -> Option<(Place, i32)> {
        let (known, good) = self.known.clone()?;
        let (said, _) = self.responses(look)?;
        let rows: Vec<usize> =
            (0..self.shape.receivers).filter(|row| good[*row] && said.energies[*row] > 0.0).collect();
        if rows.is_empty() {
            return None;
        }
        // What is left of each row, whatever the phase that all of it has. Those that are explained best usually count most.
        let usual = |row: usize| (self.misfit[row] / self.misfits.max(1) as f64).max(LEAST_MISFIT);
        let weights: Vec<f64> = rows.iter().map(|row| if self.misfits < 2 { 1.0 } else { 1.0 / usual(*row) }).collect();
        let mean = |of: &dyn Fn(usize) -> f64| {
            rows.iter().zip(&weights).map(|(row, weight)| weight * of(*row)).sum::<f64>() / weights.iter().sum::<f64>()
        };
        let left: Vec<f64> = (0..self.shape.receivers)
            .map(|row| if rows.contains(&row) { said.left(row, &known[row]) } else { 0.0 })
            .collect();
        let now = mean(&|row| left[row]);
        let limit = 3.0 * mean(&usual) + 0.005;
        let mut best = (None, now);
        for tx in 0..self.shape.transmitters {
            for quarter in [1, -1, 2] {
                let turn = Complex64::i().powi(quarter);
                let left = mean(&|row| {
                    let mut model = known[row].clone();
                    model[tx] *= turn;
                    said.left(row, &model)
                });
                if left < best.1 {
                    best = (Some((Place::Tx(tx), quarter)), left);
                }
            }
        }
        if let Some(turned) = self.turned_row(&said, &known, &rows) {
            return Some(turned);
        }
        if self.misfits >= 2 && now > limit {
            return best.0.filter(|_| best.1 < 0.4 * now);
        }
        // The mean of the last sixteen, or of all.
        let full = self.misfits >= 16;
        for (sum, left) in self.misfit.iter_mut().zip(&left) {
            *sum += left - if full { *sum / 16.0 } else { 0.0 };
        }
        self.misfits = (self.misfits + 1).min(16);
        None
    }

    /// A row of the array that has turned against all others by a multiple of 90°.
    fn turned_row(&self, said: &Responses, known: &[DVector<Complex64>], rows: &[usize]) -> Option<(Place, i32)> {
        let array: Vec<usize> = rows.iter().copied().filter(|row| *row >= self.array_from).collect();
        if array.len() < 3 {
            return None;
        }
        let phases: Vec<Complex64> = array.iter().map(|row| known[*row].dotc(&said.correlations[*row])).collect();
        array.iter().zip(&phases).find_map(|(row, phase)| {
            let others: Complex64 = array
                .iter()
                .zip(&phases)
                .filter(|(other, _)| *other != row)
                .map(|(_, phase)| phase / phase.norm())
                .sum();
            // The others agree among themselves.
            let agree = others.norm() > (array.len() - 1) as f64 * TURN_DEG.to_radians().cos();
            let deg = (phase * others.conj()).arg().to_degrees();
            let quarter = (deg / 90.0).round() as i32;
            let near = (deg - 90.0 * f64::from(quarter)).abs() < TURN_DEG;
            (agree && near && quarter != 0).then_some((Place::Rx(*row), if quarter == -2 { 2 } else { quarter }))
        })
    }

    /// Takes a sounding in.
    fn sounding(&mut self, look: &Look) -> Option<Verdict> {
        let (said, found) = self.responses(look)?;
        let good: Vec<bool> =
            (0..self.shape.receivers).map(|row| 1.0 - said.left(row, &found[row]) > EXPLAINED).collect();
        let echo = LEAKAGE * self.reflection * self.reflection;
        let stands = |row: usize| {
            let gain = found[row].norm_squared() / self.shape.transmitters as f64;
            good[row] && (row < self.array_from || self.still_echo || gain > echo)
        };
        let still: Vec<usize> = (0..self.shape.receivers).filter(|row| stands(*row)).collect();
        self.known = Some((found.clone(), good.clone()));
        if still.is_empty() {
            return self.is_blind();
        }
        // Phases against the first channel of the side: what all have in common says nothing.
        let tx = |channel: usize| -> Vec<Complex64> {
            still.iter().map(|row| found[*row][channel] * found[*row][0].conj()).collect()
        };
        let array: Vec<usize> = still.iter().copied().filter(|row| *row >= self.array_from).collect();
        let rx = |row: usize| -> Vec<Complex64> {
            let first = array.first().copied().unwrap_or(row);
            let is_there = array.contains(&row) && row != first;
            (0..self.shape.transmitters)
                .map(|t| if is_there { found[row][t] * found[first][t].conj() } else { Complex64::default() })
                .collect()
        };
        let products: Vec<Vec<Complex64>> =
            (1..self.shape.transmitters).map(tx).chain((0..self.shape.receivers).map(rx)).collect();
        let fits = self.reference.len() == products.len()
            && self.reference.iter().zip(&products).all(|(a, b)| a.len() == b.len());
        if !fits {
            // Other rows than before: their phases are a reference of their own.
            (self.reference, self.references, self.history) = (products, 1, Vec::new());
            return None;
        }
        if self.references < REFERENCE {
            self.references += 1;
            self.reference.iter_mut().zip(&products).for_each(|(sum, one)| {
                sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
            });
            return None;
        }
        let drift = |reference: &Vec<Complex64>, now: &Vec<Complex64>| {
            let sum: Complex64 = now.iter().zip(reference).map(|(now, reference)| now * reference.conj()).sum();
            sum.arg().to_degrees()
        };
        self.history.push(self.reference.iter().zip(&products).map(|(reference, now)| drift(reference, now)).collect());
        if self.history.len() > LONGEST {
            self.history.remove(0);
        }
        self.weigh()
    }

    /// What the drifts so far come to.
    fn weigh(&mut self) -> Option<Verdict> {
        let channels = self.history.first()?.len();
        let mut worst: Option<(usize, f64, f64)> = None;
        let mut seen = false;
        for channel in 0..channels {
            let all: Vec<f64> = self.history.iter().map(|look| look[channel]).collect();
            if all.iter().all(|deg| *deg == 0.0) {
                continue;
            }
            for count in [4, 8, 16, 32].into_iter().filter(|count| *count <= all.len()) {
                let last = &all[all.len() - count..];
                let mean = last.iter().sum::<f64>() / count as f64;
                let steps: f64 = last.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
                let scatter = (steps / 2.0 / (count - 1) as f64).sqrt();
                let error = scatter * (1.0 / count as f64 + 1.0 / REFERENCE as f64).sqrt();
                seen |= 3.0 * error < self.limit_deg;
                let sure = mean.abs() - 3.0 * error;
                if worst.is_none_or(|(_, mean, error)| sure > mean.abs() - 3.0 * error) {
                    worst = Some((channel, mean, error));
                }
            }
        }
        let Some((channel, deg, error_deg)) = worst else {
            return if self.history.len() >= LONGEST { self.is_blind() } else { None };
        };
        let place = match channel.checked_sub(self.shape.transmitters - 1) {
            None => Place::Tx(channel + 1),
            Some(row) => Place::Rx(row),
        };
        let sure = deg.abs() - CLEAR * error_deg;
        if sure > self.limit_deg {
            return Some(Verdict::Exceeds { place, deg, error_deg });
        }
        if sure > self.limit_deg / 2.0 && !std::mem::replace(&mut self.warned, true) {
            return Some(Verdict::Drifts { place, deg, error_deg });
        }
        if !seen && self.history.len() >= LONGEST { self.is_blind() } else { None }
    }

    /// Says once that nothing can be seen.
    fn is_blind(&mut self) -> Option<Verdict> {
        (!std::mem::replace(&mut self.blind, true)).then_some(Verdict::Blind)
    }

    /// Says a verdict, and lets positions be refused where they are not to be trusted.
    fn say(&self, verdict: &Verdict, about: &About) {
        let name = &about.name;
        let channel = |place: Place| match place {
            Place::Tx(at) => format!("TX channel {}", about.channels[0][at]),
            Place::Rx(at) => format!("RX channel {}", about.channels[1][at]),
        };
        let limit = self.limit_deg;
        match *verdict {
            Verdict::Drifts { place, deg, error_deg } => remark!(
                "issc: radio {name}: {} has drifted by {deg:.2}° ± {error_deg:.2}° since its calibration; positions are \
                 refused from {limit}° on",
                channel(place)
            ),
            Verdict::Exceeds { place, deg, error_deg } => {
                about.void.store(true, Ordering::SeqCst);
                remark!(
                    "issc: radio {name}: {} has drifted by {deg:.2}° ± {error_deg:.2}° since its calibration; accepted: \
                     {limit}° (array.phase_error_deg): positions are refused, calibrate again",
                    channel(place)
                );
            }
            Verdict::Turned { place, deg, frame } => {
                about.void.store(true, Ordering::SeqCst);
                remark!(
                    "issc: radio {name}: {} has turned by {deg:.0}° at once, before frame {frame}: positions are refused, \
                     calibrate again",
                    channel(place)
                );
            }
            Verdict::Blind => remark!(
                "issc: radio {name}: no path from array to array is strong enough to see its channels drift: calibrate \
                 again now and then"
            ),
        }
    }
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
