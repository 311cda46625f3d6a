//! What drivers make of trouble, and what the device keeps, through libSoapySDR alone.

use std::time::Duration;

use num_complex::Complex32;
use soapysdr::Direction::{Rx, Tx};
use soapysdr::{Device, ErrorCode, RxStream, TxStream};

const RATE_HZ: f64 = 1e6;
const NS: i64 = 1000;
const END_BURST: i32 = 1 << 1;

fn open(arguments: &str) -> Device {
    virtual_radio::link();
    let device = Device::new(format!("driver=virtual,rate={RATE_HZ},{arguments}").as_str()).expect("the device opens");
    for channel in 0..device.num_channels(Tx).unwrap() {
        device.set_gain(Tx, channel, 0.0).unwrap();
    }
    device
}

fn now(device: &Device) -> i64 {
    device.get_hardware_time(None).unwrap() / NS
}

fn transmitter(device: &Device) -> TxStream<Complex32> {
    let mut stream = device.tx_stream::<Complex32>(&[0, 1]).unwrap();
    stream.activate(None).unwrap();
    stream
}

fn write(stream: &mut TxStream<Complex32>, count: usize, at: Option<i64>, ends: bool) -> Result<usize, ErrorCode> {
    let row = vec![Complex32::new(0.25, 0.0); count];
    stream.write(&[&row, &row], at.map(|at| at * NS), ends, 500_000).map_err(|error| error.code)
}

/// All that a device tells within 100 ms: code or end of burst, and channel mask.
fn told(stream: &mut TxStream<Complex32>) -> Vec<(Option<ErrorCode>, usize)> {
    let mut all = Vec::new();
    loop {
        let (mut mask, mut flags, mut time) = (0, 0, 0);
        match stream.read_status(&mut mask, &mut flags, &mut time, 100_000) {
            Ok(_) if flags & END_BURST != 0 => all.push((None, mask)),
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::Timeout => return all,
            Err(error) => all.push((Some(error.code), mask)),
        }
    }
}

/// Reads `count` samples of the stream's first channel, and the time of the first.
fn read(stream: &mut RxStream<Complex32>, channels: usize, count: usize) -> Result<(Vec<Complex32>, i64), ErrorCode> {
    let mut rows = vec![vec![Complex32::default(); count]; channels];
    let mut parts: Vec<&mut [Complex32]> = rows.iter_mut().map(|row| &mut row[..]).collect();
    let read = stream.read(&mut parts, 500_000).map_err(|error| error.code)?;
    rows[0].truncate(read);
    Ok((rows.swap_remove(0), stream.time_ns()))
}

#[test]
fn each_dialect_makes_of_a_late_packet_and_of_an_underflow_what_its_driver_does() {
    let wall = "pace=wall,tx=2,rx=2,air=id";
    // One event a channel.
    let device = open(&format!("{wall},dialect=rfnoc"));
    let mut stream = transmitter(&device);
    let late = now(&device) - 5000;
    write(&mut stream, 100, Some(late), true).unwrap();
    let events = told(&mut stream);
    let errors: Vec<_> = events.iter().filter(|(code, _)| *code == Some(ErrorCode::TimeError)).collect();
    assert_eq!(errors.len(), 2, "{events:?}");
    assert_eq!(errors[0].1 | errors[1].1, 0b11, "{events:?}");
    // The rest of the burst goes nowhere, and nobody says that it has ended.
    let device = open(&format!("{wall},dialect=b2xx"));
    let mut stream = transmitter(&device);
    let start = now(&device) + 20_000;
    write(&mut stream, 1000, Some(start), false).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(write(&mut stream, 1000, None, true), Ok(1000));
    assert_eq!(told(&mut stream), [(Some(ErrorCode::Underflow), 0b11)]);
    let start = now(&device) + 20_000;
    write(&mut stream, 1000, Some(start), true).unwrap();
    assert_eq!(told(&mut stream), [(None, 0b11)], "the next burst is whole again");
    // Late samples are sent, and nothing is told.
    let device = open(&format!("{wall},dialect=bladerf"));
    let mut receiver = device.rx_stream::<Complex32>(&[0]).unwrap();
    let begin = now(&device) + 5000;
    receiver.activate(Some(begin * NS)).unwrap();
    let mut stream = transmitter(&device);
    read(&mut receiver, 1, 1000).unwrap();
    write(&mut stream, 1000, Some(begin - 5000), true).unwrap();
    let mut energy = 0.0;
    for _ in 0..40 {
        energy += read(&mut receiver, 1, 1000).unwrap().0.iter().map(Complex32::norm_sqr).sum::<f32>();
    }
    assert!((energy / 62.5 - 1.0).abs() < 0.05, "{energy}");
    assert_eq!(told(&mut stream), []);
}

#[test]
fn several_receiving_channels_start_again_by_themselves_between_two_samples() {
    let device = open("tx=2,rx=2,dialect=rfnoc,seed=5,air=id");
    let mut receiver = device.rx_stream::<Complex32>(&[0, 1]).unwrap();
    receiver.activate(Some(1000 * NS)).unwrap();
    read(&mut receiver, 2, 100).unwrap();
    device.write_setting("inject", "overflow").unwrap();
    assert_eq!(read(&mut receiver, 2, 100).unwrap_err(), ErrorCode::Overflow);
    let (_, time_ns) = read(&mut receiver, 2, 100).unwrap();
    let off = time_ns % NS;
    assert!(time_ns > 51_000 * NS && off != 0, "{time_ns}");
}

