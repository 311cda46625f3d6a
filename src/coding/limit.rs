//! The finite-length limit that codes are held against.

/// Block error rate of the best code of `symbols` complex Gaussian channel uses at `rate` bits per use and this SNR
/// (linear): the normal approximation with its logarithmic term (Polyanskiy, Poor and Verdú 2010).
pub fn normal_approximation(snr: f64, rate: f64, symbols: usize) -> f64 {
    let length = symbols as f64;
    let capacity = (1.0 + snr).log2();
    let dispersion = (1.0 - (1.0 + snr).powi(-2)) * std::f64::consts::LOG2_E.powi(2);
    let margin = capacity - rate + (2.0 * length).log2() / (2.0 * length);
    0.5 * libm::erfc(margin * (length / dispersion / 2.0).sqrt())
}

/// The SNR in dB at which [`normal_approximation`] is `error_rate`, from −30 to 60 dB.
pub fn normal_approximation_snr_db(error_rate: f64, rate: f64, symbols: usize) -> f64 {
    let (mut low, mut high) = (-30.0, 60.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let at = normal_approximation(10f64.powf(middle / 10.0), rate, symbols);
        if at > error_rate { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_known_points_is_met() {
        for (rate, snr_db, rate_exponent) in
            [(0.25, -6.36, 1e-1), (1.0, 1.31, 1e-3), (2.0, 5.77, 1e-3), (4.0, 12.93, 1e-5)]
        {
            let error_rate = normal_approximation(10f64.powf(snr_db / 10.0), rate, 256);
            assert!((error_rate.log10() - f64::log10(rate_exponent)).abs() < 0.06, "{rate}: {error_rate}");
            let needed_db = normal_approximation_snr_db(rate_exponent, rate, 256);
            assert!((needed_db - snr_db).abs() < 0.01, "{rate}: {needed_db} dB");
        }
    }
}
