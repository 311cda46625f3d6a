//! Proof `air`: what impairments cost the communication receiver, and how close plans from soundings come to the best.

use issc::array::Beams;
use issc::optimize::{Problem, channel_vector};
use issc::scene::Scene;
use issc::system::{System, SystemSpec};
use num_complex::{Complex32, Complex64};
use serde_json::{Value, json};

use super::Proof;
use super::air::ROLL_OFF;
use super::air::bench::{BITS, Bench, Impair, Outcome, changed, db, same};
use super::air::impair::{self, Path};

/// Frames at each SNR: 4 000 blocks, of which forty are lost at the threshold.
const FRAMES: u64 = 1000;
const SEED: u64 = 7;
const NAMES: [&str; 2] = ["16-QAM at 1.73", "256-QAM at 4.76"];

/// One row of the table of losses: what is done before and behind the noise, and the most that it may cost each code in dB.
struct Row {
    name: String,
    air: Box<dyn Fn(Vec<Complex32>) -> Vec<Complex32>>,
    hardware: Box<dyn Fn(Vec<Complex32>) -> Vec<Complex32>>,
    most_db: [Option<f64>; 2],
}

impl Row {
    fn air(name: &str, most_db: [Option<f64>; 2], air: impl Fn(Vec<Complex32>) -> Vec<Complex32> + 'static) -> Self {
        Self { name: name.into(), air: Box::new(air), hardware: Box::new(same), most_db }
    }

    fn hardware(name: &str, most_db: [Option<f64>; 2], change: impl Fn(&mut [Complex32]) + 'static) -> Self {
        Self { name: name.into(), air: Box::new(same), hardware: Box::new(changed(change)), most_db }
    }
}

fn rows() -> Vec<Row> {
    let both = |db: f64| [Some(db); 2];
    let each = |a: f64, b: f64| [Some(a), Some(b)];
    let mut rows = Vec::new();
    for offset in [0.05, 0.3, -0.3] {
        let name = format!("carrier off by {offset} cycles/symbol");
        rows.push(Row::air(&name, both(0.1), changed(move |x| impair::carrier(x, offset, 0.0))));
    }
    rows.push(Row::air("drift of 1e-7 cycles/symbol²", both(0.1), changed(|x| impair::carrier(x, 0.1, 1e-7))));
    for ppm in [40.0, -40.0] {
        rows.push(Row::air(&format!("clock off by {ppm} ppm"), each(0.1, 0.4), move |x| impair::clock(&x, ppm)));
    }
    rows.push(Row::air("phase noise of 6°", [Some(0.3), None], changed(|x| impair::phase_noise(x, 6.0, 3))));
    rows.push(Row::air("phase noise of 3°", [None, Some(0.5)], changed(|x| impair::phase_noise(x, 3.0, 3))));
    rows.push(Row::hardware("image of -20 dB", each(0.1, 0.3), |x| impair::image(x, -20.0, 0.7)));
    rows.push(Row::hardware("DC of -10 dBc", each(0.1, 0.2), |x| impair::tone(x, 0.1f32.sqrt(), 0.0)));
    rows.push(Row::hardware("tone of -10 dB", each(0.5, 1.0), |x| impair::tone(x, 0.1f32.sqrt(), 0.0731)));
    rows.push(Row::hardware("clipping at +6 dB", each(0.2, 0.4), |x| impair::clip(x, 6.0)));
    rows.push(Row::hardware("converter of 6 bits", each(0.1, 0.2), |x| impair::quantise(x, 6, 12.0)));
    rows
}

/// The loss of the known channel's linear receiver of least mean square error, in dB, at an SINR of `threshold_db`.
fn linear_loss_db(list: &[Path], threshold_db: f64) -> f64 {
    let (mut low, mut high) = (-3.0, 20.0);
    while high - low > 1e-3 {
        let middle = 0.5 * (low + high);
        let sinr = impair::linear_mmse_sinr(list, 10f64.powf((threshold_db + middle) / 10.0), ROLL_OFF);
        if db(sinr) < threshold_db { low = middle } else { high = middle }
    }
    high
}

