//! Proof `metrics`: PSNR and MS-SSIM against an implementation of others.

use std::path::{Path, PathBuf};
use std::process::Command;

use issc::semantic::{Bank, Decoder, Encoder, metrics};
use serde_json::json;

use super::Proof;

/// Pictures in a folder, by name.
fn pictures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("ISSC_PICTURES").map_or(root.join("pictures"), PathBuf::from);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "png" || ending == "jpg"));
    files.sort();
    files
}

pub fn prove() {
    let mut proof = Proof::begin("metrics", 1);
    let found = proof.part("pairs", || {
        let folder = tempfile::tempdir().unwrap();
        let bank = Bank::shipped();
        let (mut encoder, mut decoder) = (Encoder::new(bank.clone()), Decoder::new(bank.clone()));
        let files = pictures();
        let (mut own, mut paths) = (Vec::new(), Vec::new());
        for pair in 0..10 {
            // Ten pictures, or fewer at several rates.
            let (sent, _) = issc::pictures::read_picture(&files[pair % files.len()], Default::default()).unwrap();
            let model = (pair / files.len() + pair) % bank.models().len();
            let coded = encoder.encode(&sent, model, 0).unwrap();
            let shown = decoder.decode(&coded.protected, &coded.body, &[]).unwrap().image;
            let mse = metrics::mse(&sent, &shown);
            own.push(json!({ "psnr_db": metrics::psnr_db(mse), "ms_ssim": metrics::ms_ssim(&sent, &shown) }));
            for (name, picture) in [("sent", &sent), ("shown", &shown)] {
                paths.push(folder.path().join(format!("{pair}-{name}.png")));
                picture.save(paths.last().unwrap()).unwrap();
            }
        }
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("training/metrics.py");
        let output = Command::new(&python).arg(script).args(&paths).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{python}, set by PYTHON, needs pytorch-msssim: {said}");
        let others: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json!({ "own": own, "others": others })
    });
    for key in ["psnr_db", "ms_ssim"] {
        let of = |side: &str, pair: usize| found[side][pair][key].as_f64().unwrap();
        let most = (0..10).map(|pair| (of("own", pair) - of("others", pair)).abs()).fold(0.0, f64::max);
        let range = (0..10).map(|pair| of("own", pair));
        proof.claim(
            &format!("{key} of 10 pictures is that of NumPy or pytorch-msssim to four digits"),
            format!("at most {most:.1e} apart, {}", super::median_and_range(range.collect())),
            most < 5e-5,
        );
    }
    proof.end();
}
