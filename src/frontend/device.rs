//! SoapySDR: the one file that names it. Devices, streams with their own conversion to the wire, and errors that a
//! program can act on.

use std::time::Duration;

use num_complex::{Complex, Complex32};
use soapysdr::{Device, Direction, ErrorCode, RxStream, TxStream};

use super::profile::{Format, MAX_CHANNELS};
use crate::{Error, Result};

/// SoapySDR's flags of a status: it tells the end of a burst, it has a time.
const END_BURST: i32 = 1 << 1;
const HAS_TIME: i32 = 1 << 2;

/// Which half of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Transmitting.
    Tx,
    /// Receiving.
    Rx,
}

impl From<Side> for Direction {
    fn from(side: Side) -> Self {
        match side {
            Side::Tx => Self::Tx,
            Side::Rx => Self::Rx,
        }
    }
}

/// Why a stream did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came in time.
    Timeout,
    /// The time asked for has passed.
    Late,
    /// The device had nothing to send.
    Underflow,
    /// The device had no room for what it received.
    Overflow,
    /// A packet was lost or does not fit the others: what follows may be whole again.
    Corrupt,
    /// The stream failed at something: after a new start it may work again.
    Broken,
    /// Anything else: the driver cannot do it.
    Gone,
}

impl From<soapysdr::Error> for Trouble {
    fn from(error: soapysdr::Error) -> Self {
        match error.code {
            ErrorCode::Timeout => Self::Timeout,
            ErrorCode::TimeError => Self::Late,
            ErrorCode::Underflow => Self::Underflow,
            ErrorCode::Overflow => Self::Overflow,
            ErrorCode::Corruption => Self::Corrupt,
            ErrorCode::StreamError => Self::Broken,
            _ => Self::Gone,
        }
    }
}

/// What a transmitting stream's device tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The end of a burst, some trouble, or nothing of concern.
    pub what: StatusKind,
    /// When it was, in samples of the device's clock.
    pub at: Option<i64>,
}

/// What a status tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusKind {
    /// A burst was sent to its end.
    BurstEnded,
    /// Something went wrong.
    Trouble(Trouble),
    /// Something of no concern.
    Other,
}

/// An open device.
#[derive(Clone)]
pub struct SoapyDevice {
    device: Device,
    rate_hz: f64,
}

fn failed(what: &str) -> impl Fn(soapysdr::Error) -> Error + '_ {
    move |error| Error::device(format!("radio: {what}: {} ({:?})", error.message, error.code))
}

impl SoapyDevice {
    /// Opens the device of these arguments; the virtual radio is always among them.
    pub fn open(args: &str) -> Result<Self> {
        virtual_radio::link();
        soapysdr::configure_logging();
        let device = Device::new(args).map_err(failed(args))?;
        Ok(Self { device, rate_hz: 1.0 })
    }

    /// Driver, hardware and serial, in one line.
    pub fn describe(&self) -> String {
        let text = |what: Result<String, soapysdr::Error>| what.unwrap_or_else(|_| "unknown".into());
        let serial = self.device.hardware_info().ok().and_then(|info| info.get("serial").map(str::to_owned));
        format!(
            "{} {} serial {}",
            text(self.device.driver_key()),
            text(self.device.hardware_key()),
            serial.unwrap_or_else(|| "unknown".into())
        )
    }

    /// Channels of a side.
    pub fn channels(&self, side: Side) -> Result<usize> {
        self.device.num_channels(side.into()).map_err(failed("number of channels"))
    }

    /// Formats on the wire, and the native one with its full scale.
    pub fn formats(&self, side: Side, channel: usize) -> Result<(Vec<String>, String, f64)> {
        let formats = self.device.stream_formats(side.into(), channel).map_err(failed("formats"))?;
        let (native, full_scale) =
            self.device.native_stream_format(side.into(), channel).map_err(failed("native format"))?;
        Ok((formats.iter().map(|format| format!("{format:?}")).collect(), format!("{native:?}"), full_scale))
    }

