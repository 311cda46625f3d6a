//! The shipped flowgraphs of real devices, each on virtual ones with the limits and the habits of those.

use super::*;

/// What stands for a real device: the gain in dB from port to port at which its levels fit, and the arguments of a virtual one.
const STANDING_IN: [(&str, f64, &str); 6] = [
    (
        "n310",
        70.0,
        "tx=4,rx=4,dialect=rfnoc,tx_gain=0/65,rx_gain=0/75,master_clock=122.88e6,lo_group=2,rx_antennas=TX/RX+RX2",
    ),
    (
        "x410",
        60.0,
        "tx=4,rx=4,dialect=rfnoc,tx_gain=0/60,rx_gain=0/60,master_clock=245.76e6,tx_antennas=TX/RX0,rx_antennas=TX/RX0+RX1",
    ),
    ("x310-pair", 23.0, "tx=4,rx=4,dialect=rfnoc,tx_gain=0/31.5,rx_gain=0/31.5,master_clock=184.32e6"),
    (
        "b210",
        66.0,
        "tx=2,rx=2,dialect=b2xx,tx_gain=0/89.75,rx_gain=0/76,master_clock=30.72e6,max_rate_sum=61.44e6,lo_group=2",
    ),
    (
        "b210-receiver",
        66.0,
        "tx=2,rx=2,dialect=b2xx,tx_gain=0/89.75,rx_gain=0/76,master_clock=30.72e6,max_rate_sum=61.44e6",
    ),
    (
        "bladerf2-micro",
        46.0,
        "tx=2,rx=2,dialect=bladerf,tx_gain=-24/66,rx_gain=-15/60,max_rate_sum=80e6,lo_group=2,full_scale=2048",
    ),
];

/// A shipped flowgraph whose devices are virtual ones, in a folder of its own.
fn standing_in(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = std::fs::read_to_string(format!("flowgraphs/{name}.toml")).unwrap();
    for profile in ["n310", "x410", "x310-pair", "b210", "b210-receiver", "bladerf2-micro", "bladerf2-receiver"] {
        let device = if profile == "bladerf2-receiver" { "bladerf2-micro" } else { profile };
        let (_, gain_db, limits) = STANDING_IN.iter().find(|(known, ..)| *known == device).unwrap();
        let gain = 10f64.powf(gain_db / 20.0) / 4.0;
        let taps: Vec<_> = (0..16).map(|tap| format!("{} {} 0 {gain} 0", tap / 4, tap % 4)).collect();
        let [tx, rx] = ["tx=", "rx="].map(|key| limits.split(',').find_map(|item| item.strip_prefix(key)).unwrap());
        let there = |tap: &&String| {
            let mut words = tap.split(' ');
            words.next() < Some(rx) && words.next() < Some(tx)
        };
        let air = folder.path().join(format!("{profile}.taps"));
        std::fs::write(&air, taps.iter().filter(there).cloned().collect::<Vec<_>>().join("\n")).unwrap();
        let text = std::fs::read_to_string(format!("hardware/profiles/{profile}.toml")).unwrap();
        let args = text.lines().find(|line| line.starts_with("args = ")).unwrap();
        let sources =
            if text.contains("clock_source=external") { ",clock_source=external,time_source=external" } else { "" };
        let virtual_args = format!(
            "args = \"driver=virtual,retune=random,air=file:{},tx_fifo=1048576,serial={profile},{limits}{sources}\"",
            air.display()
        );
        let text = text.replace(args, &virtual_args).replace("settle_ms = 1000", "settle_ms = 10");
        let path = folder.path().join(format!("{profile}.toml"));
        std::fs::write(&path, text).unwrap();
        graph = graph.replace(&format!("radio = \"{profile}\""), &format!("radio = \"{}\"", path.display()));
    }
    let path = folder.path().join("flowgraph.toml");
    std::fs::write(&path, graph).unwrap();
    (folder, path.display().to_string())
}

#[test]
fn f19_every_shipped_flowgraph_of_real_devices_runs_within_their_limits() {
    for name in ["n310", "x410", "x310-pair", "b210-pair", "bladerf-pair"] {
        // As it stands it is whole: every stage is made, and no device is asked for.
        let checked = issc(&["check", name]);
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
        let (_folder, graph) = standing_in(name);
        let arguments =
            ["run", &graph, "--transmit", "--bands", BANDS, "--json", "--frames", "40", "--calibrate", "cable"];
        let output = issc(&arguments);
        let report = report(&output);
        assert_eq!((&report["frames_sent"], &report["frames_radiated"]), (&40.into(), &40.into()), "{name}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("calibrated, TX"), "{name}: {stderr}");
    }
}
