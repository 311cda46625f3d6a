//! Reference vectors of TS 38.211 and 38.212. `cargo test --release vector` runs exactly these; every entry of every
//! file counts, and an empty list fails.

use issc::coding::ldpc::{BaseGraph, Encoder, LdpcCode};
use issc::coding::{Crc, HeaderCode, HeaderScratch, Link};
use issc::modem::constellation::Modulation;
use num_complex::Complex32;
use serde_json::Value;

fn file(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    let list = value[key].as_array().expect(key);
    assert!(!list.is_empty(), "`{key}` is empty");
    list
}

fn number(value: &Value, key: &str) -> usize {
    value[key].as_u64().expect(key) as usize
}

/// `{"n": bits, "hex": …}`: most significant bit first, the last digit filled up with zeros.
fn bits(value: &Value) -> Vec<u8> {
    let hex = value["hex"].as_str().expect("hex");
    let all = hex.chars().flat_map(|digit| {
        let digit = digit.to_digit(16).expect("hex") as u8;
        (0..4).rev().map(move |shift| digit >> shift & 1)
    });
    all.take(number(value, "n")).collect()
}

#[test]
fn crc_vectors_agree() {
    for vector in list(&file("crc"), "vectors") {
        let crc: Crc = ["CRC6", "CRC11", "CRC16", "CRC24A", "CRC24B", "CRC24C"]
            .into_iter()
            .zip([Crc::Crc6, Crc::Crc11, Crc::Crc16, Crc::Crc24A, Crc::Crc24B, Crc::Crc24C])
            .find(|(name, _)| vector["crc"] == *name)
            .expect("a known CRC")
            .1;
        let mut word = bits(&vector["bits"]);
        let length = word.len();
        word.resize(length + crc.bits(), 0);
        crc.append(&mut word);
        assert_eq!(word[length..], bits(&vector["parity"]), "{vector}");
        assert!(crc.check(&word));
    }
}

fn graph(vector: &Value) -> BaseGraph {
    if number(vector, "bg") == 1 { BaseGraph::One } else { BaseGraph::Two }
}

#[test]
fn ldpc_codeword_vectors_agree() {
    let mut scratch = Encoder::default();
    for vector in list(&file("ldpc"), "encode") {
        let (information, expected) = (bits(&vector["c"]), bits(&vector["d"]));
        let lifting = number(vector, "z");
        let code = LdpcCode::with_lifting(graph(vector), lifting, information.len(), expected.len(), 1).unwrap();
        let mut coded = vec![0; expected.len()];
        code.encode(&information, &mut coded, &mut scratch);
        assert_eq!(coded, expected, "Z = {}", number(vector, "z"));
    }
}

#[test]
fn ldpc_rate_matching_vectors_agree() {
    let mut scratch = Encoder::default();
    for vector in list(&file("ldpc"), "rate_matched") {
        let (information, expected) = (bits(&vector["b"]), bits(&vector["f"]));
        let code = LdpcCode::new(graph(vector), information.len(), number(vector, "E"), number(vector, "Qm")).unwrap();
        assert_eq!((code.lifting(), code.filler_bits()), (number(vector, "z"), number(vector, "filler")), "{vector}");
        let mut coded = vec![0; expected.len()];
        code.encode(&information, &mut coded, &mut scratch);
        assert_eq!(coded, expected, "K = {}, E = {}", information.len(), expected.len());
    }
}

#[test]
fn polar_vectors_agree_and_decode() {
    for vector in list(&file("polar"), "vectors") {
        let link = if vector["channel"] == "uplink" { Link::Uplink } else { Link::Downlink };
        let code = HeaderCode::for_link(link, number(vector, "k"), number(vector, "E")).unwrap();
        let mut scratch = HeaderScratch::new(&code);
        assert_eq!(code.length(), number(vector, "n_polar"));
        let positions: Vec<usize> =
            list(vector, "info_positions_sorted").iter().map(|value| value.as_u64().unwrap() as usize).collect();
        assert_eq!(code.positions(), positions);
        let (information, expected) = (bits(&vector["b"]), bits(&vector["f"]));
        let mut coded = vec![0; expected.len()];
        code.encode(&information, &mut coded, &mut scratch);
        assert_eq!(coded, expected, "{vector}");
        let llr: Vec<f32> = coded.iter().map(|bit| 4.0 - 8.0 * f32::from(*bit)).collect();
        let mut back = vec![0; information.len()];
        assert!(code.decode(&llr, &mut back, &mut scratch) && back == information);
    }
}

#[test]
fn modulation_vectors_agree() {
    for vector in list(&file("modulation"), "vectors") {
        let name = vector["mod"].as_str().unwrap().to_lowercase();
        let name = if let Some(order) = name.strip_prefix("qam") { format!("{order}qam") } else { name };
        let modulation: Modulation = name.parse().unwrap();
        let width = modulation.bits_per_symbol();
        let complex =
            |value: &Value| Complex32::new(value[0].as_f64().unwrap() as f32, value[1].as_f64().unwrap() as f32);
        for (label, point) in list(vector, "points_by_label").iter().enumerate() {
            let bits: Vec<u8> = (0..width).rev().map(|shift| (label >> shift & 1) as u8).collect();
            let mut symbol = [Complex32::default()];
            modulation.map(&bits, &mut symbol);
            assert!((symbol[0] - complex(point)).norm() < 1e-6, "{name} {label}");
        }
        let symbols: Vec<_> = list(vector, "y").iter().map(complex).collect();
        let mut llr = vec![0.0; width * symbols.len()];
        modulation.demap_f32(&symbols, vector["no"].as_f64().unwrap() as f32, &mut llr);
        // The file's ratios are ln P(1)/P(0).
        let flat: Vec<f64> = flatten(&vector["llr_log_p1_over_p0"]["maxlog"]);
        assert_eq!(flat.len(), llr.len(), "{name}");
        for (found, expected) in llr.iter().zip(flat) {
            assert!(
                (f64::from(*found) + expected).abs() < 1e-3 * expected.abs().max(1.0),
                "{name}: {found} {expected}"
            );
        }
    }
}

fn flatten(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flatten).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}