    /// Lowest and highest gain.
    pub fn gain_range_db(&self, side: Side, channel: usize) -> Result<[f64; 2]> {
        let range = self.device.gain_range(side.into(), channel).map_err(failed("gain range"))?;
        Ok([range.minimum, range.maximum])
    }

    /// Whether a carrier and a rate can be had.
    pub fn covers(&self, side: Side, channel: usize, carrier_hz: f64, rate_hz: f64) -> Result<[bool; 2]> {
        let within = |ranges: Vec<soapysdr::Range>, value: f64| {
            ranges.iter().any(|range| (range.minimum..=range.maximum).contains(&value))
        };
        let carriers = self.device.frequency_range(side.into(), channel).map_err(failed("frequency range"))?;
        let rates = self.device.get_sample_rate_range(side.into(), channel).map_err(failed("rate range"))?;
        Ok([within(carriers, carrier_hz), within(rates, rate_hz)])
    }

    /// Clock and time sources.
    pub fn sources(&self) -> [Vec<String>; 2] {
        [self.device.list_clock_sources().unwrap_or_default(), self.device.list_time_sources().unwrap_or_default()]
    }

    /// Sets both sources.
    pub fn set_sources(&self, clock: &str, time: &str) -> Result<()> {
        self.device.set_clock_source(clock).map_err(failed("clock source"))?;
        self.device.set_time_source(time).map_err(failed("time source"))?;
        self.check_sources(clock, time)
    }

    /// Whether the device has these sources; one that does not say is taken at its word.
    pub fn check_sources(&self, clock: &str, time: &str) -> Result<()> {
        for (what, asked, found) in
            [("clock", clock, self.device.get_clock_source()), ("time", time, self.device.get_time_source())]
        {
            if let Ok(found) = found
                && !found.is_empty()
                && found != asked
            {
                return Err(Error::input(format!(
                    "radio: device.{what}_source = \"{asked}\", the device has \"{found}\"; accepted: a source that it takes"
                )));
            }
        }
        Ok(())
    }

    /// A sensor of the device, or of a channel.
    pub fn sensor(&self, name: &str, channel: Option<(Side, usize)>) -> Option<String> {
        match channel {
            None => self.device.read_sensor(name).ok(),
            Some((side, channel)) => self.device.read_channel_sensor(side.into(), channel, name).ok(),
        }
    }

    /// Samples by which the time of the virtual radio's air is ahead of the device's.
    pub fn air_shift(&self) -> i64 {
        self.device.read_setting("air_shift").ok().and_then(|shift| shift.parse().ok()).unwrap_or(0)
    }

