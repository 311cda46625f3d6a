//! The shipped loopback from a program of one's own: watched, changed while it runs, stopped, reported.

use std::time::Duration;

use issc::system::{Event, System, SystemSpec};

fn main() -> issc::Result<()> {
    let run = System::build(SystemSpec::shipped("loopback")?.frames(1_000_000))?.start()?;
    let mut events = run.subscribe();
    let answer = run.command("power_dbm=-3".parse()?)?;
    let from = answer.frame.expect("the change is accepted");
    // The first frame under the new power.
    let sent = events.find_map(|event| match event {
        Event::Sent { frame, power_dbm, .. } if frame >= from => Some((frame, power_dbm)),
        _ => None,
    });
    let (frame, power_dbm) = sent.expect("frames go on");
    assert!(frame == from && (power_dbm + 3.0).abs() < 0.01, "{frame} {power_dbm}");
    let first = run.status();
    std::thread::sleep(Duration::from_millis(300));
    let second = run.status();
    assert!(second.frame > first.frame, "it runs");
    run.stop();
    let report = run.join()?;
    assert!(report.figures.frames_sent < 1_000_000 && report.figures.frames_decoded > 0);
    println!("{}", serde_json::to_string(&report).expect("a report is JSON"));
    Ok(())
}
