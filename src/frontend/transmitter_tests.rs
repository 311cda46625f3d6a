//! What a transmitter sends, sample by sample, through an ideal air.

use super::*;
use std::sync::atomic::AtomicU64;

use crate::stream::Head;

const RATE_HZ: f64 = 1e6;

/// One channel through an ideal air, and what is heard of `work`.
fn heard(label: &str, work: impl FnOnce(&mut Transmitter) + Send) -> (Vec<Complex32>, Arc<Counters>) {
    let text = include_str!("../../hardware/profiles/virtual.toml");
    let text = text.replace("[0, 1, 2, 3, 4]", "[0]").replace("[0, 1, 2, 3]", "[0]");
    let profile = Profile::from_toml(&text.replace("[tx]", "[tx]\nformat = \"CF32\""), "test").unwrap();
    let args = format!("driver=virtual,tx=1,rx=1,air=id,label={label}");
    let mut device = SoapyDevice::open(&args).unwrap();
    device.set_rate(Side::Tx, &[0], RATE_HZ).unwrap();
    let counters = Arc::new(Counters::default());
    let permission =
        Permission { band: "test".into(), radio: "virtual".into(), max_dbm: 5.0, max_seconds: None, log: None };
    let clock = Arc::new(DeviceClock::new(&device, RATE_HZ).unwrap());
    let contract = profile.contract(&args);
    let mut transmitter =
        Transmitter::open(&device, &clock, &profile, contract, RATE_HZ, &permission, &counters).unwrap();
    let format = super::super::profile::Format::Cf32;
    let mut receiver = device.receive_stream(&[0], format, 1.0, "").unwrap();
    transmitter.start().unwrap();
    receiver.activate(Some(1000)).unwrap();
    let mut samples = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            work(&mut transmitter);
            // Without a transmitter time flows in lockstep.
            transmitter.stream.deactivate();
        });
        while samples.len() < 6000 {
            let mut row = vec![Complex32::default(); super::super::device::RECEIVE_CHUNK];
            let (count, _) = receiver.read(std::iter::once(&mut row[..]), Duration::from_secs(5)).unwrap();
            samples.extend_from_slice(&row[..count]);
        }
    });
    (samples, counters)
}

fn constant(amplitude: f32, count: usize) -> Frame<Complex32> {
    let mut frame = Frame::new(1, count);
    frame.row_mut(0).fill(amplitude.into());
    frame.head = Head { valid: count, ..Head::default() };
    frame
}

#[test]
fn a_burst_rises_and_falls_along_a_raised_cosine_and_ends_in_zeros() {
    // 0 dBm where 10 dBm are full scale.
    let (samples, counters) = heard("ramp", |transmitter| {
        transmitter.send(2000, &constant(0.001f32.sqrt(), 1000));
        transmitter.park();
    });
    let level = 0.1f32.sqrt();
    let (burst, ramp) = (&samples[1000..], 64);
    assert!(samples[..1000].iter().all(|sample| sample.norm() == 0.0));
    assert!((1..ramp).all(|n| burst[n].norm() > burst[n - 1].norm()) && burst[0].norm() < 1e-3 * level);
    assert!((burst[ramp / 2].norm() / level - 0.5).abs() < 0.02);
    assert!(burst[ramp..1000].iter().all(|sample| (sample.norm() - level).abs() < 1e-6));
    assert!((1001..1064).all(|n| burst[n].norm() < burst[n - 1].norm()) && burst[1063].norm() < 1e-3 * level);
    assert!(burst[1064..].iter().all(|sample| sample.norm() == 0.0));
    assert_eq!((counters.bursts.load(Ordering::Relaxed), counters.failure()), (1, None));
}

#[test]
fn neither_the_permitted_power_nor_the_peak_is_exceeded() {
    // 8 dBm asked for, 5 dBm allowed.
    let (samples, counters) = heard("cap", |transmitter| {
        transmitter.send(2000, &constant(0.006_309_573_f32.sqrt(), 1000));
        let mut peaks = constant(0.0, 1000);
        peaks.row_mut(0)[500] = 0.2.into();
        transmitter.send(3000, &peaks);
        transmitter.park();
    });
    let power = crate::scene::decibel(mean_power(&samples[1100..1900]));
    assert!((power - (5.0 - 10.0)).abs() < 0.01, "{power} dB of full scale");
    assert!((samples[2500].norm() - PEAK).abs() < 1e-6);
    assert_eq!(counters.frames_capped.load(Ordering::Relaxed), 1);
    assert_eq!(counters.limited.load(Ordering::Relaxed), 1);
}

#[test]
fn f24_the_permitted_power_holds_after_the_correction() {
    let (samples, counters) = heard("corrected", |transmitter| {
        // 4 dBm, which the correction would make 10.
        transmitter.correct(&[2.0.into()]);
        transmitter.send(2000, &constant(0.002_511_886_f32.sqrt(), 1000));
        transmitter.park();
    });
    let power = crate::scene::decibel(mean_power(&samples[1100..1900]));
    assert!((power - (5.0 - 10.0)).abs() < 0.01, "{power} dB of full scale");
    assert_eq!(counters.frames_capped.load(Ordering::Relaxed), 1);
}

#[test]
fn a_frame_that_is_too_near_is_left_out_and_the_next_one_opens_a_burst() {
    let (samples, counters) = heard("near", |transmitter| {
        transmitter.send(1010, &constant(0.01, 500));
        transmitter.send(1510, &constant(0.01, 500));
        transmitter.park();
    });
    assert!(samples[..510].iter().all(|sample| sample.norm() == 0.0) && samples[700].norm() > 0.0);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counters.frames_left_out), count(&counters.bursts)), (1, 1));
}
