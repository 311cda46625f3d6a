//! Transmitter and receivers in processes of their own: each runs the program, on devices in one world, and they know of
//! each other what the link says.
#![cfg(feature = "soapy")]

#[path = "processes/mod.rs"]
mod system;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use system::{SLOW, System, in_real_time, report, said};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// Asserts what a transmitter's report says of pictures and blocks received elsewhere.
fn assert_pictures(sent: &Value, frames: u64) {
    assert_eq!(sent["frames_sent"], frames);
    assert!(number(&sent["block_error_rate"]) <= 1e-2, "{}", sent["block_error_rate"]);
    let images = sent["images"].as_array().unwrap();
    let whole = images.iter().filter(|image| image["equals_error_free"] == true).count();
    assert!(images.len() >= 20 && 5 * whole >= 4 * images.len(), "{whole} of {}", images.len());
    let sinr = &sent["sinr_db"];
    assert!((number(&sinr["measured"]) - number(&sinr["predicted"])).abs() <= 0.3, "{sinr}");
}

/// Asserts that positions scatter as their bound says.
fn assert_positions(target: &Value, frames: u64) {
    assert_eq!((&target["frames"], &target["outliers"]), (&Value::from(frames), &Value::from(0)), "{target}");
    let ratio = number(&target["rmse_m"]) / number(&target["hcrb_rmse_m"]);
    // Four deviations of the root of a mean square over two coordinates in so many frames.
    assert!((ratio - 1.0).abs() < 4.0 / (2.0 * frames as f64).sqrt(), "{ratio}");
}

#[test]
fn three_processes_exchange_pictures_and_positions() {
    let system = System::new();
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.png");
    // Whoever comes first waits for the others.
    let communication = system.start("communication-receiver", &["--received", seen.to_str().unwrap()]);
    let sensing = system.start("sensing-receiver", &[]);
    let transmitter = system.start("transmitter", &["--frames", "240"]);
    let sent = report(&transmitter.output());
    assert_pictures(&sent, 240);
    assert_positions(&sent["target"], 240);
    let received = report(&communication.output());
    assert_eq!(received["frames_decoded"], sent["frames_decoded"]);
    assert!(number(&received["block_error_rate"]) <= 1e-2);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files >= sent["images"].as_array().unwrap().len(), "{files} pictures are there to be seen");
    // The sensing receiver knows where it saw the target, and not where it was.
    let found = &report(&sensing.output())["target"];
    assert_eq!((&found["frames"], &found["truth_m"]), (&Value::from(240), &Value::Null));
    let estimate = &found["estimate_m"];
    assert_eq!(*estimate, sent["target"]["estimate_m"]);
    assert!((number(&estimate[0]) - 100.0).hypot(number(&estimate[1]) - 50.0) < 0.05, "{estimate}");
}

#[test]
fn a_transmitter_that_senses_on_its_own_device_serves_a_receiver_elsewhere() {
    let system = System::new();
    let transmitter = system.start("transmitter-sensing", &["--frames", "240"]);
    let communication = system.start("communication-receiver", &[]);
    let sent = report(&transmitter.output());
    assert_pictures(&sent, 240);
    assert_positions(&sent["target"], 240);
    assert_eq!(report(&communication.output())["frames_decoded"], sent["frames_decoded"]);
}

