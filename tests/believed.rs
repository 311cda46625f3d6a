//! What a scene says of noise, reflection and target is a first belief: within 200 frames the plan is the one that the true scene
//! would have got.

use issc::array::Beams;
use issc::optimize::BoundModel;
use issc::scene::Scene;
use issc::system::{System, SystemSpec};
use nalgebra::DVector;
use num_complex::Complex64;
use serde_json::Value;

/// SINR in dB of the last plan of a run with these commands at its start, with the trace of its bound for a target of the true
/// scene; and the causes of its plans.
fn last_plan(truth: &Scene, keys: &[(&str, f64)], commands: &[&str], impairment_db: f64) -> (f64, f64, Vec<String>) {
    let mut spec = SystemSpec::shipped("loopback").unwrap().frames(230).seed(3);
    for (key, value) in keys {
        spec = spec.set(key, *value).unwrap();
    }
    if impairment_db != 0.0 {
        let level = toml::from_str::<toml::Table>(&format!(
            "list = [{{ id = \"level\", at = \"sensing-receiver\", kind = \"level\", db = {impairment_db:.1} }}]"
        ));
        spec = spec.set("scene.impairment", level.unwrap()["list"].clone()).unwrap();
    }
    for command in commands {
        spec = spec.at(0, command.parse().unwrap());
    }
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    let report = serde_json::to_value(&report).unwrap();
    let plan = &report["plan"];
    let beam = |key: &str| {
        let entries = plan[key].as_array().unwrap().iter();
        let entries: Vec<_> =
            entries.map(|pair| Complex64::new(pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap())).collect();
        DVector::from_vec(entries)
    };
    let beams = Beams { w_c: beam("w_c"), w_0: beam("w_0") };
    let model = BoundModel::new(truth, truth.geometry.target, truth.waveform.frame_symbols);
    let causes =
        report["retunes"].as_array().unwrap().iter().map(|retune| retune["cause"].as_str().unwrap().to_owned());
    (plan["sinr_db"].as_f64().unwrap(), model.of_beams(&beams).trace_m2().unwrap(), causes.collect())
}

#[test]
fn a_scene_that_is_wrong_gets_the_plan_of_the_true_one() {
    // The true scene: the target 30 m further, the reflection 6 dB off, noise 10 dB off at the sensing receiver.
    for (place, reflection, noise_db) in
        [([100.0, 50.0], 0.6, 0.0), ([118.0, 26.0], 0.3, 10.0), ([82.0, 74.0], 1.2, -10.0)]
    {
        let mut truth = Scene::paper();
        truth.geometry.target = place;
        truth.channel.reflection_coefficient = reflection;
        truth.channel.sensing_noise_dbm += noise_db;
        // So that the threshold can be met in all of them.
        truth.constraints.hcrb_max_m2 = 2e-3;
        let threshold = ("scene.constraints.hcrb_max_m2", 2e-3);
        let known = [
            threshold,
            ("scene.channel.reflection_coefficient", reflection),
            ("scene.channel.sensing_noise_dbm", truth.channel.sensing_noise_dbm),
        ];
        let at = |key: &str| format!("{key}=[{},{}]", place[0], place[1]);
        let told = last_plan(&truth, &known, &[&at("world.target"), &at("target")], 0.0);
        // A gain in front of the converters raises the noise; the reflection is lowered by as much.
        let gain = 10f64.powf(-noise_db / 20.0);
        let world = format!("world.reflection={}", reflection * gain);
        let found = last_plan(&truth, &[threshold], &[&at("world.target"), &world], noise_db);
        assert!((found.0 - told.0).abs() < 0.3, "{place:?}: SINR {found:?}, {told:?} where it is told");
        assert!((found.1 / told.1 - 1.0).abs() < 0.1, "{place:?}: bound {found:?}, {told:?} where it is told");
        let is_wrong = place != [100.0, 50.0];
        assert_eq!(found.2.iter().any(|cause| cause == "echo"), is_wrong, "{:?}", found.2);
    }
}

#[test]
fn reports_show_what_is_believed_beside_what_is_measured() {
    let spec = SystemSpec::shipped("loopback").unwrap().frames(60).at(0, "world.reflection=0.3".parse().unwrap());
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    let report: Value = serde_json::to_value(&report).unwrap();
    let beside = |value: &Value| [value["believed"].as_f64().unwrap(), value["measured"].as_f64().unwrap()];
    let [believed, measured] = beside(&report["reflection_coefficient"]);
    assert!(believed == 0.6 && (measured - 0.3).abs() < 1e-3, "{believed} {measured}");
    let sensing =
        report["receivers"].as_array().unwrap().iter().find(|receiver| receiver["kind"] == "sensing").unwrap();
    let [believed, measured] = beside(&sensing["noise_dbm"]);
    assert!(believed == -50.0 && (measured + 50.0).abs() < 0.1, "{believed} {measured}");
    let [believed, measured] = beside(&sensing["delay_offset_s"]);
    // The mean of 60 errors of 100 ns.
    assert!(believed == 0.0 && measured.abs() < 5e-8, "{measured}");
}
