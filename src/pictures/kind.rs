//! What kind of picture a file is, by its first bytes, and whether all of it is there, by its own structure.

use super::{KINDS, What};

/// A kind of picture that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ISO 10918, in a JFIF or EXIF file or bare.
    Jpeg,
    /// Portable Network Graphics.
    Png,
    /// WebP, lossy or lossless.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// Tagged image file.
    Tiff,
    /// Graphics Interchange Format.
    Gif,
}

/// Bytes that tell the kind.
pub const MAGIC_BYTES: usize = 16;

impl Kind {
    /// The kind of a file that begins so; otherwise what it is instead.
    pub fn of(beginning: &[u8]) -> What<Self> {
        let has = |at: usize, bytes: &[u8]| beginning.get(at..at + bytes.len()) == Some(bytes);
        let refused = |what: &str| Err(format!("{what}; accepted: {KINDS}"));
        match () {
            () if has(0, b"\xFF\xD8") => Ok(Self::Jpeg),
            () if has(0, b"\x89PNG\r\n\x1A\n") => Ok(Self::Png),
            () if has(0, b"RIFF") && has(8, b"WEBP") => Ok(Self::WebP),
            () if has(0, b"BM") => Ok(Self::Bmp),
            () if has(0, b"II*\0") || has(0, b"MM\0*") => Ok(Self::Tiff),
            () if has(0, b"GIF8") => Ok(Self::Gif),
            () if beginning.is_empty() => refused("empty"),
            () if ["heic", "heix", "mif1", "heif"].iter().any(|brand| has(4, format!("ftyp{brand}").as_bytes())) => {
                refused("a HEIC picture")
            }
            () if has(4, b"ftypavif") => refused("an AVIF picture"),
            () if has(4, b"ftyp") || has(0, b"\x1A\x45\xDF\xA3") => {
                refused("a video without a video's suffix (.mp4, .mkv and the like)")
            }
            () => refused("not a picture"),
        }
    }

    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Gif => "GIF",
        }
    }

    /// What a file lacks by what it says of itself: nothing where it is whole, or where only its decoder can tell.
    pub fn missing(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Png => png_missing(bytes),
            Self::WebP => shorter(bytes, little(bytes, 4)?.saturating_add(8)),
            Self::Bmp => bmp_missing(bytes),
            Self::Jpeg | Self::Tiff | Self::Gif => None,
        }
    }
}

fn little(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 4).map(|four| u32::from_le_bytes(four.try_into().expect("four bytes")).into())
}

fn shorter(bytes: &[u8], whole: u64) -> Option<String> {
    let there = bytes.len() as u64;
    (there < whole).then(|| format!("{there} of {whole} bytes are there"))
}

/// Walks the chunks: length, name, content, check sum, up to the one that ends the picture.
fn png_missing(bytes: &[u8]) -> Option<String> {
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let name = &head[4..];
        let end = at + 12 + length;
        if end > bytes.len() {
            let lacks = end - bytes.len();
            return Some(format!("chunk {} at byte {at} lacks {lacks} of its bytes", name.escape_ascii()));
        }
        if name == b"IEND" {
            return None;
        }
        at = end;
    }
    Some(format!("no IEND chunk by its end at byte {}", bytes.len()))
}

/// Rows that are not compressed have a known length.
fn bmp_missing(bytes: &[u8]) -> Option<String> {
    let (begin, header) = (little(bytes, 10)?, little(bytes, 14)?);
    // BITMAPINFOHEADER and its successors; run lengths (1, 2) end where they say so themselves.
    if header < 40 || matches!(little(bytes, 30)?, 1 | 2) {
        return None;
    }
    let (width, height) = (little(bytes, 18)?, u64::from((little(bytes, 22)? as i32).unsigned_abs()));
    let bits = u64::from(u16::from_le_bytes([*bytes.get(28)?, *bytes.get(29)?]));
    let row = width.checked_mul(bits)?.div_ceil(32) * 4;
    shorter(bytes, row.checked_mul(height)?.checked_add(begin)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kind_and_what_it_is_instead() {
        for (bytes, kind) in [
            (&b"\xFF\xD8\xFF\xE0"[..], Kind::Jpeg),
            (b"\x89PNG\r\n\x1A\n", Kind::Png),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Kind::WebP),
            (b"BM", Kind::Bmp),
            (b"II*\0", Kind::Tiff),
            (b"MM\0*", Kind::Tiff),
            (b"GIF89a", Kind::Gif),
        ] {
            assert_eq!(Kind::of(bytes), Ok(kind));
        }
        for (bytes, said) in [
            (&b""[..], "empty"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\0\0\0\x18ftypisom", "video"),
            (b"hello", "not a picture"),
        ] {
            let what = Kind::of(bytes).unwrap_err();
            assert!(what.starts_with(said) || what.contains(said), "{what}");
            assert!(what.contains("accepted: JPEG, PNG"), "{what}");
        }
    }

    #[test]
    fn a_png_is_whole_with_its_last_chunk_only() {
        let mut bytes = Vec::new();
        image::RgbImage::new(3, 2).write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        assert_eq!(Kind::Png.missing(&bytes), None);
        assert!(Kind::Png.missing(&bytes[..bytes.len() - 12]).unwrap().starts_with("no IEND"));
        assert!(Kind::Png.missing(&bytes[..50]).unwrap().contains("IDAT"));
    }

    #[test]
    fn a_bmp_and_a_webp_are_as_long_as_they_say() {
        let mut bytes = Vec::new();
        image::RgbImage::new(3, 2).write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Bmp).unwrap();
        assert_eq!(Kind::Bmp.missing(&bytes), None);
        let said = Kind::Bmp.missing(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(said, format!("{} of {} bytes are there", bytes.len() - 1, bytes.len()));
        let webp = b"RIFF\x0C\0\0\0WEBPVP8 \0\0\0\0";
        assert_eq!(Kind::WebP.missing(webp), None);
        assert_eq!(Kind::WebP.missing(&webp[..19]).unwrap(), "19 of 20 bytes are there");
    }
}
