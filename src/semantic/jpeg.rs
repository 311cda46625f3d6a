//! The plain digital rival: JPEG with colour at half resolution (4:2:0) and Huffman tables made for each picture.

use image::RgbImage;
use jpeg_encoder::{ColorType, SamplingFactor};

use crate::{Error, Result};

/// A picture as a JPEG file of this quality (1…100).
pub fn encode(picture: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let side = |pixels: u32| u16::try_from(pixels).map_err(|_| Error::input("JPEG: accepted are sides up to 65535"));
    let (width, height) = (side(picture.width())?, side(picture.height())?);
    let mut bytes = vec![];
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_optimized_huffman_tables(true);
    let written = encoder.encode(picture.as_raw(), width, height, ColorType::Rgb);
    written.map_err(|error| Error::internal(format!("JPEG: {error}")))?;
    Ok(bytes)
}

/// The picture of a JPEG file of [`encode`]; None where it cannot be decoded. (The `image` crate's decoder misreads files
/// whose colours come in scans of their own, as optimised tables make them.)
pub fn decode(bytes: &[u8]) -> Option<RgbImage> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    let samples = decoder.decode().ok()?;
    let info = decoder.info().filter(|info| info.pixel_format == jpeg_decoder::PixelFormat::RGB24)?;
    RgbImage::from_raw(info.width.into(), info.height.into(), samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantic::metrics;

    #[test]
    fn quality_and_bits_rise_together_and_a_cut_file_is_no_picture_or_a_worse_one() {
        let picture = image::open(concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/girl.png")).unwrap().to_rgb8();
        let mut last = (0, f64::MAX);
        for quality in [5, 20, 50, 90] {
            let bytes = encode(&picture, quality).unwrap();
            let mse = metrics::mse(&picture, &decode(&bytes).unwrap());
            assert!(bytes.len() > last.0 && mse < last.1, "{quality}: {} bytes, {mse}", bytes.len());
            last = (bytes.len(), mse);
            let cut = decode(&bytes[..bytes.len() / 2]);
            assert!(cut.is_none_or(|cut| metrics::mse(&picture, &cut) > mse));
        }
        assert!(last.1 < 30.0, "{}", last.1);
        assert!(decode(b"no picture").is_none());
    }
}
