//! Coded files, damaged in every way that comes to mind, against the reader of files, the decoder and the loader of models.
//!
//! Each case starts from real files or from nothing, mutates bytes or fields, and often repairs the checksums so that the
//! damage gets past them. Never a panic or a hang; memory within what an honest header asks for. A few seconds by
//! default; for an hour, with a seed that is printed:
//!
//! ```text
//! ISSC_DAMAGE_SECONDS=3600 cargo test --release --test damage -- --nocapture
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use image::RgbImage;
use image::imageops::{FilterType, resize};
use issc::semantic::bitstream::{self, HEADER_BYTES, Header, Segment};
use issc::semantic::{Bank, Decoder, Encoder, Picture, file};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus as Rng;

/// Bytes in use on a thread, now and at most.
struct Metered;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(change: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        PEAK.with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain thread-local cells.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size as isize - layout.size() as isize);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Metered = Metered;

/// Bytes that the work took beyond what was in use before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, isize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get() - before)
}

/// What a decoder may take for a picture that a header describes, padded to whole hyper positions.
fn honest_bytes(width: usize, height: usize) -> isize {
    let padded = width.next_multiple_of(64) * height.next_multiple_of(64);
    (160 * padded + (1 << 20)) as isize
}

/// Calls `case` with fresh numbers until the time is over.
fn for_a_while(name: &str, mut case: impl FnMut(&mut Rng)) {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut rng = Rng::seed_from_u64(variable("ISSC_DAMAGE_SEED").unwrap_or(1));
    let end = Instant::now() + Duration::from_secs(variable("ISSC_DAMAGE_SECONDS").unwrap_or(4));
    let (mut cases, mut slowest) = (0u64, Duration::ZERO);
    while Instant::now() < end {
        let begin = Instant::now();
        case(&mut rng);
        slowest = slowest.max(begin.elapsed());
        cases += 1;
    }
    println!("{name}: {cases} cases, the slowest took {slowest:?}");
}

/// Flips, overwrites, cuts, doubles, moves and inserts bytes.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.random_range(1..5) {
        if bytes.is_empty() {
            bytes.push(rng.random());
        }
        let from = rng.random_range(0..bytes.len());
        let to = (from + 1 + rng.random_range(0..60)).min(bytes.len());
        match rng.random_range(0..8) {
            0 => bytes[from] ^= 1 << rng.random_range(0..8),
            1 => rng.fill(&mut bytes[from..to]),
            2 => bytes[from..to].fill(*[0, 0xff].choose(rng).expect("two")),
            3 => bytes.truncate(from),
            4 => bytes.extend_from_within(..),
            5 => bytes.extend_from_within(from..to),
            6 => drop(bytes.drain(from..to)),
            _ => drop(bytes.splice(from..from, (0..rng.random_range(1..40)).map(|_| 0xa5))),
        }
        bytes.truncate(1 << 20);
    }
}

/// A number of any size up to `max`, small ones as likely as large ones.
fn any_size(max: usize, rng: &mut Rng) -> usize {
    (max as f64).powf(rng.random::<f64>()) as usize
}

/// Fields of any value that a header can hold, with a sound checksum.
fn forged_header(honest: Header, rng: &mut Rng) -> Vec<u8> {
    let mut header = honest;
    for _ in 0..rng.random_range(1..4) {
        match rng.random_range(0..8) {
            0 => header.model = rng.random_range(0..16),
            1 => header.width = any_size(1 << 16, rng).max(1),
            2 => header.height = any_size(1 << 16, rng).max(1),
            3 => header.slices = any_size(1 << 16, rng).max(1),
            4 => header.lengths_bytes = any_size(0xffff, rng),
            5 => header.hyper_bytes = any_size(0xffff, rng),
            6 => header.body_bytes = any_size(0xff_ffff, rng),
            _ => header.bank = rng.random(),
        }
    }
    // large pictures are honest work, but they leave no time for others
    if header.width * header.height > 1 << 20 && rng.random_range(0..64) > 0 {
        header.height = 1 + (1 << 20) / (header.width + 1);
    }
    header.write().expect("fields in their range").to_vec()
}

/// Random contents behind sound checksums: lengths, hyper segment and slices that a decoder must believe.
fn forged_picture(honest: &Picture, rng: &mut Rng) -> Picture {
    let random = |most: usize, rng: &mut Rng| -> Vec<u8> {
        let mut bytes = vec![0; rng.random_range(0..=most)];
        rng.fill(&mut bytes[..]);
        bytes
    };
    let number = honest.header.picture_number;
    let kept = HEADER_BYTES + honest.header.lengths_bytes;
    let mut hyper = honest.protected[kept..].to_vec();
    if rng.random() {
        hyper = random(120, rng);
        bitstream::push_crc(&mut hyper, 0, Segment::Hyper(number).seed());
    }
    let (mut body, mut lengths) = (vec![], vec![]);
    for slice in 0..rng.random_range(1..=honest.header.slices) {
        let begin = body.len();
        body.extend(random(150, rng));
        bitstream::push_crc(&mut body, begin, Segment::Slice(number, slice).seed());
        lengths.push(body.len() - begin);
    }
    let segment = bitstream::write_lengths(&lengths, number).expect("short slices");
    let header = Header {
        slices: lengths.len(),
        lengths_bytes: segment.len(),
        hyper_bytes: hyper.len(),
        body_bytes: body.len(),
        ..honest.header
    };
    let mut protected = header.write().expect("fields in their range").to_vec();
    protected.extend(segment);
    protected.extend(hyper);
    Picture { protected, body, header, information_bits: 0 }
}

