//! A system in processes of its own: each runs the program, on devices in one world.
#![allow(dead_code)]

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub const BANDS: &str = "hardware/virtual-bands.toml";

/// Addresses of one system: its link and its shared air.
pub struct System {
    pub link: String,
    pub air: String,
}

impl System {
    pub fn new() -> Self {
        // Both held until both are chosen.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [link, air] = ports.map(|port| port.local_addr().unwrap().to_string());
        Self { link, air }
    }

    pub fn start(&self, flowgraph: &str, arguments: &[&str]) -> Running {
        self.start_on(flowgraph, "", arguments)
    }

    /// The same on a device with more arguments.
    pub fn start_on(&self, flowgraph: &str, more: &str, arguments: &[&str]) -> Running {
        let name = std::path::Path::new(flowgraph).file_stem().unwrap().to_str().unwrap();
        let sends = name.starts_with("transmitter");
        let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
        command.args(["run", flowgraph, "--json"]).args(arguments);
        let (key, device) = if sends { ("listen", "share=") } else { ("connect", "air=world@") };
        let device = format!("{device}{}{more}", self.air);
        command.args(["--set", &format!("link.{key}={}", self.link), "--device", &device]);
        if sends {
            command.args(["--transmit", "--bands", BANDS]);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        Running(Some(child))
    }
}

/// A process that does not outlive its test.
pub struct Running(Option<Child>);

impl Running {
    pub fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub fn kill(mut self) {
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

pub fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Profile and flowgraph of a role on devices in real time at 0.4 MS/s, each with a counter of its own that is set by one
/// seconds' pulse.
pub fn in_real_time(folder: &std::path::Path, role: &str) -> String {
    let device = match role {
        "communication-receiver" => "virtual-communication",
        "sensing-receiver" => "virtual-sensing",
        _ => "virtual-transmitter",
    };
    let mut profile = std::fs::read_to_string(format!("hardware/profiles/{device}.toml")).unwrap();
    for (from, to) in [
        ("driver=virtual", "driver=virtual,pace=wall"),
        ("tx_fifo=32768", "tx_fifo=65536"),
        // What a loaded machine may be away for.
        ("lead_ms = 0.02", "lead_ms = 20.0\nahead_ms = 100.0"),
        ("watchdog_ms = 5000.0", "watchdog_ms = 1000.0"),
        ("start_delay_ms = 0.1", "start_delay_ms = 100.0"),
    ] {
        assert!(role != "transmitter" || profile.contains(from), "{from}");
        profile = profile.replace(from, to);
    }
    if role != "communication-receiver" {
        profile = profile.replace("time_source = \"external\"", "time_source = \"external\"\ntime_set = \"utc-pps\"");
    }
    let path = folder.join(format!("{device}.toml"));
    std::fs::write(&path, profile).unwrap();
    let graph = std::fs::read_to_string(format!("flowgraphs/{role}.toml")).unwrap();
    let radio = |name: &str| format!("radio = \"{name}\"");
    assert!(graph.contains(&radio(device)));
    let graph = graph.replace(&radio(device), &radio(path.to_str().unwrap()));
    let path = folder.join(format!("{role}.toml"));
    std::fs::write(&path, graph).unwrap();
    path.display().to_string()
}

pub const SLOW: [&str; 4] =
    ["--set", "scene.waveform.bandwidth_hz=2e5", "--set", "scene.channel.timing_error_std_s=5e-5"];

/// Numbers of the frames that events of a kind in a file tell of.
pub fn frames(path: &std::path::Path, kind: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == kind).filter_map(|event| event["frame"].as_u64()).collect()
}
