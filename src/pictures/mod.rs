//! Pictures from files and to files, as people see them.
//!
//! | kind | read | not read |
//! |---|---|---|
//! | JPEG | baseline, progressive, one scan per component; grey, YCbCr, RGB, CMYK, YCCK | arithmetic coding, 12 bits |
//! | PNG | every depth, palette, transparency, interlace | later frames of an animation |
//! | WebP | lossy, lossless, alpha | animations |
//! | BMP, TIFF | what the `image` crate reads of them | |
//! | GIF | the first frame | later frames |
//!
//! The kind follows from a file's first bytes, never from its name. Orientation (EXIF) is applied, 16 bits are rounded to
//! 8, whatever is transparent lies over [`BACKGROUND`]; colour profiles are ignored. Width and height are checked against
//! what can be encoded before anything is decoded. A file that is cut short is refused; [`Reading::lenient`] shows what
//! there is of it, where there is something to show (JPEG, PNG, BMP, GIF), and says so.
//!
//! Videos go through the program `ffmpeg`; everything that is written stands under a temporary name until it is whole.

mod decode;
mod folder;
mod jpeg;
mod kind;
mod read;
mod video;
mod write;

pub use decode::BACKGROUND;
pub use folder::read_folder;
pub use read::{Reading, each_picture, is_standard, picture_of, read_picture};
pub use video::{is_video, pictures_per_s};
pub use write::{PictureWriter, save_picture, write_whole};

/// Kinds of pictures that are read, for lines that name what is accepted.
pub const KINDS: &str = "JPEG, PNG, WebP, BMP, TIFF and GIF";

/// Why a picture cannot be read, to stand after the file's name.
type What<T> = std::result::Result<T, String>;