#[test]
fn what_befalls_reception_is_over_once_it_is_started_again() {
    for (fault, code) in [("timeout", ErrorCode::Timeout), ("late_command", ErrorCode::StreamError)] {
        let device = open(&format!("tx=2,rx=2,label={fault}"));
        let mut receiver = device.rx_stream::<Complex32>(&[0, 1]).unwrap();
        receiver.activate(Some(1000 * NS)).unwrap();
        read(&mut receiver, 2, 100).unwrap();
        device.write_setting("inject", fault).unwrap();
        assert_eq!(read(&mut receiver, 2, 100).unwrap_err(), code);
        assert_eq!(read(&mut receiver, 2, 100).unwrap_err(), ErrorCode::Timeout, "{fault}: for ever");
        receiver.deactivate(None).unwrap();
        let begin = now(&device) + 500;
        receiver.activate(Some(begin * NS)).unwrap();
        assert_eq!(read(&mut receiver, 2, 100).unwrap().1, begin * NS);
    }
    let device = open("tx=2,rx=2,label=times");
    let mut receiver = device.rx_stream::<Complex32>(&[0, 1]).unwrap();
    receiver.activate(Some(1000 * NS)).unwrap();
    device.write_setting("inject", "garbage").unwrap();
    assert_eq!(read(&mut receiver, 2, 100).unwrap().1, 0x4AFD_0000_0000_0000);
    device.write_setting("inject", "corruption").unwrap();
    assert_eq!(read(&mut receiver, 2, 100).unwrap_err(), ErrorCode::Corruption);
    assert!(read(&mut receiver, 2, 100).is_ok());
}

#[test]
fn times_of_two_channels_creep_and_a_converter_clips_what_the_gain_made_too_large() {
    let device = open("tx=2,rx=2,dialect=bladerf");
    let mut receiver = device.rx_stream::<Complex32>(&[0, 1]).unwrap();
    receiver.activate(Some(1000 * NS)).unwrap();
    let mut last = 0;
    for _ in 0..10 {
        last = read(&mut receiver, 2, 254).unwrap().1;
    }
    assert_eq!(last, (1000 + 9 * 254 + 9) * NS);
    let clipped = |gain_db: f64| {
        let device = open(&format!("tx=2,rx=2,noise=1.0,adc_bits=12,rx_gain=-40/30,label={gain_db}"));
        device.set_gain(Rx, 0, gain_db).unwrap();
        let mut receiver = device.rx_stream::<Complex32>(&[0]).unwrap();
        receiver.activate(Some(1000 * NS)).unwrap();
        for _ in 0..20 {
            let row = read(&mut receiver, 1, 1000).unwrap().0;
            assert!(row.iter().all(|sample| (sample.re * 2048.0).fract() == 0.0 && sample.re.abs() <= 1.0));
        }
        device.read_sensor("rx_clipped").unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(clipped(10.0), 0);
    assert!(clipped(30.0) > 0);
}

#[test]
fn registers_outlive_the_device_and_opening_it_again_silences_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registers");
    let word = |index: usize| -> [u8; 8] { std::fs::read(&file).unwrap()[8 * index..][..8].try_into().unwrap() };
    let arguments = format!("tx=2,rx=2,pace=wall,registers={}", file.display());
    let device = open(&arguments);
    let mut stream = transmitter(&device);
    let start = now(&device) + 5000;
    write(&mut stream, 1000, Some(start), false).unwrap();
    assert_eq!((u64::from_le_bytes(word(1)), f64::from_le_bytes(word(3))), (1, 0.25));
    assert_eq!(f64::from_le_bytes(word(5)), 0.0, "the gain of channel 0");
    drop(stream);
    drop(device);
    let _again = Device::new(format!("driver=virtual,again=1,{arguments}").as_str()).unwrap();
    assert_eq!((u64::from_le_bytes(word(0)), u64::from_le_bytes(word(1))), (2, 0));
    assert_eq!(f64::from_le_bytes(word(5)), -90.0);
}

#[test]
fn a_time_is_taken_at_an_edge_that_all_devices_of_a_machine_share() {
    let devices =
        ["counter_s=3.25,label=one", "counter_s=1000.5,label=two"].map(|own| open(&format!("pace=wall,{own}")));
    assert!((now(&devices[1]) - now(&devices[0])) > 990_000_000, "independent counters");
    std::thread::scope(|scope| {
        for device in &devices {
            scope.spawn(|| device.set_hardware_time(Some("UNKNOWN_PPS"), 7_000_000_000).unwrap());
        }
    });
    // Either may have missed the other's edge by a whole second, but by nothing else.
    let apart = (now(&devices[1]) - now(&devices[0])).rem_euclid(1_000_000);
    assert!(!(20_000..=980_000).contains(&apart), "{apart} µs");
    let edge = devices[0].get_hardware_time(Some("PPS")).unwrap();
    assert!(edge % 1_000_000_000 < 20_000 || edge % 1_000_000_000 > 999_980_000, "{edge}");
    let unplugged = open("pace=wall,pps_ms=none");
    assert!(unplugged.set_hardware_time(Some("UNKNOWN_PPS"), 0).is_err());
}
