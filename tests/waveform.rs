//! The waveform from symbols over the air to symbols: what the communication receiver must do, knowing only samples.

mod air;

use air::{ANTENNAS, Link, Received, Transmitter, beams, channel};
use issc::coding::BlockScratch;
use issc::modem::frame::{HeaderLength, Layout};
use issc::modem::receiver::SensingStream;
use num_complex::{Complex32, Complex64};

/// N_c of the tests' blocks: R_c = 0.78 bits a symbol.
const INFORMATION_BITS: usize = 200;

fn db(x: f64) -> f64 {
    10.0 * x.log10()
}

/// A link of this SINR for |a| = 1 and this |b|.
fn link(sinr_db: f64, b: f64, seed: u64) -> Link {
    let noise_variance = 10f64.powf(-sinr_db / 10.0) - b * b;
    Link { symbol_rate_hz: 100e6, carrier_offset_hz: 0.0, noise_variance, seed }
}

fn transmitter(b: f32, seed: u64) -> Transmitter {
    Transmitter::new(beams(1.0, b, 0.2), INFORMATION_BITS, seed)
}

fn numbers(frames: &[Received]) -> Vec<u64> {
    frames.iter().map(|frame| frame.status.number).collect()
}

fn assert_all_right(frames: &[Received], expected: std::ops::Range<u64>, what: &str) {
    assert_eq!(numbers(frames), expected.collect::<Vec<_>>(), "{what}");
    let wrong = frames.iter().find(|frame| frame.blocks_right != 4).map(|frame| frame.status.number);
    assert_eq!(wrong, None, "{what}");
}

#[test]
fn at_6_db_every_frame_is_found_and_every_block_is_right_whatever_start_phase_and_carrier() {
    // ±5 ppm of 3.5 GHz: a small part of 100 MHz, close to 1/256 of 5 MHz. Start and phase follow the seed.
    for (symbol_rate_hz, ppm) in [(100e6, 5.0), (100e6, -5.0), (5e6, 5.0), (5e6, -5.0), (5e6, 2.7)] {
        for seed in 0..12 {
            let link = Link { symbol_rate_hz, carrier_offset_hz: 3500.0 * ppm, ..link(6.0, 0.0, seed) };
            let frames = link.run(&mut transmitter(0.0, seed), 62..67);
            assert_all_right(&frames, 62..67, &format!("{symbol_rate_hz} Hz, {ppm} ppm, seed {seed}"));
            for frame in frames {
                let error = (frame.status.carrier_offset_hz - link.carrier_offset_hz) / symbol_rate_hz;
                assert!(error.abs() < 5e-5, "carrier off by {error} cycles per symbol");
            }
        }
    }
}

#[test]
fn the_first_frame_on_the_air_is_acquired_at_0_db() {
    // 60 trials: the largest miss probability that would still pass with even odds is 1.1 %.
    for seed in 0..60 {
        let link = Link { carrier_offset_hz: 17_500.0, ..link(0.0, 0.0, 1000 + seed) };
        let mut transmitter = transmitter(0.0, seed);
        transmitter.header_length = HeaderLength::Long;
        // Four pages say everything; what came before the last of them is not lost.
        let frames = link.run(&mut transmitter, 1..5);
        assert_eq!(numbers(&frames), [1, 2, 3, 4], "seed {seed}");
    }
}

#[test]
fn the_measured_sinr_is_the_predicted_one_with_and_without_interference() {
    // A frame's estimate from 416 known symbols scatters by about 0.3 dB; 60 frames by 0.04 dB.
    for (sinr_db, b) in [(20.0, 0.0), (10.0, 0.25), (6.0, 0.0), (6.0, 0.45), (3.0, 0.6), (0.5, 0.0), (0.5, 0.85)] {
        let (mut sum, mut count) = (0.0, 0);
        for seed in 0..10 {
            let frames = link(sinr_db, b, seed).run(&mut transmitter(b as f32, seed), 61..67);
            sum += frames.iter().map(|frame| db(frame.status.sinr)).sum::<f64>();
            count += frames.len();
        }
        let measured = sum / count as f64;
        assert!(count == 60 && (measured - sinr_db).abs() < 0.15, "{measured} instead of {sinr_db} dB, |b| = {b}");
    }
}