/// What of a capacity's SNR the channel takes, in dB: the loss at which the SNR whose log₂(1 + SNR) is the band's mean of
/// log₂(1 + SNR |H|²) is at `threshold_db`.
fn capacity_loss_db(list: &[Path], threshold_db: f64) -> f64 {
    let (mut low, mut high) = (-5.0, 20.0);
    while high - low > 1e-3 {
        let middle = 0.5 * (low + high);
        let sinr = impair::capacity_snr(list, 10f64.powf((threshold_db + middle) / 10.0), ROLL_OFF);
        if db(sinr) < threshold_db { low = middle } else { high = middle }
    }
    high
}

pub fn prove() {
    let mut proof = Proof::begin("air", SEED);
    for (which, bits) in BITS.into_iter().enumerate() {
        losses(&mut proof, which, bits);
        at_three_db(&mut proof, which, bits);
        draws(&mut proof, which, bits);
        fading(&mut proof, which, bits);
    }
    plans(&mut proof);
    proof.end();
}

/// The SNR above the code table's at which one block in a hundred is lost, and the SINR reported there.
fn loss(proof: &mut Proof, name: &str, bench: &mut Bench, air: Impair, hardware: Impair) -> (f64, f64) {
    let found = proof.part(name, || {
        let (loss_db, _) = bench.loss_db(SEED, air, hardware);
        let sinr_db = if loss_db.is_finite() {
            bench.run(bench.threshold_db + loss_db, SEED, air, hardware).sinr_db
        } else {
            f64::NAN
        };
        json!({ "loss_db": loss_db, "sinr_db": sinr_db })
    });
    let number = |key: &str| found[key].as_f64().unwrap_or(f64::INFINITY);
    (number("loss_db"), number("sinr_db"))
}

fn losses(proof: &mut Proof, which: usize, bits: usize) {
    let mut bench = Bench::new(bits, FRAMES);
    let code = NAMES[which];
    let (base, base_sinr) = loss(proof, &format!("{code}: unimpaired"), &mut bench, &same, &same);
    proof.claim(&format!("{code}, unimpaired: within 0.1 dB of the code table"), format!("{base:+.2} dB"), base <= 0.1);
    for row in rows() {
        let Some(most) = row.most_db[which] else { continue };
        let (loss, sinr) = loss(proof, &format!("{code}: {}", row.name), &mut bench, &row.air, &row.hardware);
        let cost = loss - base;
        proof.claim(
            &format!("{code}, {}: at most {most} dB, the SINR honest within 0.5 dB", row.name),
            format!("{cost:.2} dB, SINR off by {:+.2} dB", sinr - base_sinr),
            // A loss found with so many blocks is good to some hundredths.
            cost <= most + 0.03 && (sinr - base_sinr).abs() <= 0.5,
        );
    }
    for (delay, gain_db) in [1.0, 2.5].into_iter().flat_map(|delay| [-10.0, -6.0, -3.0].map(|gain| (delay, gain))) {
        let list = [Path::new(0.0, 0.0, 0.0), Path::new(delay, gain_db, 1.1)];
        let bound = linear_loss_db(&list, bench.threshold_db);
        let name = format!("{code}: path of {gain_db} dB after {delay} symbols");
        let air = move |x: Vec<Complex32>| impair::paths(&x, &list);
        let (loss, _) = loss(proof, &name, &mut bench, &air, &same);
        let (over, most) = (loss - base - bound, [0.5, 0.8][which]);
        proof.claim(
            &format!("{code}, {gain_db} dB after {delay} symbols: within {most} dB of the linear MMSE receiver"),
            format!(
                "{over:.2} dB above its {bound:.2}; {:+.2} dB from what the capacity gives (goal: 0.5)",
                loss - base - capacity_loss_db(&list, bench.threshold_db)
            ),
            over <= most,
        );
    }
}

