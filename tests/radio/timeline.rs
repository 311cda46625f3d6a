//! The transmit timeline against every dialect: it never falls silent, and nothing is sent at another time than its own.

use super::*;

/// A radio in real time at 0.4 MS/s whose driver speaks a dialect. Samples are taken and thrown away.
pub(crate) fn bench(device: &str, lead_ms: &str) -> Bench {
    let (device, lead) = (format!("tx_fifo=16384,pace=wall,{device}"), format!("lead_ms = {lead_ms}"));
    let profile = [
        ("tx_fifo=32768", device.as_str()),
        ("lead_ms = 0.02", &lead),
        ("watchdog_ms = 5000.0", "watchdog_ms = 300.0"),
        ("start_delay_ms = 0.1", "start_delay_ms = 100.0"),
        ("rx=5,air=world", "rx=4,air=id"),
        ("[0, 1, 2, 3, 4]", "[0, 1, 2, 3]"),
        ("latency_samples = 1024", "latency_samples = 0"),
    ];
    let receivers = VIRTUAL.find("[[chain]]\nname = \"communication-receiver\"").unwrap();
    let discard = "[[chain]]\nname = \"nobody\"\nfrom = \"radio-receiver\"\nstages = [{ kind = \"discard\" }]\n";
    Bench::new(&profile, &[(&VIRTUAL[receivers..], discard)])
}

/// A run of some seconds on it, with what it is to suffer.
pub(crate) fn run(bench: &Bench, seconds: &str, device: &str) -> Output {
    let graph = bench.path("flowgraph.toml");
    let device = format!("journal={},{device}", bench.path("journal").display());
    let mut all = vec!["run", graph.to_str().unwrap(), "--transmit", "--bands", BANDS, "--json"];
    all.extend(["--seconds", seconds, "--device", &device]);
    all.extend(SLOW);
    issc(&all)
}

/// Faults at these seconds of the device's time at 0.4 MS/s.
fn faults(kind: &str, seconds: &[f64]) -> String {
    let each: Vec<_> = seconds.iter().map(|second| format!("{kind}@{}", (second * 4e5) as i64)).collect();
    format!("inject={}", each.join("+"))
}

/// Samples that were sent, and the longest silence between them.
fn air(journal: &str) -> (i64, i64) {
    let number = |word: Option<&str>| word.unwrap().parse::<i64>().unwrap();
    let stretches: Vec<[i64; 2]> = journal
        .lines()
        .filter_map(|line| line.strip_prefix("tx-air "))
        .map(|line| {
            let mut words = line.split(' ');
            [number(words.next()), number(words.next())]
        })
        .collect();
    let sent = stretches.iter().map(|[from, to]| to - from).sum();
    (sent, stretches.windows(2).map(|pair| pair[1][0] - pair[0][1]).max().unwrap_or_default())
}

fn displaced(journal: &str) -> Vec<i64> {
    journal.lines().filter_map(|line| line.strip_prefix("tx-displaced ")?.parse().ok()).collect()
}

/// Samples of a frame whose header is short, of 20 ms, and of a packet of the virtual radio.
const FRAME: i64 = 2 * Layout::plain(HeaderLength::Short).symbols() as i64;
const LEAD: i64 = 8000;
const PACKET: i64 = 4096;

#[test]
fn f01_a_lead_longer_than_the_receivers_feedback_and_a_fault_do_not_silence_the_transmitter() {
    // 88 frames are 672 ms here.
    let profile = [
        ("tx_fifo=32768", "tx_fifo=16384,pace=wall"),
        ("lead_ms = 0.02", "lead_ms = 800.0"),
        ("watchdog_ms = 5000.0", "watchdog_ms = 2000.0"),
        ("start_delay_ms = 0.1", "start_delay_ms = 100.0"),
    ];
    let bench = Bench::new(&profile, &[]);
    let output = run(&bench, "6", &faults("underflow", &[3.5]));
    let report = report(&output);
    let [sent, radiated] = ["frames_sent", "frames_radiated"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(count(&output, "underflows"), 1);
    // After the fault the lead of 105 frames and those that were on their way.
    assert!(sent > 600 && radiated + 220 > sent, "{radiated} of {sent} frames");
    assert!(air(&bench.journal()).0 >= (sent as i64 - 220) * FRAME, "{:?}", air(&bench.journal()));
}

fn dawdles(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    // A frame has 7.6 ms.
    Ok(erase(Dawdling(Duration::from_millis(20))))
}

/// A stage that takes this long for every frame.
pub(crate) struct Dawdling(pub(crate) Duration);

impl Block for Dawdling {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        std::thread::sleep(self.0);
        output.copy_rows(input, 0);
        Flow::Forward
    }
}

