//! Source model and channel rate: an exact scalar choice per model under the channel uses that a picture may take.
//!
//! Channel uses are counted as they are sent, in whole blocks of L symbols: the protected part (picture header and
//! hyper segment) takes the first blocks at a rate of its own, the body the rest. R_c = N_c/L, the CRC inside N_c.

use crate::scene::Scene;

/// Distance in dB kept from what eq. (4) wants, where the scene names none.
const DEFAULT_MARGIN_DB: f64 = 2.5;
/// Block error rate that a plan may predict, where the scene names none.
const DEFAULT_BLOCK_ERROR_RATE: f64 = 1e-3;

/// CRC bits inside every block's N_c.
pub const CRC_BITS: usize = 16;

/// Largest N_c of a block.
const MAX_BITS: usize = 2040;

/// Smallest N_c of a block.
const MIN_BITS: usize = 32;

/// Block error rate that the protected part is planned for.
const PROTECTED_BLOCK_ERROR_RATE: f64 = 1e-5;

/// What lost blocks do to the pictures of a source model.
///
/// A picture's body is a row of slices, each of which is whole or lost; a block that is lost takes the slices along of which
/// it carries bits. Slices are spread over the picture, and each that is missing is filled up by itself: the mean squared
/// error grows in proportion to their share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossLaw {
    /// Mean bits of a slice.
    pub slice_bits: f64,
    /// What the mean squared error grows by where all are lost, in that with nothing lost.
    pub rise: f64,
}

impl LossLaw {
    /// Share of the slices that are lost where blocks of `payload_bits` bits are lost at this rate.
    pub fn slices_lost(&self, block_error_rate: f64, payload_bits: f64) -> f64 {
        -(self.blocks(payload_bits) * (-block_error_rate.clamp(0.0, 1.0)).ln_1p()).exp_m1()
    }

    /// The rate at which blocks of `payload_bits` bits are lost where this share of the slices is.
    pub fn block_error_rate(&self, slices_lost: f64, payload_bits: f64) -> f64 {
        -((-slices_lost.clamp(0.0, 1.0)).ln_1p() / self.blocks(payload_bits)).exp_m1()
    }

    /// Mean number of blocks that a slice lies in.
    fn blocks(&self, payload_bits: f64) -> f64 {
        1.0 + self.slice_bits / payload_bits
    }

    /// What multiplies the mean squared error where this share of slices is lost.
    pub fn factor(&self, slices_lost: f64) -> f64 {
        1.0 + self.rise * slices_lost
    }
}

/// A source model's needs and what becomes of its pictures, for pictures of one size in the mean or for one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceModel {
    /// What the choice names it by: its index in the bank.
    pub index: usize,
    /// Bits of the body.
    pub body_bits: f64,
    /// Bits of the protected part.
    pub protected_bits: f64,
    /// Mean squared error where nothing is lost.
    pub error_free_mse: f64,
    /// D̂_s, D̂_c, E_1, E_2 of eq. (7).
    pub curve: [f64; 4],
    /// What lost blocks do.
    pub loss: LossLaw,
}

impl SourceModel {
    /// Mean bits of a picture.
    pub fn bits(&self) -> f64 {
        self.body_bits + self.protected_bits
    }

    /// Mean squared error where blocks of `payload_bits` bits are lost at this rate.
    pub fn mse_with_losses(&self, block_error_rate: f64, payload_bits: f64) -> f64 {
        self.error_free_mse * self.loss.factor(self.loss.slices_lost(block_error_rate, payload_bits))
    }

    /// Mean squared error at a rate of independent bit flips (eq. 7).
    pub fn mse(&self, bit_error_rate: f64) -> f64 {
        let [d_s, d_c, e_1, e_2] = self.curve;
        let exponent = -e_1 * (bit_error_rate.max(1e-300).log10() - e_2);
        10f64.powf(d_s + d_c / (1.0 + exponent.exp()))
    }
}

/// What the choice must respect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimits {
    /// Blocks that a picture may take.
    pub blocks: usize,
    /// Symbols of a block, L.
    pub block_symbols: usize,
    /// Largest block error rate that a plan may predict.
    pub block_error_rate_max: f64,
}

impl RateLimits {
    /// A scene's limits for pictures of `source_samples` samples.
    pub fn from_scene(scene: &Scene, source_samples: usize) -> Self {
        let ratio = scene.constraints.bandwidth_ratio_max;
        let tolerated = scene.constraints.block_error_rate_max.unwrap_or(DEFAULT_BLOCK_ERROR_RATE);
        Self::new(ratio, source_samples as f64, scene.waveform.block_symbols, tolerated)
    }

