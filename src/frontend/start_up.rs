//! The order in which a device is made ready: sources, locks, rate, gains down, ports, carrier, locks, time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Profile;
use super::device::{Side, SoapyDevice};
use super::profile::TimeSet;
use crate::{Error, Result};

const SECOND_NS: i64 = 1_000_000_000;

/// How long a lock sensor may take.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Brings an opened device to where streams can be made.
pub(super) fn start_up(device: &mut SoapyDevice, profile: &Profile, rate_hz: f64, carrier_hz: f64) -> Result<()> {
    let (tx, rx, sync) = (&profile.tx, &profile.rx, &profile.sync);
    for (side, channels) in [(Side::Tx, &tx.channels), (Side::Rx, &rx.channels)] {
        let there = device.channels(side)?;
        if let Some(missing) = channels.iter().find(|channel| **channel >= there) {
            return Err(Error::input(format!(
                "{}: {side:?} channel {missing} is not there; accepted by the device: {there} channels",
                profile.name
            )));
        }
    }
    if sync.hardware_time && !device.has_time() {
        return Err(Error::input(format!("{}: sync.hardware_time = true, but the device has no time", profile.name)));
    }
    if profile.device.sources_by_call {
        device.set_sources(&profile.device.clock_source, &profile.device.time_source)?;
    } else {
        device.check_sources(&profile.device.clock_source, &profile.device.time_source)?;
    }
    wait_locks(device, profile, None)?;
    device.set_rate(Side::Tx, &tx.channels, rate_hz)?;
    device.set_rate(Side::Rx, &rx.channels, rate_hz)?;
    for (side, mapping) in [(Side::Tx, &tx.mapping), (Side::Rx, &rx.mapping)] {
        if let Some(mapping) = mapping {
            device.set_mapping(side, mapping)?;
        }
    }
    for &channel in &tx.channels {
        device.silence(channel)?;
        device.set_port(Side::Tx, channel, tx.antenna.as_deref(), tx.bandwidth_hz)?;
    }
    for &channel in &rx.channels {
        device.set_modes(channel, rx.removes_dc)?;
        device.set_gain(Side::Rx, channel, rx.gain_db)?;
        device.set_port(Side::Rx, channel, rx.antenna.as_deref(), rx.bandwidth_hz)?;
    }
    let all = || {
        let tx = tx.channels.iter().map(|channel| (Side::Tx, *channel));
        tx.chain(rx.channels.iter().map(|channel| (Side::Rx, *channel)))
    };
    for (side, channel) in all() {
        let offset_hz = if side == Side::Tx { tx.lo_offset_hz } else { rx.lo_offset_hz };
        device.tune(side, channel, carrier_hz, offset_hz)?;
    }
    sync.settle();
    for place in all() {
        wait_locks(device, profile, Some(place))?;
    }
    match profile.device.time_set {
        TimeSet::Now if sync.hardware_time => device.reset_time(false),
        TimeSet::UnknownPps if sync.hardware_time => device.reset_time(true),
        TimeSet::UtcPps if sync.hardware_time => agree_on_utc(device, profile),
        _ => Ok(()),
    }
}

/// This machine's time since 1970.
fn utc() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Gives the device the second of UTC at a pulse's edge, and looks whether it has taken it.
fn agree_on_utc(device: &SoapyDevice, profile: &Profile) -> Result<()> {
    // In the middle between two edges device and machine mean the same next one.
    std::thread::sleep(until_part(0.5));
    let second = utc().as_secs() + 1;
    device.set_time_at_edge(second as i64 * SECOND_NS)?;
    std::thread::sleep(until_part(0.3));
    match seconds_ahead(device)? {
        0 => Ok(()),
        _ => Err(Error::device(format!(
            "radio {}: its time at the last pulse is {} s, this machine's was {} s; accepted: the same second: is the \
             pulse connected?",
            profile.name,
            device.time_of_edge_ns()? / SECOND_NS,
            utc().as_secs()
        ))),
    }
}

/// Time until this machine's second has come to a part of it.
fn until_part(part: f64) -> Duration {
    let now = utc().subsec_nanos() as f64 * 1e-9;
    Duration::from_secs_f64((part - now).rem_euclid(1.0))
}

/// Seconds by which a device's time at the last pulse is ahead of this machine's.
pub(super) fn seconds_ahead(device: &SoapyDevice) -> Result<i64> {
    // Not near an edge, which one of the two may have seen and the other not.
    let part = utc().subsec_nanos() as f64 * 1e-9;
    if !(0.1..0.9).contains(&part) {
        std::thread::sleep(until_part(0.2));
    }
    let found_ns = device.time_of_edge_ns()?;
    Ok((found_ns as f64 / SECOND_NS as f64).round() as i64 - utc().as_secs() as i64)
}

/// Waits for the lock sensors that the device, or a channel, has.
fn wait_locks(device: &SoapyDevice, profile: &Profile, place: Option<(Side, usize)>) -> Result<()> {
    for sensor in &profile.sync.lock_sensors {
        let since = Instant::now();
        while device.sensor(sensor, place).is_some_and(|state| state != "true") {
            if since.elapsed() > LOCK_WAIT {
                return Err(Error::device(format!("radio {}: {sensor} is not true after 5 s", profile.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
