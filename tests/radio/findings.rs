//! Findings of those who read the front end beside the drivers that stand for what a whole system must do: each with the
//! number of its finding.

use super::timeline::{Dawdling, bench};
use super::*;

/// `issc run` on a flowgraph with permission and more.
fn run_graph(graph: &str, more: &[&str]) -> Output {
    issc(&[&["run", graph, "--transmit", "--bands", BANDS, "--json"], more].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A value of a report by its path.
fn at<'a>(report: &'a Value, path: &str) -> &'a Value {
    report.pointer(path).unwrap_or_else(|| panic!("{path} in {report}"))
}

#[test]
fn f03_noise_that_no_scene_knows_of_reaches_plans_and_error_bars() {
    // The receivers' converters add five times the noise that the scene speaks of: two samples a symbol, each with twice
    // the noise of a symbol, where 20 dBm are full scale.
    let deviation = (5.0 * 2.0 * 1e-5 * 1e-3 / 0.1f64).sqrt();
    let device = format!("adc_noise={deviation:e}");
    let bound = "scene.constraints.hcrb_max_m2=1e-2";
    let report = report(&run_virtual(&["--frames", "2000", "--device", &device, "--set", bound]));
    // Plans of the scene's noise would lose every block to the end; these lose those of the first frames.
    assert!(number(&report["block_error_rate"]) <= 8e-2, "{}", report["block_error_rate"]);
    let noise = at(&report, "/receivers/0/noise_dbm");
    assert!((number(&noise["measured"]) + 50.0 - 7.78).abs() < 1.0, "{noise}");
    assert!((number(&noise["believed"]) - number(&noise["measured"])).abs() < 1.0, "{noise}");
    // 2 in the mean where error bars are true; a bar that trusts the scene makes it 12.
    let target = &report["target"];
    assert!((1.6..2.6).contains(&number(&target["nees"])), "{target}");
}

fn dawdles(_: &mut Context, _: toml::Table) -> issc::Result<Box<dyn Stage>> {
    // Twice what 2048 samples have at 0.4 MS/s.
    Ok(erase(Dawdling(Duration::from_millis(10))))
}

const DAWDLING: &str = "findings::a_receiver_that_takes_twice_the_time_it_has";

/// Not a test of its own: what [`f10_a_receiver_that_does_not_keep_up_is_named_and_stops_nobody`] runs as another process.
#[test]
#[ignore = "run by another test"]
fn a_receiver_that_takes_twice_the_time_it_has() {
    let slow = [
        ("rows = 1\nlink = \"wait\"", "rows = 1\nlink = \"drop-oldest\""),
        (
            "stages = [{ kind = \"frame-receiver\" }]",
            "stages = [{ kind = \"dawdles\" }, { kind = \"frame-receiver\" }]",
        ),
    ];
    // A loaded machine may be away for a while.
    let profile = [
        ("tx_fifo=32768", "tx_fifo=131072,pace=wall"),
        ("lead_ms = 0.02", "lead_ms = 20.0\nahead_ms = 300.0"),
        ("watchdog_ms = 5000.0", "watchdog_ms = 1000.0"),
        ("start_delay_ms = 0.1", "start_delay_ms = 100.0"),
    ];
    let bench = Bench::new(&profile, &slow);
    let spec = bench.spec(&[&["--seconds", "8"], &SLOW[..]].concat()).kind(Kind::new("dawdles", dawdles));
    let report = System::build(spec).unwrap().start().unwrap().join().unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
}

#[test]
fn f10_a_receiver_that_does_not_keep_up_is_named_and_stops_nobody() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", DAWDLING, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), said(&output));
    assert!(output.status.success(), "{stdout}{stderr}");
    // The harness has written the test's name before it.
    let json = stdout.lines().find_map(|line| Some(&line[line.find("{\"frames_sent\"")?..])).expect("a report");
    let report: Value = serde_json::from_str(json.trim_end_matches("ok")).unwrap();
    let [sent, radiated] = ["frames_sent", "frames_radiated"].map(|key| report[key].as_u64().unwrap());
    assert!(sent > 800 && 2 * radiated >= sent, "the transmitter goes on: {radiated} of {sent}");
    assert!(number(at(&report, "/dropped/overload")) > 0.0, "{}", report["dropped"]);
    let live: Vec<_> = stderr.lines().filter(|line| line.contains("does not keep up")).collect();
    assert!(live.iter().any(|line| line.contains("`communication-receiver`")), "{stderr}");
    // While it runs, not at every frame.
    assert!(live.len() <= 4, "{live:?}");
}