    /// Those of a picture of `source_samples` samples that may take `bandwidth_ratio_max` channel uses for each.
    pub fn new(bandwidth_ratio_max: f64, source_samples: f64, block_symbols: usize, block_error_rate_max: f64) -> Self {
        // A budget of whole blocks may come out a rounding error below them.
        let blocks = (bandwidth_ratio_max * source_samples / block_symbols as f64 + 1e-9) as usize;
        Self { blocks, block_symbols, block_error_rate_max }
    }
}

/// The law of a code's block error rate.
pub trait BlockErrorModel {
    /// Block error rate of a block of `bits` bits at this SINR (linear); it must not fall where the bits grow.
    fn block_error_rate(&self, sinr: f64, bits: usize) -> f64;

    /// Share of the frames whose header is lost at this SINR.
    fn header_loss(&self, _sinr: f64) -> f64 {
        0.0
    }
}

/// Eq. (4)'s block error rate at a SINR reduced by a margin, for what a real code loses against random coding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperModel {
    /// L.
    pub block_symbols: usize,
    /// Margin in dB.
    pub margin_db: f64,
}

impl PaperModel {
    /// With a scene's margin.
    pub fn from_scene(scene: &Scene) -> Self {
        let margin_db = scene.constraints.snr_margin_db.unwrap_or(DEFAULT_MARGIN_DB);
        Self { block_symbols: scene.waveform.block_symbols, margin_db }
    }
}

impl BlockErrorModel for PaperModel {
    fn block_error_rate(&self, sinr: f64, bits: usize) -> f64 {
        let reduced = sinr * 10f64.powf(-self.margin_db / 10.0);
        block_error_rate(reduced, bits as f64 / self.block_symbols as f64, self.block_symbols)
    }
}

/// The numerator of eq. (4): Q(ln 2 · √L (C − R_c)/√(1 − (1+γ)⁻²)).
pub fn block_error_rate(sinr: f64, rate: f64, block_symbols: usize) -> f64 {
    if sinr <= 0.0 {
        return 1.0;
    }
    let dispersion = 1.0 - (1.0 + sinr).powi(-2);
    let argument = std::f64::consts::LN_2 * (block_symbols as f64 / dispersion).sqrt() * ((1.0 + sinr).log2() - rate);
    0.5 * libm::erfc(argument / std::f64::consts::SQRT_2)
}

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateChoice {
    /// Index of the model in the bank.
    pub model: usize,
    /// N_c of the body's blocks, CRC included.
    pub payload_bits: usize,
    /// N_c of the protected blocks, CRC included.
    pub protected_bits: usize,
    /// Predicted block error rate of the body's blocks.
    pub block_error_rate: f64,
    /// ρ_b: the rate of independent flips that loses as many blocks.
    pub bit_error_rate: f64,
    /// Predicted mean squared error, lost blocks included.
    pub predicted_mse: f64,
    /// Whether the block error rate is within the limit.
    pub feasible: bool,
}

/// The model and rate of the least predicted distortion whose blocks fail no more often than the limit allows.
pub fn select_rate(
    models: &[SourceModel],
    limits: &RateLimits,
    sinr: f64,
    code: &impl BlockErrorModel,
) -> Option<RateChoice> {
    Chooser::new(limits, sinr, code).best(models)
}

/// The model that needs the least rate, whatever becomes of it.
pub fn lowest_rate(
    models: &[SourceModel],
    limits: &RateLimits,
    sinr: f64,
    code: &impl BlockErrorModel,
) -> Option<RateChoice> {
    Chooser::new(limits, sinr, code).choices(models).min_by_key(|choice| choice.payload_bits)
}

/// The mean squared error over pictures of which each is sent by its own best choice. One that fits in no model takes more
/// blocks than it may, in its lowest model, rather than lose them.
pub fn mean_mse(
    pictures: &[Vec<SourceModel>],
    limits: &RateLimits,
    sinr: f64,
    code: &impl BlockErrorModel,
) -> Option<f64> {
    let chooser = Chooser::new(limits, sinr, code);
    let mse = |models: &Vec<SourceModel>| {
        let best = chooser.best(models).map(|choice| choice.predicted_mse);
        best.or(models.first().map(|lowest| lowest.error_free_mse))
    };
    let total: f64 = pictures.iter().map(mse).sum::<Option<f64>>()?;
    (!pictures.is_empty()).then(|| total / pictures.len() as f64)
}

