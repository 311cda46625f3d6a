//! JPEG: what the markers say, whether all of it is there, and the picture.
//!
//! The markers are walked here and not left to the decoder: they hold the size (before anything is decoded), the
//! orientation, how colour is stored (by the rules of the common C library: a JFIF marker means YCbCr, otherwise the Adobe
//! marker decides, otherwise the components' names) and the end that a cut file lacks.

use std::ops::Range;

use image::RgbImage;
use image::metadata::Orientation;
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use super::What;
use super::decode::{BACKGROUND, check_size, round_16};
use crate::semantic::bitstream::PIXELS_MAX;

const NOTHING: &str = "nothing of it can be shown";

/// A scan: where its marker begins, how many components it has, and how many restarts were seen in it.
#[derive(Debug, Clone, Copy)]
struct Scan {
    begin: usize,
    data: usize,
    components: u8,
    restarts: usize,
}

/// What the markers say.
#[derive(Debug, Default)]
pub struct Markers {
    width: usize,
    height: usize,
    /// Name, and blocks across and down in a unit.
    components: Vec<(u8, usize, usize)>,
    progressive: bool,
    jfif: bool,
    adobe: Option<u8>,
    exif: Option<Range<usize>>,
    restart_interval: usize,
    scans: Vec<Scan>,
    /// Whether the last scan ends with the file.
    in_scan: bool,
    /// What there is ends here, before a marker that is not whole.
    end: usize,
    whole: bool,
}

impl Markers {
    /// Walks the markers of a file up to the end of the image or of the file. Refuses a size that cannot be encoded.
    pub fn of(bytes: &[u8]) -> What<Self> {
        let mut markers = Self { end: 2, ..Self::default() };
        let mut at = 2;
        while let Some((marker, begin)) = next_marker(bytes, at) {
            at = begin;
            match marker {
                0xD9 => {
                    markers.whole = true;
                    break;
                }
                // A restart outside of a scan, or a marker without content.
                0x01 | 0xD0..=0xD8 => continue,
                _ => {}
            }
            let Some(length) = bytes.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]])))
            else {
                break;
            };
            if length < 2 {
                return Err(format!(
                    "marker {marker:02X} at byte {at} has length {length}: not a JPEG that can be read"
                ));
            }
            let Some(content) = bytes.get(at + 2..at + length) else { break };
            let content_at = at + 2;
            at += length;
            markers.take(marker, content, content_at)?;
            if marker == 0xDA {
                let components = content.first().copied().unwrap_or(0);
                let (end, restarts) = entropy_coded(bytes, at);
                markers.scans.push(Scan { begin: begin - 2, data: at, components, restarts });
                at = end;
                markers.in_scan = end == bytes.len();
            }
            markers.end = at;
        }
        if markers.components.is_empty() {
            let missing = if markers.whole {
                "it has no frame"
            } else {
                "a JPEG cut short: it ends before its size; nothing of it can be shown"
            };
            return Err(missing.into());
        }
        Ok(markers)
    }

    fn take(&mut self, marker: u8, content: &[u8], at: usize) -> What<()> {
        match marker {
            0xC4 | 0xC8 | 0xCC => {}
            0xC0..=0xCF if content.len() >= 6 => {
                let side = |at: usize| usize::from(u16::from_be_bytes([content[at], content[at + 1]]));
                (self.height, self.width) = (side(1), side(3));
                check_size(self.width as u64, self.height as u64)?;
                self.progressive = marker & 3 == 2;
                let parts = content[6..].chunks_exact(3).take(content[5].into());
                self.components =
                    parts.map(|part| (part[0], usize::from(part[1] >> 4), usize::from(part[1] & 15))).collect();
            }
            0xDD if content.len() >= 2 => self.restart_interval = u16::from_be_bytes([content[0], content[1]]).into(),
            0xE0 if content.starts_with(b"JFIF\0") => self.jfif = true,
            0xE1 if content.starts_with(b"Exif\0\0") && self.exif.is_none() => {
                self.exif = Some(at + 6..at + content.len());
            }
            0xEE if content.starts_with(b"Adobe") && content.len() >= 12 => self.adobe = Some(content[11]),
            _ => {}
        }
        Ok(())
    }

    /// What the file lacks, where it is not whole.
    pub fn missing(&self, bytes: &[u8]) -> Option<String> {
        let where_ = if self.in_scan {
            format!("inside scan {}", self.scans.len())
        } else {
            "before its end-of-image marker".into()
        };
        (!self.whole).then(|| format!("it ends {where_} at byte {}", bytes.len()))
    }

    /// How the picture is to be turned.
    pub fn orientation(&self, bytes: &[u8]) -> Orientation {
        let exif = self.exif.clone().and_then(|range| bytes.get(range));
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    fn colour(&self) -> Option<ColorTransform> {
        let names: Vec<_> = self.components.iter().map(|part| part.0).collect();
        match names.len() {
            3 if self.jfif => Some(ColorTransform::YCbCr),
            3 => Some(match self.adobe {
                Some(0) => ColorTransform::RGB,
                None if names == *b"RGB" => ColorTransform::RGB,
                _ => ColorTransform::YCbCr,
            }),
            4 if self.adobe.is_some_and(|transform| transform != 0) => Some(ColorTransform::YCCK),
            4 => Some(ColorTransform::CMYK),
            _ => None,
        }
    }

    /// Decodes a whole file.
    pub fn decode(&self, bytes: &[u8]) -> What<RgbImage> {
        let decode = || -> Result<_, jpeg_decoder::Error> {
            let mut decoder = Decoder::new(bytes);
            decoder.set_max_decoding_buffer_size(4 * PIXELS_MAX);
            if let Some(colour) = self.colour() {
                decoder.set_color_transform(colour);
            }
            Ok((decoder.decode()?, decoder.info()))
        };
        let (samples, info) = decode().map_err(words)?;
        let info = info.ok_or("it has no frame")?;
        let rgb = match info.pixel_format {
            PixelFormat::RGB24 => samples,
            PixelFormat::L8 => samples.iter().flat_map(|grey| [*grey; 3]).collect(),
            PixelFormat::L16 => {
                let grey = samples.chunks_exact(2).map(|two| round_16(u16::from_ne_bytes([two[0], two[1]])));
                grey.flat_map(|grey| [grey; 3]).collect()
            }
            PixelFormat::CMYK32 => samples.chunks_exact(4).flat_map(ink_on_white).collect(),
        };
        RgbImage::from_raw(info.width.into(), info.height.into(), rgb).ok_or_else(|| "its data are too short".into())
    }

    /// Decodes what there is of a cut file, and says what that is.
    pub fn decode_cut(&self, bytes: &[u8]) -> What<(RgbImage, String)> {
        let Some(last) = self.scans.last() else { return Err(NOTHING.into()) };
        if self.progressive && (self.scans.len() > 1 || !self.in_scan) {
            let scans = self.scans.len() - usize::from(self.in_scan);
            let kept = if self.in_scan { last.begin } else { self.end };
            let picture = self.decode(&[&bytes[..kept], &[0xFF, 0xD9]].concat())?;
            return Ok((picture, format!("shown by its first {scans} scans")));
        }
        if !self.in_scan {
            let picture = self.decode(&[&bytes[..self.end], &[0xFF, 0xD9]].concat())?;
            return Ok((picture, "all rows are shown".into()));
        }
        if usize::from(last.components) != self.components.len() || self.scans.len() > 1 {
            return Err(NOTHING.into());
        }
        let (mut picture, rows) = self.decode_rows(bytes, last)?;
        if rows == 0 {
            return Err(NOTHING.into());
        }
        for (_, _, pixel) in picture.enumerate_pixels_mut().filter(|(_, y, _)| *y as usize >= rows) {
            *pixel = BACKGROUND;
        }
        Ok((picture, format!("{rows} of {} rows are shown", self.height)))
    }

    /// The picture of a scan that is cut, and how many of its rows are right.
    fn decode_rows(&self, bytes: &[u8], scan: &Scan) -> What<(RgbImage, usize)> {
        let largest = |side: fn(&(u8, usize, usize)) -> usize| self.components.iter().map(side).max().unwrap_or(1);
        let interleaved = self.components.len() > 1;
        let (across, down) = if interleaved { (largest(|part| part.1), largest(|part| part.2)) } else { (1, 1) };
        let units = self.width.div_ceil(8 * across);
        let bytes = &bytes[..bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0xFF).count()];
        let filled = |filler: &[u8]| self.decode(&[bytes, filler, &[0xFF, 0xD9]].concat());
        if let Some(spans) = (units * self.height.div_ceil(8 * down)).checked_div(self.restart_interval) {
            // Whole spans between restarts are right; the others are given as empty ones.
            let left = scan.restarts..spans.max(scan.restarts) + 1;
            let restarts: Vec<_> = left.flat_map(|number| [0xFF, 0xD0 + (number % 8) as u8]).collect();
            let rows = scan.restarts * self.restart_interval / units * 8 * down;
            return Ok((filled(&restarts)?, rows.min(self.height)));
        }
        // Whatever comes after the cut changes what is not right: rows that are equal for two tails are right.
        let shown = filled(&[])?;
        let data = &bytes[scan.data.min(bytes.len())..];
        let other = (0..8).filter_map(|shift| {
            let tail = data.get(7 * shift..)?;
            let mut tail = tail[..tail.len().min(4096)].to_vec();
            while tail.last() == Some(&0xFF) {
                tail.pop();
            }
            filled(&tail).ok()
        });
        let other = other.into_iter().find(|other| *other != shown).ok_or(NOTHING)?;
        let row = 3 * self.width;
        let pairs = shown.as_raw().chunks_exact(row).zip(other.as_raw().chunks_exact(row));
        let equal = pairs.take_while(|(one, two)| one == two).count();
        Ok((shown, equal / (8 * down) * 8 * down))
    }
}

