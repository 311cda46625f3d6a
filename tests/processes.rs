//! Transmitter and receivers in processes of their own: each runs the program, on devices in one world, and they know of
//! each other what the link says.
#![cfg(feature = "soapy")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const BANDS: &str = "hardware/virtual-bands.toml";

/// Addresses of one system: its link and its shared air.
struct System {
    link: String,
    air: String,
}

impl System {
    fn new() -> Self {
        // Both held until both are chosen.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [link, air] = ports.map(|port| port.local_addr().unwrap().to_string());
        Self { link, air }
    }

    fn start(&self, flowgraph: &str, arguments: &[&str]) -> Running {
        let sends = flowgraph.starts_with("transmitter");
        let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
        command.args(["run", flowgraph, "--json"]).args(arguments);
        let (key, device) = if sends { ("listen", "share=") } else { ("connect", "air=world@") };
        command.args(["--set", &format!("link.{key}={}", self.link), "--device", &format!("{device}{}", self.air)]);
        if sends {
            command.args(["--transmit", "--bands", BANDS]);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        Running(Some(child))
    }
}

/// A process that does not outlive its test.
struct Running(Option<Child>);

impl Running {
    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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
