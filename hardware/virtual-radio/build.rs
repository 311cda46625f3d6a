//! Compiles the driver; needs a C++ compiler and SoapySDR's headers (Debian: `g++ pkg-config libsoapysdr-dev`).

fn main() {
    println!("cargo:rerun-if-changed=driver");
    let library = pkg_config::Config::new()
        .atleast_version("0.8")
        .cargo_metadata(false)
        .probe("SoapySDR")
        .unwrap_or_else(|error| panic!("SoapySDR's development files are missing (libsoapysdr-dev): {error}"));
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .warnings(true)
        .extra_warnings(true)
        .includes(&library.include_paths)
        .file("driver/virtual_radio.cpp")
        .compile("virtual_radio");
    // After the archive, which needs it.
    println!("cargo:rustc-link-lib=SoapySDR");
}
