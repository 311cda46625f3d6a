//! Proof `link`: blocks are right or lost, headers keep the lock, and what a plan promises is what is flown.
//!
//! `ISSC_LINK_BLOCKS` sets the blocks of each impairment (a million), `ISSC_PICTURES` a folder of pictures, of which the first
//! 24 are sent where predicted and measured distortion are compared (the shipped ones otherwise).

use issc::coding::{BLOCK_CRC, BLOCK_SYMBOLS, plan};
use issc::control::{Optimizer, Planner};
use issc::lab::robustness::wrong;
use issc::modem::frame::HeaderLength;
use issc::scene::Scene;
use issc::semantic::Bank;
use issc::system::{Report, System, SystemSpec};
use rand::RngExt;
use serde_json::json;

use super::Proof;
use super::air::bench::db;
use super::air::{Link, Transmitter, beams, impair};

/// Blocks for each impairment: a million, or what `ISSC_LINK_BLOCKS` says.
fn blocks() -> u64 {
    std::env::var("ISSC_LINK_BLOCKS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

pub fn prove() {
    let mut proof = Proof::begin("link", 1);
    starts(&mut proof);
    headers(&mut proof);
    jammed(&mut proof);
    scenes(&mut proof);
    adaptation(&mut proof);
    distortion(&mut proof);
    wrong_blocks(&mut proof);
    proof.end();
}

fn run(frames: u64, seed: u64, keys: &[(&str, f64)]) -> Report {
    let mut spec = SystemSpec::shipped("loopback").unwrap().frames(frames).seed(seed);
    for (key, value) in keys {
        spec = spec.set(&format!("scene.{key}"), *value).unwrap();
    }
    System::build(spec).unwrap().start().unwrap().join().unwrap()
}

/// Streams begun anywhere: after how many frames the first header is valid.
fn starts(proof: &mut Proof) {
    const STARTS: u64 = 1000;
    let found = proof.part("starts", || {
        let mut random = impair::random(3);
        let mut within = 0;
        for start in 0..STARTS {
            let code = plan(64, BLOCK_SYMBOLS, BLOCK_CRC).unwrap();
            let mut transmitter = Transmitter::with_code(beams(1.0, 0.0, 0.0), code, start);
            transmitter.header_length = HeaderLength::Long;
            let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 4e3, noise_variance: 0.0, seed: start };
            let first = random.random_range(0..5000);
            let mut samples = link.samples(&mut transmitter, first..first + 12);
            samples.drain(..random.random_range(0..3424));
            impair::add_noise(&mut samples, 10f64.powf(0.5), start);
            let mut receiver = link.receiver(428);
            // Frames of 1 712 symbols, whole ones: the one that was cut into is none.
            let heard = samples.chunks(428).enumerate().find_map(|(index, part)| {
                receiver.push(index as u64 * 428, part);
                receiver.next_frame(false).map(|_| (index + 1) as f64 * 428.0 / 3424.0)
            });
            // The frame that was cut, eight whole ones, and what the filters and the equaliser look ahead.
            within += u32::from(heard.is_some_and(|frames| frames <= 9.1));
        }
        json!(within)
    });
    let share = found.as_f64().unwrap() / STARTS as f64;
    proof.claim(
        "from anywhere on at −5 dB the first valid header comes within 8 frames in 99 %",
        format!("{:.1} % of {STARTS}", 100.0 * share),
        share >= 0.99,
    );
}

fn headers(proof: &mut Proof) {
    for (power_dbm, frames, most) in [(-12.5, 2400, 0), (-14.2, 100_000, 100)] {
        let found = proof.part(&format!("headers at {power_dbm} dBm"), || {
            let keys = [
                ("constraints.power_dbm", power_dbm),
                ("constraints.hcrb_max_m2", 1.0),
                ("constraints.bandwidth_ratio_max", 0.5),
            ];
            let report = run(frames, 1, &keys);
            let header = report.figures.receivers[0].header.as_ref();
            json!({
                "lost": header.map_or(u64::MAX, |header| header.lost),
                "airtime": header.map(|header| header.airtime),
                "sinr_db": report.figures.sinr_db.measured,
                "block_error_rate": report.figures.block_error_rate,
            })
        });
        let lost = found["lost"].as_u64().unwrap();
        let text = format!("{lost} at {:.2} dB", found["sinr_db"].as_f64().unwrap());
        proof.claim(&format!("of {frames} headers at {power_dbm} dBm at most {most} lost"), text, lost <= most);
        let airtime = found["airtime"].as_f64().unwrap();
        proof.claim(
            &format!("headers at {power_dbm} dBm take at most 16 % of the airtime"),
            format!("{:.1} %", 100.0 * airtime),
            airtime <= 0.16,
        );
        if power_dbm > -13.0 {
            let lost = found["block_error_rate"].as_f64().unwrap();
            proof.claim(
                &format!("blocks at {power_dbm} dBm are lost at most twice as often as planned"),
                format!("{lost:.2e} of 1e-3"),
                lost <= 2e-3,
            );
        }
    }
    let airtime = proof.part("airtime at 9 dB", || {
        let report = run(400, 1, &[]);
        json!(report.figures.receivers[0].header.as_ref().map(|header| header.airtime))
    });
    let airtime = airtime.as_f64().unwrap();
    proof.claim(
        "headers take at most 6 % of the airtime from +5 dB on",
        format!("{:.2} %", 100.0 * airtime),
        airtime <= 0.06,
    );
}

/// A jammer in the place of headers, and noise alone.
fn jammed(proof: &mut Proof) {
    const FRAMES: u64 = 1000;
    const ROUNDS: u64 = 1000;
    let found = proof.part("jammed headers", || {
        let code = plan(256, BLOCK_SYMBOLS, BLOCK_CRC).unwrap();
        let mut transmitter = Transmitter::with_code(beams(1.0, 0.0, 0.0), code, 1);
        let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 1 };
        let clean = link.samples(&mut transmitter, 1..65);
        let length = 3056;
        let (mut wrong, mut before, mut after) = (0u64, 0u64, 0u64);
        for round in 0..FRAMES * ROUNDS / 56 {
            // Frames 1 to 63 have no sounding: four are read, 56 are jammed, three follow.
            let mut samples = clean[..length * 63].to_vec();
            impair::add_noise(&mut samples, 10f64.powf(-1.2), round);
            let mut random = impair::random(round ^ 0x1a2b);
            for frame in 4..60 {
                let header = length * frame + 2 * (256 + 8);
                for sample in &mut samples[header..header + 2 * 88] {
                    let value = impair::gaussian(&mut random, 4.0);
                    *sample = num_complex::Complex32::new(value.re as f32, value.im as f32);
                }
            }
            let mut receiver = link.receiver(length);
            for (index, part) in samples.chunks(length).enumerate() {
                receiver.push((index * length) as u64, part);
                while let Some(status) = receiver.next_frame(false) {
                    let place = status.start_sample / length as u64;
                    wrong += u64::from(place + 1 != status.number);
                    before += u64::from(status.number <= 4);
                    after += u64::from(status.number > 60);
                }
            }
        }
        json!({ "wrong": wrong, "before": before, "after": after })
    });
    let rounds = FRAMES * ROUNDS / 56;
    let number = |key: &str| found[key].as_u64().unwrap();
    proof.claim(
        "a million jammed headers: none is read as another frame's, and the frames after them arrive",
        format!("{} wrong, {} of {} after", number("wrong"), number("after"), 2 * rounds),
        number("wrong") == 0 && number("after") >= 2 * rounds * 999 / 1000,
    );
    let found = proof.part("noise alone", || {
        let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 1 };
        let mut receiver = link.receiver(10_000);
        let (mut frames, mut part) = (0, vec![num_complex::Complex32::ZERO; 10_000]);
        for index in 0..10_000 {
            part.fill(num_complex::Complex32::ZERO);
            impair::add_noise(&mut part, 1.0, index);
            receiver.push(index * 10_000, &part);
            while receiver.next_frame(false).is_some() {
                frames += 1;
            }
        }
        json!(frames)
    });
    proof.claim("1e8 samples of noise alone: no frame", format!("{found}"), found == 0);
}

