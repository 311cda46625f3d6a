//! Forms of samples by SigMF's `core:datatype`: `c` or `r`, a number (`f32`, `u8`, …) and, above one byte, its byte order.
//!
//! Integers are scaled so that full scale is one, as SigMF's own reader does: i16 by 1/32 768, and unsigned ones after half
//! of their range has been taken away.

use num_complex::Complex32;

/// How a number stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    F32,
    F64,
    I32,
    I16,
    I8,
    U32,
    U16,
    U8,
}

/// Numbers by their names.
const NUMBERS: [(&str, Number); 8] = [
    ("f32", Number::F32),
    ("f64", Number::F64),
    ("i32", Number::I32),
    ("i16", Number::I16),
    ("i8", Number::I8),
    ("u32", Number::U32),
    ("u16", Number::U16),
    ("u8", Number::U8),
];

/// What an error says that is accepted.
const ACCEPTED: &str = "accepted: cf32, cf64, ci32, ci16, cu32, cu16 with _le or _be, ci8, cu8";

/// Form of complex samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleType {
    number: Number,
    big_endian: bool,
}

impl SampleType {
    /// The form of a `core:datatype`.
    ///
    /// # Errors
    /// Says what is wrong with it and what is accepted. Real samples are refused: they cannot tell a frequency above the
    /// carrier from one below it, which every receiver here needs.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("core:datatype {text}{what}; {ACCEPTED}"));
        let (form, order) = match text.rsplit_once('_') {
            Some((form, order)) => (form, Some(order)),
            None => (text, None),
        };
        let (kind, name) = match form.split_at_checked(1) {
            Some(parts @ ("c" | "r", _)) => parts,
            _ => return wrong(""),
        };
        let Some((_, number)) = NUMBERS.into_iter().find(|(known, _)| *known == name) else { return wrong("") };
        let big_endian = match order {
            Some("be") => true,
            Some("le") => false,
            None if matches!(number, Number::I8 | Number::U8) => false,
            None => return wrong(" says no byte order"),
            Some(_) => return wrong(""),
        };
        if kind == "r" {
            return wrong(": real samples, where complex ones are needed");
        }
        Ok(Self { number, big_endian })
    }

    /// Bytes of a complex sample.
    pub const fn bytes(self) -> usize {
        2 * match self.number {
            Number::F64 => 8,
            Number::F32 | Number::I32 | Number::U32 => 4,
            Number::I16 | Number::U16 => 2,
            Number::I8 | Number::U8 => 1,
        }
    }

    /// Reads samples of `stride` bytes from one to the next into `row`: the complex number at the beginning of each stride.
    /// `unit` is what a one stands for.
    pub fn read_row(self, bytes: &[u8], stride: usize, unit: f64, row: &mut [Complex32]) {
        let unsigned = |value: f64, half: f64| (value - half) / half * unit;
        match self.number {
            // Ones in the writer's own form pass to the bit.
            Number::F32 => self.each(bytes, stride, row, |n| (f64::from(f32::from_le_bytes(n)) * unit) as f32),
            Number::F64 => self.each(bytes, stride, row, |n| (f64::from_le_bytes(n) * unit) as f32),
            Number::I32 => {
                self.each(bytes, stride, row, |n| (f64::from(i32::from_le_bytes(n)) / 2_147_483_648.0 * unit) as f32);
            }
            Number::I16 => {
                self.each(bytes, stride, row, |n| (f64::from(i16::from_le_bytes(n)) / 32_768.0 * unit) as f32)
            }
            Number::I8 => self.each(bytes, stride, row, |n| (f64::from(i8::from_le_bytes(n)) / 128.0 * unit) as f32),
            Number::U32 => {
                self.each(bytes, stride, row, |n| unsigned(f64::from(u32::from_le_bytes(n)), 2_147_483_648.0) as f32);
            }
            Number::U16 => {
                self.each(bytes, stride, row, |n| unsigned(f64::from(u16::from_le_bytes(n)), 32_768.0) as f32);
            }
            Number::U8 => self.each(bytes, stride, row, |n| unsigned(f64::from(u8::from_le_bytes(n)), 128.0) as f32),
        }
    }

    /// Turns `B` bytes, the lowest one first, into each of the two numbers of each sample.
    fn each<const B: usize>(self, bytes: &[u8], stride: usize, row: &mut [Complex32], number: impl Fn([u8; B]) -> f32) {
        let one = |from: &[u8]| {
            let mut ordered = [0; B];
            ordered.copy_from_slice(from);
            if self.big_endian {
                ordered.reverse();
            }
            number(ordered)
        };
        for (to, from) in row.iter_mut().zip(bytes.chunks(stride)) {
            *to = Complex32::new(one(&from[..B]), one(&from[B..2 * B]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of what `bytes` hold.
    fn row(datatype: &str, bytes: &[u8]) -> Vec<Complex32> {
        let form = SampleType::parse(datatype).unwrap();
        let mut row = vec![Complex32::default(); bytes.len() / form.bytes()];
        form.read_row(bytes, form.bytes(), 1.0, &mut row);
        row
    }

    #[test]
    fn every_complex_type_and_byte_order_gives_the_same_half_and_minus_a_quarter() {
        let expected = [Complex32::new(0.5, -0.25)];
        let both = |name: &str, le: Vec<u8>| {
            let width = le.len() / 2;
            let be: Vec<u8> = le.chunks(width).flat_map(|n| n.iter().rev().copied().collect::<Vec<_>>()).collect();
            assert_eq!(row(&format!("{name}_le"), &le), expected, "{name}_le");
            assert_eq!(row(&format!("{name}_be"), &be), expected, "{name}_be");
        };
        both("cf32", [0.5f32, -0.25].iter().flat_map(|x| x.to_le_bytes()).collect());
        both("cf64", [0.5f64, -0.25].iter().flat_map(|x| x.to_le_bytes()).collect());
        both("ci32", [1i32 << 30, -(1 << 29)].iter().flat_map(|x| x.to_le_bytes()).collect());
        both("cu32", [3u32 << 30, 3 << 29].iter().flat_map(|x| x.to_le_bytes()).collect());
        both("ci16", [1i16 << 14, -(1 << 13)].iter().flat_map(|x| x.to_le_bytes()).collect());
        both("cu16", [3u16 << 14, 3 << 13].iter().flat_map(|x| x.to_le_bytes()).collect());
        assert_eq!(row("ci8", &[64, 0xe0]), expected);
        assert_eq!(row("cu8", &[192, 96]), expected);
    }

    #[test]
    fn strides_and_units_are_kept_to() {
        let mut row = [Complex32::default(); 2];
        SampleType::parse("ci8").unwrap().read_row(&[64, 0, 9, 9, 0, 64, 9, 9], 4, 4.0, &mut row);
        assert_eq!(row, [Complex32::new(2.0, 0.0), Complex32::new(0.0, 2.0)]);
    }

    #[test]
    fn real_types_missing_byte_orders_and_other_words_are_refused_with_what_is_accepted() {
        for (text, about) in [
            ("rf32_le", "real samples"),
            ("ri16_be", "real samples"),
            ("ru8", "real samples"),
            ("cf32", "no byte order"),
            ("cf16_le", "cf16_le;"),
            ("cf32_me", "cf32_me;"),
            ("", "core:datatype ;"),
            ("é", "é;"),
        ] {
            let refused = SampleType::parse(text).unwrap_err();
            assert!(refused.contains(about) && refused.contains("accepted: cf32"), "{text}: {refused}");
        }
    }
}
