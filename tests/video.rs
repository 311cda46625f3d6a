//! Video through `ffmpeg`: a stand-in on the PATH copies PPM pictures where the real program would code them, which
//! checks this side of the pipe and every line that a user sees. With the real program:
//! `issc encode clip.mp4 --model 3 -o clip.issc && issc decode clip.issc -o back.mp4`.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use image::{Rgb, RgbImage};

/// Copies its input (the file after `-i file:`, or stdin) to its output (stdout, or the file of the last argument).
const STAND_IN: &str = r#"#!/bin/sh
for last; do :; done
case "$*" in
    *"-i - "*) exec /bin/cat > "${last#file:}" ;;
esac
while [ "$1" != -i ]; do shift; done
/bin/cat "${2#file:}"
"#;

fn issc(arguments: &[&str], path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).env("PATH", path).output().unwrap()
}

fn ppm(picture: &RgbImage) -> Vec<u8> {
    [format!("P6\n{} {}\n255\n", picture.width(), picture.height()).as_bytes(), picture.as_raw()].concat()
}

#[test]
fn a_video_is_coded_picture_by_picture_and_written_as_a_video_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ffmpeg");
    std::fs::write(&program, STAND_IN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let pictures =
        [20, 120, 220].map(|grey| RgbImage::from_fn(70, 50, |x, y| Rgb([grey, (x + y) as u8, (2 * y) as u8])));
    std::fs::write(file("clip.mp4"), pictures.each_ref().map(ppm).concat()).unwrap();
    let coded = issc(&["encode", &file("clip.mp4"), "--model", "5", "-o", &file("clip.issc")], folder.path());
    assert!(coded.status.success(), "{}", String::from_utf8_lossy(&coded.stderr));
    let decoded = issc(&["decode", &file("clip.issc"), "-o", &file("back.mp4")], folder.path());
    assert!(decoded.status.success(), "{}", String::from_utf8_lossy(&decoded.stderr));
    let back = std::fs::read(file("back.mp4")).unwrap();
    let length = ppm(&pictures[0]).len();
    assert_eq!(back.len(), 3 * length);
    for (picture, back) in pictures.iter().zip(back.chunks_exact(length)) {
        let samples = &back[length - picture.as_raw().len()..];
        let error: u64 = picture.as_raw().iter().zip(samples).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        assert!(error < 60 * samples.len() as u64, "mean squared error {}", error / samples.len() as u64);
    }
    // and into a run
    let arguments = ["run", "--frames", "40", "--picture", &file("clip.mp4"), "--received", &file("seen.mp4")];
    let run = issc(&arguments, folder.path());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let seen = std::fs::read(file("seen.mp4")).unwrap();
    assert!(!seen.is_empty() && seen.len() % length == 0, "{} bytes", seen.len());
    // cut inside a picture
    std::fs::write(file("cut.mp4"), &ppm(&pictures[0])[..5000]).unwrap();
    let cut = issc(&["encode", &file("cut.mp4"), "--model", "0", "-o", &file("cut.issc")], folder.path());
    assert_eq!(cut.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&cut.stderr).contains("cut.mp4: "));
}

#[test]
fn without_ffmpeg_one_line_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mp4").display().to_string();
    std::fs::write(&clip, "a video").unwrap();
    for arguments in [
        &["encode", &clip, "--model", "0", "-o", "never"][..],
        &["run", "--picture", &clip],
        &["run", "--frames", "1", "--received", &clip],
    ] {
        let output = issc(arguments, folder.path());
        let line = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.lines().count() == 1 && line.contains("clip.mp4") && line.contains("ffmpeg"), "{line}");
    }
}