#[test]
fn f11_pictures_that_take_long_to_encode_leave_idle_frames_inside_an_open_burst() {
    let bench = bench("", "20.0");
    // A tenth of a second away is no underflow here: the encoder takes what processor there is.
    let profile = bench.path("profile.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let text =
        text.replace("lead_ms = 20.0", "lead_ms = 20.0\nahead_ms = 300.0").replace("tx_fifo=16384", "tx_fifo=131072");
    std::fs::write(&profile, text.replace("watchdog_ms = 300.0", "watchdog_ms = 1000.0")).unwrap();
    let picture = bench.path("large.png");
    let (width, height) = (2400, 1800);
    let mut state = 7u32;
    let mut pixels = image::RgbImage::new(width, height);
    for pixel in pixels.pixels_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pixel.0 = [(state >> 24) as u8, (state >> 16) as u8, 128];
    }
    pixels.save(&picture).unwrap();
    let graph = bench.path("flowgraph.toml");
    let device = format!("journal={}", bench.path("journal").display());
    let more = ["--seconds", "6", "--device", &device, "--picture", picture.to_str().unwrap()];
    let output = run_graph(graph.to_str().unwrap(), &[&more[..], &SLOW].concat());
    let report = report(&output);
    assert_eq!(count(&output, "timeouts"), 0, "nothing stood still inside a burst: {}", said(&output));
    // Six seconds of frames were built; how many of them a loaded machine brings to the device in time is another question.
    let sent = number(&report["frames_sent"]);
    assert!(sent > 600.0, "{sent}");
    // The burst opens while the encoder is at the first picture: idle frames come with the lead that an opening takes.
    let radiated = number(&report["frames_radiated"]);
    assert!(radiated >= 0.5 * sent, "{radiated} of {sent} frames: {}", said(&output));
}

#[test]
fn f12_what_stands_still_is_removed_behind_a_radio_too() {
    let output = run_graph("virtual-clutter", &[]);
    let report = report(&output);
    let target = &report["target"];
    // Sixty frames teach what stands still; then there is a position in nearly every one.
    let (found, sent) = (number(&target["frames"]), number(&report["frames_radiated"]));
    assert!(found >= 0.85 * (sent - 60.0), "{target}");
    assert!(number(&target["outliers"]) <= 0.05 * found, "{target}");
    // Left in, the strongest echo is not the target.
    let left =
        run_graph("virtual-clutter", &["--set", "chain.sensing-receiver.stages.echo-locator.remove_stationary=false"]);
    let left = &super::report(&left)["target"];
    assert!(number(&left["outliers"]) + number(&left["no_position"]) >= 0.9 * sent, "{left}");
}

