//! Blocks one after another, without threads: from bits to the antennas, through the simulated air, and back.

use num_complex::Complex32;

use super::testing::{alone, block, coded_frames, events, refusal};
use super::{Collected, Context, FIRST_SAMPLE, Registry, Role};
use crate::array::distance_m;
use crate::channel::RECEIVE_LAG;
use crate::modem::frame::BLOCKS;
use crate::scene::{Scene, dbm_to_w};
use crate::stream::{CodedFrame, Event, Frame, Harness, Shape};

/// Antenna samples of coded frames, the tail of the last among them.
fn antennas(context: &mut Context, frames: &[Frame<CodedFrame>]) -> Vec<Frame<Complex32>> {
    let mut builder = block::<CodedFrame, Complex32>("frame-builder", "", context, Shape::CODED);
    let mut shaper = block::<Complex32, Complex32>("pulse-shaper", "", context, builder.outlet());
    let mut superposer = block::<Complex32, Complex32>("superposer", "", context, shaper.outlet());
    let mut sent = Vec::new();
    for frame in frames {
        for symbols in builder.feed(frame) {
            shaper.feed(&symbols).iter().for_each(|shaped| sent.extend(superposer.feed(shaped)));
        }
    }
    sent.extend(superposer.flush());
    sent
}

/// What the receivers hear of it.
fn air(context: &mut Context, sent: &[Frame<Complex32>]) -> Vec<Frame<Complex32>> {
    let inlet = Shape::complex(sent[0].channels(), sent[0].capacity());
    let mut air = block::<Complex32, Complex32>("simulated-air", "", context, inlet);
    let mut heard: Vec<_> = sent.iter().flat_map(|frame| air.feed(frame)).collect();
    heard.extend(air.flush());
    heard
}

/// Rows from `first` on, as a chain takes them.
fn rows(frames: &[Frame<Complex32>], first: usize, count: usize) -> Vec<Frame<Complex32>> {
    let copy = |frame: &Frame<Complex32>| {
        let mut rows = Frame::new(count, frame.capacity());
        rows.copy_rows(frame, first);
        rows
    };
    frames.iter().map(copy).collect()
}

fn receiver(context: &mut Context, heard: &[Frame<Complex32>]) -> Harness<Complex32, CodedFrame> {
    block("frame-receiver", "", context, Shape::complex(1, heard[0].capacity()))
}

#[test]
fn bits_that_go_through_the_air_come_back_and_pass() {
    let (mut context, said) = alone();
    let frames = coded_frames(&context, 0..12);
    let sent = antennas(&mut context, &frames);
    let heard = rows(&air(&mut context, &sent), 0, 1);
    let mut receiver = receiver(&mut context, &heard);
    let mut received: Vec<_> = heard.iter().flat_map(|chunk| receiver.feed(chunk)).collect();
    received.extend(receiver.flush());
    assert_eq!(received.len(), frames.len());
    for (came, frame) in received.iter().zip(&frames) {
        assert_eq!((came.head.sequence, came.coded().header), (frame.head.sequence, frame.coded().header));
        assert_eq!(came.coded().passed, [true; BLOCKS]);
        for block in 0..BLOCKS {
            assert_eq!(came.coded().payload(block), frame.coded().payload(block));
        }
    }
    let told = events(&said, |event| match event {
        Event::FrameReceived { frame, decoded, .. } => Some((frame, decoded)),
        _ => None,
    });
    assert_eq!(told, (0..12).map(|frame| (frame, [true; BLOCKS])).collect::<Vec<_>>());
    let sounded = said.feedback.try_iter().filter(|told| matches!(told.event, Event::Sounded { frame: 0, .. })).count();
    assert_eq!(sounded, 1, "frame 0 has a sounding");
}

#[test]
fn a_receiver_that_misses_samples_finds_the_frames_after_them() {
    let (mut context, _) = alone();
    let frames = coded_frames(&context, 0..20);
    let sent = antennas(&mut context, &frames);
    let mut heard = rows(&air(&mut context, &sent), 0, 1);
    heard.drain(6..8);
    let mut receiver = receiver(&mut context, &heard);
    let mut received: Vec<_> = heard.iter().flat_map(|chunk| receiver.feed(chunk)).collect();
    received.extend(receiver.flush());
    let numbers: Vec<_> = received.iter().map(|frame| frame.head.sequence).collect();
    // Whatever touches the gap is gone: two whole frames and one on either side.
    for number in (0..5).chain(9..20) {
        assert!(numbers.contains(&number), "frame {number} is not in {numbers:?}");
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]) && !numbers.contains(&6), "{numbers:?}");
}