/// Scenes of any power and place that a plan calls feasible.
fn scenes(proof: &mut Proof) {
    const SCENES: u64 = 60;
    let (mut lost, mut sent, mut worst, mut feasible) = (0.0, 0.0, (0.0, String::new()), 0);
    for scene in 0..SCENES {
        let found = proof.part(&format!("scene {scene}"), || {
            let mut random = impair::random(100 + scene);
            let power_dbm = random.random_range(-13.0..14.0);
            let keys = [
                ("constraints.power_dbm", power_dbm),
                ("constraints.hcrb_max_m2", 10f64.powf(-1.0 - 0.1 * power_dbm)),
                ("constraints.bandwidth_ratio_max", [0.0625, 0.125, 0.5][random.random_range(0..3)]),
                ("channel.communication_noise_dbm", random.random_range(-52.0..-48.0)),
            ];
            let report = run(1000, scene, &keys);
            let blocks = report.figures.receivers[0].frames_decoded.unwrap_or(0) as f64 * 4.0;
            json!({
                "feasible": report.retunes.iter().all(|retune| retune.feasible),
                "sinr_db": report.figures.sinr_db.measured,
                "block_error_rate": report.figures.block_error_rate,
                "headers": report.figures.receivers[0].header.as_ref().map(|header| header.lost),
                "blocks": blocks,
            })
        });
        let number = |key: &str| found[key].as_f64().unwrap_or(0.0);
        if found["feasible"] != true {
            continue;
        }
        feasible += 1;
        let here = number("block_error_rate") * number("blocks") + 4.0 * number("headers");
        (lost, sent) = (lost + here, sent + number("blocks"));
        if here > worst.0 {
            worst = (here, format!("{here:.0} of {:.0} at {:.1} dB", number("blocks"), number("sinr_db")));
        }
    }
    proof.claim(
        "scenes that a plan calls feasible, −5 to 22 dB: at most 1.5e-3 of their blocks are lost, headers among them",
        format!("{lost:.0} of {sent:.0} in {feasible} scenes ({:.1e}); worst {}", lost / sent, worst.1),
        lost <= 1.5e-3 * sent && feasible >= 40,
    );
}