/// The next N_c for which codes are made, a hundredth apart: each picture has its own rate, and receivers keep codes.
fn round_up(bits: usize) -> usize {
    let step = (bits / 128).max(1);
    bits.next_multiple_of(step).max(MIN_BITS)
}

/// What holds at one SINR for every model.
struct Chooser<'a, C> {
    limits: &'a RateLimits,
    sinr: f64,
    code: &'a C,
    /// Most bits of a block that is as safe as the protected part must be.
    safe_bits: Option<usize>,
    /// Whether headers are lost no more often than blocks may be.
    headers_hold: bool,
}

impl<'a, C: BlockErrorModel> Chooser<'a, C> {
    fn new(limits: &'a RateLimits, sinr: f64, code: &'a C) -> Self {
        let headers_hold = code.header_loss(sinr) <= limits.block_error_rate_max;
        Self { limits, sinr, code, safe_bits: largest_safe_bits(sinr, code), headers_hold }
    }

    fn best(&self, models: &[SourceModel]) -> Option<RateChoice> {
        let feasible = self.choices(models).filter(|choice| choice.feasible);
        feasible.min_by(|a, b| a.predicted_mse.total_cmp(&b.predicted_mse))
    }

    /// Each model's only sensible rate.
    fn choices(&self, models: &[SourceModel]) -> impl Iterator<Item = RateChoice> {
        models.iter().filter_map(|model| self.choice(model))
    }

    /// The lowest rate that fits the channel uses, because p_b rises with R_c.
    fn choice(&self, model: &SourceModel) -> Option<RateChoice> {
        let share = |bits: f64, per_block: usize| (bits / per_block as f64).ceil() as usize;
        // Where even the smallest block is not safe, a block of half a bit a symbol is the best that can be done.
        let protected_bits = self.safe_bits.unwrap_or(self.limits.block_symbols / 2).min(self.limits.block_symbols);
        let protected_blocks = share(model.protected_bits, protected_bits - CRC_BITS).max(1);
        let body_blocks = self.limits.blocks.checked_sub(protected_blocks).filter(|blocks| *blocks > 0)?;
        let payload_bits = round_up(share(model.body_bits, body_blocks) + CRC_BITS);
        if payload_bits > MAX_BITS {
            return None;
        }
        let block_error_rate = self.code.block_error_rate(self.sinr, payload_bits);
        let bit_error_rate = (-(-block_error_rate).ln_1p() / payload_bits as f64).min(0.5);
        Some(RateChoice {
            model: model.index,
            payload_bits,
            protected_bits,
            block_error_rate,
            bit_error_rate,
            predicted_mse: model.mse_with_losses(block_error_rate, (payload_bits - CRC_BITS) as f64),
            feasible: block_error_rate <= self.limits.block_error_rate_max
                && self.headers_hold
                && self.safe_bits.is_some(),
        })
    }
}

