//! Pictures and the source models.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::RgbImage;
use issc::control::load_pictures;
use issc::pictures::Reading;
use issc::semantic::bitstream::{HEADER_BYTES, Header, read_lengths};
use issc::semantic::{Bank, Decoder, Encoder, file, metrics};
use numpy::{PyArray3, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arrays::{cube, object};
use crate::error::{DamagedError, OrRaise, wrong};

/// A picture, height × width × 3.
pub type Picture<'py> = PyReadonlyArray3<'py, u8>;

/// The picture that an array holds.
pub fn image(name: &str, picture: &Picture<'_>) -> PyResult<RgbImage> {
    let &[height, width, channels] = picture.shape() else {
        return Err(wrong(format!("{name}: accepted: three axes")));
    };
    if channels != 3 || height == 0 || width == 0 {
        return Err(wrong(format!(
            "{name}: found shape {height}×{width}×{channels}; accepted: height × width × 3, uint8"
        )));
    }
    let bytes = match picture.as_slice() {
        Ok(bytes) => bytes.to_vec(),
        Err(_) => picture.as_array().iter().copied().collect(),
    };
    RgbImage::from_raw(width as u32, height as u32, bytes).ok_or_else(|| wrong(format!("{name}: too large")))
}

/// A picture as an array.
fn array(py: Python<'_>, image: RgbImage) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let shape = [image.height() as usize, image.width() as usize, 3];
    cube(py, image.into_raw(), shape)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The learned source models: pictures [height, width, 3], uint8, to bytes and back, whatever became of the bytes.
///
/// bank: folder of a model bank of your own; the shipped one where absent. effort: passes of the encoder in search of
/// symbols of fewer bits; 0 is real time.
///
/// >>> codec = Codec()
/// >>> data = codec.encode(picture, "mse-3")
/// >>> shown = codec.decode(data)
#[pyclass(module = "issc", frozen)]
pub struct Codec {
    bank: Arc<Bank>,
    encoder: Mutex<Encoder>,
    decoder: Mutex<Decoder>,
}

/// The parts of a coded picture.
#[pyclass(module = "issc", frozen, get_all)]
pub struct Coded {
    /// Index of the source model.
    model: usize,
    /// Pixels from left to right.
    width: usize,
    /// Pixels from top to bottom.
    height: usize,
    /// Header, lengths of the slices and hyper segment: what is sent with the strongest code, bytes.
    protected: Py<PyBytes>,
    /// The slices, back to back, bytes.
    body: Py<PyBytes>,
    /// First and last bit (exclusive) of each slice in the body; empty where the lengths cannot be read.
    slices: Vec<(usize, usize)>,
}

#[pymethods]
impl Coded {
    fn __repr__(&self) -> String {
        format!("<Coded {}×{}, model {}, {} slices>", self.width, self.height, self.model, self.slices.len())
    }
}

/// A decoded picture and what became of it.
#[pyclass(module = "issc", frozen, get_all)]
pub struct Decoded {
    /// The picture [height, width, 3], uint8, lost slices concealed.
    image: Py<PyArray3<u8>>,
    /// Slices of the picture.
    slices: usize,
    /// Slices that were concealed.
    lost_slices: usize,
}

#[pymethods]
impl Codec {
    #[new]
    #[pyo3(signature = (bank = None, *, effort = 0))]
    fn new(bank: Option<PathBuf>, effort: usize) -> PyResult<Self> {
        let bank = bank.map_or_else(|| Ok(Bank::shipped()), |folder| Bank::load(&folder)).or_raise()?;
        if effort > 1000 {
            return Err(wrong(format!("effort: found {effort}; accepted: 0 to 1000")));
        }
        let mut encoder = Encoder::new(Arc::clone(&bank));
        encoder.set_effort(effort);
        let (encoder, decoder) = (Mutex::new(encoder), Mutex::new(Decoder::new(Arc::clone(&bank))));
        Ok(Self { bank, encoder, decoder })
    }

    /// The source models, a dictionary each: index, name, tuned_for, and what was measured on the calibration pictures.
    #[getter]
    fn models<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.bank.models())
    }

    /// Codes a picture [height, width, 3], uint8, with the model of this index or name; bytes as `issc encode` writes them.
    #[pyo3(signature = (picture, model, number = 0))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        picture: Picture<'py>,
        model: &Bound<'py, PyAny>,
        number: u16,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let model = self.bank.find(&model.str()?.to_string()).or_raise()?.index;
        let picture = image("picture", &picture)?;
        let bytes = py.detach(|| {
            let coded = lock(&self.encoder).encode(&picture, model, number)?;
            let mut bytes = Vec::new();
            file::write(&mut bytes, &coded);
            Ok(bytes)
        });
        Ok(PyBytes::new(py, &bytes.or_raise()?))
    }

    /// The picture [height, width, 3], uint8, of coded bytes; `lost` are ranges of the body's bits, (first, last exclusive),
    /// that are known not to have arrived. Raises DamagedError where not even the header can be read.
    #[pyo3(signature = (data, lost = Vec::new()))]
    fn decode<'py>(
        &self,
        py: Python<'py>,
        data: &[u8],
        lost: Vec<(usize, usize)>,
    ) -> PyResult<Bound<'py, PyArray3<u8>>> {
        Ok(self.decode_report(py, data, lost)?.image.into_bound(py))
    }

    /// The same with the count of slices that were concealed.
    #[pyo3(signature = (data, lost = Vec::new()))]
    fn decode_report(&self, py: Python<'_>, data: &[u8], lost: Vec<(usize, usize)>) -> PyResult<Decoded> {
        let (protected, body) = record(data)?;
        self.decoded(py, protected, body, lost)
    }

    /// Decodes the two parts of a picture as they arrived.
    #[pyo3(signature = (protected, body, lost = Vec::new()))]
    fn decode_parts(
        &self,
        py: Python<'_>,
        protected: &[u8],
        body: &[u8],
        lost: Vec<(usize, usize)>,
    ) -> PyResult<Decoded> {
        self.decoded(py, protected, body, lost)
    }

    /// The parts of a coded picture: header and hyper segment, body, and where each slice stands in it.
    #[staticmethod]
    fn split(py: Python<'_>, data: &[u8]) -> PyResult<Coded> {
        let (protected, body) = record(data)?;
        let header =
            Header::read(protected).ok_or_else(|| DamagedError::new_err("data: the picture header cannot be read"))?;
        let mut ranges = Vec::new();
        let lengths =
            protected.get(HEADER_BYTES..).and_then(|rest| rest.get(..header.lengths_bytes)).unwrap_or_default();
        read_lengths(lengths, &header, &mut ranges);
        Ok(Coded {
            model: header.model,
            width: header.width,
            height: header.height,
            protected: PyBytes::new(py, protected).unbind(),
            body: PyBytes::new(py, body).unbind(),
            slices: ranges.into_iter().map(|(from, until)| (8 * from, 8 * until)).collect(),
        })
    }
}

