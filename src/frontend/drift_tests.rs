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

    /// The next look: one antenna after the other in a sounding, two streams by beams else.
    fn look(&mut self) -> Vec<Verdict> {
        let sounds = self.frame.is_multiple_of(SOUNDING_PERIOD);
        let beams: [Vec<Complex32>; 2] = [0, 1].map(|_| (0..TRANSMITTERS).map(|_| self.unit()).collect());
        let streams: [Vec<Complex32>; 2] = [0, 1].map(|_| (0..COUNT).map(|_| self.unit()).collect());
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
fn a_turn_of_any_channel_is_named_at_the_second_look_after_it() {
    for (side, at, deg) in [(0, 1, 90.0), (0, 0, 180.0), (0, 3, -90.0), (1, 2, 90.0), (1, 4, 180.0)] {
        let mut bench = Bench::new(true, 0.0);
        for _ in 0..20 {
            assert_eq!(bench.look(), [], "{side} {at}");
        }
        bench.turned[side][at] = deg;
        let verdicts: Vec<_> = (0..4).flat_map(|_| bench.look()).collect();
        let place = if side == 0 { Place::Tx(at) } else { Place::Rx(at) };
        match verdicts[..] {
            [Verdict::Turned { place: found, deg: by, frame }] => {
                assert_eq!((found, (by - deg).rem_euclid(360.0)), (place, 0.0), "{side} {at}");
                assert!(frame <= 8 * 21, "frame {frame}");
            }
            _ => panic!("{side} {at} {deg}: {verdicts:?}"),
        }
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
fn channels_that_stay_as_they_are_are_left_alone() {
    let mut bench = Bench::new(true, 0.0);
    bench.noise = 0.3;
    for _ in 0..2000 {
        assert_eq!(bench.look(), []);
    }
}
