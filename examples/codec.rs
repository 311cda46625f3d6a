//! A picture through the learned codec: encoded with every planned source model, decoded whole, and decoded again after
//! a part of its bits was lost.
//!
//! `cargo run --release --example codec [PICTURE]`

use issc::control::load_pictures;
use issc::pictures::{Reading, read_picture};
use issc::semantic::{Bank, Decoder, Encoder, metrics};

fn main() -> issc::Result<()> {
    let picture = match std::env::args_os().nth(1) {
        Some(file) => read_picture(file.as_ref(), Reading::default())?.0,
        None => load_pictures(&[], Reading::default())?.pictures.swap_remove(0),
    };
    let pixels = f64::from(picture.width() * picture.height());
    let bank = Bank::shipped();
    let (mut encoder, mut decoder) = (Encoder::new(bank.clone()), Decoder::new(bank.clone()));
    for model in bank.planned("mse") {
        let coded = encoder.encode(&picture, model.index, 0)?;
        let whole = decoder.decode(&coded.protected, &coded.body, &[])?;
        // A tenth of the body's bits do not arrive; the codec conceals what they carried.
        let bits = 8 * coded.body.len();
        let lost = bits / 2..bits / 2 + bits / 10;
        let damaged = decoder.decode(&coded.protected, &coded.body, std::slice::from_ref(&lost))?;
        let psnr = |shown| metrics::psnr_db(metrics::mse(&picture, shown)).unwrap_or(f64::INFINITY);
        println!(
            "{:<8} {:.3} bit/pixel  {:.2} dB  with a tenth lost {:.2} dB, {} of {} slices concealed",
            model.name,
            coded.bits() as f64 / pixels,
            psnr(&whole.image),
            psnr(&damaged.image),
            damaged.report.lost_slices,
            damaged.report.slices
        );
    }
    Ok(())
}