impl Codec {
    fn decoded(&self, py: Python<'_>, protected: &[u8], body: &[u8], lost: Vec<(usize, usize)>) -> PyResult<Decoded> {
        let bits = 8 * body.len();
        if let Some((from, until)) = lost.iter().find(|(from, until)| from > until || *until > bits) {
            return Err(wrong(format!(
                "lost: found ({from}, {until}); accepted: ranges within the body's {bits} bits"
            )));
        }
        let lost: Vec<Range<usize>> = lost.into_iter().map(|(from, until)| from..until).collect();
        let decoded = py.detach(|| lock(&self.decoder).decode(protected, body, &lost)).or_raise()?;
        Ok(Decoded {
            image: array(py, decoded.image)?.unbind(),
            slices: decoded.report.slices,
            lost_slices: decoded.report.lost_slices,
        })
    }
}

fn record(data: &[u8]) -> PyResult<(&[u8], &[u8])> {
    let none = || DamagedError::new_err("data: no picture header can be read: not of Codec.encode, or damaged");
    file::records(data).next().ok_or_else(none)
}

/// Mean squared error of two pictures [height, width, 3] on the scale 0 … 255.
#[pyfunction]
pub fn mse(a: Picture<'_>, b: Picture<'_>) -> PyResult<f64> {
    let (a, b) = pair(&a, &b)?;
    Ok(metrics::mse(&a, &b))
}

/// PSNR of two pictures [height, width, 3], dB; None where nothing differs.
#[pyfunction]
pub fn psnr_db(a: Picture<'_>, b: Picture<'_>) -> PyResult<Option<f64>> {
    Ok(metrics::psnr_db(mse(a, b)?))
}

/// MS-SSIM of two pictures [height, width, 3], 0 … 1; None where they are too small for it.
#[pyfunction]
pub fn ms_ssim(py: Python<'_>, a: Picture<'_>, b: Picture<'_>) -> PyResult<Option<f64>> {
    let (a, b) = pair(&a, &b)?;
    Ok(py.detach(|| metrics::ms_ssim(&a, &b)))
}

fn pair(a: &Picture<'_>, b: &Picture<'_>) -> PyResult<(RgbImage, RgbImage)> {
    match a.shape() == b.shape() {
        true => Ok((image("a", a)?, image("b", b)?)),
        false => Err(wrong(format!("b: found shape {:?}; accepted: that of a, {:?}", b.shape(), a.shape()))),
    }
}

/// The pictures that systems send by default, arrays [height, width, 3], uint8.
#[pyfunction]
pub fn shipped_pictures(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyArray3<u8>>>> {
    let pictures = py.detach(|| load_pictures(&[], Reading::default())).or_raise()?.pictures;
    pictures.into_iter().map(|picture| array(py, picture)).collect()
}

/// The picture in a file (JPEG, PNG, WebP, BMP, TIFF, GIF), upright, [height, width, 3], uint8.
#[pyfunction]
pub fn read_picture(py: Python<'_>, file: PathBuf) -> PyResult<Bound<'_, PyArray3<u8>>> {
    let (picture, _) = py.detach(|| issc::pictures::read_picture(&file, Reading::default())).or_raise()?;
    array(py, picture)
}
