//! What the kinds of radios promise before a device is opened.

use std::collections::HashSet;
use std::sync::Arc;

use num_complex::Complex32;

use super::{Profile, Radio, RadioOptions, SharedRadios, Surroundings, sink, source, with_radios};
use crate::blocks::{Context, Registry, accepted_keys};
use crate::exchange::FarTransmitter;
use crate::scene::Scene;
use crate::stream::{Harness, Sample, Shape, Telemetry};

fn registry() -> Registry {
    with_radios(Registry::shipped(), &SharedRadios::default())
}

/// A block of a radio that is not opened, by itself.
fn block<In: Sample, Out: Sample>(kind: &str, keys: &str, inlet: Shape) -> Result<Harness<In, Out>, String> {
    let (mut context, _) = Context::alone(Scene::paper());
    let stage = registry().make(kind, keys, &mut context).map_err(|error| error.to_string())?;
    Harness::new(stage, inlet).map_err(|error| error.to_string())
}

#[test]
fn every_key_that_a_block_of_a_radio_accepts_is_documented_and_no_other() {
    let registry = registry();
    let known = [("soapy-sink", accepted_keys::<sink::Keys>()), ("soapy-source", accepted_keys::<source::Keys>())];
    for (name, accepted) in known {
        let documented: HashSet<_> = registry.get(name).unwrap().keys.iter().map(|key| key.name).collect();
        assert_eq!(documented, accepted.iter().copied().collect(), "{name}");
    }
}

#[test]
fn a_radio_that_is_not_opened_still_says_its_shapes() {
    let source = block::<(), Complex32>("soapy-source", "radio = \"virtual\"\nchannels = [1, 2]", Shape::NOTHING);
    assert_eq!(source.unwrap().outlet().channels, 2);
    let virtual_radio = "radio = \"virtual\"";
    let mut sink = block::<Complex32, ()>("soapy-sink", virtual_radio, Shape::complex(4, 64)).unwrap();
    assert!(sink.feed(&sink.frame(0, 0, &[Complex32::ONE; 256])).is_empty());
    let refused = block::<Complex32, ()>("soapy-sink", virtual_radio, Shape::complex(3, 64)).err().unwrap();
    assert!(refused.contains("array.transmit_antennas"), "{refused}");
    let unknown = block::<(), Complex32>("soapy-source", "radio = \"attic\"", Shape::NOTHING).err().unwrap();
    assert!(unknown.contains("attic"), "{unknown}");
}

#[test]
fn f02_a_transmitter_whose_second_is_another_is_refused_with_both_values() {
    let text = Profile::text("virtual").unwrap();
    let text = text.replace("air=world,tx_fifo=32768", "air=id,pace=wall,counter_s=9,label=f02");
    let text = text.replace("max_rate_hz", "time_source = \"external\"\ntime_set = \"utc-pps\"\nmax_rate_hz");
    let agreed = |there: Option<i64>| {
        let far = FarTransmitter::default();
        far.begin(0, there);
        let (telemetry, _) = Telemetry::new(1);
        let mut around = Surroundings::new(Arc::new(Scene::paper()), 1, Arc::default(), telemetry);
        around.far = Some(Arc::new(far));
        let profile = Profile::from_toml(&text, "f02").unwrap();
        let radio = Radio::open(profile, &RadioOptions { opens: true, ..RadioOptions::default() }, around).unwrap();
        radio.agreed_seconds().map_err(|error| error.to_string())
    };
    assert_eq!(agreed(Some(0)), Ok(Some(0)));
    let error = agreed(Some(7)).unwrap_err();
    assert!(error.contains("0 s ahead of UTC, the transmitter's is 7 s ahead of UTC"), "{error}");
    assert!(agreed(None).unwrap_err().contains("the transmitter's is not set by a pulse"));
}

#[test]
fn f15_an_image_that_a_profile_knows_of_is_taken_out_whole() {
    let image = Complex32::new(0.1, -0.05);
    let sent: Vec<_> = (0..100).map(|n| Complex32::cis(0.3 * n as f32 * n as f32) * (1.0 + n as f32)).collect();
    let mut row: Vec<_> = sent.iter().map(|x| x + image * x.conj()).collect();
    super::take_out_image(&mut row, image);
    assert!(row.iter().zip(&sent).all(|(found, x)| (found - x).norm() < 1e-5 * x.norm()));
    let text = Profile::text("virtual").unwrap().replace("[rx]", "[rx]\nimage = [[0.1, 0.0]]");
    let error = Profile::from_toml(&text, "p.toml").unwrap_err().to_string();
    assert!(error.contains("rx.image") && error.contains("for each of rx.channels"), "{error}");
}
