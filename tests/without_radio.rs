//! A program that was built without radios says so.
#![cfg(not(feature = "soapy"))]

use std::process::Command;

#[test]
fn radios_need_their_feature_and_say_so() {
    for arguments in [&["probe"][..], &["calibrate"], &["run", "flowgraphs/virtual.toml"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_issc")).args(arguments).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("--features soapy") && stderr.trim().lines().count() == 1, "{stderr}");
    }
}
