//! What can be seen of a run as arrays: spectra, constellation, delay–angle map, beams with the bound they give.
//!
//! Everything here is worked out by whoever looks, of copies that the receivers made on request; nothing of it runs on the
//! sample path.

use std::f32::consts::TAU;

use num_complex::Complex32;
use serde::Serialize;
use serde_json::{Value, json};

use super::drawings::ideal;
use super::{Status, TargetFigures};
use crate::array::{direction_rad, distance_m, steering_vector};
use crate::blocks::snapshots::{Echo, Heard, Snapshots, Symbols};
use crate::dsp::PlanarDft;
use crate::modem::frame::{BLOCK, SENSING_WINDOW};
use crate::optimize::{BelievedTarget, BoundModel};
use crate::scene::{Point, SPEED_OF_LIGHT_M_S, Scene, decibel, w_to_dbm};
use crate::sensing::maps::Profiles;
use crate::sensing::{EchoFrame, Planar};
use crate::stream::Plan;

/// Points of a spectrum.
const BINS: usize = 1024;
/// Delays shown on either side of the strongest echo, in samples.
const REACH: usize = 32;
/// The lowest level that a view shows, in dB: nothing has a logarithm.
const LOWEST_DB: f32 = -200.0;

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// The spectrum of what each receiver hears.
    Spectrum,
    /// Equalised symbols of a frame at each communication receiver, over the points that were sent.
    Constellation,
    /// Power over delay and arrival angle of a frame's echo at each sensing receiver.
    Map,
    /// The plan's beams over the angle, and the bound that they give for each target.
    Beams,
}

/// One array of a view, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its name.
    pub name: &'static str,
    /// The unit of its numbers.
    pub unit: &'static str,
    /// Its extents, the outermost first.
    pub shape: Vec<usize>,
    /// Its numbers; all finite.
    pub values: Vec<f32>,
}

impl Array {
    fn new(name: &'static str, unit: &'static str, shape: &[usize], values: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { name, unit, shape: shape.to_vec(), values }
    }
}

/// What one receiver, or the transmitter, shows of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What it shows.
    pub topic: Topic,
    /// The receiver's id; the transmitter's view has none.
    pub node: Option<String>,
    /// The frame that it shows; none where samples are shown as they came.
    pub frame: Option<u64>,
    /// What is to be said beside the arrays.
    pub facts: Value,
    /// The arrays.
    pub arrays: Vec<Array>,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spectrum, Self::Constellation, Self::Map, Self::Beams];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spectrum => "spectrum",
            Self::Constellation => "constellation",
            Self::Map => "map",
            Self::Beams => "beams",
        }
    }

    /// Asks the receivers for their next frame.
    pub(super) fn ask(self, snapshots: &Snapshots) {
        match self {
            Self::Spectrum => snapshots.heard.iter().chain(&snapshots.echo_heard).for_each(|heard| heard.ask()),
            Self::Constellation => snapshots.symbols.iter().for_each(|symbols| symbols.ask()),
            Self::Map => snapshots.echo.iter().for_each(|echo| echo.ask()),
            Self::Beams => {}
        }
    }

    /// What there is to see.
    pub(super) fn views(self, snapshots: &Snapshots, scene: &Scene, plan: &Plan, status: &Status) -> Vec<View> {
        let (communication, sensing) = (scene.communication_receivers(), scene.sensing_receivers());
        match self {
            Self::Spectrum => {
                let nodes = communication.iter().zip(&snapshots.heard).chain(sensing.iter().zip(&snapshots.echo_heard));
                let rate_hz = scene.sample_rate_hz();
                nodes.filter_map(|(node, heard)| heard.read(|_, heard| spectrum(&node.id, heard, rate_hz))?).collect()
            }
            Self::Constellation => communication
                .iter()
                .zip(&snapshots.symbols)
                .filter_map(|(node, symbols)| symbols.read(|frame, held| constellation(&node.id, frame, held)))
                .collect(),
            Self::Map => sensing
                .iter()
                .zip(&snapshots.echo)
                .filter_map(|(node, echo)| echo.read(|frame, held| map(&node.id, frame, held))?)
                .collect(),
            Self::Beams => vec![beams(scene, plan, status)],
        }
    }
}

fn level(power: f32) -> f32 {
    (10.0 * power.log10()).max(LOWEST_DB)
}