fn outcome(outcome: Outcome) -> Value {
    json!({ "lost": outcome.lost, "wrong": outcome.wrong, "headers": outcome.headers })
}

fn at_three_db(proof: &mut Proof, which: usize, bits: usize) {
    let mut bench = Bench::new(bits, FRAMES);
    let code = NAMES[which];
    let above = bench.threshold_db + 3.0;
    let mut claim = |name: &str, most: f64, hardware: Impair| {
        let found = proof.part(&format!("{code}: {name}"), || outcome(bench.run(above, SEED, &same, hardware)));
        let (lost, wrong) = (found["lost"].as_f64().unwrap(), found["wrong"].as_u64().unwrap());
        proof.claim(
            &format!("{code}, 3 dB above the threshold, {name}: at most {:.0} % lost, none wrong", 100.0 * most),
            format!("{:.2} % lost, {wrong} wrong", 100.0 * lost),
            lost <= most && wrong == 0,
        );
    };
    claim("bursts of 10 samples at +30 dB every 3 000", 0.02, &changed(|x| impair::bursts(x, 30.0, 10, 3000, 1)));
    // A step at a random symbol of every frame.
    for step in [6.0, -6.0] {
        claim(&format!("gain steps of {step} dB"), 0.01, &changed(|x| impair::gain_steps(x, step, 2 * 3392, 1)));
    }
}

fn draws(proof: &mut Proof, which: usize, bits: usize) {
    let mut bench = Bench::new(bits, 26);
    let mut longer = Bench::new(bits, 520);
    let code = NAMES[which];
    for (name, table) in [("TDL-A", &impair::TDL_A[..]), ("TDL-C", &impair::TDL_C[..])] {
        for spread in [0.1, 0.5, 1.0, 2.0] {
            let found = proof.part(&format!("{code}: {name} {spread}"), || {
                let (mut usable, mut bad, mut doubtful, mut worst) = (0, 0, 0, 0.0f64);
                for seed in 0..100 {
                    let list = impair::tapped(table, spread, 0.0, 100 + seed);
                    let sinr_db = db(impair::linear_mmse_sinr(&list, 10f64.powf(2.5), ROLL_OFF));
                    if sinr_db < bench.threshold_db + 1.0 {
                        continue;
                    }
                    usable += 1;
                    // A block in a hundred of 104: where a second one is lost, 2 080 tell more.
                    let air = |x: Vec<Complex32>| impair::paths(&x, &list);
                    if bench.run(25.0, seed, &air, &same).lost > 1e-2 {
                        doubtful += 1;
                        let lost = longer.run(25.0, seed, &air, &same).lost;
                        worst = worst.max(lost);
                        bad += usize::from(lost > 1e-2);
                    }
                }
                json!({ "usable": usable, "bad": bad, "doubtful": doubtful, "worst": worst })
            });
            proof.claim(
                &format!("{code}, {name} of {spread} symbols, 25 dB, 100 draws: each usable one loses at most 1 %"),
                format!(
                    "{} of {} usable ones lose more; {} lost more than one of 104, at most {:.2} % of 2 080",
                    found["bad"],
                    found["usable"],
                    found["doubtful"],
                    100.0 * found["worst"].as_f64().unwrap()
                ),
                found["bad"] == 0,
            );
        }
    }
}

/// Taps of the lists as they are in the middle of a frame.
fn at_frame(list: &[Path], frame: u64) -> Vec<Path> {
    let symbols = 1339.0 + 1696.0 * (frame as f64 + 0.5);
    let turned = |path: &Path| {
        let turn = Complex64::cis(std::f64::consts::TAU * path.doppler * symbols);
        Path { gain: path.gain * turn, ..*path }
    };
    list.iter().map(turned).collect()
}