#[test]
fn f13_pictures_arrive_from_a_clock_twenty_parts_per_million_away_over_two_paths() {
    for ppm in ["20.0", "-20.0"] {
        let folder = tempfile::tempdir().unwrap();
        let profile = include_str!("../../hardware/profiles/virtual-receiver.toml");
        assert!(profile.contains("clock_ppm=2.5"));
        let path = folder.path().join("second.toml");
        std::fs::write(&path, profile.replace("clock_ppm=2.5", &format!("clock_ppm={ppm}"))).unwrap();
        // A second path one symbol later, 10 dB below.
        let scene = format!(
            "{}\n[[impairment]]\nid = \"wall\"\nat = \"communication-receiver\"\nkind = \"paths\"\nlist = [{{ delay_symbols = 1.0, \
             gain_db = -10.0, phase_deg = 60.0 }}]\n",
            include_str!("../../scenes/paper.toml")
        );
        let scene_path = folder.path().join("two-paths.toml");
        std::fs::write(&scene_path, scene).unwrap();
        let graph = include_str!("../../flowgraphs/two-radios.toml")
            .replace("\"virtual-receiver\"", &format!("\"{}\"", path.display()))
            .replace("scene = \"paper\"", &format!("scene = \"{}\"", scene_path.display()));
        let graph_path = folder.path().join("graph.toml");
        std::fs::write(&graph_path, graph).unwrap();
        let slow = [
            "--set",
            "scene.waveform.bandwidth_hz=1e6",
            "--set",
            "scene.channel.timing_error_std_s=1e-5",
            "--frames",
            "300",
        ];
        let report = report(&run_graph(graph_path.to_str().unwrap(), &slow));
        assert!(number(&report["frames_decoded"]) >= 285.0, "{ppm} ppm: {}", report["frames_decoded"]);
        assert!(number(&report["block_error_rate"]) <= 2e-2, "{ppm} ppm: {}", report["block_error_rate"]);
    }
}

/// A band file of one entry that allows everything but for `limit`.
fn bands(bench: &Bench, limit: &str) -> String {
    let path = bench.path("bands.toml");
    std::fs::write(&path, format!("[[allow]]\nname = \"lab\"\nmin_hz = 0.0\nmax_hz = 1e12\n{limit}\n")).unwrap();
    path.display().to_string()
}

#[test]
fn f16_nothing_is_radiated_on_a_guess_of_what_full_scale_means() {
    let bench = Bench::new(&[], &[]);
    let radiated = bands(&bench, "max_eirp_dbm = 20.0\nantenna_gain_dbi = 2.0");
    let journal = format!("journal={}", bench.path("journal").display());
    let graph = bench.path("flowgraph.toml");
    let run = |more: &[&str]| {
        let all = ["run", graph.to_str().unwrap(), "--transmit", "--bands", &radiated, "--frames", "20", "--json"];
        issc(&[&all, &["--device", &journal][..], more].concat())
    };
    let refused = run(&[]);
    let line = said(&refused);
    assert_eq!((refused.status.code(), line.trim().lines().count()), (Some(2), 1), "{line}");
    assert!(line.contains("is a guess") && line.contains("[[tx.measured]]"), "{line}");
    assert!(!bench.journal().contains("tx-stream"), "{}", bench.journal());
    let profile = bench.path("profile.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let measured = |full_scale_dbm: f64| {
        format!(
            "{text}\n[[tx.measured]]\ndate = \"2026-10-01\"\ngain_db = 0.0\nfrequency_hz = 3.5e9\nfull_scale_dbm = {full_scale_dbm}\n"
        )
    };
    // Stronger than the profile says: what was allowed on that would be exceeded.
    std::fs::write(&profile, measured(13.0)).unwrap();
    assert!(said(&run(&[])).contains("measured on 2026-10-01: 13"));
    std::fs::write(&profile, measured(10.0)).unwrap();
    let radiated = run(&[]);
    assert_eq!(report(&radiated)["frames_radiated"], 20);
    // And where the limit is in the beam, the array's gain counts.
    let strong = run(&["--set", "scene.constraints.power_dbm=13"]);
    assert!(said(&strong).contains("up to 5.00 dBm"), "{}", said(&strong));
}