#[test]
fn a_receiver_finds_no_frame_in_noise_and_takes_one_antenna_of_a_receiver_that_there_is() {
    let (mut context, _) = alone();
    let antennas = context.scene.array.transmit_antennas;
    let silence: Vec<_> = (0..12)
        .map(|sequence| {
            let mut frame = Frame::new(antennas, 3392);
            frame.head.sample_time = FIRST_SAMPLE + sequence * 3392;
            (frame.head.sequence, frame.head.valid) = (sequence, 3392);
            frame
        })
        .collect();
    let heard = rows(&air(&mut context, &silence), 0, 1);
    let mut receiver = receiver(&mut context, &heard);
    let received: usize = heard.iter().map(|chunk| receiver.feed(chunk).len()).sum();
    assert_eq!(received + receiver.flush().len(), 0);
    assert!(refusal("frame-receiver", "", &mut context, Shape::complex(2, 64)).contains("takes one antenna"));
    let unknown = refusal("frame-receiver", "receiver = \"attic\"", &mut context, Shape::complex(1, 64));
    assert!(unknown.contains("attic") && unknown.contains("accepted with this scene"), "{unknown}");
    let shout = refusal("frame-receiver", "sensing_stream = \"shout\"", &mut context, Shape::complex(1, 64));
    assert!(shout.contains("shout") && shout.contains("cancel"), "{shout}");
}

#[test]
fn silence_becomes_noise_of_the_receivers_power_on_their_clock() {
    let (mut context, said) = alone();
    let scene = context.scene.clone();
    let (sps, count) = (scene.waveform.samples_per_symbol as f64, 3392);
    let mut air = block::<Complex32, Complex32>("simulated-air", "", &mut context, Shape::complex(4, count));
    let silence = air.frame(0, 5000, &vec![Complex32::default(); 4 * count]);
    let heard = air.feed(&silence).remove(0);
    assert_eq!((heard.channels(), heard.head.valid), (1 + scene.array.receive_antennas, count));
    assert_eq!(heard.head.sample_time, 5000 - RECEIVE_LAG as u64);
    let channel = &scene.channel;
    for row in 0..heard.channels() {
        let dbm = if row == 0 { channel.communication_noise_dbm } else { channel.sensing_noise_dbm };
        let power = heard.row(row).iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>() / count as f64;
        // The mean of n exponential powers scatters by 1/√n; five of them.
        let ratio = power / (sps * dbm_to_w(dbm));
        assert!((ratio - 1.0).abs() < 5.0 / (count as f64).sqrt(), "row {row}: {ratio}");
    }
    let truth = events(&said, |event| matches!(event, Event::World { frame: 0, .. }).then_some(()));
    assert_eq!(truth.len(), 1);
    let samples: usize = air.flush().iter().map(|frame| frame.head.valid).sum();
    assert_eq!(samples, crate::channel::World::flush_samples(&scene));
}