    /// Writes a setting of the driver.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        self.device.write_setting(key, value).map_err(failed(key))
    }

    /// Front-end mapping of a side.
    pub fn set_mapping(&self, side: Side, mapping: &str) -> Result<()> {
        self.device.set_frontend_mapping(side.into(), mapping).map_err(failed("front-end mapping"))
    }

    /// Rate of all channels of a side; what the device made of it must be what was asked.
    pub fn set_rate(&mut self, side: Side, channels: &[usize], rate_hz: f64) -> Result<()> {
        for &channel in channels {
            self.device.set_sample_rate(side.into(), channel, rate_hz).map_err(failed("sample rate"))?;
            let got = self.device.sample_rate(side.into(), channel).map_err(failed("sample rate"))?;
            if (got / rate_hz - 1.0).abs() > 1e-9 {
                return Err(Error::device(format!("radio: asked for {rate_hz} samples/s, the device gives {got}")));
            }
        }
        self.rate_hz = rate_hz;
        Ok(())
    }

    /// Port and filter of a channel.
    pub fn set_port(&self, side: Side, channel: usize, antenna: Option<&str>, bandwidth: Option<f64>) -> Result<()> {
        if let Some(antenna) = antenna {
            self.device.set_antenna(side.into(), channel, antenna).map_err(failed("antenna"))?;
        }
        bandwidth.map_or(Ok(()), |hz| self.device.set_bandwidth(side.into(), channel, hz).map_err(failed("bandwidth")))
    }

    /// Tunes a channel, its oscillator so far beside the carrier.
    pub fn tune(&self, side: Side, channel: usize, carrier_hz: f64, lo_offset_hz: f64) -> Result<()> {
        let tuned = match lo_offset_hz {
            0.0 => self.device.set_frequency(side.into(), channel, carrier_hz, ()),
            offset => self.device.set_frequency(side.into(), channel, carrier_hz, format!("OFFSET={offset}").as_str()),
        };
        tuned.map_err(failed("frequency"))
    }

    /// A receiving channel keeps its gain, and takes its constant away or leaves it, where its driver knows of that.
    pub fn set_modes(&self, channel: usize, removes_dc: bool) -> Result<()> {
        if self.device.has_gain_mode(Direction::Rx, channel).unwrap_or(false) {
            self.device.set_gain_mode(Direction::Rx, channel, false).map_err(failed("gain mode"))?;
        }
        if self.device.has_dc_offset_mode(Direction::Rx, channel).unwrap_or(false) {
            self.device.set_dc_offset_mode(Direction::Rx, channel, removes_dc).map_err(failed("DC offset mode"))?;
        }
        Ok(())
    }

    /// Gain of a channel as the device has it.
    pub fn gain(&self, side: Side, channel: usize) -> Option<f64> {
        self.device.gain(side.into(), channel).ok()
    }

    /// Whether a receiving channel changes its gain by itself.
    pub fn gain_is_automatic(&self, channel: usize) -> bool {
        self.device.gain_mode(Direction::Rx, channel).unwrap_or(false)
    }

    /// Filter of a channel as the device has it.
    pub fn bandwidth(&self, side: Side, channel: usize) -> Option<f64> {
        self.device.bandwidth(side.into(), channel).ok()
    }

    /// Gain of a channel.
    pub fn set_gain(&self, side: Side, channel: usize, gain_db: f64) -> Result<()> {
        self.device.set_gain(side.into(), channel, gain_db).map_err(failed("gain"))
    }

    /// Every gain of a transmitting channel to its minimum; 0 dB is not off.
    pub fn silence(&self, channel: usize) -> Result<()> {
        let [minimum, _] = self.gain_range_db(Side::Tx, channel)?;
        self.set_gain(Side::Tx, channel, minimum)?;
        for element in self.device.list_gains(Direction::Tx, channel).unwrap_or_default() {
            let range = self.device.gain_element_range(Direction::Tx, channel, element.as_str());
            let minimum = range.map_err(failed("gain range"))?.minimum;
            self.device.set_gain_element(Direction::Tx, channel, element, minimum).map_err(failed("gain"))?;
        }
        Ok(())
    }

    /// Sets the time to zero: at once, or at an edge of the seconds' pulse.
    pub fn reset_time(&self, at_edge: bool) -> Result<()> {
        self.device.set_hardware_time(at_edge.then_some("UNKNOWN_PPS"), 0).map_err(failed("hardware time"))
    }

    /// Sets the time that is taken at the next edge of the seconds' pulse.
    pub fn set_time_at_edge(&self, time_ns: i64) -> Result<()> {
        self.device.set_hardware_time(Some("PPS"), time_ns).map_err(failed("hardware time at the pulse"))
    }

    /// The device's time at the last edge of the seconds' pulse.
    pub fn time_of_edge_ns(&self) -> Result<i64> {
        self.device.get_hardware_time(Some("PPS")).map_err(failed("time of the last pulse"))
    }

    /// The device's time in nanoseconds.
    pub fn now_ns(&self) -> Result<i64> {
        self.device.get_hardware_time(None).map_err(failed("hardware time"))
    }

    /// Whether the device's time stands still while nobody reads: a virtual radio in lockstep.
    pub fn waits(&self) -> bool {
        let info = self.device.hardware_info().ok();
        info.is_some_and(|info| info.get("pace") == Some("lockstep"))
    }

    /// Whether the device has a time.
    pub fn has_time(&self) -> bool {
        self.device.has_hardware_time(None).unwrap_or(false)
    }

    /// The present, in samples.
    pub fn now(&self) -> Result<i64> {
        let time_ns = self.device.get_hardware_time(None).map_err(failed("hardware time"))?;
        Ok(samples_of_ns(time_ns, self.rate_hz))
    }

    /// A transmitting stream.
    pub fn send_stream(&self, channels: &[usize], format: Format, full_scale: f32, args: &str) -> Result<SendStream> {
        let wire = match format {
            Format::Cf32 => {
                SendWire::Floats(self.device.tx_stream_args(channels, args).map_err(failed("transmitting stream"))?)
            }
            Format::Cs16 => {
                SendWire::Shorts(self.device.tx_stream_args(channels, args).map_err(failed("transmitting stream"))?)
            }
        };
        let mtu = match &wire {
            SendWire::Floats(stream) => stream.mtu(),
            SendWire::Shorts(stream) => stream.mtu(),
        };
        let mtu = mtu.map_err(failed("packet length"))?.clamp(64, 65_536);
        let shorts = vec![vec![Complex::default(); mtu]; channels.len()];
        Ok(SendStream { wire, mtu, shorts, full_scale, rate_hz: self.rate_hz })
    }

    /// A receiving stream.
    pub fn receive_stream(
        &self,
        channels: &[usize],
        format: Format,
        full_scale: f32,
        args: &str,
    ) -> Result<ReceiveStream> {
        let wire = match format {
            Format::Cf32 => {
                ReceiveWire::Floats(self.device.rx_stream_args(channels, args).map_err(failed("receiving stream"))?)
            }
            Format::Cs16 => {
                ReceiveWire::Shorts(self.device.rx_stream_args(channels, args).map_err(failed("receiving stream"))?)
            }
        };
        let shorts = vec![vec![Complex::default(); RECEIVE_CHUNK]; channels.len()];
        Ok(ReceiveStream { wire, shorts, full_scale, rate_hz: self.rate_hz })
    }
}