/// Mean power of each bin over half-overlapping Hann windows; over all bins they add up to the mean power of a sample.
fn spectrum(node: &str, heard: &Heard, sample_rate_hz: f64) -> Option<View> {
    let count = heard.count;
    if count < BINS {
        return None;
    }
    let window: Vec<f32> = (0..BINS).map(|n| 0.5 - 0.5 * (TAU * n as f32 / BINS as f32).cos()).collect();
    let scale = 1.0 / (BINS as f32 * window.iter().map(|w| w * w).sum::<f32>());
    let mut dft = PlanarDft::new(BINS);
    let mut windowed = vec![Complex32::default(); BINS];
    let mut values = Vec::new();
    for row in heard.samples.chunks_exact(count) {
        let mut power = vec![0f32; BINS];
        let starts: Vec<usize> = (0..=count - BINS).step_by(BINS / 2).collect();
        for start in &starts {
            windowed.iter_mut().zip(&row[*start..]).zip(&window).for_each(|((to, from), w)| *to = from * w);
            let [re, im] = dft.forward(&windowed);
            power.iter_mut().zip(re.iter().zip(im)).for_each(|(sum, (re, im))| *sum += re * re + im * im);
        }
        // The lowest frequency first; watts to dBm.
        let (below, above) = power.split_at(BINS / 2);
        let dbm = |power: &f32| (level(power * scale / starts.len() as f32) + 30.0).max(LOWEST_DB);
        values.extend(above.iter().chain(below).map(dbm));
    }
    let rows = heard.samples.len() / count;
    Some(View {
        topic: Topic::Spectrum,
        node: Some(node.to_owned()),
        frame: None,
        facts: json!({ "sample_rate_hz": sample_rate_hz, "sample_time": heard.sample_time }),
        arrays: vec![Array::new("power_dbm", "dBm", &[rows, BINS], values)],
    })
}

fn constellation(node: &str, frame: u64, held: &Symbols) -> View {
    let blocks: Vec<_> = held.constellations.iter().map(|used| used.map(|used| used.to_string())).collect();
    let used = held.constellations.iter().enumerate().filter(|(_, used)| used.is_some());
    let symbols: Vec<f32> = used
        .clone()
        .flat_map(|(index, _)| &held.symbols[index * BLOCK..][..BLOCK])
        .flat_map(|s| [s.re, s.im])
        .collect();
    let mut kinds: Vec<_> = held.constellations.iter().flatten().collect();
    kinds.dedup();
    let points: Vec<f32> = kinds.into_iter().flat_map(ideal).flat_map(|(re, im)| [re as f32, im as f32]).collect();
    let finite = |values: Vec<f32>| -> Vec<f32> {
        values.into_iter().map(|value| if value.is_finite() { value } else { 0.0 }).collect()
    };
    View {
        topic: Topic::Constellation,
        node: Some(node.to_owned()),
        frame: Some(frame),
        facts: json!({
            "sinr_db": Some(decibel(held.sinr)).filter(|level| level.is_finite()),
            "blocks": blocks,
            "protected_blocks": held.protected,
            "block_symbols": BLOCK,
        }),
        arrays: vec![
            Array::new("symbols", "", &[symbols.len() / 2, 2], finite(symbols)),
            Array::new("points", "", &[points.len() / 2, 2], points),
        ],
    }
}

fn map(node: &str, frame: u64, held: &Echo) -> Option<View> {
    let (config, beams) = (held.config.as_ref()?, held.beams.as_ref()?);
    let mut profiles = Profiles::new(config, held.window);
    profiles.push(&EchoFrame {
        echo: Planar::new(&held.echo, held.echo_samples),
        echo_start: 0,
        reference: Planar::new(&held.reference, held.window),
        window_start: 0,
        beams,
        time_s: 0.0,
        late_samples: 0,
    });
    let angles: Vec<f32> = (-45..=45).map(|step| 2.0 * step as f32).collect();
    let sines: Vec<f64> = angles.iter().map(|degrees| f64::from(*degrees).to_radians().sin()).collect();
    let map = profiles.delay_angle(&sines);
    let (peak, _) = map.peak();
    let first = peak.saturating_sub(REACH).min(map.path_m.len().saturating_sub(2 * REACH + 1));
    let last = (first + 2 * REACH + 1).min(map.path_m.len());
    let cells = (0..angles.len()).flat_map(|column| (first..last).map(move |row| (row, column)));
    let power: Vec<f32> = cells.map(|(row, column)| level(map.at(row, column))).collect();
    let broadside = |point: Point| direction_rad(config.receiver, point).sin().asin().to_degrees();
    let fixes = held.estimates.iter().filter_map(|estimate| estimate.fix);
    let found: Vec<_> = fixes
        .map(|fix| json!({ "path_m": fix.delay_s * SPEED_OF_LIGHT_M_S, "angle_deg": broadside(fix.position_m) }))
        .collect();
    Some(View {
        topic: Topic::Map,
        node: Some(node.to_owned()),
        frame: Some(frame),
        facts: json!({ "found": found }),
        arrays: vec![
            Array::new("power_db", "dB over the mean noise", &[angles.len(), last - first], power),
            Array::new("angle_deg", "°", &[angles.len()], angles),
            Array::new(
                "path_m",
                "m",
                &[last - first],
                map.path_m[first..last].iter().map(|path| *path as f32).collect(),
            ),
        ],
    })
}

