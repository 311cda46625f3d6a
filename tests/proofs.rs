//! Long proofs, one test each: `./prove NAME` runs one. They are left out of the ordinary tests.

mod air;
mod browser;
mod mutations;
#[path = "proofs/air.rs"]
mod of_air;
#[path = "proofs/link.rs"]
mod of_link;
#[path = "proofs/metrics.rs"]
mod of_metrics;
#[path = "proofs/page.rs"]
mod of_page;
#[path = "proofs/python.rs"]
mod of_python;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use issc::system::{Run, System, SystemSpec};
use rand::SeedableRng;
use serde_json::{Value, json};

#[path = "pictures/mutate.rs"]
mod mutate;
#[path = "proofs/sensing.rs"]
mod sensing_proof;

/// Impairments, faults of rows and noise alone at the sensing receiver: `./prove sensing`, ten minutes.
#[test]
#[ignore = "half a million trials"]
fn sensing() {
    sensing_proof::run();
}

/// The notebooks of the Python package, without a window.
#[test]
#[ignore = "minutes, and packages of Python; ./prove notebooks"]
fn notebooks() {
    of_python::notebooks();
}

/// A sweep by Dask, with a worker that is killed.
#[test]
#[ignore = "minutes, and packages of Python; ./prove sweep"]
fn sweep() {
    of_python::sweep();
}

#[cfg(feature = "soapy")]
#[path = "proofs/radio.rs"]
mod faults_of_radios;
#[cfg(feature = "soapy")]
#[path = "processes/mod.rs"]
mod processes;

/// Two hundred faults in each dialect of drivers.
#[cfg(feature = "soapy")]
#[test]
#[ignore = "minutes; ./prove radio"]
fn radio() {
    faults_of_radios::prove(Proof::begin("radio", 1));
}

#[cfg(feature = "soapy")]
#[path = "proofs/realtime.rs"]
mod of_real_time;

/// What the whole system sustains in real time on this machine.
#[cfg(feature = "soapy")]
#[test]
#[ignore = "five minutes; ./prove realtime"]
fn realtime() {
    of_real_time::prove(Proof::begin("realtime", 1));
}

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

/// A block is right or lost, headers keep the lock, plans are flown as they are planned.
#[test]
#[ignore = "hours; ./prove link"]
fn link() {
    of_link::prove();
}

/// Sizes and means of the pictures of a folder over white, by Pillow: one JSON object.
const PILLOW: &str = r#"
import json, pathlib, sys
from PIL import Image, ImageOps, ImageStat
found = {}
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if file.suffix in (".py", ".rs", ".md") or file.stem == "huge":
        continue
    picture = ImageOps.exif_transpose(Image.open(file))
    if picture.mode.startswith("I"):
        picture = picture.point(lambda sample: sample / 257).convert("L")
    if "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (255,) * 4), picture)
    picture = picture.convert("RGB")
    found[file.name] = [*picture.size, *ImageStat.Stat(picture).mean]
print(json.dumps(found))
"#;

