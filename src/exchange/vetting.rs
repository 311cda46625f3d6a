//! What a receiver elsewhere may say: events of its own role, with numbers that can be. Beams follow what it says, so what
//! cannot be is left out, whoever it comes from.

use super::Role;
use super::message::MOST_FRAMES;
use crate::modem::frame::BLOCKS;
use crate::stream::{Event, Head};

/// Frames that may be lost at once.
const MOST_LOST: u64 = 1 << 32;

/// Farthest place and largest error of one, in m and m².
const FARTHEST_M: f64 = 1e9;
const LARGEST_M2: f64 = 1e18;

/// Whether an event may come from a receiver of this role beside a transmitter of so many antennas.
///
/// # Errors
/// What was found and what is accepted, in one line.
pub(super) fn vet(role: Role, event: &Event, antennas: usize) -> Result<(), String> {
    let at = |frame: u64| limit("frame", frame, MOST_FRAMES);
    match (role, event) {
        (_, Event::Lost { frames }) => limit("frames", *frames, MOST_LOST),
        (Role::CommunicationReceiver, Event::ReceiverProgress { sample_time }) => {
            limit("sample_time", *sample_time, Head::MOST_TIME)
        }
        (Role::CommunicationReceiver, Event::FrameReceived { frame, blocks, sinr, noise_w, .. }) => {
            at(*frame)?;
            limit("blocks", u64::from(*blocks), BLOCKS as u64)?;
            within("sinr", (*sinr).into(), 0.0, 1e12)?;
            within("noise_w", (*noise_w).into(), 0.0, 1e12)
        }
        (Role::CommunicationReceiver, Event::LinkSeen { frame, sinr, noise_w, blocks, lost }) => {
            at(*frame)?;
            limit("blocks", u64::from(*blocks), BLOCKS as u64)?;
            limit("lost", u64::from(*lost), u64::from(*blocks))?;
            within("sinr", (*sinr).into(), 0.0, 1e12)?;
            within("noise_w", (*noise_w).into(), 0.0, 1e12)
        }
        (Role::CommunicationReceiver, Event::Sounded { frame, antennas: sounded, gains }) => {
            at(*frame)?;
            if *sounded != antennas {
                return Err(format!("antennas = {sounded}; accepted: {antennas}"));
            }
            gains.iter().try_for_each(|gain| {
                within("gains", gain.re.into(), -1e12, 1e12)?;
                within("gains", gain.im.into(), -1e12, 1e12)
            })
        }
        (Role::SensingReceiver, Event::Sensed { frame, estimate, .. }) => {
            at(*frame)?;
            limit("estimate.frames", estimate.frames as u64, 1 << 20)?;
            within("estimate.noise_power_w", estimate.noise_power_w, 0.0, 1e12)?;
            within("estimate.detection_energy", estimate.detection_energy, -1e30, 1e30)?;
            let Some(fix) = &estimate.fix else { return Ok(()) };
            place("estimate.fix.position_m", fix.position_m)?;
            spread("estimate.fix.covariance_m2", fix.covariance_m2)?;
            within("estimate.fix.displacement_m2", fix.displacement_m2, 0.0, LARGEST_M2)?;
            within("estimate.fix.delay_s", fix.delay_s, -1e3, 1e3)?;
            [fix.departure_rad, fix.arrival_rad].iter().try_for_each(|angle| within("angle", *angle, -7.0, 7.0))?;
            within("estimate.fix.reflection", fix.reflection.norm(), 0.0, 1e12)
        }
        (Role::SensingReceiver, Event::Tracked { frame, track, .. }) => {
            at(*frame)?;
            let Some(track) = track else { return Ok(()) };
            place("track", track.position_m())?;
            place("track", track.velocity_m_s())?;
            let covariance_m2 = track.position_covariance_m2();
            spread("track", [0, 1].map(|row| [0, 1].map(|column| covariance_m2[(row, column)])))?;
            // A time or a speed that cannot be leads away from here.
            track.predict(0.0).0.iter().try_for_each(|part| within("track", *part, -1e15, 1e15))
        }
        _ => Err(format!("an event that a {role} does not have; accepted: those of its own")),
    }
}

fn limit(name: &str, found: u64, most: u64) -> Result<(), String> {
    if found > most { Err(format!("{name} = {found}; accepted: up to {most}")) } else { Ok(()) }
}

fn within(name: &str, found: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&found) { Ok(()) } else { Err(format!("{name} = {found}; accepted: {least} to {most}")) }
}

fn place(name: &str, position_m: [f64; 2]) -> Result<(), String> {
    position_m.iter().try_for_each(|part| within(name, *part, -FARTHEST_M, FARTHEST_M))
}

/// A covariance: symmetric, not negative, and not beyond all measure.
fn spread(name: &str, covariance_m2: [[f64; 2]; 2]) -> Result<(), String> {
    let [[a, b], [c, d]] = covariance_m2;
    within(name, a, 0.0, LARGEST_M2)?;
    within(name, d, 0.0, LARGEST_M2)?;
    let is_one = (b - c).abs() <= 1e-6 * (a + d) && a * d - b * c >= -1e-9 * (a + d) * (a + d);
    if is_one { Ok(()) } else { Err(format!("{name} = [[{a}, {b}], [{c}, {d}]]; accepted: a covariance")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensing::Estimate;
    use crate::stream::MAX_SOUNDED_ANTENNAS;
    use num_complex::Complex32;

    #[test]
    fn f14_an_event_is_that_of_its_role_and_its_numbers_can_be() {
        use Role::{CommunicationReceiver as Communication, SensingReceiver as Sensing};
        let gains = [Complex32::ONE; MAX_SOUNDED_ANTENNAS];
        let sounded = |antennas| Event::Sounded { frame: 64, antennas, gains };
        let seen = |lost| Event::LinkSeen { frame: 3, sinr: 8.0, noise_w: 1e-9, blocks: 4, lost };
        let sensed = Event::Sensed { frame: 3, estimate: Estimate::LEARNING, track: None, more: false };
        for event in [sounded(4), seen(4)] {
            assert_eq!(vet(Communication, &event, 4), Ok(()));
            assert!(vet(Sensing, &event, 4).is_err(), "of another role");
        }
        assert_eq!(vet(Sensing, &sensed, 4), Ok(()));
        let infinite = Event::FrameReceived {
            frame: 3,
            blocks: 4,
            decoded: [true; 4],
            digests: [0; 4],
            sinr: f32::INFINITY,
            noise_w: 0.0,
        };
        for event in [
            sounded(17),
            sounded(usize::MAX),
            sounded(3),
            seen(5),
            infinite,
            Event::Sounded { frame: 64, antennas: 4, gains: [Complex32::new(f32::NAN, 0.0); MAX_SOUNDED_ANTENNAS] },
            Event::Lost { frames: u64::MAX },
            Event::ReceiverProgress { sample_time: u64::MAX },
            Event::TransmitterProgress { frame: u64::MAX },
            Event::PeerLost { sensing: true },
            Event::Radiated { samples: 1, energy: 1e30 },
            Event::LeftOut { frame: 7 },
            Event::Started { origin_ns: 0, seconds_ahead: None },
        ] {
            assert!(vet(Communication, &event, 4).is_err(), "{event:?}");
            assert!(vet(Sensing, &event, 4).is_err(), "{event:?}");
        }
        let far = Estimate { noise_power_w: f64::MAX, ..Estimate::LEARNING };
        assert!(vet(Sensing, &Event::Sensed { frame: 3, estimate: far, track: None, more: false }, 4).is_err());
    }
}
