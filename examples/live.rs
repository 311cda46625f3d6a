//! A running system from a program: start the shipped loopback, change its power while it runs, watch it, stop it.
//!
//! `cargo run --release --example live`

use issc::system::{Event, System, SystemSpec};

fn main() -> issc::Result<()> {
    let spec = SystemSpec::shipped("loopback")?.frames(100_000).seed(1).set("scene.constraints.power_dbm", -3.0)?;
    let run = System::build(spec)?.start()?;
    let mut events = run.subscribe();
    let answer = run.command("power_dbm=0".parse()?)?;
    println!("accepted: {}, from frame {:?} on", answer.accepted, answer.frame);

    // Events come while the system runs; a slow reader loses the oldest ones and is told how many.
    let changed = answer.frame.unwrap_or_default();
    let first = events.find(|event| matches!(event, Event::Sent { frame, .. } if *frame >= changed));
    println!("{}", serde_json::to_string(&first).unwrap_or_default());

    let status = run.status();
    println!("frame {:?}, {:.2} dBm planned", status.frame, status.figures.power_dbm.plan.unwrap_or(f64::NAN));
    run.stop();
    let report = run.join()?;
    println!("{} frames sent, {} decoded", report.figures.frames_sent, report.figures.frames_decoded);
    println!("{} pictures, {} events lost by this reader", report.figures.images_total, events.lost());
    Ok(())
}
