//! Pictures in the report: what was sent, and what each communication receiver shows of it.

use std::collections::BTreeMap;

use image::RgbImage;

use super::ImageReport;
use crate::control::FirstLast;
use crate::semantic::metrics;

/// Pictures whose result may be waited for; of a run that nobody receives, the oldest go.
const OPEN: usize = 1 << 16;

/// A result that comes this many pictures after one that has none: that one will not come any more.
const PATIENCE: u64 = 256;

/// Pictures that a status shows.
const STATUS_IMAGES: usize = 8;

/// A picture that was sent whole.
#[derive(Debug, Clone, Copy)]
pub struct SentPicture {
    /// Place in the source's list.
    pub source: usize,
    /// Source model.
    pub model: usize,
    /// Bits of its stream.
    pub bits: u64,
    /// Blocks that it took.
    pub blocks: u64,
}

/// How far a picture is from its original.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Mean squared error.
    pub mse: f64,
    /// Multi-scale structural similarity, where the picture is large enough for it.
    pub ms_ssim: Option<f64>,
}

impl Quality {
    /// Measures it.
    pub fn of(original: &RgbImage, picture: &RgbImage) -> Self {
        Self { mse: metrics::mse(original, picture), ms_ssim: metrics::ms_ssim(original, picture) }
    }
}

impl ImageReport {
    /// The line of a picture of which nothing arrived.
    pub fn missing(number: u64, sent: &SentPicture) -> Self {
        Self {
            index: number,
            model: sent.model,
            bits: sent.bits,
            blocks_lost: sent.blocks,
            psnr_db: None,
            psnr_loss_db: None,
            ms_ssim: None,
            identical: false,
            equals_error_free: false,
            mse: None,
        }
    }

    /// Fills in how good it is, beside its error-free decode.
    pub fn rate(&mut self, quality: Quality, equals_error_free: bool, error_free: Option<Quality>) {
        self.mse = Some(quality.mse);
        self.psnr_db = metrics::psnr_db(quality.mse);
        self.identical = self.psnr_db.is_none();
        self.ms_ssim = quality.ms_ssim;
        self.equals_error_free = equals_error_free;
        let best = error_free.and_then(|error_free| metrics::psnr_db(error_free.mse));
        self.psnr_loss_db = match (best, self.psnr_db) {
            (Some(best), Some(here)) => Some(best - here),
            _ => equals_error_free.then_some(0.0),
        };
    }
}

/// What one receiver shows of the pictures sent.
#[derive(Default)]
pub(super) struct Images {
    /// Pictures sent whose line may still change, with the line of what came.
    open: BTreeMap<u64, (SentPicture, Option<ImageReport>)>,
    settled: FirstLast<ImageReport>,
    /// Pictures shown as their error-free decode.
    pub whole: u64,
}

impl Images {
    /// A picture was sent whole.
    pub fn sent(&mut self, number: u64, sent: SentPicture) {
        self.open.insert(number, (sent, None));
        if self.open.len() > OPEN {
            self.settle_first();
        }
    }

    /// What came of a picture that was sent; others are passed over.
    pub fn came(&mut self, line: ImageReport) {
        let number = line.index;
        let Some((_, place)) = self.open.get_mut(&number) else { return };
        self.whole += u64::from(line.equals_error_free);
        *place = Some(line);
        while let Some((first, (_, line))) = self.open.first_key_value()
            && (line.is_some() || first + PATIENCE < number)
        {
            self.settle_first();
        }
    }

    fn settle_first(&mut self) {
        if let Some((number, (sent, line))) = self.open.pop_first() {
            self.settled.push(line.unwrap_or_else(|| ImageReport::missing(number, &sent)));
        }
    }

    /// All lines that are kept, in the order of their numbers.
    pub fn lines(&self) -> Vec<ImageReport> {
        let mut all = self.settled.clone();
        for (number, (sent, line)) in &self.open {
            all.push(line.clone().unwrap_or_else(|| ImageReport::missing(*number, sent)));
        }
        all.into_vec()
    }

    /// The last lines that will not change any more.
    pub fn recent(&self) -> Vec<ImageReport> {
        let count = self.settled.iter().count();
        self.settled.iter().skip(count.saturating_sub(STATUS_IMAGES)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: SentPicture = SentPicture { source: 0, model: 1, bits: 100, blocks: 3 };

    fn line(index: u64) -> ImageReport {
        ImageReport { equals_error_free: true, blocks_lost: 0, ..ImageReport::missing(index, &SENT) }
    }

    #[test]
    fn lines_stand_in_the_order_of_sending_and_what_never_came_is_missing() {
        let mut images = Images::default();
        (0..4).for_each(|number| images.sent(number, SENT));
        // A later one may come first; one that was never sent is no line.
        [1, 0, 3, 9].into_iter().for_each(|number| images.came(line(number)));
        let lost: Vec<_> = images.lines().iter().map(|line| (line.index, line.blocks_lost)).collect();
        assert_eq!((lost, images.whole), (vec![(0, 0), (1, 0), (2, 3), (3, 0)], 3));
        assert_eq!(images.recent().len(), 2, "picture 2 may still come");
        (4..4 + 2 * PATIENCE).for_each(|number| {
            images.sent(number, SENT);
            images.came(line(number));
        });
        assert!(images.open.is_empty() && images.lines()[2].blocks_lost == 3);
    }
}
