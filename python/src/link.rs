//! The channel code of payload blocks.

use issc::coding::{BlockCode, BlockScratch};
use issc::lab::link::Settings;
use num_complex::Complex32;
use numpy::{AllowTypeChange, PyArray1, PyArray2, PyArrayLike2};
use pyo3::prelude::*;

use crate::arrays::{Rows, matrix, vector};
use crate::error::{OrRaise, wrong};

/// Anything that NumPy makes rows of bits of.
pub type Bits<'py> = PyArrayLike2<'py, u8, AllowTypeChange>;

/// One modulation and rate of payload blocks: bits ↔ symbols of unit mean power.
///
/// modulation: qpsk, 16qam, 64qam, 256qam. rate: information bits per symbol, the CRC among them. crc: none, 11, 16, 24.
/// shaped: small amplitudes come more often. joint: blocks of 256 symbols that are coded as one.
#[pyclass(module = "issc", frozen)]
pub struct LinkCode {
    code: BlockCode,
}

#[pymethods]
impl LinkCode {
    #[new]
    #[pyo3(signature = (modulation, rate, *, crc = "none", shaped = false, joint = 1))]
    fn new(modulation: &str, rate: f64, crc: &str, shaped: bool, joint: usize) -> PyResult<Self> {
        let settings =
            Settings { modulation: modulation.into(), rate, joint, shaped, crc: crc.into(), ..Settings::default() };
        Ok(Self { code: settings.code().or_raise()? })
    }

    /// N_c, information bits of a block, the CRC among them.
    #[getter]
    fn information_bits(&self) -> usize {
        self.code.information_bits()
    }

    /// Bits of a block that a user may fill.
    #[getter]
    fn payload_bits(&self) -> usize {
        self.code.payload_bits()
    }

    /// Bits of a block on the air.
    #[getter]
    fn coded_bits(&self) -> usize {
        self.code.coded_bits()
    }

    /// Symbols of a block.
    #[getter]
    fn symbols(&self) -> usize {
        self.code.coded_bits() / self.code.modulation().bits_per_symbol()
    }

    /// Codes and modulates bits [blocks, payload_bits], 0 or 1: symbols [blocks, symbols], complex64, unit mean power.
    fn modulate<'py>(&self, py: Python<'py>, bits: Bits<'py>) -> PyResult<Bound<'py, PyArray2<Complex32>>> {
        let bits = rows_of("bits", bits.as_array(), self.payload_bits())?;
        let (symbols, blocks) = (self.symbols(), bits.len() / self.payload_bits());
        if bits.iter().any(|bit| *bit > 1) {
            return Err(wrong("bits: found a number that is no bit; accepted: 0 and 1"));
        }
        let made = py.detach(|| {
            let (mut scratch, mut coded) = (BlockScratch::default(), vec![0; self.code.coded_bits()]);
            let mut made = vec![Complex32::default(); blocks * symbols];
            for (bits, symbols) in bits.chunks_exact(self.payload_bits()).zip(made.chunks_exact_mut(symbols)) {
                self.code.modulate(bits, &mut coded, symbols, &mut scratch);
            }
            made
        });
        matrix(py, made, [blocks, symbols])
    }

    /// Soft bits [blocks, coded_bits], int8, four units a nat, positive for 0, of symbols [blocks, symbols] under complex
    /// noise of this variance per symbol.
    fn demap<'py>(
        &self,
        py: Python<'py>,
        symbols: Rows<'py>,
        noise_variance: f32,
    ) -> PyResult<Bound<'py, PyArray2<i8>>> {
        if !(noise_variance.is_finite() && noise_variance > 0.0) {
            return Err(wrong(format!("noise_variance: found {noise_variance}; accepted: a finite number above 0")));
        }
        let symbols = rows_of("symbols", symbols.as_array(), self.symbols())?;
        let blocks = symbols.len() / self.symbols();
        let soft = py.detach(|| {
            let mut soft = vec![0; blocks * self.code.coded_bits()];
            self.code.constellation().demap(&symbols, noise_variance, &mut soft);
            soft
        });
        matrix(py, soft, [blocks, self.code.coded_bits()])
    }

    /// Decodes soft bits [blocks, coded_bits], int8: bits [blocks, payload_bits], uint8, the best guess where it fails,
    /// and whether each block was decoded [blocks], bool. rescue: tries blocks again on which the decoder gave up.
    #[pyo3(signature = (soft, *, rescue = false))]
    #[expect(clippy::type_complexity, reason = "two arrays")]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        soft: PyArrayLike2<'py, i8, AllowTypeChange>,
        rescue: bool,
    ) -> PyResult<(Bound<'py, PyArray2<u8>>, Bound<'py, PyArray1<bool>>)> {
        let soft = rows_of("soft", soft.as_array(), self.code.coded_bits())?;
        let (blocks, payload) = (soft.len() / self.code.coded_bits(), self.payload_bits());
        let (bits, decoded) = py.detach(|| {
            let mut scratch = if rescue { BlockScratch::with_rescue() } else { BlockScratch::default() };
            let mut bits = vec![0; blocks * payload];
            let each = soft.chunks_exact(self.code.coded_bits()).zip(bits.chunks_exact_mut(payload));
            let decoded = each.map(|(soft, bits)| self.code.decode(soft, bits, &mut scratch).decoded).collect();
            (bits, decoded)
        });
        Ok((matrix(py, bits, [blocks, payload])?, vector(py, decoded)))
    }
}

/// The numbers of rows that must be so long.
fn rows_of<T: Copy>(name: &str, rows: numpy::ndarray::ArrayView2<'_, T>, length: usize) -> PyResult<Vec<T>> {
    match rows.ncols() == length {
        true => Ok(rows.iter().copied().collect()),
        false => Err(wrong(format!("{name}: found rows of {}; accepted: {length}", rows.ncols()))),
    }
}
