//! The communication receiver under what a real channel does: block errors of the whole receiver (search, header and all)
//! against the signal-to-noise ratio, as the loss in dB at a block error rate of 1e-2.

mod air;

use air::bench::{BITS, Bench, Impair, changed, db, same};
use air::impair::{self, Path};
use air::{ANTENNAS, Link, ROLL_OFF, Transmitter, beams};
use issc::coding::{BLOCK_CRC, BLOCK_SYMBOLS, BlockScratch, DecodeOutcome, plan};
use issc::modem::frame::BLOCKS;
use issc::modem::receiver::SensingStream;

/// `RECEIVER_ONLY=NAME RECEIVER_FRAMES=N cargo test --release --test receiver -- --ignored --nocapture table`
#[test]
#[ignore = "prints the table of losses, in minutes"]
fn table() {
    let only = std::env::var("RECEIVER_ONLY").unwrap_or_default();
    let frames = std::env::var("RECEIVER_FRAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(250);
    let codes = std::env::var("RECEIVER_CODES").unwrap_or_else(|_| "01".into());
    for (which, bits) in BITS.into_iter().enumerate().filter(|(which, _)| codes.contains(&which.to_string())) {
        let mut bench = Bench::new(bits, frames);
        println!("{bits} bits, threshold {:.2} dB", bench.threshold_db);
        let threshold = bench.threshold_db;
        let mut row = |name: &str, air: Impair, hardware: Impair| {
            if name.contains(&only) {
                let (loss, at) = bench.loss_db(7, air, hardware);
                let told = at.sinr_db - threshold;
                println!(
                    "{which} {name:<28} loss {loss:>6.2}  last: headers {} sinr {told:.2} wrong {}",
                    at.headers, at.wrong
                );
            }
        };
        row("nothing", &same, &same);
        for offset in [0.003, 0.05, -0.2, 0.3, -0.35] {
            row(&format!("carrier {offset}"), &changed(|x| impair::carrier(x, offset, 0.0)), &same);
        }
        for offset in [0.0, 0.2] {
            row(&format!("drift {offset}"), &changed(|x| impair::carrier(x, offset, 1e-7)), &same);
        }
        for ppm in [20.0, 40.0, -40.0] {
            row(&format!("clock {ppm}"), &|x| impair::clock(&x, ppm), &same);
        }
        for deg in [3.0, 6.0] {
            row(&format!("phase-noise {deg}"), &changed(|x| impair::phase_noise(x, deg, 3)), &same);
        }
        for image in [-25.0, -20.0] {
            row(&format!("image {image}"), &same, &changed(|x| impair::image(x, image, 0.7)));
        }
        for dc in [-20f32, -10.0, 0.0] {
            let amplitude = 10f32.powf(dc / 20.0);
            row(&format!("dc {dc}"), &same, &changed(|x| impair::tone(x, amplitude, 0.0)));
            row(&format!("tone {dc}"), &same, &changed(|x| impair::tone(x, amplitude, 0.0731)));
        }
        for over in [6.0, 3.0] {
            row(&format!("clip {over}"), &same, &changed(|x| impair::clip(x, over)));
        }
        row("adc 6", &same, &changed(|x| impair::quantise(x, 6, 12.0)));
        for (delay, gain) in
            [1.0, 2.5].into_iter().flat_map(|delay| [-20.0, -10.0, -6.0, -3.0].map(|gain| (delay, gain)))
        {
            let list = [Path::new(0.0, 0.0, 0.0), Path::new(delay, gain, 1.1)];
            let (mut low, mut high) = (0.0, 20.0);
            while high - low > 1e-3 {
                let middle = 0.5 * (low + high);
                let sinr = impair::linear_mmse_sinr(&list, 10f64.powf((threshold + middle) / 10.0), ROLL_OFF);
                if db(sinr) < threshold { low = middle } else { high = middle }
            }
            row(&format!("path {delay} {gain} (mmse {high:.2})"), &|x| impair::paths(&x, &list), &same);
        }
        let mut at_three = |name: &str, air: Impair, hardware: Impair| {
            if name.contains(&only) {
                let at = bench.run(threshold + 3.0, 7, air, hardware);
                println!(
                    "{which} {name:<28} at +3 dB: {:.2} % lost, headers {}, sinr {:.2}, wrong {}",
                    100.0 * at.lost,
                    at.headers,
                    at.sinr_db - threshold,
                    at.wrong
                );
            }
        };
        at_three("bursts 30", &same, &changed(|x| impair::bursts(x, 30.0, 10, 3000, 1)));
        at_three("bursts 40", &same, &changed(|x| impair::bursts(x, 40.0, 10, 3000, 1)));
        for gain in [3.0, 6.0, -6.0, 20.0] {
            at_three(&format!("gain {gain}"), &same, &changed(|x| impair::gain_steps(x, gain, 2 * 3392, 1)));
        }
        at_three("rayleigh 1e-5", &|x| impair::paths(&x, &impair::tapped(&[[0.0, 0.0]], 0.0, 1e-5, 5)), &same);
    }
}

#[test]
#[ignore = "prints draws of tapped delay lines, in minutes"]
fn draws() {
    let count = std::env::var("RECEIVER_DRAWS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let codes = std::env::var("RECEIVER_CODES").unwrap_or_else(|_| "01".into());
    for (_, bits) in BITS.into_iter().enumerate().filter(|(which, _)| codes.contains(&which.to_string())) {
        let mut bench = Bench::new(bits, 12);
        let threshold = bench.threshold_db;
        for (name, table) in [("tdl-a", &impair::TDL_A[..]), ("tdl-c", &impair::TDL_C[..])] {
            for spread in [0.1, 0.5, 1.0, 2.0] {
                let (mut usable, mut bad, mut short) = (0, 0, Vec::new());
                for seed in 0..count {
                    let list = impair::tapped(table, spread, 0.0, 100 + seed);
                    let sinr = db(impair::linear_mmse_sinr(&list, 10f64.powf(2.5), ROLL_OFF));
                    if sinr < threshold + 1.0 {
                        continue;
                    }
                    let at = bench.run(25.0, seed, &|x| impair::paths(&x, &list), &same);
                    usable += 1;
                    bad += usize::from(at.lost > 1e-2);
                    short.push(sinr - at.sinr_db);
                    if at.lost > 1e-2 {
                        println!(
                            "   seed {seed}: known {:.2}, told {:.2}, lost {:.3} headers {}",
                            sinr, at.sinr_db, at.lost, at.headers
                        );
                    }
                }
                short.sort_by(f64::total_cmp);
                println!(
                    "{bits} {name} {spread}: usable {usable}, bad {bad}, short median {:.2}",
                    short[short.len() / 2]
                );
            }
        }
    }
}

/// Blocks lost of 240 at so many dB above the threshold, at which a block error rate of 1e-2 would lose 2.4.
fn lost_of_240(bench: &mut Bench, above_db: f64, air: Impair, hardware: Impair) -> (f64, usize) {
    let outcome = bench.run(bench.threshold_db + above_db, 7, air, hardware);
    (240.0 * outcome.lost, outcome.wrong)
}

#[test]
fn what_hardware_and_oscillators_do_costs_less_than_half_a_decibel() {
    for (which, bits) in BITS.into_iter().enumerate() {
        let mut bench = Bench::new(bits, 60);
        let mut check = |name: &str, air: Impair, hardware: Impair| {
            // The waterfall falls by a decade in 0.4 dB: 0.9 dB above, a loss of half a decibel leaves 2.4 of 240, and six
            // deviations of that are 9.
            let (lost, wrong) = lost_of_240(&mut bench, 0.9, air, hardware);
            assert!(lost <= 9.0 && wrong == 0, "{bits} bits, {name}: {lost} of 240 lost, {wrong} wrong");
        };
        for offset in [0.05, 0.3, -0.3, 0.35, -0.35] {
            check(&format!("carrier off by {offset}"), &changed(|x| impair::carrier(x, offset, 0.0)), &same);
        }
        check("carrier drifting", &changed(|x| impair::carrier(x, 0.1, 1e-7)), &same);
        for ppm in [40.0, -40.0] {
            check(&format!("clock off by {ppm} ppm"), &|x| impair::clock(&x, ppm), &same);
        }
        let noise_deg = [6.0, 3.0][which];
        check("phase noise", &changed(|x| impair::phase_noise(x, noise_deg, 3)), &same);
        check("image of -20 dB", &same, &changed(|x| impair::image(x, -20.0, 0.7)));
        check("constant offset of -10 dB", &same, &changed(|x| impair::tone(x, 0.1f32.sqrt(), 0.0)));
        check("tone of -10 dB", &same, &changed(|x| impair::tone(x, 0.1f32.sqrt(), 0.0731)));
        check("clipping 6 dB above", &same, &changed(|x| impair::clip(x, 6.0)));
        check("six bits", &same, &changed(|x| impair::quantise(x, 6, 12.0)));
    }
}

#[test]
fn two_paths_are_equalised_to_within_a_decibel_of_the_known_channels_bound() {
    for bits in BITS {
        let mut bench = Bench::new(bits, 60);
        for (delay, gain_db) in [(1.0, -10.0), (1.0, -3.0), (2.5, -6.0), (2.5, -3.0)] {
            let list = [Path::new(0.0, 0.0, 0.0), Path::new(delay, gain_db, 1.1)];
            let mut loss = 0.0;
            while db(impair::linear_mmse_sinr(&list, 10f64.powf((bench.threshold_db + loss) / 10.0), ROLL_OFF))
                < bench.threshold_db
            {
                loss += 0.01;
            }
            let (lost, wrong) = lost_of_240(&mut bench, loss + 1.3, &|x| impair::paths(&x, &list), &same);
            assert!(
                lost <= 9.0 && wrong == 0,
                "{bits} bits, {gain_db} dB after {delay}: {lost} of 240 lost, {wrong} wrong"
            );
        }
    }
}

#[test]
fn bursts_and_steps_of_the_gain_cost_few_blocks_and_pass_none_as_right_that_is_wrong() {
    for bits in BITS {
        let mut bench = Bench::new(bits, 60);
        for db in [30.0, 40.0, 60.0] {
            let (lost, wrong) = lost_of_240(&mut bench, 3.0, &same, &changed(|x| impair::bursts(x, db, 10, 3000, 1)));
            // Bursts come every 3 000 samples and frames every 3 056: one creeps through the header in three frames in a row,
            // and at +60 dB what is left of it beside the samples blanked takes two more.
            let most = if db > 50.0 { 20.5 } else { 12.5 };
            assert!(lost <= most && wrong == 0, "{bits} bits, bursts of {db} dB: {lost} lost, {wrong} wrong");
        }
        for db in [6.0, -6.0, 20.0, 40.0] {
            let (lost, wrong) = lost_of_240(&mut bench, 3.0, &same, &changed(|x| impair::gain_steps(x, db, 6784, 1)));
            let most = if db.abs() < 10.0 { 7.0 } else { 24.0 };
            assert!(lost <= most && wrong == 0, "{bits} bits, steps of {db} dB: {lost} lost, {wrong} wrong");
        }
    }
}

#[test]
fn a_gap_costs_the_frames_that_it_touches_and_one_whether_or_not_it_is_told_of() {
    let bench = Bench::new(BITS[0], 30);
    let mut samples = bench.clean.clone();
    impair::add_noise(&mut samples, 10f64.powf(-0.1 * (bench.threshold_db + 3.0)), 3);
    let begin = 10 * 3056 + 1000;
    for gap in [1, 50, 1000, 3056, 10_000, 40_000] {
        for told in [true, false] {
            let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 1 };
            let later = if told { begin + gap } else { begin } as u64;
            let parts = [(0, &samples[..begin]), (later, &samples[begin + gap..])];
            let frames = link.receive(&bench.transmitter, &parts, 3392);
            let right = frames.iter().filter(|frame| frame.blocks_right == 4).count();
            // The first frame begins at sample 2 678, and one of those before the gap holds a sounding.
            let frame = |sample: usize| (sample - 2678 - 512) / 3056;
            let touched = frame(begin + gap) - frame(begin) + 1;
            assert!(
                right + touched + 1 >= 30,
                "{gap} samples missing, told {told}: {right} of 30 frames, {touched} touched"
            );
        }
    }
}

/// Over two paths of about the same strength a linear receiver loses most blocks where one with feedback from the decoder loses
/// few, whether or not it knows the sensing stream, and none of those that it saves is wrong.
#[test]
fn feedback_saves_blocks_that_a_linear_receiver_loses() {
    let code = plan(BITS[0], BLOCK_SYMBOLS, BLOCK_CRC).unwrap();
    let list = [Path::new(0.0, 0.0, 0.0), Path::new(1.0, -3.0, 1.1)];
    // b of a fifth of a: 14 dB below the semantic stream.
    let mut transmitter = Transmitter::with_code(beams(1.0, 0.2, 0.0), code.clone(), 3);
    let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 3 };
    let clean = impair::paths(&link.samples(&mut transmitter, 61..141), &list);
    let known = SensingStream::Cancelled(transmitter.sensing_sequence());
    assert_eq!(transmitter.beams.len(), ANTENNAS);
    let cases =
        [("noise", SensingStream::AsNoise, 6.4), ("known", known, 5.7), ("demapped", SensingStream::Demapped, 6.4)];
    for (name, sensing, snr_db) in cases {
        let mut samples = clean.clone();
        impair::add_noise(&mut samples, 10f64.powf(-snr_db / 10.0), 3);
        let mut receiver = link.receiver(3392).with_sensing(sensing);
        let mut scratch = BlockScratch::with_rescue();
        let (mut soft, mut words) = (vec![0; code.coded_bits()], vec![0; BLOCKS * code.information_bits()]);
        let (mut linear, mut fed, mut wrong, mut blocks) = (0, 0, 0, 0);
        for (index, part) in samples.chunks(3392).enumerate() {
            receiver.push((index * 3392) as u64, part);
            while let Some(status) = receiver.next_frame(false) {
                blocks += BLOCKS;
                for (block, word) in words.chunks_exact_mut(code.information_bits()).enumerate() {
                    receiver.demap(&status, block, code.constellation(), &mut soft);
                    let mut outcome = [DecodeOutcome::default()];
                    code.decode_words(&soft, word, &mut outcome, &mut scratch);
                    linear += usize::from(outcome[0].decoded);
                }
                let right = receiver.decode(&status, &code, &mut words, &mut scratch);
                for (block, word) in words.chunks_exact(code.information_bits()).enumerate().filter(|(n, _)| right[*n])
                {
                    let sent = transmitter.bits(status.number, block);
                    let is_right = word[..code.payload_bits()] == sent;
                    fed += usize::from(is_right);
                    wrong += usize::from(!is_right);
                }
            }
        }
        println!("{name}: of {blocks} blocks {linear} linearly, {fed} with feedback, {wrong} wrong");
        assert!(blocks > 300 && wrong == 0, "{name}: {blocks} {wrong}");
        // Linearly a third and more are lost, with feedback a tenth at most: 320 blocks scatter by 3 %.
        assert!(linear < 3 * blocks / 4 && fed > 7 * blocks / 8, "{name}: {linear} and {fed} of {blocks}");
    }
}
