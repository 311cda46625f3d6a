//! Proof `page`: what readers of the stream and an open page cost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use issc::http::{Mode, Server, Service, Settings};
use issc::system::SystemSpec;
use serde_json::{Value, json};

use super::browser::{self, Browser};
use super::{Proof, cpu_s};

const READERS: usize = 50;
const PAIRS: usize = 9;
/// Frames of a run that is measured.
const FRAMES: u64 = 12_000;

pub fn prove() {
    let mut proof = Proof::begin("page", 1);
    readers(&mut proof);
    metrics(&mut proof);
    match browser::program() {
        Some(program) => {
            share_of_a_core(&mut proof, &program);
            accessibility(&mut proof, &program);
            #[cfg(feature = "soapy")]
            on_the_radio(&mut proof, &program);
        }
        None => proof.claim("a browser is installed", "none: install the package chromium".into(), false),
    }
    proof.end();
}

/// Processor time of the threads of this process whose names begin so, in seconds.
fn threads_cpu_s(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let of = |folder: PathBuf| -> Option<f64> {
        let own = fs::read_to_string(folder.join("comm")).ok()?;
        let spent = fs::read_to_string(folder.join("schedstat")).ok()?;
        own.starts_with(name).then(|| spent.split(' ').next()?.parse::<f64>().ok()).flatten()
    };
    1e-9 * tasks.flatten().filter_map(|task| of(task.path())).sum::<f64>()
}

