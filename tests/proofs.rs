//! Long proofs, one test each: `./prove NAME` runs one. They are left out of the ordinary tests.

mod mutations;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use issc::system::{Run, System, SystemSpec};
use rand::SeedableRng;
use serde_json::{Value, json};

/// One proof's partial results and its page.
struct Proof {
    name: &'static str,
    seed: u64,
    log: PathBuf,
    known: Vec<Value>,
    lines: Vec<String>,
    held: bool,
}

impl Proof {
    /// Begins a proof, or goes on with one of the same commit.
    fn begin(name: &'static str, seed: u64) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let log = root.join("target/proofs").join(name).with_extension("jsonl");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let commit = commit();
        let known: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["commit"] == commit.as_str() && line["seed"] == seed)
            .collect();
        if known.is_empty() {
            File::create(&log).unwrap();
        }
        Self { name, seed, log, known, lines: Vec::new(), held: true }
    }

    /// A partial result: the one that an interrupted run left, or the one that `make` works out now.
    fn part(&mut self, part: &str, make: impl FnOnce() -> Value) -> Value {
        if let Some(known) = self.known.iter().find(|known| known["part"] == part) {
            return known["result"].clone();
        }
        let result = make();
        let line = json!({ "commit": commit(), "seed": self.seed, "part": part, "result": result });
        let mut file = OpenOptions::new().append(true).open(&self.log).unwrap();
        writeln!(file, "{line}").unwrap();
        println!("{part}: {result}");
        result
    }

    /// A line of the page: what was asked, what was found, whether it held.
    fn claim(&mut self, asked: &str, found: String, held: bool) {
        self.held &= held;
        let line = format!("| {asked} | {found} | {} |", if held { "yes" } else { "**no**" });
        println!("{line}");
        self.lines.push(line);
    }

    /// Writes the page; fails where something did not hold.
    fn end(self) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proofs").join(self.name).with_extension("md");
        fs::create_dir_all(page.parent().unwrap()).unwrap();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let head = format!(
            "# Proof `{0}`\n\n`./prove {0}`, commit {1}, seed {2}, {cores} cores.\n\n| asked | found | held |\n|---|---|---|\n",
            self.name,
            commit(),
            self.seed
        );
        fs::write(&page, head + &self.lines.join("\n") + "\n").unwrap();
        let _ = fs::remove_file(&self.log);
        assert!(self.held, "something did not hold: {}", page.display());
    }
}

fn commit() -> String {
    std::env::var("ISSC_PROOF_COMMIT").unwrap_or_else(|_| "unknown".into())
}

/// Processor time of this process so far.
fn cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

fn loopback(frames: u64) -> Run {
    let spec = SystemSpec::shipped("loopback").unwrap().frames(frames);
    System::build(spec).unwrap().start().unwrap()
}

/// Two million frames of the loopback: nothing grows with the length of a run, and a reader that never reads costs nothing.
#[test]
#[ignore = "an hour; ./prove memory"]
fn memory() {
    const FRAMES: u64 = 2_000_000;
    let mut proof = Proof::begin("memory", 1);
    let memory = proof.part("resident memory", || {
        let run = loopback(FRAMES);
        let mut early = None;
        let mut last = 0;
        let mut said = Instant::now();
        while !run.is_finished() {
            let status = run.status();
            if let Some(bytes) = status.memory_bytes {
                last = bytes;
                if early.is_none() && status.frame.is_some_and(|frame| frame >= 100_000) {
                    early = Some(bytes);
                }
            }
            if said.elapsed() > Duration::from_secs(60) {
                said = Instant::now();
                println!("frame {:?}, {} MB", status.frame, last >> 20);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let report = run.join().unwrap();
        json!({ "early": early, "end": last, "frames": report.figures.frames_sent, "images": report.images.len() })
    });
    let bytes = |key: &str| memory[key].as_f64().unwrap();
    let growth = bytes("end") / bytes("early") - 1.0;
    proof.claim(
        "resident memory after 2 000 000 frames within 5 % of that after 100 000",
        format!("{:.1} MB, then {:.1} MB: {:+.2} %", bytes("early") / 1e6, bytes("end") / 1e6, 100.0 * growth),
        growth.abs() <= 0.05 && memory["frames"] == FRAMES,
    );
    let mut ratios = Vec::new();
    let mut lost = 0;
    for pair in 0..9 {
        let found = proof.part(&format!("subscriber pair {pair}"), || {
            let run_one = |subscribed: bool| {
                let before = cpu_s();
                let run = loopback(6000);
                let reader = subscribed.then(|| run.subscribe());
                run.join().unwrap();
                (cpu_s() - before, reader.map_or(0, |reader| reader.lost()))
            };
            // Which of the two comes first changes from pair to pair.
            let (with, without) = if pair % 2 == 0 {
                let with = run_one(true);
                (with, run_one(false))
            } else {
                let without = run_one(false);
                (run_one(true), without)
            };
            json!({ "ratio": with.0 / without.0, "lost": with.1 })
        });
        ratios.push(found["ratio"].as_f64().unwrap());
        lost = found["lost"].as_u64().unwrap();
    }
    ratios.sort_by(f64::total_cmp);
    proof.claim(
        "a subscriber that never reads costs less than 2 % of processor time (median of 9 pairs)",
        format!(
            "{:+.2} % ({:+.2} to {:+.2})",
            100.0 * (ratios[4] - 1.0),
            100.0 * (ratios[0] - 1.0),
            100.0 * (ratios[8] - 1.0)
        ),
        ratios[4] < 1.02,
    );
    proof.claim("and is told what it lost", format!("{lost} events of 6 000 frames"), lost > 0);
    proof.end();
}

/// Two hundred thousand mutated metadata files of a recording: read, or refused in one line with exit status 2.
#[test]
#[ignore = "minutes; ./prove fuzz"]
fn fuzz() {
    const FILES: u64 = 200_000;
    let mut proof = Proof::begin("fuzz", 19);
    let found = proof.part("metadata of recordings", || {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("r");
        let spec = SystemSpec::shipped("loopback").unwrap().frames(2).record(&place);
        System::build(spec).unwrap().start().unwrap().join().unwrap();
        let path = place.join("air.sigmf-meta");
        let whole = fs::read(&path).unwrap();
        let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(19);
        let (mut read, mut refused, mut otherwise, mut slowest) = (0u64, 0u64, 0u64, 0f64);
        for _ in 0..FILES {
            fs::write(&path, mutations::metadata(&whole, &mut rng)).unwrap();
            let began = Instant::now();
            match issc::recording::SampleReader::open(&path, 2048) {
                Ok(mut reader) => {
                    read += 1;
                    let mut frame = issc::stream::Frame::new(reader.channels(), 2048);
                    while let Ok(true) = reader.read(&mut frame) {}
                }
                Err(error) if error.exit_status() == 2 && error.to_string().lines().count() == 1 => refused += 1,
                Err(_) => otherwise += 1,
            }
            slowest = slowest.max(began.elapsed().as_secs_f64());
        }
        json!({ "read": read, "refused": refused, "otherwise": otherwise, "slowest_s": slowest })
    });
    let count = |key: &str| found[key].as_u64().unwrap();
    proof.claim(
        "200 000 mutated metadata files of recordings: read, or refused in one line; none takes 10 s",
        format!(
            "{} read, {} refused, {} otherwise, slowest {:.3} s",
            count("read"),
            count("refused"),
            count("otherwise"),
            found["slowest_s"].as_f64().unwrap()
        ),
        count("read") + count("refused") == FILES && found["slowest_s"].as_f64().unwrap() < 10.0,
    );
    proof.end();
}