#[test]
fn f01_frame_after_frame_that_comes_too_late_is_a_loud_end() {
    let bench = bench("", "20.0");
    for (file, from, to) in [
        ("profile.toml", "lead_ms = 20.0", "lead_ms = 20.0\nsilence_max_s = 1.0"),
        (
            "flowgraph.toml",
            "stages = [{ kind = \"soapy-sink\"",
            "stages = [{ kind = \"dawdles\" }, { kind = \"soapy-sink\"",
        ),
    ] {
        let text = std::fs::read_to_string(bench.path(file)).unwrap();
        assert!(text.contains(from));
        std::fs::write(bench.path(file), text.replace(from, to)).unwrap();
    }
    let spec = bench.spec(&[&["--seconds", "60"], &SLOW[..]].concat()).kind(Kind::new("dawdles", dawdles));
    let since = Instant::now();
    let error = System::build(spec).unwrap().start().unwrap().join().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("silence_max_s"), "{error}");
    assert!(since.elapsed() < Duration::from_secs(30));
}

#[test]
fn f05_after_an_underflow_nothing_is_sent_at_another_time_than_its_own() {
    let bench = bench("dialect=rfnoc", "20.0");
    let output = run(&bench, "3", &faults("underflow", &[0.6, 1.0, 1.4, 1.8, 2.2]));
    let report = report(&output);
    assert_eq!(count(&output, "underflows"), 5);
    let journal = bench.journal();
    assert!(displaced(&journal).iter().all(|samples| *samples <= PACKET), "{:?}", displaced(&journal));
    let (sent, silence) = air(&journal);
    assert!(silence <= LEAD + FRAME + 16384 + PACKET, "silent for {silence} samples");
    assert!(sent > 8 * 4 * 100_000 / 4, "{sent} samples");
    assert!(number(&report["frames_radiated"]) >= 0.8 * number(&report["frames_sent"]), "{report}");
}

#[test]
fn f06_events_of_each_channel_and_of_bursts_long_gone_count_once_and_end_no_other_burst() {
    for dialect in ["rfnoc", "b2xx"] {
        let bench = bench(&format!("dialect={dialect},feedback_ms=60"), "20.0");
        let output = run(&bench, "3", &faults("underflow", &[0.6, 1.2, 1.8]));
        report(&output);
        assert_eq!(count(&output, "underflows"), 3, "{dialect}");
        assert_eq!(count(&output, "late"), 0, "{dialect}");
        assert_eq!(count(&output, "bursts"), 4, "{dialect}: each fault opens one burst anew");
        assert_silent_gains(&bench.journal());
    }
}

/// Asserts that all gains are at their minimum at a journal's end.
pub(crate) fn assert_silent_gains(journal: &str) {
    for channel in 0..4 {
        let gain = journal.lines().rfind(|line| line.starts_with(&format!("tx-gain {channel} "))).unwrap();
        assert!(gain.ends_with(" -90.000000"), "{gain}");
    }
}

#[test]
fn f07_a_lost_packet_and_a_failed_command_are_counted_and_no_end() {
    for (fault, counter) in
        [("sequence", "lost packets"), ("tx_error", "stream errors"), ("corruption", "lost packets")]
    {
        for dialect in ["rfnoc", "b2xx"] {
            let bench = bench(&format!("dialect={dialect}"), "20.0");
            let output = run(&bench, "2.5", &faults(fault, &[0.6, 1.2, 1.8]));
            let report = report(&output);
            assert_eq!(count(&output, counter), 3, "{dialect} {fault}");
            assert!(number(&report["frames_radiated"]) >= 0.8 * number(&report["frames_sent"]), "{dialect} {fault}");
        }
    }
}

#[test]
fn f08_a_driver_that_sends_late_samples_and_says_nothing_is_watched_by_the_host() {
    let bench = bench("dialect=bladerf", "20.0");
    // A late start needs a burst to start: the second underflow makes one.
    let faults = format!("{}+{}", faults("underflow", &[0.6, 1.0, 1.4]), &faults("late", &[0.8])["inject=".len()..]);
    let output = run(&bench, "3", &faults);
    let report = report(&output);
    assert_eq!((count(&output, "underflows"), count(&output, "late")), (3, 1));
    let journal = bench.journal();
    assert!(displaced(&journal).iter().all(|samples| *samples <= PACKET), "{:?}", displaced(&journal));
    assert!(number(&report["frames_radiated"]) >= 0.7 * number(&report["frames_sent"]), "{report}");
}
