//! Pictures of others: seen as people see them, refused in one line, or shown in part and said so. The files in
//! `pictures/` are made by `pictures/make.py`; sizes and means here are those that Pillow finds in them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use issc::pictures::{Reading, picture_of, read_picture};

#[path = "pictures/mutate.rs"]
mod mutate;

const STRICT: Reading = Reading { lenient: false };
const LENIENT: Reading = Reading { lenient: true };

/// Pictures of the four quarters, 48x32, with the means that Pillow finds over white.
const QUARTERS: &[(&str, [f64; 3])] = &[
    ("baseline.jpg", [133.2, 128.5, 90.6]),
    ("progressive.jpg", [133.2, 128.5, 90.6]),
    ("restarts.jpg", [133.2, 128.4, 90.7]),
    ("rgb.jpg", [133.4, 128.4, 90.9]),
    ("cmyk.jpg", [133.4, 128.4, 90.9]),
    ("ycck.jpg", [112.5, 108.5, 77.1]),
    ("exif3.jpg", [133.2, 128.5, 90.6]),
    ("exif5.jpg", [133.2, 128.5, 90.7]),
    ("exif6.jpg", [133.2, 128.5, 90.7]),
    ("exif8.jpg", [133.2, 128.5, 90.7]),
    ("exif6.png", [133.4, 128.4, 90.9]),
    ("exif6.webp", [133.4, 128.4, 90.9]),
    ("rgb.png", [133.4, 128.4, 90.9]),
    ("palette.png", [133.3, 128.1, 90.8]),
    ("alpha.png", [192.2, 210.1, 158.6]),
    ("alpha.webp", [192.2, 210.1, 158.6]),
    ("alpha.tif", [192.2, 210.1, 158.6]),
    ("palette-clear.png", [136.4, 140.0, 102.7]),
    ("clear.gif", [136.4, 140.0, 102.7]),
    ("moving.gif", [133.4, 128.4, 91.0]),
    ("lossy.webp", [133.5, 128.4, 90.8]),
    ("rgb.bmp", [133.4, 128.4, 90.9]),
    ("palette.bmp", [133.3, 128.1, 90.8]),
    ("rgb.tif", [133.4, 128.4, 90.9]),
    ("deflate.tif", [133.4, 128.4, 90.9]),
    ("cmyk.tif", [133.4, 128.4, 90.9]),
];

/// Greys of 48x32.
const GREYS: &[(&str, f64)] =
    &[("grey.jpg", 125.7), ("grey.png", 125.7), ("grey16.png", 109.5), ("grey16.tif", 109.5), ("one-bit.png", 125.2)];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

fn mean(picture: &RgbImage) -> [f64; 3] {
    let sum = picture.pixels().fold([0.0; 3], |sum, pixel| [0, 1, 2].map(|at| sum[at] + f64::from(pixel.0[at])));
    sum.map(|sum| sum / f64::from(picture.width() * picture.height()))
}

fn near(found: [f64; 3], expected: [f64; 3]) -> bool {
    (0..3).all(|at| (found[at] - expected[at]).abs() <= 2.0)
}

fn read(name: &str) -> RgbImage {
    read_picture(&file(name), STRICT).unwrap_or_else(|error| panic!("{error}")).0
}

