//! What goes through a radio of 4 TX and 5 RX channels, and how much of the time is the project's own: `cargo bench
//! --features soapy --bench radio`. The device is the virtual radio, at its own pace (lockstep) and by the clock, where
//! losses are the limit. Baseline: the samples that the run's bandwidth asks for, and the driver's share in the same run.

use std::time::Instant;

use issc::system::{RadioSettings, System, SystemSpec};

const VIRTUAL: &str = include_str!("../flowgraphs/virtual.toml");
const PROFILE: &str = include_str!("../hardware/profiles/virtual.toml");

/// A run on a profile of its own; with receivers, or with samples only taken from the device and forgotten.
fn run(name: &str, profile: &str, receivers: bool, change: impl Fn(SystemSpec) -> SystemSpec) {
    let folder = std::env::temp_dir().join(format!("issc-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let [profile_file, graph_file] = ["profile.toml", "flowgraph.toml"].map(|name| folder.join(name));
    std::fs::write(&profile_file, profile).expect("a file");
    let mut graph = VIRTUAL.replace("radio = \"virtual\"", &format!("radio = \"{}\"", profile_file.display()));
    if !receivers {
        graph.truncate(graph.find("[[chain]]\nname = \"communication-receiver\"").expect("its receivers"));
        graph += "[[chain]]\nname = \"nobody\"\nfrom = \"radio-receiver\"\nstages = [{ kind = \"discard\" }]\n";
    }
    std::fs::write(&graph_file, graph).expect("a file");
    let bands = Some("hardware/virtual-bands.toml".into());
    let radios = RadioSettings { transmit: true, bands, ..RadioSettings::default() };
    let spec = SystemSpec::from_flowgraph(&graph_file).expect("a flowgraph").radios(radios);
    let system = System::build(change(spec)).expect("a flowgraph that runs");
    let began = Instant::now();
    let ended = system.start().expect("a system").finish().expect("a run");
    let took = began.elapsed().as_secs_f64();
    let [(sent, sending), (received, receiving)] = ended.radios.traffic();
    let busy: f64 = ended.busy.iter().map(|busy| busy.time.as_secs_f64()).sum();
    let driver = (sending + receiving).as_secs_f64();
    let [underflows, overflows] = ended.radios.faults();
    println!(
        "{name:<34} {:>7.3} MS/s sent, {:>7.3} received per channel; {:>4.0} % of the busy time in own code; {underflows} \
         underflows, {overflows} overflows",
        sent as f64 / took / 1e6,
        received as f64 / took / 1e6,
        100.0 * (1.0 - driver / busy.max(driver)),
    );
    drop(std::fs::remove_dir_all(folder));
}

fn main() {
    // `cargo test` runs benchmarks as programs too; only `cargo bench` measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("4 TX and 5 RX channels, CS16; {} cores", std::thread::available_parallelism().map_or(1, usize::from));
    let linear = PROFILE.replace("air=world", "air=sum").replace("latency_samples = 1024", "latency_samples = 0");
    run("lockstep, front end alone", &linear, false, |spec| spec.frames(2000));
    run("lockstep, receivers and world", PROFILE, true, |spec| spec.frames(600));
    let by_the_clock = |profile: &str| {
        profile
            .replace("tx_fifo=32768", "tx_fifo=65536,pace=wall")
            .replace("lead_ms = 0.02", "lead_ms = 20.0")
            .replace("start_delay_ms = 0.1", "start_delay_ms = 100.0")
    };
    for (rate, receivers) in
        [(1.0, true), (2.0, true), (1.0, false), (2.0, false), (5.0, false), (10.0, false), (20.0, false)]
    {
        let profile = by_the_clock(if receivers { PROFILE } else { &linear });
        let name = format!("clock, {rate} MS/s{}", if receivers { ", receivers" } else { "" });
        run(&name, &profile, receivers, |spec| {
            let spec = spec.seconds(2.0).set("scene.waveform.bandwidth_hz", rate * 1e6 / 2.0);
            spec.and_then(|spec| spec.set("scene.channel.timing_error_std_s", 100e-9 * 200.0 / rate)).expect("keys")
        });
    }
}
