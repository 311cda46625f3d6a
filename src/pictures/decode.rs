//! Bytes to a picture as people see it: upright, 8 bits, nothing transparent.

use std::io::{BufRead, Cursor, Seek};

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, Limits, Rgb, RgbImage};

use super::What;
use super::jpeg::Markers;
use super::kind::Kind;
use crate::semantic::bitstream::PIXELS_MAX;

/// What transparent pixels lie over, and what stands where a cut picture has none: white.
pub const BACKGROUND: Rgb<u8> = Rgb([255; 3]);

/// Most bytes of samples of one picture while it is decoded: eight a pixel.
const SAMPLE_BYTES: u64 = 8 * PIXELS_MAX as u64;

/// Longest side of a picture that can be encoded.
const SIDE_MAX: u64 = 1 << 16;

/// Refuses a size that cannot be encoded.
pub fn check_size(width: u64, height: u64) -> What<()> {
    let pixels = width.saturating_mul(height);
    if (1..=PIXELS_MAX as u64).contains(&pixels) && width.max(height) <= SIDE_MAX {
        return Ok(());
    }
    Err(format!("{width}x{height} pixels; accepted: 1 to {PIXELS_MAX} pixels, sides up to {SIDE_MAX}"))
}

/// Refuses a size that cannot be encoded, by a file's header alone. JPEG is left to the walk through its markers, which
/// reads no more than that.
pub fn check_header(kind: Kind, file: impl BufRead + Seek) -> What<()> {
    match kind {
        Kind::Jpeg => Ok(()),
        // A header that cannot be read is the decoder's to name, which knows whether the file is cut.
        kind => decoder(kind, file).map_or(Ok(()), |decoder| {
            let (width, height) = decoder.dimensions();
            check_size(width.into(), height.into())
        }),
    }
}

fn decoder<'a>(kind: Kind, file: impl BufRead + Seek + 'a) -> Result<Box<dyn ImageDecoder + 'a>, ImageError> {
    Ok(match kind {
        Kind::Png => Box::new(PngDecoder::with_limits(file, limits())?),
        Kind::WebP => Box::new(WebPDecoder::new(file)?),
        Kind::Bmp => Box::new(BmpDecoder::new(file)?),
        Kind::Tiff => Box::new(TiffDecoder::new(file)?),
        Kind::Gif => Box::new(GifDecoder::new(file)?),
        Kind::Jpeg => unreachable!("JPEG has a reader of its own"),
    })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(SAMPLE_BYTES);
    limits
}

/// A picture, and what is not there of it, where the file is cut short.
pub struct Decoded {
    /// As people see it.
    pub picture: RgbImage,
    /// What is missing and what is shown, of a cut file.
    pub cut: Option<String>,
}

/// Decodes a file's bytes; of a cut file what there is, with `lenient`.
pub fn decode(bytes: &[u8], lenient: bool) -> What<Decoded> {
    let kind = Kind::of(bytes)?;
    let refused = |missing: &str| format!("a {} cut short: {missing}", kind.name());
    if kind == Kind::Jpeg {
        let markers = Markers::of(bytes)?;
        let orientation = markers.orientation(bytes);
        let (picture, cut) = match markers.missing(bytes) {
            None => (markers.decode(bytes).map_err(|error| format!("a damaged JPEG: {error}"))?, None),
            Some(missing) if !lenient => return Err(refused(&missing)),
            Some(missing) => {
                let (picture, shown) =
                    markers.decode_cut(bytes).map_err(|error| format!("{}; {error}", refused(&missing)))?;
                (picture, Some(format!("{}; {shown}", refused(&missing))))
            }
        };
        return Ok(Decoded { picture: turned(picture, orientation), cut });
    }
    check_header(kind, Cursor::new(bytes))?;
    // A decoder's own word on the end of the file counts where the structure does not tell.
    let missing = kind.missing(bytes);
    if let Some(missing) = missing.as_ref().filter(|_| !lenient) {
        return Err(refused(missing));
    }
    let wrong = |error: ImageError| match (&missing, is_end(&error)) {
        (Some(missing), _) => format!("{}; nothing of it can be shown", refused(missing)),
        (None, true) => {
            let nothing = if lenient { "; nothing of it can be shown" } else { "" };
            refused(&format!("it ends at byte {} before its picture does{nothing}", bytes.len()))
        }
        (None, false) => format!("a {} that cannot be read: {}", kind.name(), one_line(&error)),
    };
    let mut decoder = decoder(kind, Cursor::new(bytes)).map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    if decoder.total_bytes() > SAMPLE_BYTES {
        return Err(format!("{} bytes of samples; accepted: up to {SAMPLE_BYTES}", decoder.total_bytes()));
    }
    decoder.set_limits(limits()).map_err(wrong)?;
    let (colour, orientation) = (decoder.color_type(), decoder.orientation().map_err(wrong)?);
    let mut samples = vec![0; decoder.total_bytes() as usize];
    if lenient {
        samples.iter_mut().enumerate().for_each(|(at, sample)| *sample = unwritten(at));
    }
    let mut cut = None;
    if let Err(error) = decoder.read_image(&mut samples) {
        let missing = missing.clone().or_else(|| is_end(&error).then(|| format!("it ends at byte {}", bytes.len())));
        let (Some(missing), true) = (missing, lenient) else { return Err(wrong(error)) };
        let row = samples.len() / height as usize;
        let there = written_rows(&samples, row);
        let rows = there.iter().filter(|there| **there).count();
        // An interlaced picture has all its rows in part.
        if rows == 0 || kind == Kind::Png && bytes.get(28) == Some(&1) {
            return Err(format!("{}; nothing of it can be shown", refused(&missing)));
        }
        if kind == Kind::Png
            && matches!(colour, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16)
        {
            // The decoder's last step, which it did not come to.
            samples
                .chunks_exact_mut(2)
                .for_each(|two| two.copy_from_slice(&u16::from_be_bytes([two[0], two[1]]).to_ne_bytes()));
        }
        let mut picture = seen(colour, &samples, width, height)?;
        let white = picture.enumerate_pixels_mut().filter(|(_, y, _)| !there[*y as usize]);
        white.for_each(|(_, _, pixel)| *pixel = BACKGROUND);
        let said = format!("{}; {rows} of {height} rows are shown", refused(&missing));
        return Ok(Decoded { picture: turned(picture, orientation), cut: Some(said) });
    } else if let Some(missing) = missing {
        cut = Some(format!("{}; all rows are shown", refused(&missing)));
    }
    Ok(Decoded { picture: turned(seen(colour, &samples, width, height)?, orientation), cut })
}

