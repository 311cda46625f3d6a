//! User data beside pictures, from end to end: what comes out is what went in, in its order, and what is lost is counted.

use std::collections::HashSet;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use issc::system::{System, SystemSpec};
use serde_json::Value;

const SOURCE: &str = "chain.transmitter.stages.data-source";
const SINK: &str = "chain.picture-receiver.stages.data-sink";

/// The arguments of a run with data from one end to another.
fn arguments(from: &str, to: &str, frames: u64) -> Vec<String> {
    let mut arguments = vec!["run".into(), "data".into(), "--json".into(), "--frames".into(), frames.to_string()];
    for set in [format!("{SOURCE}.udp="), format!("{SINK}.udp="), format!("{SOURCE}.{from}"), format!("{SINK}.{to}")] {
        arguments.extend(["--set".into(), set]);
    }
    arguments
}

fn issc(arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts")
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

fn file_run(folder: &Path, more: &[&str]) -> (Vec<u8>, Value) {
    let [from, to] = ["from", "to"].map(|name| folder.join(name));
    std::fs::write(&from, bytes(3_000_000)).unwrap();
    let mut arguments = arguments(&format!("file={}", from.display()), &format!("file={}", to.display()), 1500);
    arguments.extend(more.iter().map(|&argument| argument.into()));
    let report = report(&issc(&arguments));
    (std::fs::read(&to).unwrap(), report["receivers"][0].clone())
}

#[test]
fn a_file_longer_than_the_run_fills_what_pictures_leave_and_arrives_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (came, receiver) = file_run(folder.path(), &[]);
    let data = &receiver["data"];
    let number = |key: &str| data[key].as_f64().unwrap_or_else(|| panic!("{key}: {data}"));
    assert!(came.len() > 100_000 && came.len() % 1200 == 0 && came == bytes(3_000_000)[..came.len()], "{}", came.len());
    let (promised, goodput) = (number("promised_bits_per_s"), number("goodput_bits_per_s"));
    assert!(goodput >= 0.95 * promised && goodput <= promised, "{data}");
    assert_eq!(data["datagrams"]["received"], came.len() / 1200, "{data}");
    // One may be under way at the end of the run.
    assert!(data["datagrams"]["lost"].as_u64().unwrap() <= 1, "{data}");
    assert_eq!((data["datagrams"]["damaged"].as_u64(), receiver["wrong_blocks"].as_u64()), (Some(0), Some(0)));
    // Thirty pictures a second, all of them whole.
    let images = receiver["images"].as_array().unwrap();
    let whole = images.iter().filter(|image| image["blocks_lost"] == 0).count();
    let seconds = 8.0 * came.len() as f64 / goodput;
    assert!(
        (images.len() as f64 - 30.0 * seconds).abs() < 2.0 && whole + 1 >= images.len(),
        "{whole} of {}",
        images.len()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_written_is_said_in_one_line_and_the_run_does_not_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    std::fs::write(&from, bytes(3_000_000)).unwrap();
    let output = issc(&arguments(&format!("file={}", from.display()), "file=/dev/full", 400));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("data-sink: /dev/full")).count(), 1, "{said}");
    // The rest of the run is worth something all the same.
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["frames_decoded"], 400);
}

#[test]
fn where_blocks_are_lost_datagrams_are_missing_and_none_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    // Every sixteen frames or so another transmitter takes a block along, and a datagram takes dozens of blocks.
    let bursts = "[[impairment]]\nid = \"other\"\nat = \"communication-receiver\"\nkind = \"bursts\"\ndb = 30.0\nlength = 600\nperiod = 50021\n";
    let scene = folder.path().join("scene.toml");
    std::fs::write(&scene, format!("{}\n{bursts}", include_str!("../scenes/paper.toml"))).unwrap();
    let (came, receiver) = file_run(folder.path(), &["--set", &format!("scene={}", scene.display())]);
    let datagrams = &receiver["data"]["datagrams"];
    let count = |key: &str| datagrams[key].as_u64().unwrap();
    assert!(receiver["block_error_rate"].as_f64().unwrap() > 1e-4, "{}", receiver["block_error_rate"]);
    assert!(count("lost") > 0 && count("received") > 0, "{datagrams}");
    assert_eq!(count("sent"), count("received") + count("lost"));
    assert_eq!((count("damaged"), count("received")), (0, came.len() as u64 / 1200));
    let sent = bytes(3_000_000);
    let mut order = sent.chunks(1200);
    assert!(came.chunks(1200).all(|datagram| order.any(|known| known == datagram)), "wrong, or out of order");
}

#[test]
fn the_standard_input_comes_out_at_the_standard_output_and_the_report_beside_it() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(arguments("stdin=true", "stdout=true", 800))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(&bytes(50_000)).unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == bytes(50_000), "{} bytes", output.stdout.len());
    let said = String::from_utf8_lossy(&output.stderr);
    let report = said.lines().find(|line| line.starts_with('{')).expect("a report");
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["receivers"][0]["data"]["datagrams"]["received"], 42, "{report}");
}

#[test]
fn packets_come_out_as_they_went_in_while_the_run_goes_on() {
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (packets, out) = (socket(), socket());
    out.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A port that was free a moment ago.
    let into = socket().local_addr().unwrap();
    let spec = SystemSpec::shipped("data").unwrap().pace(1.0);
    let spec = spec.set(&format!("{SOURCE}.udp"), into.to_string()).unwrap();
    let spec = spec.set(&format!("{SINK}.udp"), out.local_addr().unwrap().to_string()).unwrap();
    let run = System::build(spec).unwrap().start().unwrap();
    let packet = |number: u32| -> Vec<u8> {
        let length = 1 + number as usize * 37 % 1400;
        number.to_be_bytes().into_iter().chain(bytes(length)).collect()
    };
    let sender = std::thread::spawn(move || {
        for number in 0..200 {
            packets.send_to(&packet(number), into).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (mut seen, mut last, mut buffer) = (HashSet::new(), None, vec![0; 2000]);
    while seen.len() < 200 {
        let Ok(length) = out.recv(&mut buffer) else { break };
        let number = u32::from_be_bytes(buffer[..4].try_into().unwrap());
        assert!(buffer[..length] == packet(number), "packet {number} is another one");
        assert!(last.replace(number) < Some(number), "packet {number} comes late");
        seen.insert(number);
    }
    sender.join().unwrap();
    let status = run.status();
    run.stop();
    let report = run.join().unwrap();
    // The loopback loses no block of these plans.
    assert_eq!(seen.len(), 200, "{:?}", report.figures.receivers[0].data);
    let latency = &report.figures.latency_ms;
    for (what, latency) in
        [("datagram", &latency.datagram), ("position", &latency.position), ("picture", &latency.picture)]
    {
        let [median, most] = [latency.p50, latency.max].map(|milliseconds| milliseconds.expect(what));
        assert!(median > 0.0 && median <= most && most < 30_000.0, "{what}: {latency:?}");
    }
    assert!(status.figures.latency_ms.position.p50.is_some());
}
