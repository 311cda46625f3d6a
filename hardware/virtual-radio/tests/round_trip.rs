//! The virtual radio from outside, through libSoapySDR alone.

use num_complex::{Complex, Complex32};
use soapysdr::Direction::{Rx, Tx};
use soapysdr::{Device, ErrorCode};

const RATE_HZ: f64 = 1e6;
const NS: i64 = 1000;

fn open(arguments: &str) -> Device {
    virtual_radio::link();
    let device = Device::new(format!("driver=virtual,{arguments}").as_str()).expect("the device opens");
    for channel in 0..device.num_channels(Tx).unwrap() {
        device.set_gain(Tx, channel, 0.0).unwrap();
    }
    device
}

/// Samples on the grid of CS16 that depend on channel and position.
fn sample(channel: usize, n: usize) -> Complex32 {
    let word = (channel as u32 * 7919 + n as u32).wrapping_mul(2_654_435_761);
    Complex32::new(((word >> 16) as i16 / 8) as f32 / 32768.0, ((word & 0xffff) as i16 / 8) as f32 / 32768.0)
}

/// Sends `count` samples on four channels as one timed burst while `read` listens.
fn send_burst(device: &Device, at: i64, count: usize) -> std::thread::JoinHandle<Result<usize, ErrorCode>> {
    let mut stream = device.tx_stream::<Complex32>(&[0, 1, 2, 3]).unwrap();
    stream.activate(None).unwrap();
    std::thread::spawn(move || {
        let rows: Vec<Vec<Complex32>> =
            (0..4).map(|channel| (0..count).map(|n| sample(channel, n)).collect()).collect();
        let mut sent = 0;
        while sent < count {
            let part: Vec<&[Complex32]> = rows.iter().map(|row| &row[sent..]).collect();
            let at = (sent == 0).then_some(at * NS);
            sent += stream.write(&part, at, true, 1_000_000).map_err(|error| error.code)?;
        }
        let (mut mask, mut flags, mut time) = (0, 0, 0);
        stream.read_status(&mut mask, &mut flags, &mut time, 2_000_000).map_err(|error| error.code)?;
        assert_eq!((mask, time), (0b1111, (at + count as i64) * NS), "the end of the burst, on all channels");
        Ok(sent)
    })
}

/// The tap from channel `tx` to channel `rx`: a delay and a gain that add without rounding.
fn tap(rx: usize, tx: usize) -> (usize, Complex32) {
    (5 * rx + 3 * tx, Complex32::new(1.0 / (1 << (rx % 3)) as f32, if tx == rx { 0.5 } else { -0.25 }))
}

#[test]
fn four_by_five_channels_come_back_bit_for_bit_at_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let taps = folder.path().join("taps.txt");
    let line = |rx, tx| {
        let (delay, gain) = tap(rx, tx);
        format!("{rx} {tx} {delay} {} {}\n", gain.re, gain.im)
    };
    let text: String = (0..5).flat_map(|rx| (0..4).map(move |tx| line(rx, tx))).collect();
    std::fs::write(&taps, text).unwrap();
    for quirk in ["", ",quirks=short_write"] {
        let device = open(&format!("tx=4,rx=5,rate={RATE_HZ},air=file:{}{quirk}", taps.display()));
        let (start, count, length) = (1500, 30_000, 32_000);
        let mut floats = device.rx_stream::<Complex32>(&[0, 1, 2, 3]).unwrap();
        let mut shorts = device.rx_stream::<Complex<i16>>(&[4]).unwrap();
        floats.activate(Some(1000 * NS)).unwrap();
        shorts.activate(Some(1000 * NS)).unwrap();
        let sender = send_burst(&device, start, count);
        let mut rows = vec![vec![Complex32::default(); length]; 4];
        let mut row_4 = vec![Complex::<i16>::default(); length];
        let (mut got, mut got_4, mut tick) = (0, 0, 1000);
        while got < length || got_4 < length {
            if got <= got_4 {
                let mut part: Vec<&mut [Complex32]> = rows.iter_mut().map(|row| &mut row[got..]).collect();
                let read = floats.read(&mut part, 1_000_000).unwrap();
                assert_eq!(floats.time_ns(), tick * NS, "no sample is missing");
                (got, tick) = (got + read, tick + read as i64);
            } else {
                got_4 += shorts.read(&mut [&mut row_4[got_4..]], 1_000_000).unwrap();
            }
        }
        assert_eq!(sender.join().unwrap(), Ok(count));
        let expected = |rx: usize, n: usize| -> Complex32 {
            (0..4)
                .map(|tx| {
                    let (delay, gain) = tap(rx, tx);
                    let at = n as i64 + 1000 - start - delay as i64;
                    if (0..count as i64).contains(&at) { gain * sample(tx, at as usize) } else { Complex32::default() }
                })
                .sum()
        };
        for (rx, row) in rows.iter().enumerate() {
            let wrong = (0..length).find(|n| row[*n] != expected(rx, *n));
            assert_eq!(wrong, None, "channel {rx}{quirk}");
        }
        for (n, sample) in row_4.iter().enumerate() {
            let exact = expected(4, n) * 32768.0;
            let error = (f32::from(sample.re) - exact.re).abs().max((f32::from(sample.im) - exact.im).abs());
            assert!(error <= 0.5, "CS16 rounds to the nearest step: {n}: {error}");
        }
    }
}