/// Most bits of a block that is as safe as the protected part must be: the block error rate rises with the bits.
fn largest_safe_bits(sinr: f64, code: &impl BlockErrorModel) -> Option<usize> {
    let safe = |bits: usize| code.block_error_rate(sinr, bits) <= PROTECTED_BLOCK_ERROR_RATE;
    if !safe(MIN_BITS) {
        return None;
    }
    let (mut low, mut high) = (MIN_BITS, MAX_BITS + 1);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if safe(middle) { low = middle } else { high = middle }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Vec<SourceModel> {
        [(9_000.0, 2.4), (24_000.0, 2.0), (60_000.0, 1.6)]
            .map(|(body_bits, d_s)| SourceModel {
                index: 0,
                body_bits,
                protected_bits: 600.0,
                error_free_mse: 10f64.powf(d_s),
                curve: [d_s, 1.1, 2.3, -3.2],
                loss: LossLaw { slice_bits: 700.0, rise: 8.0 },
            })
            .into_iter()
            .enumerate()
            .map(|(index, model)| SourceModel { index, ..model })
            .collect()
    }

    const LIMITS: RateLimits = RateLimits { blocks: 48, block_symbols: 256, block_error_rate_max: 1e-3 };
    const CODE: PaperModel = PaperModel { block_symbols: 256, margin_db: 2.5 };

    #[test]
    fn eq_4_needs_the_known_snr() {
        for (rate, snr_db) in [(0.5, -1.88), (1.0, 1.41), (2.0, 5.83), (4.0, 12.65)] {
            let error_rate = block_error_rate(10f64.powf(snr_db / 10.0), rate, 256);
            assert!((error_rate.log10() + 3.0).abs() < 0.05, "{rate}: {error_rate}");
        }
    }

    #[test]
    fn more_sinr_steps_through_the_models_and_never_back() {
        let models = models();
        let mut last = None;
        let mut seen = std::collections::BTreeSet::new();
        for step in 0..120 {
            let sinr = 10f64.powf((f64::from(step) * 0.2 - 4.0) / 10.0);
            let choice = select_rate(&models, &LIMITS, sinr, &CODE);
            if let (Some(last), Some(choice)) = (last, choice) {
                assert!(choice.model >= last);
            }
            assert!(choice.is_some() || last.is_none());
            last = choice.map(|choice: RateChoice| choice.model);
            seen.extend(last);
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn the_choice_fits_the_channel_uses_and_the_limit() {
        let models = models();
        let choice = select_rate(&models, &LIMITS, 8.0, &CODE).unwrap();
        let model = &models[choice.model];
        let protected = (model.protected_bits / (choice.protected_bits - CRC_BITS) as f64).ceil();
        let body = (model.body_bits / (choice.payload_bits - CRC_BITS) as f64).ceil();
        assert!(protected + body <= LIMITS.blocks as f64);
        assert!(choice.block_error_rate <= LIMITS.block_error_rate_max);
        assert!(CODE.block_error_rate(8.0, choice.protected_bits) <= PROTECTED_BLOCK_ERROR_RATE);
    }

    #[test]
    fn lost_blocks_and_lost_slices_follow_from_each_other() {
        let law = LossLaw { slice_bits: 700.0, rise: 8.0 };
        // A slice of 700 bits begins anywhere in a block of 350: it lies in three.
        assert!((law.slices_lost(0.1, 350.0) - (1.0 - 0.9f64.powi(3))).abs() < 1e-12);
        for share in [1e-6, 1e-3, 0.3, 0.99] {
            assert!((law.slices_lost(law.block_error_rate(share, 350.0), 350.0) / share - 1.0).abs() < 1e-9);
        }
        assert_eq!([law.factor(0.0), law.factor(0.25)], [1.0, 3.0]);
    }

    #[test]
    fn a_picture_takes_all_its_blocks_and_codes_are_few() {
        // Every size of picture that fits, at its own rate.
        let mut codes = std::collections::BTreeSet::new();
        for body_bits in (5_000..60_000).step_by(37) {
            let model = SourceModel { body_bits: f64::from(body_bits), ..models()[0].clone() };
            let choice = lowest_rate(&[model], &LIMITS, 100.0, &CODE).unwrap();
            let protected = (600.0 / (choice.protected_bits - CRC_BITS) as f64).ceil();
            let blocks = protected + (f64::from(body_bits) / (choice.payload_bits - CRC_BITS) as f64).ceil();
            assert!((47.0..=48.0).contains(&blocks), "{body_bits} bits: {blocks} blocks");
            codes.insert(choice.payload_bits);
        }
        assert!(codes.len() < 400, "{}", codes.len());
    }

    #[test]
    fn more_lost_blocks_at_a_higher_rate_are_the_better_plan_where_the_law_says_so() {
        // The second model halves the error; its blocks are lost more often.
        let limits = RateLimits { block_error_rate_max: 0.1, ..LIMITS };
        let models = models();
        let at = |sinr_db: f64| select_rate(&models, &limits, 10f64.powf(sinr_db / 10.0), &CODE);
        let rates: Vec<_> = (0..100).filter_map(|step| at(0.1 * f64::from(step))).collect();
        let turn = rates.windows(2).find(|pair| pair[1].model > pair[0].model).unwrap();
        assert!(turn[1].block_error_rate > 1e-3 && turn[1].block_error_rate > 100.0 * turn[0].block_error_rate);
        assert!(turn[1].predicted_mse < turn[0].predicted_mse);
    }

    #[test]
    fn nothing_fits_a_dead_channel_and_the_fallback_is_the_lowest_rate() {
        assert_eq!(select_rate(&models(), &LIMITS, 0.001, &CODE), None);
        let choice = lowest_rate(&models(), &LIMITS, 0.001, &CODE).unwrap();
        assert!(choice.model == 0 && !choice.feasible);
    }
}