/// A link on which s_0 comes through, and its transmitter: |b|² = 0.81 beside noise of 0.3 leave −0.45 dB, at which half of the
/// blocks with 0.8 bits a symbol are lost; noise alone 5.2 dB.
fn interfered() -> (Link, Transmitter) {
    let mut transmitter = transmitter(0.9, 5);
    transmitter.header_length = HeaderLength::Long;
    (link(-db(1.11), 0.9, 5), transmitter)
}

fn blocks_right(frames: &[Received]) -> usize {
    frames.iter().map(|frame| frame.blocks_right).sum()
}

#[test]
fn who_does_not_know_the_sensing_stream_but_demaps_it_too_loses_fewer_blocks() {
    let (interfered, mut transmitter) = interfered();
    let as_noise = interfered.run(&mut transmitter, 61..101);
    let demapped = interfered.run_with(SensingStream::Demapped, &mut transmitter, 61..101);
    assert_eq!(numbers(&demapped), (61..101).collect::<Vec<_>>());
    // Of 160 blocks, half of which are right: 18 are three deviations.
    let [as_noise, demapped] = [as_noise, demapped].map(|frames| blocks_right(&frames));
    assert!(demapped > as_noise + 18, "{demapped} instead of {as_noise}");
}

#[test]
fn who_knows_the_sensing_stream_takes_it_out_and_is_left_with_noise_alone() {
    let (interfered, mut transmitter) = interfered();
    let with = interfered.run(&mut transmitter, 61..101);
    let cancelled = SensingStream::Cancelled(transmitter.sensing_sequence());
    let without = interfered.run_with(cancelled, &mut transmitter, 61..101);
    assert_eq!((numbers(&without), blocks_right(&without)), ((61..101).collect(), 160));
    assert!(blocks_right(&with) < 110, "{}", blocks_right(&with));
    // 40 estimates of 0.3 dB each.
    let measured = without.iter().map(|frame| db(frame.status.sinr)).sum::<f64>() / 40.0;
    assert!((measured + db(0.3)).abs() < 0.2, "{measured} dB");
    let mut scratch = BlockScratch::default();
    let mut off = 0.0;
    for frame in &without {
        for (block, received) in frame.blocks.iter().enumerate() {
            let (bits, mut coded) =
                (transmitter.bits(frame.status.number, block), vec![0; transmitter.code.coded_bits()]);
            let mut sent = vec![Complex32::ZERO; received.len()];
            transmitter.code.modulate(&bits, &mut coded, &mut sent, &mut scratch);
            off +=
                received.iter().zip(&sent).map(|(received, sent)| f64::from((received - sent).norm_sqr())).sum::<f64>();
        }
    }
    // 40 960 symbols scatter by 0.5 %; errors of a and b add 2/416 of the noise, those of the phase line and of phase and
    // level followed along seven words, of which five have 32 symbols, up to 2 %.
    let spread = off / 40_960.0;
    assert!((spread / 0.3 - 1.0).abs() < 0.04, "{spread}");
}

#[test]
fn pulses_filters_and_timing_alone_leave_50_db() {
    for seed in 0..4 {
        for frame in link(90.0, 0.0, seed).run(&mut transmitter(0.0, seed), 62..67) {
            assert!(db(frame.status.sinr) > 50.0, "{} dB", db(frame.status.sinr));
        }
    }
}

#[test]
fn payload_symbols_carry_the_noise_that_the_receiver_states() {
    let frames = link(12.0, 0.0, 3).run(&mut transmitter(0.0, 3), 1..9);
    for frame in &frames {
        let distance =
            |symbol: &Complex32| (symbol.re.abs() - 0.5f32.sqrt()).powi(2) + (symbol.im.abs() - 0.5f32.sqrt()).powi(2);
        let spread = frame.blocks.iter().flatten().map(distance).sum::<f32>() / 1024.0;
        // 1 024 symbols scatter by 3 %, the 416 known ones by 5 %.
        assert!((spread / frame.status.noise_variance - 1.0).abs() < 0.25, "{spread}, {}", frame.status.noise_variance);
    }
    assert_eq!(frames.len(), 8);
}

#[test]
fn at_minus_20_db_nothing_is_found_and_nothing_breaks() {
    for seed in 0..5 {
        assert!(link(-20.0, 0.0, seed).run(&mut transmitter(0.0, seed), 1..41).is_empty());
    }
}

