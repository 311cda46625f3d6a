//! The order in which a device is made ready: sources, locks, rate, gains down, ports, carrier, locks, time.

use std::time::{Duration, Instant};

use super::Profile;
use super::device::{Side, SoapyDevice};
use super::profile::TimeSet;
use crate::{Error, Result};

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
        device.set_gain(Side::Rx, channel, rx.gain_db)?;
        device.set_port(Side::Rx, channel, rx.antenna.as_deref(), rx.bandwidth_hz)?;
    }
    let all = || {
        let tx = tx.channels.iter().map(|channel| (Side::Tx, *channel));
        tx.chain(rx.channels.iter().map(|channel| (Side::Rx, *channel)))
    };
    for (side, channel) in all() {
        device.tune(side, channel, carrier_hz)?;
    }
    sync.settle();
    for place in all() {
        wait_locks(device, profile, Some(place))?;
    }
    match profile.device.time_set {
        TimeSet::Now if sync.hardware_time => device.reset_time(false),
        TimeSet::UnknownPps if sync.hardware_time => device.reset_time(true),
        _ => Ok(()),
    }
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
