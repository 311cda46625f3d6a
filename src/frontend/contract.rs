//! What a driver does where things go wrong, in one place: drivers disagree, and the timeline has to hold with each.
//!
//! The defaults go by the driver's name and arguments, as its source has it; a profile's `[driver]` says otherwise, and
//! `issc probe --write` puts there what it measured.

use serde::{Deserialize, Serialize};

/// What a driver makes of a packet whose time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Late {
    /// It is dropped, and an event says so.
    Reported,
    /// The write fails.
    Refused,
    /// It is sent at once, and nobody says so: the host has to look at the time itself.
    Silent,
}

/// What a driver does after it had nothing to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underflow {
    /// It goes on with the next packet, at its time if it has one, else at once.
    NextPacket,
    /// It drops everything to the end of the burst.
    NextBurst,
    /// It goes on at once, and nobody says so.
    Silent,
}

/// Whether the end of a burst is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acknowledge {
    /// Always.
    Always,
    /// Where nothing went wrong in it.
    Unbroken,
    /// Never.
    Never,
}

/// Which packets carry a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Every one: whatever is late is dropped alone.
    Packet,
    /// The first of every frame.
    Frame,
    /// The first of a burst; the driver takes no other.
    Burst,
}

/// How several receiving channels go on after an overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// They go on, with a gap.
    GoesOn,
    /// The driver starts them again by itself, at a time that is on no grid.
    Itself,
}

/// What a driver does where things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// Late packets.
    pub late: Late,
    /// Nothing to send.
    pub underflow: Underflow,
    /// Ends of bursts.
    pub acknowledge: Acknowledge,
    /// Times of packets.
    pub times: Times,
    /// Reception after an overflow.
    pub restart: Restart,
    /// Errors of a stream one after another after which the device counts as gone.
    pub errors: u32,
}

/// What a profile says of its driver; the rest is by the driver's name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverProfile {
    late: Option<Late>,
    underflow: Option<Underflow>,
    acknowledge: Option<Acknowledge>,
    times: Option<Times>,
    restart: Option<Restart>,
    errors: Option<u32>,
}

/// A driver that says everything and sends what follows an underflow with the next packet.
const PLAIN: Contract = Contract {
    late: Late::Reported,
    underflow: Underflow::NextPacket,
    acknowledge: Acknowledge::Always,
    times: Times::Frame,
    restart: Restart::GoesOn,
    errors: 8,
};

impl Contract {
    /// The contract of a driver by its arguments, where the profile does not say otherwise.
    pub fn new(args: &str, profile: &DriverProfile) -> Self {
        let named = Self::by_name(args);
        Self {
            late: profile.late.unwrap_or(named.late),
            underflow: profile.underflow.unwrap_or(named.underflow),
            acknowledge: profile.acknowledge.unwrap_or(named.acknowledge),
            times: profile.times.unwrap_or(named.times),
            restart: profile.restart.unwrap_or(named.restart),
            errors: profile.errors.unwrap_or(named.errors),
        }
    }

    fn by_name(args: &str) -> Self {
        let value = |key: &str| {
            args.split(',').rev().find_map(|item| item.trim().strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
        };
        let rfnoc = Self { times: Times::Packet, restart: Restart::Itself, ..PLAIN };
        let b2xx = Self {
            underflow: Underflow::NextBurst,
            acknowledge: Acknowledge::Unbroken,
            restart: Restart::Itself,
            ..PLAIN
        };
        let bladerf = Self {
            late: Late::Silent,
            underflow: Underflow::Silent,
            acknowledge: Acknowledge::Never,
            times: Times::Burst,
            ..PLAIN
        };
        match (value("driver"), value("type"), value("dialect")) {
            ("virtual", _, "rfnoc") => rfnoc,
            ("virtual", _, "b2xx") | ("uhd", "b200", _) => b2xx,
            ("virtual", _, "bladerf") | ("bladerf", _, _) => bladerf,
            ("uhd", _, _) => rfnoc,
            _ => PLAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_has_its_contract_and_a_profile_has_the_last_word() {
        let of = |args: &str| Contract::new(args, &DriverProfile::default());
        assert_eq!(of("driver=uhd,type=n3xx"), of("driver=virtual,dialect=rfnoc"));
        assert_eq!(of("driver=uhd,type=b200"), of("driver=virtual,dialect=b2xx"));
        assert_eq!(of("driver=bladerf").late, Late::Silent);
        assert_eq!(of("driver=uhd,driver=virtual").times, Times::Frame, "the last one counts");
        let said = DriverProfile { acknowledge: Some(Acknowledge::Never), ..DriverProfile::default() };
        let contract = Contract::new("driver=uhd,type=n3xx", &said);
        assert_eq!((contract.acknowledge, contract.times), (Acknowledge::Never, Times::Packet));
    }
}