#[test]
fn what_cannot_work_together_is_refused_in_one_line() {
    let system = System::new();
    let transmitter = system.start("transmitter", &["--set", "link.wait_s=20"]);
    let other = system.start("sensing-receiver", &["--seed", "2"]).output();
    assert_eq!(other.status.code(), Some(2));
    assert!(said(&other).trim().ends_with("--seed: 2; accepted by the transmitter: 1"), "{}", said(&other));
    assert_eq!(said(&other).trim().lines().count(), 1, "{}", said(&other));
    let ask = |hello: &str| {
        let mut stream = TcpStream::connect(&system.link).unwrap();
        writeln!(stream, "{hello}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    };
    let hello = r#"{"sequence":0,"sent_us":0,"message":{"hello":{"version":99,"role":"sensing-receiver","terms":{}}}}"#;
    assert!(ask(hello).contains("version 99 of the messages; accepted by the transmitter: 1"));
    assert!(ask("GET / HTTP/1.1").contains("no greeting"));
    drop(transmitter);
}

#[test]
fn a_receiver_that_is_lost_is_reported_and_may_come_back() {
    let system = System::new();
    let transmitter = system.start("transmitter-sensing", &["--frames", "2400", "--pace", "0.004"]);
    let first = system.start("communication-receiver", &[]);
    std::thread::sleep(Duration::from_millis(2500));
    first.kill();
    std::thread::sleep(Duration::from_millis(300));
    let second = system.start("communication-receiver", &[]);
    let output = transmitter.output();
    let sent = report(&output);
    assert!(said(&output).contains("the communication-receiver is lost"), "{}", said(&output));
    // The run went on without it, and with the second one: that decoded what it heard.
    assert_positions(&sent["target"], 2400);
    let decoded = report(&second.output())["frames_decoded"].as_u64().unwrap();
    let both = sent["frames_decoded"].as_u64().unwrap();
    assert!(decoded > 100 && decoded < both && both < 2400, "{decoded} of {both}");
}

#[test]
fn receivers_end_clearly_when_their_transmitter_is_gone() {
    let system = System::new();
    let transmitter = system.start("transmitter", &["--frames", "100000"]);
    let receivers = ["communication-receiver", "sensing-receiver"].map(|role| system.start(role, &[]));
    std::thread::sleep(Duration::from_millis(2500));
    transmitter.kill();
    let since = Instant::now();
    for receiver in receivers {
        let output = receiver.output();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("is lost; looking for it"), "{}", said(&output));
        assert!(said(&output).lines().any(|line| line.contains("no transmitter")), "{}", said(&output));
    }
    assert!(since.elapsed() < Duration::from_secs(30));
}

#[test]
fn f02_devices_started_seven_seconds_apart_on_one_pulse_find_positions_at_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let [transmitter, sensing] = ["transmitter", "sensing-receiver"].map(|role| in_real_time(folder.path(), role));
    let system = System::new();
    let peers = ["--set", "link.peers=[\"sensing-receiver\"]", "--seconds", "8"];
    // Counters that began somewhere, and are set by the pulse.
    let sender = system.start_on(&transmitter, ",counter_s=1234.5", &[&peers[..], &SLOW].concat());
    std::thread::sleep(Duration::from_millis(7300));
    let receiver = system.start_on(&sensing, ",counter_s=9.25", &SLOW);
    let sent = report(&sender.output());
    let found = receiver.output();
    let target = &sent["target"];
    let frames = target["frames"].as_u64().unwrap();
    let radiated = sent["frames_radiated"].as_u64().unwrap();
    assert!(frames > 500 && 10 * frames >= 9 * radiated, "{frames} of {radiated}: {}", said(&found));
    assert_positions(target, frames);
}

#[test]
fn f02_a_device_whose_pulse_is_unplugged_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let [transmitter, sensing] = ["transmitter", "sensing-receiver"].map(|role| in_real_time(folder.path(), role));
    let system = System::new();
    let peers = ["--set", "link.peers=[\"sensing-receiver\"]", "--seconds", "8"];
    let sender = system.start_on(&transmitter, ",counter_s=1234.5", &[&peers[..], &SLOW].concat());
    let receiver = system.start_on(&sensing, ",counter_s=9.25,pps_ms=none", &SLOW).output();
    assert_eq!(receiver.status.code(), Some(1), "{}", said(&receiver));
    let said = said(&receiver);
    let lines: Vec<_> = said.lines().filter(|line| line.contains("its time at the last pulse")).collect();
    assert!(lines.len() == 1 && lines[0].contains("radio virtual-sensing"), "{said}");
    assert!(lines[0].contains("is the pulse connected?"), "{said}");
    drop(sender);
}

/// Says hello as a receiver and is welcomed; what can be said then.
fn welcomed(system: &System, role: &str) -> Option<TcpStream> {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < Duration::from_secs(30), "no transmitter");
        let Ok(mut stream) = TcpStream::connect(&system.link) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let ask = |stream: &mut TcpStream, terms: &str| {
            let hello = format!(
                r#"{{"sequence":0,"sent_us":0,"message":{{"hello":{{"version":1,"role":"{role}","terms":{terms}}}}}}}"#
            );
            writeln!(stream, "{hello}").unwrap();
            let mut answer = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut answer).unwrap();
            answer
        };
        let answer = ask(&mut stream, "{}");
        return answer.contains("welcome").then_some(stream);
    }
}

