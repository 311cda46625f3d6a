//! Channels that drift and turn, as a watch sees them in what it is given.

use super::*;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const TRANSMITTERS: usize = 4;
const RECEIVERS: usize = 5;
const COUNT: usize = 512;
const LAGS: usize = 40;
const LAG: usize = 17;

struct Bench {
    judge: Judge,
    random: Xoshiro256PlusPlus,
    paths: Vec<Vec<Complex64>>,
    /// Phases of the channels in degrees.
    turned: [Vec<f64>; 2],
    noise: f64,
    frame: u64,
}

impl Bench {
    fn new(still_echo: bool, reflection: f64) -> Self {
        let shape = Shape {
            transmitters: TRANSMITTERS,
            receivers: RECEIVERS,
            offset: 0,
            count: COUNT,
            first_lag: -10,
            lags: LAGS,
        };
        let about = About {
            name: "bench".into(),
            channels: [(0..TRANSMITTERS).collect(), (0..RECEIVERS).collect()],
            array_from: 1,
            still_echo,
            void: Arc::default(),
        };
        let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
        let paths = (0..RECEIVERS)
            .map(|_| {
                (0..TRANSMITTERS).map(|_| Complex64::cis(std::f64::consts::TAU * random.random::<f64>())).collect()
            })
            .collect();
        Self {
            judge: Judge::new(shape, 0.5, reflection, &about),
            random,
            paths,
            turned: [vec![0.0; TRANSMITTERS], vec![0.0; RECEIVERS]],
            noise: 1e-2,
            frame: 0,
        }
    }

    fn unit(&mut self) -> Complex32 {
        let phase = std::f32::consts::TAU * self.random.random::<f32>();
        Complex32::from_polar(1.0, phase)
    }

    /// Two samples a symbol: every second one lies between two others.
    fn stream(&mut self) -> Vec<Complex32> {
        let symbols: Vec<Complex32> = (0..COUNT / 2 + 2 * BESIDE).map(|_| self.unit()).collect();
        let halfway = |at: usize| {
            between(0.5).iter().zip(&symbols[at..]).map(|(weight, symbol)| symbol * *weight as f32).sum::<Complex32>()
        };
        (0..COUNT).map(|n| if n % 2 == 0 { symbols[n / 2 + BESIDE] } else { halfway(n / 2) }).collect()
    }

    /// The next look: one antenna after the other in a sounding, two streams by beams else.
    fn look(&mut self) -> Vec<Verdict> {
        let sounds = self.frame.is_multiple_of(SOUNDING_PERIOD);
        let beams: [Vec<Complex32>; 2] = [0, 1].map(|_| (0..TRANSMITTERS).map(|_| self.unit()).collect());
        let streams: [Vec<Complex32>; 2] = [0, 1].map(|_| self.stream());
        let mut sent = vec![Complex32::default(); TRANSMITTERS * COUNT];
        for tx in 0..TRANSMITTERS {
            for n in 0..COUNT {
                let slot = n * TRANSMITTERS / COUNT == tx;
                sent[tx * COUNT + n] = match sounds {
                    true if slot => streams[0][n],
                    true => Complex32::default(),
                    false => beams[0][tx] * streams[0][n] + beams[1][tx] * streams[1][n] * 0.7,
                };
            }
        }
        let common = self.unit();
        let length = COUNT + LAGS - 1;
        let mut heard = vec![Complex32::default(); RECEIVERS * length];
        for rx in 0..RECEIVERS {
            for n in 0..COUNT {
                let sum: Complex64 = (0..TRANSMITTERS)
                    .map(|tx| {
                        let x = sent[tx * COUNT + n];
                        let turn = Complex64::cis((self.turned[0][tx] + self.turned[1][rx]).to_radians());
                        self.paths[rx][tx] * turn * Complex64::new(x.re.into(), x.im.into())
                    })
                    .sum();
                heard[rx * length + LAG + n] = common * Complex32::new(sum.re as f32, sum.im as f32);
            }
            for n in 0..length {
                let noise = self.unit() * self.noise as f32;
                heard[rx * length + n] += noise;
            }
        }
        let look = Look { frame: self.frame, sounds, begin: 0, sent, heard, filled: length };
        self.frame += EVERY;
        self.judge.look(&look)
    }
}

#[test]
fn a_drift_is_told_at_half_of_what_is_lived_with_and_refused_at_all_of_it() {
    for (still_echo, reflection, is_seen) in [(true, 1.0, true), (false, 0.01, true), (false, 10.0, false)] {
        let mut bench = Bench::new(still_echo, reflection);
        // The antenna outside the array hears too little to count.
        bench.paths[0].iter_mut().for_each(|path| *path *= 1e-4);
        let (mut warned, mut refused) = (None, None);
        for step in 0..1200 {
            let drift = 0.001 * f64::from(step);
            bench.turned[0] = (0..TRANSMITTERS).map(|tx| drift * tx as f64 / 3.0).collect();
            for verdict in bench.look() {
                match verdict {
                    Verdict::Drifts { place, deg, .. } => warned = Some((place, deg, drift)),
                    Verdict::Exceeds { place, deg, .. } => refused = Some((place, deg, drift)),
                    Verdict::Blind => assert!(!is_seen),
                    Verdict::Turned { .. } => panic!("{verdict:?}"),
                }
            }
        }
        if !is_seen {
            assert_eq!((warned, refused), (None, None));
            continue;
        }
        let (place, deg, drift) = warned.unwrap();
        assert!(place == Place::Tx(3) && deg > 0.25 && drift < 0.5, "{deg}° of {drift}°");
        let (place, deg, drift) = refused.unwrap();
        assert!(place == Place::Tx(3) && deg > 0.5 && drift < 0.9, "{deg}° of {drift}°");
    }
}

#[test]
fn a_channel_that_turns_by_quarters_is_named_within_32_frames() {
    let places = (1..TRANSMITTERS).map(Place::Tx).chain((1..RECEIVERS).map(Place::Rx));
    for (trial, (place, quarter)) in places.flat_map(|place| [1, 2, -1].map(|quarter| (place, quarter))).enumerate() {
        let mut bench = Bench::new(true, 1.0);
        // Now and then the antenna outside the array hears too little to count, as beside a real one.
        if trial % 2 == 1 {
            bench.paths[0].iter_mut().for_each(|path| *path *= 1e-4);
        }
        // Soundings and looks before it, and another place between two soundings each time.
        for _ in 0..40 + trial % 8 {
            assert_eq!(bench.look(), [], "{place:?} {quarter}: nothing has turned yet");
        }
        let (side, channel) = match place {
            Place::Tx(channel) => (0, channel),
            Place::Rx(channel) => (1, channel),
        };
        bench.turned[side][channel] += 90.0 * f64::from(quarter);
        let before = bench.frame;
        let verdict = (0..32 / EVERY).flat_map(|_| bench.look()).next();
        let Some(Verdict::Turned { place: found, deg, frame }) = verdict else {
            panic!("{place:?} {quarter}: {verdict:?}")
        };
        assert!(
            (found, deg) == (place, f64::from(90 * quarter)) && frame < before + 32,
            "{place:?} {quarter}: {found:?} {deg}°"
        );
    }
}
