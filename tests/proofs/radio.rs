//! Two hundred faults in each dialect of drivers, in real time at 2 MS/s: the transmitter goes on, nothing is sent at
//! another time than its own, and what is counted is what happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use issc::modem::frame::{HeaderLength, Layout};
use serde_json::{Value, json};

use super::Proof;

const RATE_HZ: f64 = 2e6;
/// Samples of a frame whose header is short.
const FRAME: i64 = 2 * Layout::plain(HeaderLength::Short).symbols() as i64;
const LEAD: i64 = 40_000;
const PACKET: i64 = 4096;

/// What may happen once, and how often each does.
const EACH: usize = 20;
const UHD: [&str; 10] = [
    "underflow",
    "late",
    "sequence",
    "tx_error",
    "overflow",
    "gap",
    "corruption",
    "late_command",
    "timeout",
    "garbage",
];
const BLADERF: [&str; 10] =
    ["underflow", "late", "slow", "tx_error", "overflow", "gap", "corruption", "late_command", "timeout", "garbage"];

/// Seconds from one fault to the next, and before the first.
const APART_S: f64 = 0.3;
const FIRST_S: f64 = 1.0;

/// A profile and a flowgraph of a transmitter and of samples that are taken and thrown away.
fn lay_out(folder: &Path, dialect: &str, rx: usize) {
    let channels = format!("{:?}", (0..rx).collect::<Vec<_>>());
    let replace = |text: &str, pairs: &[(&str, &str)]| {
        pairs.iter().fold(text.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    };
    let profile = replace(
        include_str!("../../hardware/profiles/virtual.toml"),
        &[
            ("tx_fifo=32768", &format!("tx_fifo=65536,pace=wall,slow_ms=5,dialect={dialect}")),
            ("lead_ms = 0.02", "lead_ms = 20.0"),
            ("watchdog_ms = 5000.0", "watchdog_ms = 300.0"),
            ("start_delay_ms = 0.1", "start_delay_ms = 20.0"),
            ("rx=5,air=world", &format!("rx={rx},air=sum")),
            ("[0, 1, 2, 3, 4]", &channels),
        ],
    );
    std::fs::write(folder.join("profile.toml"), profile).unwrap();
    let graph = include_str!("../../flowgraphs/virtual.toml");
    let receivers = graph.find("[[chain]]\nname = \"communication-receiver\"").unwrap();
    let radio = format!("radio = \"{}\"", folder.join("profile.toml").display());
    let discard = "[[chain]]\nname = \"nobody\"\nfrom = \"radio-receiver\"\nstages = [{ kind = \"discard\" }]\n";
    let graph = replace(graph, &[(&graph[receivers..], discard)]).replace("radio = \"virtual\"", &radio);
    std::fs::write(folder.join("flowgraph.toml"), graph).unwrap();
}

/// One dialect's run: what the device and the report say.
fn suffer(dialect: &str) -> Value {
    let (kinds, rx) = if dialect == "bladerf" { (BLADERF, 1) } else { (UHD, 4) };
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), dialect, rx);
    // One kind after the other, round and round.
    let faults: Vec<_> = (0..EACH * kinds.len())
        .map(|n| format!("{}@{}", kinds[n % kinds.len()], ((FIRST_S + APART_S * n as f64) * RATE_HZ) as i64))
        .collect();
    let seconds = FIRST_S + APART_S * faults.len() as f64 + 2.0;
    let journal = folder.path().join("journal");
    let output = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(["run", folder.path().join("flowgraph.toml").to_str().unwrap(), "--transmit", "--json"])
        .args(["--bands", "hardware/virtual-bands.toml", "--seconds", &seconds.to_string()])
        .args(["--device", &format!("journal={},inject={}", journal.display(), faults.join("+"))])
        .args(["--set", "scene.waveform.bandwidth_hz=1e6"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = stderr.lines().find(|line| line.contains(" bursts, ")).unwrap_or_else(|| panic!("{stderr}"));
    let counted: BTreeMap<String, u64> = line
        .rsplit(": ")
        .next()
        .unwrap()
        .split(", ")
        .map(|item| {
            let (count, name) = item.split_once(' ').unwrap();
            (name.to_owned(), count.parse().unwrap())
        })
        .collect();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let journal = std::fs::read_to_string(journal).unwrap();
    let numbers = |prefix: &str| -> Vec<Vec<i64>> {
        let lines = journal.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect()
    };
    let air = numbers("tx-air ");
    json!({
        "status": output.status.code(),
        "counted": counted,
        "frames_sent": report["frames_sent"],
        "frames_radiated": report["frames_radiated"],
        "silence": air.windows(2).map(|pair| pair[1][0] - pair[0][1]).max(),
        "displaced": numbers("tx-displaced ").iter().map(|line| line[0]).max().unwrap_or_default(),
    })
}

pub fn prove(mut proof: Proof) {
    for dialect in ["rfnoc", "b2xx", "bladerf"] {
        let found = proof.part(dialect, || suffer(dialect));
        let number = |key: &str| found[key].as_i64().unwrap_or(-1);
        let (sent, radiated) = (number("frames_sent"), number("frames_radiated"));
        proof.claim(
            &format!("{dialect}: a run of 200 faults ends in order"),
            format!("exit status {}", found["status"]),
            found["status"] == 0,
        );
        proof.claim(
            &format!(
                "{dialect}: never silent for longer than lead, one frame and a packet, {} samples",
                LEAD + FRAME + PACKET
            ),
            format!("{} samples", number("silence")),
            (0..=LEAD + FRAME + PACKET).contains(&number("silence")),
        );
        proof.claim(
            &format!("{dialect}: 80 % of the frames radiated"),
            format!("{radiated} of {sent}"),
            sent > 0 && 10 * radiated >= 8 * sent,
        );
        // Where the device ran dry, the frames of the lead cannot go either.
        let dry = LEAD / FRAME + 3;
        let most = if dialect == "bladerf" { 2 * dry + 3 } else { 4 * 3 } * EACH as i64;
        proof.claim(
            &format!("{dialect}: the frames lost are those that faults touched and two more each, {most} at most"),
            format!("{}", sent - radiated),
            sent - radiated <= most,
        );
        proof.claim(
            &format!("{dialect}: nothing sent at another time than its own beyond one packet"),
            format!("{} samples of a burst", number("displaced")),
            number("displaced") <= PACKET,
        );
        let each = EACH as u64;
        let expected = match dialect {
            "bladerf" => vec![
                ("underflows", each),
                ("late", each),
                ("stream errors", 2 * each),
                ("lost packets", each),
                ("overflows", each),
                ("gaps", each),
                ("wrong times", each),
                ("restarts", 2 * each),
            ],
            _ => vec![
                ("underflows", each),
                ("late", each),
                ("stream errors", 2 * each),
                ("lost packets", 2 * each),
                ("overflows", each),
                ("gaps", each),
                ("wrong times", each),
                ("restarts", 3 * each),
            ],
        };
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(name, count)| found["counted"][*name] != *count)
            .map(|(name, count)| format!("{name} {} for {count}", found["counted"][*name]))
            .collect();
        proof.claim(
            &format!("{dialect}: what is counted is what was injected, each kind {EACH} times"),
            if wrong.is_empty() { "all".into() } else { wrong.join(", ") },
            wrong.is_empty(),
        );
    }
    proof.end();
}