/// Most samples that one read gives.
pub(super) const RECEIVE_CHUNK: usize = 2048;

/// Nanoseconds of a sample count: the whole seconds apart, so that nothing is lost.
pub(super) fn ns_of_samples(samples: i64, rate_hz: f64) -> i64 {
    let whole = rate_hz.floor() as i64;
    let seconds = samples / whole;
    let rest = (samples - seconds * whole) as f64 - seconds as f64 * (rate_hz - whole as f64);
    seconds * 1_000_000_000 + (rest * 1e9 / rate_hz).round() as i64
}

/// The sample count nearest to a time.
pub(super) fn samples_of_ns(time_ns: i64, rate_hz: f64) -> i64 {
    let seconds = time_ns / 1_000_000_000;
    let whole = rate_hz.floor();
    let part = seconds as f64 * (rate_hz - whole) + (time_ns - seconds * 1_000_000_000) as f64 * rate_hz / 1e9;
    seconds * whole as i64 + part.round() as i64
}

fn micros(timeout: Duration) -> i64 {
    timeout.as_micros() as i64
}

enum SendWire {
    Floats(TxStream<Complex32>),
    Shorts(TxStream<Complex<i16>>),
}

/// A transmitting stream; samples are in full scale.
pub struct SendStream {
    wire: SendWire,
    mtu: usize,
    shorts: Vec<Vec<Complex<i16>>>,
    full_scale: f32,
    rate_hz: f64,
}