/// Noise that is 6 dB worse than the planner believes at first, or 6 dB better.
fn adaptation(proof: &mut Proof) {
    let scene = Scene::paper();
    for off_db in [6.0, -6.0] {
        let found = proof.part(&format!("noise {off_db} dB off"), || {
            let lost = |frames: u64| {
                let mut believed = scene.clone();
                believed.channel.communication_noise_dbm -= off_db;
                let make =
                    move |_| -> Box<dyn Optimizer> { Box::new(Planner::new(&believed, &Bank::shipped(), 256 * 256)) };
                let spec = SystemSpec::shipped("loopback").unwrap().frames(frames).seed(1).optimizer(make);
                let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
                let blocks = 4.0 * report.figures.receivers[0].frames_decoded.unwrap_or(0) as f64;
                (report.figures.block_error_rate.unwrap_or(1.0) * blocks, blocks, report)
            };
            let (first, all) = (lost(300), lost(3300));
            let noise = serde_json::to_value(all.2.figures.receivers[0].noise_dbm).unwrap();
            json!({ "lost": all.0 - first.0, "blocks": all.1 - first.1, "first": first.0, "noise_dbm": noise,
                    "used": all.2.plan.sinr_db })
        });
        let number = |key: &str| found[key].as_f64().unwrap();
        proof.claim(
            &format!(
                "noise {off_db:+} dB off what is believed: after 300 frames at most 1.5e-3 of the blocks are lost"
            ),
            format!(
                "{:.0} of {:.0}, and {:.0} in the first 300 frames",
                number("lost"),
                number("blocks"),
                number("first")
            ),
            number("lost") <= 1.5e-3 * number("blocks"),
        );
        let measured = found["noise_dbm"]["measured"].as_f64().unwrap();
        let truth = scene.channel.communication_noise_dbm;
        proof.claim(
            &format!("noise {off_db:+} dB off what is believed: the measured noise is true to 0.3 dB"),
            format!("{measured:.2} dBm of {truth} dBm"),
            (measured - truth).abs() <= 0.3,
        );
    }
}

/// Predicted and measured distortion where blocks are lost, and channel uses.
fn distortion(proof: &mut Proof) {
    let folder = std::env::var("ISSC_PICTURES").ok();
    for tolerated in [1e-3, 1e-2, 0.1] {
        let found = proof.part(&format!("distortion at {tolerated}"), || {
            let mut spec = SystemSpec::shipped("loopback").unwrap().frames(12 * 24 * 8).seed(1);
            spec = spec.set("scene.constraints.block_error_rate_max", tolerated).unwrap();
            if let Some(folder) = &folder {
                let mut files: Vec<_> =
                    std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|kind| kind != "md"));
                files.sort();
                for file in files.into_iter().take(24) {
                    spec = spec.picture(file);
                }
            }
            let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
            let errors: Vec<f64> = report.images.iter().filter_map(|image| image.mse).collect();
            json!({
                "measured": errors.iter().sum::<f64>() / errors.len() as f64,
                "pictures": errors.len(),
                "predicted": report.plan.predicted_mse,
                "bandwidth_ratio": report.bandwidth_ratio,
                "block_error_rate": report.figures.block_error_rate,
            })
        });
        let number = |key: &str| found[key].as_f64().unwrap();
        let off = db(number("measured") / number("predicted"));
        proof.claim(
            &format!("at most {tolerated} of the blocks lost: measured over predicted distortion within 0.5 dB"),
            format!(
                "{off:+.2} dB over {} pictures, {:.1e} of the blocks lost",
                found["pictures"],
                number("block_error_rate")
            ),
            off.abs() <= 0.5,
        );
        let used = number("bandwidth_ratio") / 0.0625;
        proof.claim(
            &format!("at most {tolerated} of the blocks lost: 97 to 100 % of the channel uses allowed"),
            format!("{:.1} %", 100.0 * used),
            (0.97..=1.0).contains(&used),
        );
    }
}

fn wrong_blocks(proof: &mut Proof) {
    let (mut worst, mut all, mut sent) = ((0, String::new()), 0, 0);
    for (index, name) in wrong::tried().iter().enumerate() {
        let found = proof.part(&format!("{name}, {} blocks", blocks()), || {
            let found = wrong::count(index, blocks(), 1).unwrap();
            json!({ "snr_db": found.snr_db, "blocks": found.blocks, "lost": found.lost, "wrong": found.wrong })
        });
        let wrong = found["wrong"].as_u64().unwrap();
        (all, sent) = (all + wrong, sent + found["blocks"].as_u64().unwrap());
        if wrong >= worst.0 {
            worst = (wrong, name.clone());
        }
    }
    let rows = wrong::tried().len();
    proof.claim(
        "where half of the blocks are lost, at most 2 wrong ones in any row and 3 in all",
        format!("{sent} blocks in {rows} rows: {all} wrong, at most {} ({})", worst.0, worst.1),
        worst.0 <= 2 && all <= 3,
    );
}