fn beams(scene: &Scene, plan: &Plan, status: &Status) -> View {
    let angles: Vec<f32> = (-180..=180).map(|step| step as f32 / 2.0).collect();
    let array = &scene.array;
    let pattern = |beam: &nalgebra::DVector<num_complex::Complex64>| -> Vec<f32> {
        let dbm = |degrees: &f32| {
            let angle_rad = f64::from(*degrees).to_radians();
            let alpha = steering_vector(array.transmit_antennas, array.spacing_wavelengths, angle_rad);
            (w_to_dbm(alpha.dotc(beam).norm_sqr()) as f32).max(LOWEST_DB)
        };
        angles.iter().map(dbm).collect()
    };
    let (w_c, w_0) = (pattern(&plan.beams.w_c), pattern(&plan.beams.w_0));
    let sensing = scene.sensing_receivers();
    let figures = status.figures.receivers.iter().filter(|receiver| receiver.kind == "sensing");
    let bounds: Vec<_> = figures
        .zip(sensing.iter().enumerate())
        .flat_map(|(figures, (place, node))| {
            let targets = figures.targets.iter().flatten().enumerate();
            targets.filter_map(move |(index, target)| bound(scene, plan, (index, target), (place, &node.id)))
        })
        .collect();
    View {
        topic: Topic::Beams,
        node: None,
        frame: status.frame,
        facts: json!({ "epoch": plan.epoch, "from_frame": plan.from_frame, "bounds": bounds }),
        arrays: vec![
            Array::new("angle_deg", "°", &[angles.len()], angles),
            Array::new("w_c_dbm", "dBm", &[w_c.len()], w_c),
            Array::new("w_0_dbm", "dBm", &[w_0.len()], w_0),
        ],
    }
}

/// The bound that a plan's beams give for a target, where it is known to be or was found last.
fn bound(scene: &Scene, plan: &Plan, target: (usize, &TargetFigures), receiver: (usize, &str)) -> Option<Value> {
    let ((index, figures), (place, node)) = (target, receiver);
    let scene = scene.seen_by(index, 0, place);
    let position = figures.target.truth_m.or(figures.target.estimate_m).unwrap_or(scene.geometry.target);
    // A target in an array has no direction.
    let near = [scene.geometry.transmitter, scene.geometry.sensing_receiver];
    if near.iter().any(|node| distance_m(*node, position) < 1.0) {
        return None;
    }
    let believed = BelievedTarget { position, reflection_coefficient: scene.channel.reflection_coefficient };
    let model = BoundModel::of_target(&scene, &believed, SENSING_WINDOW);
    let covariance = model.of_beams(&plan.beams).position_covariance().ok()?;
    Some(json!({
        "id": figures.id,
        "node": node,
        "position_m": position,
        "covariance_m2": [[covariance[(0, 0)], covariance[(0, 1)]], [covariance[(1, 0)], covariance[(1, 1)]]],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_adds_up_to_the_power_and_has_a_tone_where_it_is() {
        let tone = |n: usize| Complex32::from_polar(2.0, TAU * 100.0 * n as f32 / BINS as f32);
        let heard = Heard { sample_time: 7, count: 3000, samples: (0..3000).map(tone).collect() };
        let view = spectrum("roof", &heard, 2e6).unwrap();
        let values = &view.arrays[0].values;
        let total: f32 = values.iter().map(|dbm| 10f32.powf((dbm - 30.0) / 10.0)).sum();
        assert!((total - 4.0).abs() < 0.01, "{total}");
        let loudest = (0..BINS).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
        assert_eq!((loudest, view.arrays[0].shape.clone()), (BINS / 2 + 100, vec![1, BINS]));
        assert!(spectrum("roof", &Heard { count: 10, ..heard }, 2e6).is_none());
    }
}