impl SendStream {
    /// Most samples of one write.
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// Starts it; a burst's time goes with its first write.
    pub fn activate(&mut self) -> Result<()> {
        match &mut self.wire {
            SendWire::Floats(stream) => stream.activate(None),
            SendWire::Shorts(stream) => stream.activate(None),
        }
        .map_err(failed("start of the transmitting stream"))
    }

    /// Stops it.
    pub fn deactivate(&mut self) {
        // One that is gone cannot be stopped; one that is idle need not be.
        let _ = match &mut self.wire {
            SendWire::Floats(stream) => stream.deactivate(None),
            SendWire::Shorts(stream) => stream.deactivate(None),
        };
    }

    /// Writes what the device takes, at most a packet; how much it was.
    pub fn write(
        &mut self,
        rows: &[&[Complex32]],
        at: Option<i64>,
        ends: bool,
        timeout: Duration,
    ) -> Result<usize, Trouble> {
        let count = rows.first().map_or(0, |row| row.len()).min(self.mtu);
        let ends = ends && count == rows.first().map_or(0, |row| row.len());
        let (at, timeout) = (at.map(|at| ns_of_samples(at, self.rate_hz)), micros(timeout));
        let written = match &mut self.wire {
            SendWire::Floats(stream) => {
                let mut parts: [&[Complex32]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
                parts.iter_mut().zip(rows).for_each(|(part, row)| *part = &row[..count]);
                stream.write(&parts[..rows.len()], at, ends, timeout)
            }
            SendWire::Shorts(stream) => {
                let mut parts: [&[Complex<i16>]; MAX_CHANNELS] = [&[]; MAX_CHANNELS];
                for ((part, short), row) in parts.iter_mut().zip(&mut self.shorts).zip(rows) {
                    for (to, from) in short.iter_mut().zip(&row[..count]) {
                        *to = Complex::new(narrow(from.re, self.full_scale), narrow(from.im, self.full_scale));
                    }
                    *part = &short[..count];
                }
                stream.write(&parts[..rows.len()], at, ends, timeout)
            }
        }?;
        Ok(written)
    }

    /// What the device tells; `None` where it tells nothing in time.
    pub fn status(&mut self, timeout: Duration) -> Option<Status> {
        let (mut mask, mut flags, mut time_ns) = (0, 0, 0);
        let timeout = micros(timeout);
        let told = match &mut self.wire {
            SendWire::Floats(stream) => stream.read_status(&mut mask, &mut flags, &mut time_ns, timeout),
            SendWire::Shorts(stream) => stream.read_status(&mut mask, &mut flags, &mut time_ns, timeout),
        };
        let what = match told.map_err(Trouble::from) {
            // A driver without events answers that it has none.
            Err(Trouble::Timeout | Trouble::Gone) => return None,
            Err(trouble) => StatusKind::Trouble(trouble),
            Ok(_) if flags & END_BURST != 0 => StatusKind::BurstEnded,
            Ok(_) => StatusKind::Other,
        };
        let at = (flags & HAS_TIME != 0).then(|| samples_of_ns(time_ns, self.rate_hz));
        Some(Status { what, at })
    }
}

/// To the nearest integer, held inside the format. The sum's last mantissa bits are the integer.
fn narrow(value: f32, full_scale: f32) -> i16 {
    const MAGIC: f32 = 12_582_912.0;
    ((value * full_scale).clamp(-full_scale, full_scale - 1.0) + MAGIC).to_bits() as i16
}

enum ReceiveWire {
    Floats(RxStream<Complex32>),
    Shorts(RxStream<Complex<i16>>),
}

/// A receiving stream; samples are in full scale.
pub struct ReceiveStream {
    wire: ReceiveWire,
    shorts: Vec<Vec<Complex<i16>>>,
    full_scale: f32,
    rate_hz: f64,
}

impl ReceiveStream {
    /// Starts it at a time, or at once.
    pub fn activate(&mut self, at: Option<i64>) -> Result<()> {
        let at = at.map(|at| ns_of_samples(at, self.rate_hz));
        match &mut self.wire {
            ReceiveWire::Floats(stream) => stream.activate(at),
            ReceiveWire::Shorts(stream) => stream.activate(at),
        }
        .map_err(failed("start of the receiving stream"))
    }