fn fading(proof: &mut Proof, which: usize, bits: usize) {
    const FADED: u64 = 2000;
    let code = NAMES[which];
    for (name, table, spread) in
        [("one path", &[[0.0, 0.0]][..], 0.0), ("TDL-A of 0.5 symbols", &impair::TDL_A[..], 0.5)]
    {
        let found = proof.part(&format!("{code}: fading, {name}"), || {
            let mut bench = Bench::new(bits, FADED);
            let list = impair::tapped(table, spread, 1e-5, 5);
            let outage = (0..FADED).filter(|frame| {
                let sinr = impair::linear_mmse_sinr(&at_frame(&list, *frame), 10f64.powf(2.5), ROLL_OFF);
                db(sinr) < bench.threshold_db
            });
            let outage = outage.count() as f64 / FADED as f64;
            json!({ "lost": bench.run(25.0, SEED, &|x| impair::paths(&x, &list), &same).lost, "outage": outage })
        });
        let number = |key: &str| found[key].as_f64().unwrap();
        proof.claim(
            &format!("{code}, {name} fading at 1e-5 cycles/symbol, 25 dB, {FADED} frames: outage and 2 % lost"),
            format!("{:.1} % lost, outage {:.1} %", 100.0 * number("lost"), 100.0 * number("outage")),
            number("lost") <= number("outage") + 0.02,
        );
    }
}

/// Plans from soundings against the best for the channel as it is.
fn plans(proof: &mut Proof) {
    for power_dbm in [-12.0, -6.0, 0.0, 5.0, 10.0] {
        let found = proof.part(&format!("plans at {power_dbm} dBm"), || {
            let mut scene = Scene::paper();
            scene.constraints.power_dbm = power_dbm;
            // A bound that this power can meet with room.
            scene.constraints.hcrb_max_m2 = 5e-5 * 10f64.powf(-power_dbm / 10.0);
            let channel = channel_vector(&scene);
            let problem = Problem::new(&scene, channel.clone(), scene.targets()[0].position_m);
            let best = problem.solve();
            let noise_w = issc::scene::dbm_to_w(scene.channel.communication_noise_dbm);
            let matched = channel.norm_squared() * problem.power_w() / noise_w;
            let (mut short, mut over) = (Vec::new(), Vec::new());
            for seed in 1..=20 {
                let spec = SystemSpec::shipped("loopback").unwrap().frames(400).seed(seed);
                let spec = spec.set("scene.constraints.power_dbm", power_dbm).unwrap();
                let spec = spec.set("scene.constraints.hcrb_max_m2", scene.constraints.hcrb_max_m2).unwrap();
                let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
                let plan = serde_json::to_value(&report.plan).unwrap();
                let beams = Beams { w_c: vector(&plan["w_c"]), w_0: vector(&plan["w_0"]) };
                short.push(db(problem.sinr(&best.beams) / problem.sinr(&beams)));
                over.push(plan["sinr_db"].as_f64().unwrap() - db(matched));
            }
            json!({ "short_db": median(short), "over_db": median(over) })
        });
        let number = |key: &str| found[key].as_f64().unwrap();
        if power_dbm >= 0.0 {
            proof.claim(
                &format!("{power_dbm} dBm: the SINR of plans from soundings is within 0.1 dB of the best, 20 seeds"),
                format!("{:.3} dB below", number("short_db")),
                number("short_db") <= 0.1,
            );
        }
        proof.claim(
            &format!("{power_dbm} dBm: the SINR predicted is at most 0.05 dB above the matched filter's, 20 seeds"),
            format!("{:+.3} dB", number("over_db")),
            number("over_db") <= 0.05,
        );
    }
}

fn vector(values: &Value) -> nalgebra::DVector<Complex64> {
    let entry = |value: &Value| Complex64::new(value[0].as_f64().unwrap(), value[1].as_f64().unwrap());
    nalgebra::DVector::from_iterator(values.as_array().unwrap().len(), values.as_array().unwrap().iter().map(entry))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    0.5 * (values[(values.len() - 1) / 2] + values[values.len() / 2])
}