/// A locator's reports of frames sent through the air: frame numbers, and errors of the positions in metres.
fn located(keys: &str, gap: Option<usize>) -> (Vec<(u64, Option<f64>)>, Collected) {
    let (mut context, said) = alone();
    let frames = coded_frames(&context, 1..9);
    let mut builder = block::<CodedFrame, Complex32>("frame-builder", "", &mut context, Shape::CODED);
    let tap = "tap = \"reference\"";
    let mut shaper = block::<Complex32, Complex32>("pulse-shaper", tap, &mut context, builder.outlet());
    let mut superposer = block::<Complex32, Complex32>("superposer", "", &mut context, shaper.outlet());
    let mut air = block::<Complex32, Complex32>("simulated-air", "", &mut context, superposer.outlet());
    let (count, capacity) = (context.scene.array.receive_antennas, air.outlet().samples);
    let inlet = Shape::complex(count, capacity);
    let mut locator =
        block::<Complex32, ()>("echo-locator", &format!("reference = \"reference\"\n{keys}"), &mut context, inlet);
    let mut heard = Vec::new();
    for frame in &frames {
        let shaped = shaper.feed(&builder.feed(frame)[0]);
        superposer.feed(&shaped[0]).iter().for_each(|sent| heard.extend(air.feed(sent)));
    }
    superposer.flush().iter().for_each(|sent| heard.extend(air.feed(sent)));
    heard.extend(air.flush());
    for (index, chunk) in rows(&heard, 1, count).iter().enumerate() {
        if gap != Some(index) {
            locator.feed(chunk);
        }
    }
    locator.flush();
    let target = context.scene.geometry.target;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for told in said.events.try_iter() {
        match told.event {
            Event::Sensed { frame, estimate, .. } => {
                found.push((frame, estimate.fix.map(|fix| distance_m(fix.position_m, target))));
            }
            other => others.push(other),
        }
    }
    others.into_iter().for_each(|event| context.sinks.telemetry.report(event));
    (found, said)
}

#[test]
fn a_locator_finds_the_target_in_every_frame() {
    let (found, said) = located("", None);
    assert_eq!(found.iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), (1..9).collect::<Vec<_>>());
    let errors: Vec<_> = found.iter().filter_map(|(_, error)| *error).collect();
    let root_mean_square = (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt();
    // The threshold of the paper's scene on the bound is met by its optimal beams; these are not: ten times its root.
    let accepted = 10.0 * Scene::paper().constraints.hcrb_max_m2.sqrt();
    assert!(errors.len() == 8 && root_mean_square < accepted, "{errors:?}, accepted {accepted}");
    let tracked = events(&said, |event| matches!(event, Event::Tracked { .. }).then_some(()));
    assert_eq!(tracked.len(), 8);
}

#[test]
fn a_frame_whose_echo_was_missed_is_counted_as_lost_and_the_others_are_found() {
    let (found, said) = located("", Some(3));
    let lost = events(&said, |event| matches!(event, Event::Lost { .. }).then_some(()));
    assert!(!lost.is_empty() && found.len() + lost.len() == 8, "{} found, {} lost", found.len(), lost.len());
}

#[test]
fn a_locator_without_its_reference_or_with_another_number_of_antennas_is_refused() {
    let (mut context, _) = alone();
    let inlet = Shape::complex(context.scene.array.receive_antennas, 64);
    assert!(refusal("echo-locator", "reference = \"none\"", &mut context, inlet).contains("no tap of a chain above"));
    let longest = Shape::complex(3, context.longest_frame());
    let _shaper = block::<Complex32, Complex32>("pulse-shaper", "tap = \"reference\"", &mut context, longest);
    let wide = Shape::complex(9, 64);
    let refused = refusal("echo-locator", "reference = \"reference\"", &mut context, wide);
    assert!(refused.contains("array.receive_antennas"), "{refused}");
    // The same tap serves several locators.
    for _ in 0..2 {
        let _locator = block::<Complex32, ()>("echo-locator", "reference = \"reference\"", &mut context, inlet);
    }
}

#[test]
fn every_shipped_kind_says_what_it_is() {
    for kind in Registry::shipped().kinds() {
        assert!(!kind.summary.is_empty() && kind.role != Role::Other, "{}", kind.name);
        for key in kind.keys {
            assert!(![key.name, key.value, key.range, key.doc].contains(&""), "{}: {}", kind.name, key.name);
        }
    }
}

#[test]
fn kinds_of_radios_are_refused_where_there_is_no_radio() {
    let (mut context, _) = alone();
    for kind in ["soapy-sink", "soapy-source"] {
        let refused = refusal(kind, "radio = \"virtual\"", &mut context, Shape::NOTHING);
        let reason = if cfg!(feature = "soapy") { "no radio outside a system" } else { "--features soapy" };
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn phase_noise_in_a_frame_means_a_frame_of_the_air() {
    let symbols = crate::modem::frame::Layout::plain(crate::modem::frame::HeaderLength::Short).symbols();
    assert_eq!(crate::channel::FRAME_SYMBOLS, symbols);
}