    /// Stops it.
    pub fn deactivate(&mut self) {
        // As for the transmitting stream.
        let _ = match &mut self.wire {
            ReceiveWire::Floats(stream) => stream.deactivate(None),
            ReceiveWire::Shorts(stream) => stream.deactivate(None),
        };
    }

    /// Reads at most `RECEIVE_CHUNK` samples into rows of that length; their count, and the time that the driver gives.
    pub fn read<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a mut [Complex32]>,
        timeout: Duration,
    ) -> Result<(usize, i64), Trouble> {
        let (count, time_ns) = self.read_timed(rows, timeout)?;
        Ok((count, samples_of_ns(time_ns, self.rate_hz)))
    }

    /// By which part of a sample a time lies beside the grid of samples.
    pub fn off_grid(&self, time_ns: i64) -> f64 {
        let nearest = ns_of_samples(samples_of_ns(time_ns, self.rate_hz), self.rate_hz);
        (time_ns - nearest) as f64 * 1e-9 * self.rate_hz
    }

    /// The sample nearest to a time.
    pub fn sample_at(&self, time_ns: i64) -> i64 {
        samples_of_ns(time_ns, self.rate_hz)
    }

    /// As [`read`](Self::read), with the time in nanoseconds as the driver gives it.
    pub fn read_timed<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a mut [Complex32]>,
        timeout: Duration,
    ) -> Result<(usize, i64), Trouble> {
        let timeout = micros(timeout);
        let (count, time_ns) = match &mut self.wire {
            ReceiveWire::Floats(stream) => {
                let mut parts: [&mut [Complex32]; MAX_CHANNELS] = std::array::from_fn(|_| &mut [][..]);
                let mut channels = 0;
                for (part, row) in parts.iter_mut().zip(rows) {
                    *part = &mut row[..RECEIVE_CHUNK];
                    channels += 1;
                }
                let count = stream.read(&mut parts[..channels], timeout)?;
                (count, stream.time_ns())
            }
            ReceiveWire::Shorts(stream) => {
                let channels = self.shorts.len();
                let mut parts: [&mut [Complex<i16>]; MAX_CHANNELS] = std::array::from_fn(|_| &mut [][..]);
                parts.iter_mut().zip(&mut self.shorts).for_each(|(part, short)| *part = short);
                let count = stream.read(&mut parts[..channels], timeout)?;
                let unit = 1.0 / self.full_scale;
                for (row, short) in rows.zip(&self.shorts) {
                    for (to, from) in row.iter_mut().zip(&short[..count]) {
                        *to = Complex32::new(f32::from(from.re) * unit, f32::from(from.im) * unit);
                    }
                }
                (count, stream.time_ns())
            }
        };
        Ok((count, time_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sample_counts_convert_without_loss() {
        for rate_hz in [1e6, 15.36e6, 122.88e6, 200e6, 33.333_333_3e6] {
            for samples in [0, 1, 12_345, 987_654_321, 40_000_000_007] {
                assert_eq!(samples_of_ns(ns_of_samples(samples, rate_hz), rate_hz), samples, "{rate_hz}");
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_the_nearest_step_and_stays_inside() {
        for value in -40_000..40_000 {
            let value = value as f32 * 0.9;
            let exact = value.clamp(-32768.0, 32767.0);
            assert!((f32::from(narrow(value / 32768.0, 32768.0)) - exact).abs() <= 0.5 + 1e-3, "{value}");
        }
        assert_eq!((narrow(2.0, 2048.0), narrow(-2.0, 2048.0)), (2047, -2048));
    }
}