/// What a sample holds before it is written: nothing that a row of a picture is made of.
fn unwritten(at: usize) -> u8 {
    ((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Which rows were written, at least in part.
fn written_rows(samples: &[u8], row: usize) -> Vec<bool> {
    let written = |(number, row_samples): (usize, &[u8])| {
        row_samples.iter().enumerate().any(|(at, sample)| *sample != unwritten(number * row + at))
    };
    samples.chunks_exact(row).enumerate().map(written).collect()
}

/// Whether a decoder came to the end of the file too early.
fn is_end(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    let text = error.to_string().to_lowercase();
    ["unexpected end", "unexpected eof", "failed to fill whole buffer"].iter().any(|said| text.contains(said))
}

fn one_line(error: &ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Turns and mirrors a picture as its file says.
fn turned(picture: RgbImage, orientation: image::metadata::Orientation) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

/// 16 bits to the nearest of 8.
pub fn round_16(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

/// A sample over the background.
fn over(sample: u8, background: u8, alpha: u8) -> u8 {
    let (sample, background, alpha) = (u32::from(sample), u32::from(background), u32::from(alpha));
    ((sample * alpha + background * (255 - alpha) + 127) / 255) as u8
}

/// Samples of any layout (rows from the top) as colours, over the background where they are transparent.
fn seen(colour: ColorType, samples: &[u8], width: u32, height: u32) -> What<RgbImage> {
    let bytes = match colour {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => samples.to_vec(),
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            samples.chunks_exact(2).map(|two| round_16(u16::from_ne_bytes([two[0], two[1]]))).collect()
        }
        ColorType::Rgb32F | ColorType::Rgba32F => {
            let value = |four: &[u8]| f32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
            let scaled = |four: &[u8]| {
                let value = value(four);
                (0.0..=1.0).contains(&value).then(|| (255.0 * value).round() as u8)
            };
            let scaled: Option<Vec<u8>> = samples.chunks_exact(4).map(scaled).collect();
            scaled.ok_or("samples beyond black and white; accepted: 0 to 1 where they are no integers")?
        }
        other => return Err(format!("samples of layout {other:?} are not known")),
    };
    let channels = usize::from(colour.channel_count());
    let mut rgb = Vec::with_capacity(3 * bytes.len() / channels);
    for pixel in bytes.chunks_exact(channels) {
        let (colours, alpha) = match *pixel {
            [grey] => ([grey; 3], 255),
            [grey, alpha] => ([grey; 3], alpha),
            [red, green, blue] => ([red, green, blue], 255),
            _ => ([pixel[0], pixel[1], pixel[2]], pixel[3]),
        };
        rgb.extend([0, 1, 2].map(|at| over(colours[at], BACKGROUND.0[at], alpha)));
    }
    RgbImage::from_raw(width, height, rgb).ok_or_else(|| "its samples are too few".into())
}