/// Small pictures of several shapes and all models.
fn honest_pictures(bank: &std::sync::Arc<Bank>) -> Vec<Picture> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/macaws.png");
    let sample = image::open(path).expect("the sample picture").to_rgb8();
    let mut encoder = Encoder::new(bank.clone());
    let shapes = [(70, 50), (1, 1), (161, 33), (16, 200)];
    let models = 0..bank.models().len();
    models
        .flat_map(|model| shapes.map(|shape| (model, shape)))
        .map(|(model, (width, height))| {
            let picture: RgbImage = resize(&sample, width, height, FilterType::Triangle);
            encoder.encode(&picture, model, 7).expect("an honest picture")
        })
        .collect()
}

fn damaged_file(honest: &[Picture], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..rng.random_range(1..4) {
        let picture = honest.choose(rng).expect("some");
        match rng.random_range(0..6) {
            0 => file::write(&mut bytes, picture),
            1 => file::write(&mut bytes, &forged_picture(picture, rng)),
            2 => {
                let mut forged = forged_picture(picture, rng);
                mutate(&mut forged.body, rng);
                file::write(&mut bytes, &forged);
            }
            3 => {
                let mut forged = picture.clone();
                forged.protected.splice(..HEADER_BYTES, forged_header(picture.header, rng));
                file::write(&mut bytes, &forged);
            }
            4 => {
                let begin = bytes.len();
                file::write(&mut bytes, picture);
                let mut damaged = bytes.split_off(begin);
                mutate(&mut damaged, rng);
                bytes.extend(damaged);
            }
            _ => {
                let mut noise = vec![0; any_size(4000, rng)];
                rng.fill(&mut noise[..]);
                bytes.extend(noise);
            }
        }
    }
    bytes
}

#[test]
fn damaged_files_give_the_best_picture_within_an_honest_header_s_memory() {
    let bank = Bank::shipped();
    let honest = honest_pictures(&bank);
    let (mut shown, mut whole, mut refused) = (0u64, 0u64, 0u64);
    for_a_while("coded files", |rng| {
        let bytes = damaged_file(&honest, rng);
        for (protected, body) in file::records(&bytes) {
            let mut lost = vec![];
            for _ in 0..rng.random_range(0..3) {
                let from = any_size(8 * body.len().max(1), rng);
                lost.push(from..from + any_size(2000, rng));
            }
            let (decoded, peak) = peak_of(|| Decoder::new(bank.clone()).decode(protected, body, &lost));
            let header = Header::read(protected).expect("records begin with a header that can be read");
            assert!(peak <= honest_bytes(header.width, header.height), "{peak} bytes for {header:?}");
            match decoded {
                Ok(decoded) => {
                    let size = (decoded.image.width() as usize, decoded.image.height() as usize);
                    assert_eq!(size, (header.width, header.height));
                    assert!(decoded.report.lost_slices <= decoded.report.slices);
                    shown += 1;
                    whole += u64::from(decoded.report.lost_slices == 0);
                }
                Err(error) => {
                    let foreign = header.bank != bank.digest() as u16 || header.model >= bank.models().len();
                    assert!(error.exit_status() == 2 && foreign, "{error}");
                    refused += 1;
                }
            }
        }
    });
    println!("{shown} pictures shown, {whole} of them whole, {refused} refused");
    assert!(shown > 0 && whole > 0 && whole < shown && refused > 0, "a case of damage is missing");
}

#[test]
fn damaged_models_are_refused_or_still_decode() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/hyperprior");
    let weights = std::fs::read(format!("{folder}/weights.safetensors")).unwrap();
    let card = std::fs::read_to_string(format!("{folder}/card.toml")).unwrap();
    let honest = honest_pictures(&Bank::shipped());
    let header_end = 8 + usize::try_from(u64::from_le_bytes(weights[..8].try_into().unwrap())).unwrap();
    let (mut refused, mut accepted) = (0u64, 0u64);
    for_a_while("weight files", |rng| {
        let mut text = weights[8..header_end].to_vec();
        let mut body = weights[header_end..].to_vec();
        let forged = rng.random();
        if forged {
            // weights of any value under a digest that fits them
            for _ in 0..rng.random_range(1..50) {
                let at = rng.random_range(0..body.len());
                body[at] = rng.random();
            }
            let digest = format!("{:016x}", issc::semantic::weights::fnv1a(&body));
            let at = text.windows(9).position(|w| w == b"\"digest\":").expect("a digest") + 10;
            text[at..at + 16].copy_from_slice(digest.as_bytes());
        } else {
            mutate(&mut text, rng);
        }
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        bytes.extend(body);
        let (bank, peak) = peak_of(|| Bank::parse(&bytes, (!forged).then_some(&card), "damaged"));
        assert!(peak < 20 * weights.len() as isize, "{peak} bytes");
        match bank {
            Ok(bank) => {
                let picture = honest.choose(rng).expect("some");
                let mut protected = picture.protected.clone();
                let header = Header { bank: bank.digest() as u16, ..picture.header };
                protected.splice(..HEADER_BYTES, header.write().expect("an honest header"));
                let decoded = Decoder::new(bank.into()).decode(&protected, &picture.body, &[]);
                assert!(decoded.is_ok() || header.model > 0);
                accepted += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with("damaged: ") && !error.contains('\n'), "{error}");
                refused += 1;
            }
        }
    });
    println!("{refused} refused, {accepted} accepted");
    assert!(refused > 0 && accepted > 0, "a case of damage is missing");
}