/// Readers of the stream until `stop`; all but the first read. What they read, in bytes, by each.
fn connect_readers(address: SocketAddr, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<u64>> {
    let one = |index: usize| {
        let stop = Arc::clone(stop);
        let work = move || {
            let tcp = TcpStream::connect(address).unwrap();
            let url = format!("ws://{address}/api/v1/stream?topics=events,status,spectrum,constellation,map,beams");
            let (mut socket, _) = tungstenite::client(url.as_str(), tcp).unwrap();
            socket.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut read = 0;
            while !stop.load(Ordering::Relaxed) {
                if index == 0 {
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
                match socket.read() {
                    Ok(message) => read += message.len() as u64,
                    Err(tungstenite::Error::Io(_)) => {}
                    Err(_) => break,
                }
            }
            read
        };
        std::thread::Builder::new().name("reader".into()).spawn(work).unwrap()
    };
    (0..READERS).map(one).collect()
}

/// One run with or without readers: processor time of everything but the readers and the threads that serve them, of these
/// threads, the largest memory, and bytes that the readers got.
fn run_one(with_readers: bool) -> Value {
    let spec = SystemSpec::shipped("loopback").unwrap().frames(FRAMES).watched();
    let service = Service::new(Mode::Host(Box::new(spec)));
    let settings = Settings { address: "127.0.0.1:0".into(), ..Settings::default() };
    let server = Server::start(&settings, Arc::clone(&service)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (all, serving, reading) = (cpu_s(), threads_cpu_s("http"), threads_cpu_s("reader"));
    service.start().unwrap();
    let readers = if with_readers { connect_readers(server.address(), &stop) } else { Vec::new() };
    let mut memory = 0;
    loop {
        let status = browser::get(server.address(), "/api/v1/status");
        memory = memory.max(status["memory_bytes"].as_u64().unwrap_or(0));
        if status["state"] == "ended" {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let (serving, reading) = (threads_cpu_s("http") - serving, threads_cpu_s("reader") - reading);
    let run_s = cpu_s() - all - serving - reading;
    stop.store(true, Ordering::Relaxed);
    let bytes: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    service.end();
    json!({ "run_s": run_s, "serving_s": serving, "memory": memory, "bytes": bytes })
}

fn readers(proof: &mut Proof) {
    let (mut ratios, mut serving, mut memory, mut bytes) = (Vec::new(), Vec::new(), [0u64; 2], 0);
    for pair in 0..PAIRS {
        let found = proof.part(&format!("readers, pair {pair}"), || {
            // Which of the two comes first changes from pair to pair.
            let order = if pair % 2 == 0 { [true, false] } else { [false, true] };
            let [first, second] = order.map(run_one);
            if order[0] { json!([first, second]) } else { json!([second, first]) }
        });
        let number = |which: usize, key: &str| found[which][key].as_f64().unwrap();
        ratios.push(100.0 * (number(0, "run_s") / number(1, "run_s") - 1.0));
        serving.push(number(0, "serving_s"));
        for (which, memory) in memory.iter_mut().enumerate() {
            *memory = (*memory).max(found[which]["memory"].as_u64().unwrap());
        }
        bytes += found[0]["bytes"].as_u64().unwrap();
    }
    let median = super::median_and_range(ratios.clone());
    ratios.sort_by(f64::total_cmp);
    proof.claim(
        &format!("{READERS} readers, one of which never reads: less than 5 % more processor time for the run"),
        format!(
            "{median} %; serving took {} s beside it, {:.0} MB were read",
            super::median_and_range(serving),
            bytes as f64 / 1e6
        ),
        ratios[ratios.len() / 2] < 5.0 && bytes > 0,
    );
    let [with, without] = memory.map(|bytes| bytes as f64 / 1e6);
    proof.claim(
        "memory is bounded: at most 64 MB more with the readers",
        format!("{with:.0} MB with, {without:.0} MB without"),
        with <= without + 64.0,
    );
}

/// What the public parser of Prometheus' text makes of the metrics, where Python has it: `pip install prometheus-client`.
fn metrics(proof: &mut Proof) {
    const PARSE: &str = "import sys, prometheus_client.parser as p\n\
        families = list(p.text_string_to_metric_families(sys.stdin.read()))\n\
        assert all(f.documentation and f.type in ('gauge', 'counter') for f in families)\n\
        print(len(families), sum(len(f.samples) for f in families))";
    let has = Command::new("python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("the parser of Prometheus is not asked: python3 has no prometheus_client");
        return;
    }
    let found = proof.part("metrics", || {
        let (server, service) = browser::serve("127.0.0.1:0");
        service.start().unwrap();
        while browser::get(server.address(), "/api/v1/status")["frame"].as_u64().unwrap_or(0) < 130 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        service.end();
        let text = answer.split_once("\r\n\r\n").unwrap().1;
        let mut parser = Command::new("python3");
        let parser = parser.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut parser = parser.spawn().unwrap();
        parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let said = parser.wait_with_output().unwrap();
        json!({ "ok": said.status.success(), "said": String::from_utf8_lossy(&[said.stdout, said.stderr].concat()) })
    });
    let said = found["said"].as_str().unwrap().trim().replace('\n', "; ");
    proof.claim(
        "the text of /metrics passes Prometheus' own parser for Python, each name with its help and type",
        format!("{said} (families, samples)"),
        found["ok"] == true,
    );
}

/// Processor time of a process and all that it started, in seconds.
fn family_cpu_s(root: u32) -> f64 {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let Some(id) = head.split(' ').next().and_then(|id| id.parse::<u32>().ok()) else { continue };
        let fields: Vec<_> = tail.split(' ').collect();
        let number = |index: usize| fields[index].parse::<f64>().unwrap_or(0.0);
        processes.push((id, number(1) as u32, (number(11) + number(12)) / 100.0));
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(processes.iter().filter(|(id, of, _)| *of == parent && *id != root).map(|(id, ..)| *id));
        next += 1;
    }
    processes.iter().filter(|(id, ..)| family.contains(id)).map(|(.., spent)| spent).sum()
}

fn open_page(program: &Path, address: SocketAddr) -> Browser {
    let mut browser = Browser::open(program);
    browser.resize(1400, 1000, false);
    browser.call("Page.navigate", json!({ "url": format!("http://{address}/") }));
    browser.until("document.readyState === 'complete' && window.issc");
    browser
}

/// How often constellation and map have been drawn.
fn draws(browser: &mut Browser) -> [f64; 2] {
    ["constellation", "map"].map(|name| browser.value(&format!("window.issc.draws.{name}")).as_f64().unwrap_or(0.0))
}

fn share_of_a_core(proof: &mut Proof, program: &Path) {
    const SECONDS: f64 = 30.0;
    let found = proof.part("browser", || {
        let (server, service) = browser::serve("127.0.0.1:0");
        service.start().unwrap();
        let mut browser = open_page(program, server.address());
        browser.value(
            "(() => { const r = document.getElementById('rate'); \
             if (![...r.options].some((o) => o.value === '30')) r.add(new Option('30', '30')); \
             r.value = '30'; r.dispatchEvent(new Event('change')); })()",
        );
        browser.until("window.issc.status?.frame > 130 && window.issc.views.map");
        let before = draws(&mut browser);
        let began = (Instant::now(), family_cpu_s(browser.process.id()));
        std::thread::sleep(Duration::from_secs_f64(SECONDS));
        let (spent, took) = (family_cpu_s(browser.process.id()) - began.1, began.0.elapsed().as_secs_f64());
        let after = draws(&mut browser);
        service.end();
        json!({ "share": spent / took, "draws": [(after[0] - before[0]) / took, (after[1] - before[1]) / took] })
    });
    let share = found["share"].as_f64().unwrap();
    let draws = [0, 1].map(|panel| found["draws"][panel].as_f64().unwrap());
    proof.claim(
        "30 updates a second keep the browser, drawing without a graphics card, under 30 % of a core",
        format!("{:.1} %", 100.0 * share),
        share < 0.3,
    );
    proof.claim(
        "meanwhile constellation and map, drawn by the processor alone, move: five drawings a second at least",
        format!("{:.1} and {:.1} a second", draws[0], draws[1]),
        draws.iter().all(|draws| *draws >= 5.0),
    );
}

/// axe-core's findings, where its file is given: `npm install axe-core`, then `ISSC_AXE=node_modules/axe-core/axe.min.js`.
fn accessibility(proof: &mut Proof, program: &Path) {
    let Some(file) = std::env::var_os("ISSC_AXE") else {
        println!("axe-core is not asked: ISSC_AXE names no file");
        return;
    };
    let script = fs::read_to_string(file).unwrap();
    let found = proof.part("axe", || {
        let (server, service) = browser::serve("127.0.0.1:0");
        service.start().unwrap();
        let mut browser = open_page(program, server.address());
        browser.until("window.issc.status?.frame > 130");
        browser.value(&format!("{script}; undefined"));
        let mut findings = Vec::new();
        for (width, height, dark) in [(1400, 1000, false), (1400, 1000, true), (380, 800, false)] {
            browser.resize(width, height, dark);
            std::thread::sleep(Duration::from_millis(600));
            let found = browser
                .value("axe.run().then((r) => r.violations.map((v) => `${v.impact}: ${v.id}: ${v.nodes[0].target}`))");
            findings.extend(found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()));
        }
        service.end();
        json!(findings)
    });
    let findings: Vec<_> = found.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    proof.claim(
        "axe-core, light, dark and 380 pixels wide: no serious finding",
        if findings.is_empty() { "none at all".into() } else { findings.join("; ") },
        !findings.iter().any(|finding| finding.starts_with("serious") || finding.starts_with("critical")),
    );
}

/// Ten minutes on the virtual radio on the wall clock, with the page open and without.
#[cfg(feature = "soapy")]
fn on_the_radio(proof: &mut Proof, program: &Path) {
    let minutes: f64 = std::env::var("ISSC_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10.0);
    let seconds = format!("{}", 60.0 * minutes);
    let mut run = |with_page: bool| {
        let name = format!("radio {} the page", if with_page { "with" } else { "without" });
        proof.part(&name, || {
            let folder = tempfile::tempdir().unwrap();
            let graph = super::faults_of_radios::lay_out_in_real_time(folder.path());
            let mut process = Command::new(env!("CARGO_BIN_EXE_issc"))
                .args(["run", graph.to_str().unwrap(), "--transmit", "--bands", "hardware/virtual-bands.toml"])
                .args(["--seconds", &seconds, "--json", "--http", "127.0.0.1:0"])
                .args(["--set", "scene.waveform.bandwidth_hz=2e5", "--set", "scene.channel.timing_error_std_s=5e-5"])
                .args(["--set", "chain.transmitter.stages.picture-source.pictures_per_s=30"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let stderr = process.stderr.take().unwrap();
            let (told, hears) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                for line in std::io::BufRead::lines(std::io::BufReader::new(stderr)).map_while(Result::ok) {
                    let _ = told.send(line);
                }
            });
            let mut said = Vec::new();
            let address = loop {
                let Ok(line) = hears.recv_timeout(Duration::from_secs(60)) else { panic!("no address: {said:?}") };
                let place = line.split("http://").nth(1).map(|rest| rest.split(['/', ' ']).next().unwrap().to_owned());
                said.push(line);
                if let Some(address) = place.and_then(|address| address.parse::<SocketAddr>().ok()) {
                    break address;
                }
            };
            let browser = with_page.then(|| open_page(program, address));
            let mut text = String::new();
            process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            drop(browser);
            assert!(process.wait().unwrap().success(), "{said:?}");
            let report: Value = serde_json::from_str(&text).unwrap();
            let keys = ["frames_sent", "frames_radiated", "frames_decoded", "block_error_rate", "dropped"];
            json!(keys.map(|key| (key, report[key].clone())).into_iter().collect::<std::collections::BTreeMap<_, _>>())
        })
    };
    let [without, with] = [run(false), run(true)];
    let lost = |found: &Value| {
        1.0 - found["frames_decoded"].as_f64().unwrap() / found["frames_sent"].as_f64().unwrap().max(1.0)
    };
    proof.claim(
        &format!("{minutes} minutes on the virtual radio lose no more frames with the page open than without"),
        format!("{with} with, {without} without"),
        lost(&with) <= lost(&without) + 1e-3,
    );
}