/// The next marker, and the place after it.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xFF)?;
        at += bytes[at..].iter().position(|byte| *byte != 0xFF)?;
        if bytes[at] != 0 {
            return Some((bytes[at], at + 1));
        }
    }
}

/// Where entropy-coded data end, and how many restarts they have.
fn entropy_coded(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let mut restarts = 0;
    while let Some((marker, after)) = next_marker(bytes, at) {
        if !matches!(marker, 0xD0..=0xD7) {
            return (after - 2, restarts);
        }
        restarts += 1;
        at = after;
    }
    (bytes.len(), restarts)
}

/// Ink on white paper, without a profile: what is left of the light.
fn ink_on_white(inks: &[u8]) -> [u8; 3] {
    let light = |ink: u8| 255 - u32::from(ink);
    [0, 1, 2].map(|at| ((light(inks[at]) * light(inks[3]) + 127) / 255) as u8)
}

fn words(error: jpeg_decoder::Error) -> String {
    use jpeg_decoder::UnsupportedFeature::{ArithmeticEntropyCoding, SamplePrecision};
    match error {
        jpeg_decoder::Error::Unsupported(ArithmeticEntropyCoding) => {
            "a JPEG with arithmetic coding; accepted: with Huffman coding".into()
        }
        jpeg_decoder::Error::Unsupported(SamplePrecision(bits)) => {
            format!("a JPEG with {bits} bits a sample; accepted: 8")
        }
        error => error.to_string(),
    }
}