fn issc(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_issc"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = command.spawn().unwrap();
    // A program that refuses its arguments does not read.
    let _ = program.stdin.take().unwrap().write_all(input);
    program.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_kind_has_the_colours_and_the_size_that_another_decoder_sees() {
    let greys = GREYS.iter().map(|(name, grey)| (*name, [*grey; 3]));
    for (name, expected) in QUARTERS.iter().copied().chain(greys) {
        let picture = read(name);
        assert_eq!(picture.dimensions(), (48, 32), "{name}");
        let found = mean(&picture);
        assert!(near(found, expected), "{name}: {found:.1?}, {expected:?} expected");
    }
    // One scan per component, chroma at half resolution: Y = 60, Cb = 90, Cr = 200.
    let picture = read("three-scans.jpg");
    let expected = [60.0 + 1.402 * 72.0, 60.0 + 0.34414 * 38.0 - 0.71414 * 72.0, 0.0];
    assert!(picture.dimensions() == (64, 48) && near(mean(&picture), expected), "{:?}", mean(&picture));
}

#[test]
fn pictures_stand_upright_whatever_their_file_says_of_turning() {
    let upright = read("rgb.png");
    for name in ["exif3.jpg", "exif5.jpg", "exif6.jpg", "exif8.jpg", "exif6.png", "exif6.webp", "cmyk.jpg"] {
        let picture = read(name);
        for (x, y) in [(6, 6), (42, 6), (6, 26), (42, 26)] {
            let (found, expected) = (picture.get_pixel(x, y).0, upright.get_pixel(x, y).0);
            let off = (0..3).map(|at| found[at].abs_diff(expected[at])).max();
            assert!(off <= Some(24), "{name} at ({x}, {y}): {found:?}, {expected:?} expected");
        }
    }
}

#[test]
fn a_size_above_the_limit_is_refused_by_the_header_alone() {
    let error = read_picture(&file("huge.png"), STRICT).unwrap_err().to_string();
    assert!(error.contains("20000x20000 pixels; accepted: 1 to 16777216 pixels"), "{error}");
    // Nothing behind the header is there, and yet it is the size that is refused.
    let error = picture_of("cut", &bytes("huge.png")[..64], STRICT).unwrap_err().to_string();
    assert!(error.contains("20000x20000 pixels"), "{error}");
    let mut jpeg = bytes("baseline.jpg");
    let frame = jpeg.windows(2).position(|two| two == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0x7F);
    let error = picture_of("big.jpg", &jpeg[..frame + 30], STRICT).unwrap_err().to_string();
    assert!(error.contains("big.jpg: 32639x32639 pixels; accepted"), "{error}");
}

/// Cut files of each kind, by how much of them is there.
fn cut(name: &str, share: f64) -> Vec<u8> {
    let bytes = bytes(name);
    bytes[..(share * bytes.len() as f64) as usize].to_vec()
}

#[test]
fn a_file_that_is_cut_short_is_refused_for_every_kind() {
    for name in [
        "baseline.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "grey.jpg",
        "three-scans.jpg",
        "rgb.png",
        "alpha.png",
        "lossy.webp",
        "alpha.webp",
        "rgb.bmp",
        "palette.bmp",
        "rgb.tif",
        "deflate.tif",
        "clear.gif",
    ] {
        for share in [0.7, 0.8, 0.95, 0.99] {
            let error = picture_of(name, &cut(name, share), STRICT).map(|_| ()).unwrap_err().to_string();
            // A TIFF has its directory at its end; the rest are cut inside the picture.
            let tells = error.contains(" cut short: it ends before its size")
                || error.contains(" cut short: ") && error.contains("accepted with --lenient");
            assert!(error.starts_with(name) && error.lines().count() == 1 && tells, "{share}: {error}");
        }
    }
}

#[test]
fn lenient_shows_the_rows_that_are_there_and_says_how_many() {
    let picture =
        RgbImage::from_fn(160, 128, |x, y| image::Rgb([(x + y) as u8, (x * y / 64) as u8, ((7 * x) ^ (3 * y)) as u8]));
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.jpg", "a.bmp", "a.gif"] {
        let path = folder.path().join(name);
        match name {
            "a.jpg" => issc::pictures::save_picture(&path, &picture).unwrap(),
            _ => picture.save(&path).unwrap(),
        }
        let whole = std::fs::read(&path).unwrap();
        let (shown, _) = picture_of(name, &whole, STRICT).unwrap();
        let half = &whole[..whole.len() * 6 / 10];
        assert!(picture_of(name, half, STRICT).is_err());
        let (part, note) = picture_of(name, half, LENIENT).unwrap();
        let note = note.unwrap();
        let rows: usize = note.split("; ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!((32..112).contains(&rows) && note.ends_with("of 128 rows are shown"), "{note}");
        assert_eq!(part.dimensions(), shown.dimensions());
        let is_right = |y: u32| (0..160).all(|x| part.get_pixel(x, y) == shown.get_pixel(x, y));
        let is_white = |y: u32| (0..160).all(|x| part.get_pixel(x, y).0 == [255; 3]);
        // A BMP begins with its lowest row; the last row that is there may be there in part.
        let right = (0..128).filter(|y| is_right(*y)).count();
        assert!(right == rows || right + 1 == rows, "{name}: {right} rows are right; {note}");
        assert!((0..128).filter(|y| is_white(*y)).count() >= 128 - rows, "{name}: {note}");
    }
    let (part, note) = picture_of("p", &cut("progressive.jpg", 0.8), LENIENT).unwrap();
    assert!(note.unwrap().contains("shown by its first"));
    assert!(near(mean(&part), [133.2, 128.5, 90.6]), "{:?}", mean(&part));
    let (_, note) = picture_of("r", &cut("restarts.jpg", 0.9), LENIENT).unwrap();
    assert!(note.unwrap().contains("of 32 rows are shown"));
    for name in ["lossy.webp", "deflate.tif"] {
        let error = picture_of(name, &cut(name, 0.7), LENIENT).unwrap_err().to_string();
        assert!(error.contains("nothing of it can be shown"), "{error}");
    }
}

#[test]
fn three_hundred_damaged_files_of_each_kind_are_read_or_refused() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        // Those of this test only.
        if what.location().is_none_or(|location| !location.file().starts_with("tests")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        usual(what);
    }));
    let mut mutations = mutate::Mutations::new(19);
    let (mut read, mut refused) = (0, 0);
    for kind in ["jpg", "png", "webp", "bmp", "tif", "gif"] {
        let names = QUARTERS.iter().map(|(name, _)| *name).chain(["three-scans.jpg", "grey16.png", "grey16.tif"]);
        let files: Vec<_> = names.filter(|name| name.ends_with(kind)).map(bytes).collect();
        for number in 0..300 {
            let damaged = mutations.of(&files[number % files.len()]);
            for reading in [STRICT, LENIENT] {
                match picture_of("damaged", &damaged, reading) {
                    Ok(_) => read += 1,
                    Err(error) => {
                        refused += 1;
                        let error = error.to_string();
                        assert!(
                            error.starts_with("damaged: ") && error.lines().count() == 1,
                            "{kind} {number}: {error}"
                        );
                    }
                }
            }
        }
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    assert!(read > 300 && refused > 300, "{read} read, {refused} refused");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak_kb < 512 << 10, "{peak_kb} kB of memory");
    }
}