/// Most memory that this process had so far, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    1024 * peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// Damaged pictures are read or refused in bounded time and memory; whole ones look as another decoder shows them.
#[test]
#[ignore = "minutes; ./prove pictures"]
fn pictures() {
    use issc::pictures::{Reading, picture_of, read_picture};
    static PANICS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    const FILES: u64 = 2000;
    let mut proof = Proof::begin("pictures", 19);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    let begin = Instant::now();
    let refused = read_picture(&folder.join("huge.png"), Reading::default()).unwrap_err().to_string();
    let took_ms = 1e3 * begin.elapsed().as_secs_f64();
    proof.claim(
        "400 megapixels are refused from the header in less than 50 ms",
        format!("{took_ms:.1} ms: {}", refused.rsplit('/').next().unwrap_or_default()),
        took_ms < 50.0 && refused.contains("20000x20000"),
    );
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let mut results = Vec::new();
    for kind in ["jpg", "png", "webp", "bmp", "tif", "gif"] {
        let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
        let mut files: Vec<_> =
            files.into_iter().filter(|file| file.extension().is_some_and(|it| it == kind)).collect();
        files.sort();
        let files: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        results.push(proof.part(&format!("damaged {kind}"), || {
            let mut mutations = mutate::Mutations::new(19);
            let (mut read, mut longest_s, mut many_lines) = (0, 0.0f64, 0);
            PANICS.store(0, std::sync::atomic::Ordering::Relaxed);
            for number in 0..FILES as usize {
                let damaged = mutations.of(&files[number % files.len()]);
                for lenient in [false, true] {
                    let begin = Instant::now();
                    match picture_of("damaged", &damaged, Reading { lenient }) {
                        Ok(_) => read += 1,
                        Err(error) => many_lines += u32::from(error.to_string().lines().count() != 1),
                    }
                    longest_s = longest_s.max(begin.elapsed().as_secs_f64());
                }
            }
            let panics = PANICS.load(std::sync::atomic::Ordering::Relaxed);
            json!({ "read": read, "longest_s": longest_s, "panics": panics, "many_lines": many_lines, "peak": peak_bytes() })
        }));
        let found = results.last().unwrap();
        let number = |key: &str| found[key].as_f64().unwrap();
        proof.claim(
            &format!("{FILES} damaged {kind} files, strict and lenient: no panic, one line, 10 s, 512 MB"),
            format!(
                "{} of {} shown, {} panics, longest {:.3} s, peak {:.0} MB",
                number("read"),
                2 * FILES,
                number("panics"),
                number("longest_s"),
                number("peak") / 1e6
            ),
            number("panics") == 0.0
                && number("many_lines") == 0.0
                && number("longest_s") <= 10.0
                && number("peak") <= 512e6,
        );
    }
    std::panic::set_hook(usual);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let asked = std::process::Command::new(python).args(["-c", PILLOW]).arg(&folder).output();
    let asked = asked.ok().filter(|output| output.status.success());
    let claim = "size equal and mean within 2 levels of Pillow's, every picture of tests/pictures";
    match asked {
        None => proof.claim(claim, "not compared: there is no Python with Pillow here".into(), true),
        Some(output) => {
            let found: serde_json::Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
            let (mut worst, mut of, mut sizes) = (0.0f64, "", true);
            for (name, figures) in &found {
                let (picture, _) = read_picture(&folder.join(name), Reading::default()).unwrap();
                let pixels = f64::from(picture.width() * picture.height());
                let figure = |at: usize| figures[at].as_f64().unwrap();
                sizes &= [figure(0), figure(1)] == [picture.width(), picture.height()].map(f64::from);
                for at in 0..3 {
                    let mean = picture.pixels().map(|pixel| f64::from(pixel.0[at])).sum::<f64>() / pixels;
                    let off = (mean - figure(2 + at)).abs();
                    if off > worst {
                        (worst, of) = (off, name);
                    }
                }
            }
            proof.claim(
                claim,
                format!("{} pictures, at most {worst:.2} levels ({of})", found.len()),
                sizes && worst <= 2.0 && found.len() > 30,
            );
        }
    }
    proof.end();
}

/// What reading a recording came to.
#[derive(Default)]
struct Tally {
    read: u64,
    refused: u64,
    otherwise: u64,
    slowest_s: f64,
}

impl Tally {
    /// Counts one attempt: read, refused in one line with exit status 2, or neither.
    fn count(&mut self, attempt: impl FnOnce() -> issc::Result<()>) {
        let began = Instant::now();
        match attempt() {
            Ok(()) => self.read += 1,
            Err(error) if error.exit_status() == 2 && error.to_string().lines().count() == 1 => self.refused += 1,
            Err(error) => {
                println!("otherwise: {error}");
                self.otherwise += 1;
            }
        }
        self.slowest_s = self.slowest_s.max(began.elapsed().as_secs_f64());
    }

    fn json(&self) -> Value {
        json!({
            "read": self.read,
            "refused": self.refused,
            "otherwise": self.otherwise,
            "slowest_s": self.slowest_s,
            "peak": peak_bytes(),
        })
    }
}

/// Reads all samples of a recording.
fn read_samples(path: &Path) -> issc::Result<()> {
    let mut reader = issc::recording::SampleReader::open(path, 2048)?;
    let mut frame = issc::stream::Frame::new(reader.channels(), 2048);
    while let Ok(true) = reader.read(&mut frame) {}
    Ok(())
}

