//! The sample path allocates nothing once it streams: every chain counts its own thread's allocations.

mod air;

use std::alloc::{GlobalAlloc, Layout, System as SystemAllocator};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use air::Link;
use air::bench::{BITS, Bench};
use air::impair::{self, Path};
use issc::blocks::{Context, Kind};
use issc::coding::{BlockScratch, DecodeOutcome};
use issc::stream::{Block, Flow, Frame, Shape, Stage, erase};
use issc::system::{System, SystemSpec, Topic};
use toml::Table;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain thread-local cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is passed on.
        unsafe { SystemAllocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { SystemAllocator.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is passed on.
        unsafe { SystemAllocator.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames after which a chain counts as streaming, and up to which it is watched.
const WATCHED: std::ops::Range<u64> = 40..220;

static FRAMES: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Passes frames on unchanged and notes how many allocations its thread made from frame to frame.
struct Meter<T> {
    seen: u64,
    last: u64,
    item: std::marker::PhantomData<T>,
}

impl<T: issc::stream::Sample + Send> Block for Meter<T> {
    type In = T;
    type Out = T;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<T>, output: &mut Frame<T>) -> Flow {
        let now = COUNT.with(Cell::get);
        if WATCHED.contains(&self.seen) {
            FRAMES.fetch_add(1, Ordering::Relaxed);
            ALLOCATIONS.fetch_add(now - self.last, Ordering::Relaxed);
        }
        self.last = now;
        self.seen += 1;
        output.copy_rows(input, 0);
        Flow::Forward
    }
}

fn meter<T: issc::stream::Sample>(_: &mut Context, _: Table) -> issc::Result<Box<dyn Stage>> {
    Ok(erase(Meter::<T> { seen: 0, last: 0, item: std::marker::PhantomData }))
}

/// Every kind of impairment but a level, so weak that every frame is received.
fn impairments() -> String {
    let entries = [
        ("transmitter", "kind = \"pa\"\nbackoff_db = 20"),
        ("transmitter", "kind = \"coupling\"\ndb = -60"),
        ("transmitter", "kind = \"phase-noise\"\nrms_deg = 0.1"),
        ("communication-receiver", "kind = \"carrier-offset\"\nppm = 0.01\ndrift_hz_per_s = 1000"),
        ("communication-receiver", "kind = \"clock-offset\"\nppm = 0.1"),
        ("communication-receiver", "kind = \"paths\"\nlist = [{ delay_symbols = 1.0, gain_db = -50 }]"),
        ("communication-receiver", "kind = \"iq\"\nimage_db = -60"),
        ("communication-receiver", "kind = \"dc\"\ndbc = -60"),
        ("communication-receiver", "kind = \"adc\"\nbits = 14"),
        ("communication-receiver", "kind = \"clip\"\nover_rms_db = 20"),
        ("communication-receiver", "kind = \"gain-step\"\ndb = 0.01"),
        ("communication-receiver", "kind = \"tone\"\ndb = -60\ncycles_per_sample = 0.1"),
        ("communication-receiver", "kind = \"bursts\"\ndb = -60\nlength = 10\nperiod = 3000"),
        ("sensing-receiver", "kind = \"gap\"\nsamples = 1\nevery_frames = 1000"),
        ("sensing-receiver.1", "kind = \"row\"\nphase_deg = 0.01"),
        ("sensing-receiver", "kind = \"jitter\"\nphase_deg = 0.1"),
    ];
    entries.map(|(at, entry)| format!("[[impairment]]\nat = \"{at}\"\n{entry}\n")).concat()
}

#[test]
fn a_streaming_loopback_allocates_nothing_per_frame() {
    let folder = tempfile::tempdir().unwrap();
    let impaired = folder.path().join("scene.toml");
    std::fs::write(&impaired, format!("{}\n{}", issc::scene::PAPER_TOML, impairments())).unwrap();
    let paper = include_str!("../flowgraphs/loopback.toml");
    for (name, shipped, scene) in [
        ("loopback.toml", paper, None),
        // Stationary echoes are learned and removed as well.
        ("clutter.toml", include_str!("../flowgraphs/clutter.toml"), None),
        ("impaired.toml", paper, Some(impaired.to_str().unwrap())),
    ] {
        let shipped = match scene {
            Some(scene) => shipped.replace("scene = \"paper\"", &format!("scene = \"{scene}\"")),
            None => shipped.to_owned(),
        };
        assert!(scene.is_none_or(|scene| shipped.contains(scene)), "{name}");
        let metered = shipped
            .replace("{ kind = \"superposer\" },", "{ kind = \"superposer\" }, { kind = \"meter-samples\" },")
            .replace(
                "stages = [{ kind = \"simulated-air\" }]",
                "stages = [{ kind = \"simulated-air\" }, { kind = \"meter-samples\" }]",
            )
            .replace(
                "stages = [{ kind = \"frame-receiver\" }]",
                "stages = [{ kind = \"frame-receiver\" }, { kind = \"meter-bits\" }]",
            )
            .replace(
                "stages = [{ kind = \"echo-locator\"",
                "stages = [{ kind = \"meter-samples\" }, { kind = \"echo-locator\"",
            );
        assert_eq!(metered.matches("meter-").count(), 4, "{name}");
        let path = folder.path().join(name);
        std::fs::write(&path, metered).unwrap();
        let spec = SystemSpec::from_flowgraph(&path).unwrap().frames(240);
        let spec = spec
            .kind(Kind::new("meter-samples", meter::<num_complex::Complex32>))
            .kind(Kind::new("meter-bits", meter::<issc::stream::CodedFrame>));
        // Nor where somebody looks at what the receivers hear and make of it.
        let run = System::build(spec.watched()).unwrap().start().unwrap();
        let watch = run.watch();
        let mut seen = 0;
        while !run.is_finished() {
            for topic in Topic::ALL {
                watch.ask(topic);
                seen += watch.views(topic).len();
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert_eq!(run.join().unwrap().figures.frames_sent, 240);
        assert!(seen > 20, "{name}: only {seen} views");
        let frames = FRAMES.swap(0, Ordering::Relaxed);
        assert!(frames >= 4 * 170, "{name}: only {frames} frames were watched");
        let allocations = ALLOCATIONS.swap(0, Ordering::Relaxed);
        assert_eq!(allocations, 0, "{name}: allocations in {frames} frames");
    }
}

#[test]
fn decoding_again_with_feedback_allocates_nothing() {
    let bench = Bench::new(BITS[0], 60);
    let list = [Path::new(0.0, 0.0, 0.0), Path::new(1.0, -2.0, 1.1)];
    let mut samples = impair::paths(&bench.clean, &list);
    impair::add_noise(&mut samples, 10f64.powf(-0.68), 3);
    let link = Link { symbol_rate_hz: 1e6, carrier_offset_hz: 0.0, noise_variance: 0.0, seed: 3 };
    let (mut receiver, mut scratch) = (link.receiver(3392), BlockScratch::with_rescue());
    let code = &bench.transmitter.code;
    let mut words = vec![0; 4 * code.information_bits()];
    let mut soft = vec![0; code.coded_bits()];
    let (mut linear, mut fed, mut begun) = (0, 0, 0);
    for (index, part) in samples.chunks(3392).enumerate() {
        if index == 10 {
            begun = COUNT.with(Cell::get);
        }
        receiver.push((index * 3392) as u64, part);
        while let Some(status) = receiver.next_frame(false) {
            for (block, word) in words.chunks_exact_mut(code.information_bits()).enumerate() {
                receiver.demap(&status, block, code.constellation(), &mut soft);
                let mut outcome = [DecodeOutcome::default()];
                code.decode_words(&soft, word, &mut outcome, &mut scratch);
                linear += usize::from(outcome[0].decoded);
            }
            let right = receiver.decode(&status, code, &mut words, &mut scratch);
            fed += right.into_iter().filter(|right| *right).count();
        }
    }
    assert_eq!(COUNT.with(Cell::get), begun, "{linear} blocks linearly, {fed} with feedback");
    assert!(fed > linear + 10 && fed > 200, "{linear} blocks linearly, {fed} with feedback");
}