#[test]
fn the_size_of_the_chunks_changes_nothing() {
    let link = link(3.0, 0.0, 8);
    let mut transmitter = transmitter(0.0, 8);
    let samples = link.samples(&mut transmitter, 62..67);
    let expected = link.receive(&transmitter, &[(0, &samples)], 3392);
    assert_all_right(&expected, 62..67, "chunks of a frame");
    for chunk in [7, 640, 3000, 20_000] {
        let frames = link.receive(&transmitter, &[(0, &samples)], chunk);
        assert_eq!(numbers(&frames), numbers(&expected), "chunks of {chunk}");
        for (frame, expected) in frames.iter().zip(&expected) {
            assert_eq!(frame.blocks, expected.blocks, "chunks of {chunk}");
        }
    }
}

#[test]
fn after_a_gap_an_outage_or_garbage_the_receiver_finds_the_stream_again() {
    let link = link(6.0, 0.0, 5);
    let mut transmitter = transmitter(0.0, 5);
    let samples = link.samples(&mut transmitter, 1..21);
    // Samples are missing, and their times with them.
    let cut = 5 * 3056 + 700;
    let frames = link.receive(&transmitter, &[(0, &samples[..cut]), (cut as u64 + 1111, &samples[cut + 1111..])], 3392);
    let found = numbers(&frames);
    assert!(frames.iter().all(|frame| frame.blocks_right == 4), "{found:?}");
    assert!(found.starts_with(&[1, 2, 3, 4]) && found.ends_with(&(8..21).collect::<Vec<_>>()), "{found:?}");
    // Six frames of silence, or of samples that are no numbers, in a stream that goes on.
    for garbage in [Complex32::ZERO, Complex32::new(f32::NAN, 1.0), Complex32::new(f32::INFINITY, f32::MAX)] {
        let mut damaged = samples.clone();
        damaged[5 * 3056..11 * 3056].fill(garbage);
        let found = numbers(&link.receive(&transmitter, &[(0, &damaged)], 3392));
        assert!(
            found.starts_with(&[1, 2, 3]) && found.ends_with(&[14, 15, 16, 17, 18, 19, 20]),
            "{garbage}: {found:?}"
        );
    }
}

#[test]
fn the_sounding_gives_the_channel_of_every_antenna() {
    let mut transmitter = transmitter(0.3, 2);
    let amplitude = transmitter.power().sqrt();
    let frames = link(6.0, 0.3, 2).run(&mut transmitter, 63..66);
    assert_eq!(frames.iter().map(|frame| frame.status.sounded).collect::<Vec<_>>(), [false, true, false]);
    let (gains, h) = (&frames[1].sounding, channel());
    // y = h_n* · amplitude up to one common phase.
    let against = |n: usize| Complex64::new(gains[n].re.into(), gains[n].im.into()) / f64::from(amplitude) * h[n];
    for n in 0..ANTENNAS {
        let ratio = against(n) / Complex64::from_polar(1.0, against(0).arg());
        // 32 known symbols at about 6 dB: 0.09 a dimension; four deviations.
        assert!((ratio - 1.0).norm() < 0.4, "antenna {n}: {ratio}");
    }
}

#[test]
fn the_antennas_radiate_the_plans_power_in_every_part_of_the_frame() {
    let mut transmitter = transmitter(0.4, 6);
    let plan = f64::from(transmitter.power());
    let mut antennas = vec![Vec::new(); ANTENNAS];
    let (mut sum, mut count) = (0.0, 0);
    for number in 1..=256u64 {
        let layout = transmitter.assemble(number);
        transmitter.transmit(layout, &mut antennas);
        let energy = |from: usize, to: usize| -> f64 {
            antennas.iter().map(|row| row[from..to].iter().map(|x| f64::from(x.norm_sqr())).sum::<f64>()).sum()
        };
        if layout == Layout::plain(HeaderLength::Short) {
            // Two Zadoff–Chu words with their cross terms, off the pulses' tails.
            let preamble = energy(64, 512) / 448.0;
            assert!(db(preamble / plan) < 0.5, "{} dB in the preamble", db(preamble / plan));
            (sum, count) = (sum + energy(0, 3056), count + 3056);
        } else {
            let sounding = energy(512 + 32, 1024 + 32) / 512.0;
            assert!(sounding < plan, "{sounding} W in the sounding of a plan of {plan} W");
        }
    }
    let mean = sum / f64::from(count);
    assert!(db(mean / plan).abs() < 0.05, "{} dB off the plan", db(mean / plan));
}