#[test]
fn f14_a_peer_that_says_what_cannot_be_steers_nothing_and_stops_nothing() {
    let system = System::new();
    let transmitter =
        system.start("transmitter-sensing", &["--frames", "1500", "--pace", "0.004", "--set", "link.peers=[]"]);
    let mut stream = welcomed(&system, "communication-receiver").expect("a peer without terms is admitted");
    let gains = vec!["[1.0,0.0]"; 16].join(",");
    let events = [
        format!(r#"{{"sounded":{{"frame":64,"antennas":17,"gains":[{gains}]}}}}"#),
        format!(r#"{{"sounded":{{"frame":64,"antennas":18446744073709551615,"gains":[{gains}]}}}}"#),
        format!(r#"{{"sounded":{{"frame":18446744073709551615,"antennas":4,"gains":[{gains}]}}}}"#),
        format!(r#"{{"sounded":{{"frame":64,"antennas":4,"gains":[{}]}}}}"#, vec!["[1e39,-1e39]"; 16].join(",")),
        r#"{"link_seen":{"frame":1125899906842624,"sinr":1e30,"noise_w":0.0,"blocks":255,"lost":255}}"#.into(),
        r#"{"link_seen":{"frame":3,"sinr":-1.0,"noise_w":-1.0,"blocks":4,"lost":4}}"#.into(),
        r#"{"transmitter_progress":{"frame":18446744073709551615}}"#.into(),
        r#"{"receiver_progress":{"sample_time":18446744073709551615}}"#.into(),
        r#"{"peer_lost":{"sensing":true}}"#.into(),
        r#"{"radiated":{"samples":1,"energy":1e30}}"#.into(),
        r#"{"left_out":{"frame":18446744073709551615}}"#.into(),
        r#"{"lost":{"frames":18446744073709551615}}"#.into(),
        r#"{"frame_received":{"frame":18446744073709551615,"blocks":255,"decoded":[true,true,true,true],"digests":[0,0,0,0],"sinr":1e39,"noise_w":0.0}}"#.into(),
        r#"{"tracked":{"frame":18446744073709551615,"track":null,"more":false}}"#.into(),
    ];
    for (event, sequence) in events.iter().zip(1..) {
        writeln!(stream, r#"{{"sequence":{sequence},"sent_us":0,"message":{{"event":{event}}}}}"#).unwrap();
    }
    writeln!(stream, "{}", "[".repeat(100_000)).unwrap();
    writeln!(stream, "\u{0}\u{1}nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    drop(stream);
    let output = transmitter.output();
    let sent = report(&output);
    assert_eq!(sent["frames_sent"], 1500, "{}", said(&output));
    assert!(said(&output).contains("says what cannot be"), "{}", said(&output));
    // None of it is in the report.
    assert!(number(&sent["power_dbm"]["measured"]) < 0.5, "{}", sent["power_dbm"]);
    assert!(number(&sent["frames_decoded"]) == 0.0, "{}", sent["frames_decoded"]);
    let target = &sent["target"];
    assert!(number(&target["frames"]) >= 1400.0, "{target}");
}

#[test]
fn f14_without_the_secret_of_the_system_nobody_is_heard_and_a_link_beyond_the_machine_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let [key, other] = ["key", "other"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&key, "the secret of one laboratory\n").unwrap();
    std::fs::write(&other, "the secret of another one\n").unwrap();
    let with = |key: &str| format!("link.key_file={key}");
    let system = System::new();
    let peers = "link.peers=[\"communication-receiver\"]";
    let transmitter = system.start("transmitter-sensing", &["--frames", "240", "--set", &with(&key), "--set", peers]);
    assert!(welcomed(&system, "communication-receiver").is_none(), "without a seal");
    for (more, sentence) in [
        (vec![], "the transmitter asks for a key; accepted: its own link.key_file"),
        (vec!["--set".to_owned(), with(&other)], "the transmitter has another key; accepted: its own link.key_file"),
    ] {
        let more: Vec<_> = more.iter().map(String::as_str).collect();
        let refused = system.start("communication-receiver", &more).output();
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains(sentence), "{}", said(&refused));
    }
    let receiver = system.start("communication-receiver", &["--set", &with(&key)]);
    let sent = report(&transmitter.output());
    assert_pictures(&sent, 240);
    report(&receiver.output());
    let open = System { link: "0.0.0.0:0".into(), air: System::new().air };
    let output = open.start("transmitter", &["--frames", "2"]).output();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("accepted: with link.key_file"), "{}", said(&output));
}