#[test]
fn a_late_burst_is_reported_and_not_sent() {
    let device = open("tx=4,rx=5,seed=2");
    let mut receiver = device.rx_stream::<Complex32>(&[0]).unwrap();
    receiver.activate(Some(5000 * NS)).unwrap();
    let sender = send_burst(&device, 4000, 100);
    assert_eq!(sender.join().unwrap(), Err(ErrorCode::TimeError));
    assert_eq!(device.read_sensor("tx_lates").unwrap(), "1");
}

#[test]
fn noise_has_its_power_and_does_not_depend_on_how_it_is_read() {
    let listen = |chunk: usize, label: &str| {
        let device = open(&format!("noise=0.1,seed=7,label={label}"));
        let mut stream = device.rx_stream::<Complex32>(&[0, 4]).unwrap();
        stream.activate(Some(1000 * NS)).unwrap();
        let mut heard = vec![Vec::new(); 2];
        while heard[0].len() < 50_000 {
            let mut rows = vec![vec![Complex32::default(); chunk]; 2];
            let [first, second] = rows.get_disjoint_mut([0, 1]).unwrap();
            let count = stream.read(&mut [first, second], 1_000_000).unwrap();
            heard.iter_mut().zip(&rows).for_each(|(heard, row)| heard.extend_from_slice(&row[..count]));
        }
        heard.iter_mut().for_each(|row| row.truncate(50_000));
        heard
    };
    let (heard, again) = (listen(100, "a"), listen(777, "b"));
    assert_eq!(heard, again);
    for row in heard {
        let power = row.iter().map(|sample| f64::from(sample.norm_sqr())).sum::<f64>() / row.len() as f64;
        // Exponential powers: a relative deviation of 1/√50 000; five of them.
        assert!((power / 0.01 - 1.0).abs() < 5.0 / 50_000f64.sqrt(), "{power}");
    }
}

#[test]
fn each_tuning_draws_a_phase_only_where_the_oscillator_is_random() {
    for (retune, moves) in [("keep", false), ("random", true)] {
        let device = open(&format!("retune={retune}"));
        let phase = || device.read_setting("tx1.phase_deg").unwrap().parse::<f64>().unwrap();
        let before = phase();
        device.set_frequency(Tx, 1, 3.5e9, ()).unwrap();
        assert_eq!(phase() != before, moves);
        device.set_frequency(Rx, 0, 3.5e9, ()).unwrap();
    }
}

#[test]
fn quirks_of_real_drivers_can_be_had_and_other_names_do_not_open_it() {
    let device = open("quirks=mimo_needs_time+no_tx_activate_time+no_rx_time");
    let mut receiver = device.rx_stream::<Complex32>(&[0, 1]).unwrap();
    assert_eq!(receiver.activate(None).unwrap_err().code, ErrorCode::StreamError);
    receiver.activate(Some(1000 * NS)).unwrap();
    let mut rows = [[Complex32::default(); 64]; 2];
    let [first, second] = &mut rows;
    receiver.read(&mut [first, second], 100_000).unwrap();
    assert_eq!(receiver.time_ns(), 0);
    let mut transmitter = device.tx_stream::<Complex32>(&[0]).unwrap();
    assert_eq!(transmitter.activate(Some(9000 * NS)).unwrap_err().code, ErrorCode::NotSupported);
    assert!(Device::new("type=virtual").is_err());
    // A misspelt one would be a radio without it.
    for (arguments, accepted) in
        [("quirks=end_lost+short_writes", ", short_write"), ("inject=late@5+overflw@9", "overflow,")]
    {
        let error = Device::new(format!("driver=virtual,{arguments}").as_str()).err().expect("refused");
        assert!(error.message.contains(accepted), "{}", error.message);
    }
}

#[test]
fn an_unplugged_device_fails_every_call_and_opens_again_later() {
    let device = open("serial=unplugs,unplug_ms=50");
    let mut receiver = device.rx_stream::<Complex32>(&[0]).unwrap();
    receiver.activate(Some(1000 * NS)).unwrap();
    device.write_setting("inject", "unplug").unwrap();
    let mut row = [Complex32::default(); 64];
    assert_eq!(receiver.read(&mut [&mut row], 100_000).unwrap_err().code, ErrorCode::StreamError);
    assert!(Device::new("driver=virtual,serial=unplugs,again=1").is_err());
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert!(Device::new("driver=virtual,serial=unplugs,again=2").is_ok());
}