/// Damaged recordings, file by file: read, or refused in one line with exit status 2.
#[test]
#[ignore = "minutes; ./prove fuzz"]
fn fuzz() {
    const METADATA: u64 = 200_000;
    const FILES: u64 = 2000;
    let mut proof = Proof::begin("fuzz", 19);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("r");
    let spec = SystemSpec::shipped("loopback").unwrap().frames(2).record(&place);
    System::build(spec).unwrap().start().unwrap().join().unwrap();
    let mut claim = |what: &str, count: u64, found: Value| {
        let number = |key: &str| found[key].as_f64().unwrap();
        proof.claim(
            &format!("{count} {what}: read, or refused in one line; none takes 10 s or 512 MB"),
            format!(
                "{} read, {} refused, {} otherwise, slowest {:.3} s, peak {:.0} MB",
                found["read"],
                found["refused"],
                found["otherwise"],
                number("slowest_s"),
                number("peak") / 1e6
            ),
            found["otherwise"] == 0 && number("slowest_s") < 10.0 && number("peak") <= 512e6,
        );
    };
    let meta = place.join("air.sigmf-meta");
    let whole = fs::read(&meta).unwrap();
    let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(19);
    let mut tally = Tally::default();
    for _ in 0..METADATA {
        fs::write(&meta, mutations::metadata(&whole, &mut rng)).unwrap();
        tally.count(|| read_samples(&meta));
    }
    claim("mutated metadata files", METADATA, tally.json());
    fs::write(&meta, &whole).unwrap();

    let archive = folder.path().join("a.sigmf");
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["air.sigmf-meta", "air.sigmf-data"] {
        tar.append_path_with_name(place.join(name), name).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    let mut mutations = mutate::Mutations::new(19);
    let mut tally = Tally::default();
    for _ in 0..FILES {
        fs::write(&archive, mutations.of(&bytes)).unwrap();
        tally.count(|| read_samples(&archive));
    }
    claim("mutated archives", FILES, tally.json());

    let collection = place.join("all.sigmf-collection");
    let streams = [json!({ "name": "air", "hash": "0" })];
    let text =
        serde_json::to_string_pretty(&json!({ "collection": { "core:version": "1.2.0", "core:streams": streams } }));
    let text = text.unwrap().into_bytes();
    let mut tally = Tally::default();
    for _ in 0..FILES {
        fs::write(&collection, mutations::metadata(&text, &mut rng)).unwrap();
        tally.count(|| read_samples(&collection));
    }
    claim("mutated collections", FILES, tally.json());
    fs::remove_file(&collection).unwrap();

    for name in ["outcome.json", "frames.jsonl", "report.jsonl"] {
        let file = place.join(name);
        let whole = fs::read(&file).unwrap();
        let mut tally = Tally::default();
        for _ in 0..FILES {
            fs::write(&file, mutations.of(&whole)).unwrap();
            tally.count(|| System::build(SystemSpec::from_recording(&place))?.start()?.join().map(drop));
        }
        claim(&format!("replays with a mutated {name}"), FILES, tally.json());
        fs::write(&file, &whole).unwrap();
    }
    proof.end();
}

/// The keys of one of several targets.
macro_rules! target {
    ($name:literal, $index:literal) => {
        [
            (concat!($name, ", frames with a position"), concat!("/targets/", $index, "/frames"), 1.0),
            (concat!($name, ", position error of a frame, mm RMS"), concat!("/targets/", $index, "/rmse_m"), 1e3),
            (concat!($name, ", bound, mm RMS"), concat!("/targets/", $index, "/hcrb_rmse_m"), 1e3),
            (
                concat!($name, ", position error of the track, mm RMS"),
                concat!("/targets/", $index, "/track/rmse_m"),
                1e3,
            ),
        ]
    };
}

/// A statistical figure of the documentation: which command prints it, `SEED` standing for the seed, and under which keys.
const FIGURES: &[(&str, &[&[Figure]])] = &[
    ("run loopback --seed SEED", &[RUN, &[("SINR, dB", "/sinr_db/measured", 1.0)]]),
    ("run loopback --set scene=outdoor --frames 1200 --seed SEED", &[RUN, &[("tracks", "/track/tracks", 1.0)]]),
    ("run coherent --seed SEED", &[RUN]),
    ("run clutter --seed SEED", &[RUN]),
    ("run several --seed SEED", &[&target!("mast", 0), &target!("van", 1), &target!("kiosk", 2)]),
    ("sense --scene coherent --moving --frames 1 --trials 1000 --seed SEED", &[SENSE]),
    ("sense --scene coherent --moving --frames 4 --trials 1000 --seed SEED", &[SENSE]),
    ("sense --scene coherent --moving --frames 16 --trials 1000 --seed SEED", &[SENSE]),
    ("link --modulation qpsk --rate 1 --snr-db 2.3 --blocks 20000 --seed SEED", &[LINK]),
    ("link --modulation qpsk --rate 1 --snr-db 2.3 --rescue --blocks 20000 --seed SEED", &[LINK]),
    ("link --modulation 64qam --rate 3 --snr-db 10.3 --rescue --shaped --blocks 20000 --seed SEED", &[LINK]),
    ("run follow --seed SEED", &[RUN]),
];

/// What it is, its key in the report, and what that is multiplied by.
type Figure = (&'static str, &'static str, f64);

const RUN: &[Figure] = &[
    ("frames with a position", "/target/frames", 1.0),
    ("position error of a frame, mm RMS", "/target/rmse_m", 1e3),
    ("bound, mm RMS", "/target/hcrb_rmse_m", 1e3),
    ("position error of the track, mm RMS", "/track/rmse_m", 1e3),
    ("blocks lost", "/block_error_rate", 1.0),
];
const SENSE: &[Figure] = &[
    ("position error, m RMS", "/rmse_m", 1.0),
    ("bound, m RMS", "/hcrb_rmse_m", 1.0),
    ("without a position", "/no_position", 1.0),
    ("path rate, m/s RMS", "/path_rate_rmse_m_s", 1.0),
];
const LINK: &[Figure] = &[("blocks lost", "/block_error_rate", 1.0)];

/// The median of some figures, with the smallest and the largest of them.
fn median_and_range(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (count, half) = (figures.len(), figures.len() / 2);
    let median = if count % 2 == 1 { figures[half] } else { 0.5 * (figures[half - 1] + figures[half]) };
    let text = |figure: f64| match figure.abs() {
        0.0 => "0".to_owned(),
        ..0.01 => format!("{figure:.2e}"),
        ..1000.0 => format!("{figure:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{figure:.1}"),
    };
    format!("{} ({} … {})", text(median), text(figures[0]), text(figures[count - 1]))
}

/// The statistical figures of `docs/src/results.md` as median and range over eleven seeds.
#[test]
#[ignore = "minutes; ./prove figures"]
fn figures() {
    const SEEDS: u64 = 11;
    let mut proof = Proof::begin("figures", 1);
    for (command, keys) in FIGURES {
        let reports: Vec<Value> = (1..=SEEDS)
            .map(|seed| {
                let arguments = command.replace("SEED", &seed.to_string());
                proof.part(&arguments, || {
                    let words = arguments.split(' ').chain(["--json"]);
                    let output = std::process::Command::new(env!("CARGO_BIN_EXE_issc")).args(words).output().unwrap();
                    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
                    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
                    // What is long is in no figure.
                    ["images", "retunes", "paths"].iter().for_each(|key| {
                        report.as_object_mut().unwrap().remove(*key);
                    });
                    report
                })
            })
            .collect();
        for (name, pointer, scale) in keys.iter().copied().flatten() {
            let found: Vec<f64> =
                reports.iter().filter_map(|report| Some(scale * report.pointer(pointer)?.as_f64()?)).collect();
            let complete = found.len() == SEEDS as usize;
            let figure = if found.is_empty() { "—".into() } else { median_and_range(found) };
            proof.claim(&format!("`issc {}`: {name}", command.replace("SEED", "1…11")), figure, complete);
        }
    }
    proof.end();
}

/// Every row of the impairments' table that has a limit, draws and fading, and plans from soundings.
#[test]
#[ignore = "an hour; ./prove air"]
fn air() {
    of_air::prove();
}

/// What fifty readers and an open page cost a run.
#[test]
#[ignore = "half an hour; ./prove page, with SoapySDR installed"]
fn page() {
    of_page::prove();
}

/// PSNR and MS-SSIM beside an implementation of others.
#[test]
#[ignore = "needs Python with pytorch-msssim; ./prove metrics"]
fn metrics() {
    of_metrics::prove();
}