#[test]
fn a_folder_skips_what_it_cannot_read_in_one_line_and_is_refused_where_nothing_can() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    put("b-notes.txt", b"hello");
    put("c-broken.png", &cut("rgb.png", 0.8));
    put("d-huge.png", &bytes("huge.png"));
    put("e.heic", b"\0\0\0\x18ftypheic....");
    put(".hidden", b"x");
    let name = folder.path().display().to_string();
    let output = issc(&["encode", &name, "--model", "3", "-o", "-"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && said(&output).lines().count() == 1, "{}", said(&output));
    assert!(said(&output).contains("none of 4 can be read: b-notes.txt (not a picture), "), "{}", said(&output));
    put("a.jpg", &bytes("exif6.jpg"));
    put("f.webp", &bytes("alpha.webp"));
    let output = issc(&["encode", &name, "--model", "3", "-o", "-", "--json"], b"");
    assert!(output.status.success() && !output.stdout.is_empty(), "{}", said(&output));
    let line = said(&output).lines().next().unwrap().to_owned();
    assert!(line.contains(": 4 of 6 skipped: b-notes.txt (not a picture), "), "{line}");
    assert!(line.contains("c-broken.png (a PNG cut short: ") && line.ends_with(" and 1 more"), "{line}");
}

#[test]
fn encode_and_decode_work_in_a_pipe() {
    let coded = issc(&["encode", "-", "--model", "5", "-o", "-"], &bytes("exif6.jpg"));
    assert!(coded.status.success(), "{}", said(&coded));
    assert!(said(&coded).contains("bits per pixel"));
    let decoded = issc(&["decode", "-", "-o", "-"], &coded.stdout);
    assert!(decoded.status.success(), "{}", said(&decoded));
    assert!(said(&decoded).contains("lost segments  0 of"));
    let (picture, _) = picture_of("decoded", &decoded.stdout, STRICT).unwrap();
    assert_eq!(picture.dimensions(), (48, 32));
    let (found, sent) = (mean(&picture), mean(&read("exif6.jpg")));
    assert!((0..3).all(|at| (found[at] - sent[at]).abs() < 12.0), "{found:?}, {sent:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.png");
    let to_file = issc(&["decode", "-", "-o", file.to_str().unwrap()], &coded.stdout);
    assert!(to_file.status.success() && said(&to_file).is_empty());
    assert_eq!(read_picture(&file, STRICT).unwrap().0, picture);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
    let refused = issc(&["encode", "-", "--model", "5", "-o", "-"], b"hello");
    assert!(refused.status.code() == Some(2) && said(&refused).contains("standard input: not a picture"));
}

/// Room for a picture as small as those of these tests.
const WIDE: &str = "scene.constraints.bandwidth_ratio_max=1";

#[test]
fn lenient_is_a_flag_of_encode_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.jpg").display().to_string();
    std::fs::write(&file, cut("progressive.jpg", 0.8)).unwrap();
    for (arguments, says) in [
        (&["encode", &file, "--model", "3", "-o", "-"][..], "accepted with --lenient"),
        (&["encode", &file, "--model", "3", "-o", "-", "--lenient"], "shown by its first"),
        (&["run", "--picture", &file, "--frames", "4", "--set", WIDE], "accepted with --lenient"),
        (&["run", "--picture", &file, "--frames", "4", "--set", WIDE, "--lenient"], "shown by its first"),
    ] {
        let output = issc(arguments, b"");
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
        assert_eq!(output.status.success(), arguments.contains(&"--lenient"), "{}", said(&output));
    }
}

#[test]
fn a_list_that_is_sent_once_is_sent_whole_whatever_the_flowgraph_says_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let picture = RgbImage::from_fn(64, 48, |x, y| image::Rgb([8 * number, (4 * x) as u8, (5 * y) as u8]));
        picture.save(folder.path().join(format!("{number:02}.png"))).unwrap();
    }
    let name = folder.path().display().to_string();
    let frames_and_pictures = |more: &[&str]| {
        let arguments = [&["run", "--picture", &name, "--repeat", "1", "--json"], more].concat();
        let output = issc(&arguments, b"");
        assert!(output.status.success(), "{}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (report["frames_sent"].as_u64().unwrap(), report["images"].as_array().unwrap().len())
    };
    let (frames, pictures) = frames_and_pictures(&["--set", "frames=16"]);
    assert!(frames > 16 && pictures == 30, "{frames} frames, {pictures} pictures");
    // Who asks for fewer frames gets them.
    assert_eq!(frames_and_pictures(&["--frames", "16"]).0, 16);
}