/// Power in dBm at converters and at ports that a journal tells, where 0 dB of full scale are 10 dBm.
fn sent_dbm(bench: &Bench) -> [f64; 2] {
    let journal = bench.journal();
    let line = journal.lines().rfind(|line| line.starts_with("tx-power ")).unwrap_or_else(|| panic!("{journal}"));
    let mut words = line.split(' ').skip(1).map(|word| 10.0 + word.parse::<f64>().unwrap());
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn f21_a_live_power_keeps_to_the_bands_limit_and_the_report_says_what_was_radiated() {
    let bench = Bench::new(&[], &[]);
    let band = bands(&bench, "cabled_max_dbm = 0.0");
    let journal = format!("journal={}", bench.path("journal").display());
    let graph = bench.path("flowgraph.toml");
    // At one door and at the other.
    let run = |more: &[&str]| {
        let all = ["run", graph.to_str().unwrap(), "--transmit", "--bands", &band, "--json", "--frames", "240"];
        issc(&[&all, more].concat())
    };
    let at_start = run(&["--set", "scene.constraints.power_dbm=1"]);
    // A frame has its power but for some tenths of a decibel.
    let below = "scene.constraints.power_dbm=-0.5";
    let live = run(&["--set", below, "--at", "64:power_dbm=1", "--device", &journal]);
    let sentence = "power_dbm = 1; accepted in band `lab` with virtual: up to 0.00 dBm";
    assert!(said(&at_start).contains(sentence) && said(&live).contains(sentence), "{}", said(&live));
    assert_eq!(count(&live, "frames capped"), 0);
    let measured = |output: &Output| number(at(&report(output), "/power_dbm/measured"));
    let [_, ports] = sent_dbm(&bench);
    assert!((measured(&live) - ports).abs() < 0.03, "{} dBm reported, {ports} dBm sent", measured(&live));
    // A channel that is 4 dB weak is driven harder, and with it everything is made weaker until the limit holds.
    let errors = "tx_errors=0/0/0+-4/40/0+0/0/0+0/0/0";
    let file = bench.path("calibration.toml");
    let calibrate =
        ["calibrate", "--profile", bench.path("profile.toml").to_str().unwrap(), "--transmit", "--bands", &band]
            .map(str::to_owned);
    let calibrated = Command::new(env!("CARGO_BIN_EXE_issc"))
        .args(&calibrate)
        .args(["--device", errors, "--out", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(calibrated.status.success(), "{}", said(&calibrated));
    std::fs::remove_file(bench.path("journal")).unwrap();
    let device = format!("{journal},{errors}");
    let capped = run(&["--calibration", file.to_str().unwrap(), "--device", &device]);
    assert!(count(&capped, "frames capped") >= 230, "{}", said(&capped));
    let [converters, ports] = sent_dbm(&bench);
    assert!((-0.3..0.02).contains(&converters), "{converters} dBm are driven; 0 allowed");
    assert!((measured(&capped) - ports).abs() < 0.05, "{} dBm reported, {ports} dBm sent", measured(&capped));
    assert!(ports < -0.5, "{ports}");
}

#[test]
fn f24_a_channel_far_too_weak_is_refused_and_none_is_driven_over_the_limit() {
    for (side, errors) in [("TX", "tx_errors=0/0/0+-20/0/0"), ("RX", "rx_errors=0/0/0+0/0/0+-20/0/0")] {
        let bench = Bench::new(&[], &[]);
        let device = format!("journal={},{errors}", bench.path("journal").display());
        let output = run_graph(
            bench.path("flowgraph.toml").to_str().unwrap(),
            &["--frames", "40", "--calibrate", "cable", "--device", &device],
        );
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains(&format!("{side} channel ")) && said(&output).contains("-20.0 dB off"),
            "{}",
            said(&output)
        );
        // The tones alone went out, each at the power of the scene.
        let [converters, _] = sent_dbm(&bench);
        assert!(converters < 0.05, "{converters}");
        timeline::assert_silent_gains(&bench.journal());
    }
    // An in-between case: within 6 dB it is corrected, and what is driven keeps to the limit.
    let bench = Bench::new(&[("max_dbm = 5.0", "max_dbm = 0.0")], &[]);
    let device = format!("journal={},tx_errors=0/0/0+-5/0/0+0/0/0+-5/0/0", bench.path("journal").display());
    let graph = bench.path("flowgraph.toml");
    let output = run_graph(graph.to_str().unwrap(), &["--frames", "120", "--calibrate", "cable", "--device", &device]);
    report(&output);
    let [converters, _] = sent_dbm(&bench);
    assert!(count(&output, "frames capped") >= 110 && converters < 0.05, "{converters} dBm: {}", said(&output));
}
