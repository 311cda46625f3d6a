//! Superposition of the two shaped streams on the antennas: x = w_c s_c + w_0 s_0 (eq. 1), frame by frame, each frame's
//! pulses with its own weights; their tails are added to the next frame.

use num_complex::Complex32;

use super::dispatched;

dispatched! {
    /// `output[n] = w_c·s_c[n] + w_0·s_0[n]` for slices of one length.
    pub fn superpose(s_c: &[Complex32], s_0: &[Complex32], w_c: Complex32, w_0: Complex32, output: &mut [Complex32]) = body
}

#[inline(always)]
fn body(s_c: &[Complex32], s_0: &[Complex32], w_c: Complex32, w_0: Complex32, output: &mut [Complex32]) {
    let count = output.len();
    let (s_c, s_0) = (&s_c[..count], &s_0[..count]);
    for n in 0..count {
        let (c, o) = (s_c[n], s_0[n]);
        output[n] = Complex32::new(
            w_c.re * c.re - w_c.im * c.im + (w_0.re * o.re - w_0.im * o.im),
            w_c.re * c.im + w_c.im * c.re + (w_0.re * o.im + w_0.im * o.re),
        );
    }
}

/// Superposes frames into continuous antenna streams.
#[derive(Debug, Clone)]
pub struct Superposer {
    tail: usize,
    /// What the last frame's pulses leave over, per antenna.
    tails: Vec<Complex32>,
    /// Room for one of them.
    later: Vec<Complex32>,
}

impl Superposer {
    /// For `antennas` antennas and `tail` samples of overlap.
    pub fn new(antennas: usize, tail: usize) -> Self {
        Self { tail, tails: vec![Complex32::default(); antennas * tail], later: vec![Complex32::default(); tail] }
    }

    /// One antenna's samples of one frame: `s_c` and `s_0` are whole shaped frames, `output` is shorter by the tail.
    /// `extra` may add to these (per-antenna sounding).
    pub fn antenna(
        &mut self,
        antenna: usize,
        s_c: &[Complex32],
        s_0: &[Complex32],
        [w_c, w_0]: [Complex32; 2],
        extra: impl FnOnce(&mut [Complex32]),
        output: &mut [Complex32],
    ) {
        let count = output.len();
        superpose(s_c, s_0, w_c, w_0, output);
        superpose(&s_c[count..], &s_0[count..], w_c, w_0, &mut self.later);
        extra(output);
        let tail = &mut self.tails[antenna * self.tail..][..self.tail];
        output.iter_mut().zip(&*tail).for_each(|(sample, late)| *sample += late);
        // Of a frame that is shorter than the tail some goes on to the frame after.
        self.later.iter_mut().zip(tail.iter().skip(count)).for_each(|(sample, late)| *sample += late);
        tail.copy_from_slice(&self.later);
    }

    /// What is left of the last frame on one antenna.
    pub fn flush(&mut self, antenna: usize, output: &mut [Complex32]) {
        let tail = &mut self.tails[antenna * self.tail..][..self.tail];
        output[..self.tail].copy_from_slice(tail);
        tail.fill(Complex32::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_overlap_and_each_keeps_its_own_weights() {
        let mut superposer = Superposer::new(1, 2);
        let ones = [Complex32::new(1.0, 0.0); 6];
        let zeros = [Complex32::default(); 6];
        let weights = |w: f32| [Complex32::new(w, 0.0), Complex32::default()];
        let mut output = [Complex32::default(); 4];
        superposer.antenna(0, &ones, &zeros, weights(1.0), |_| {}, &mut output);
        assert_eq!(output.map(|x| x.re), [1.0, 1.0, 1.0, 1.0]);
        superposer.antenna(0, &ones, &zeros, weights(10.0), |_| {}, &mut output);
        assert_eq!(output.map(|x| x.re), [11.0, 11.0, 10.0, 10.0]);
        superposer.flush(0, &mut output);
        assert_eq!(output[..2].iter().map(|x| x.re).collect::<Vec<_>>(), [10.0, 10.0]);
    }

    #[test]
    fn the_dispatched_kernel_equals_the_baseline_bit_for_bit() {
        let wave = |k: f32| (0..101).map(|n| Complex32::from_polar(1.0 + k, n as f32 * k)).collect::<Vec<_>>();
        let (s_c, s_0) = (wave(0.1), wave(0.7));
        let (w_c, w_0) = (Complex32::new(0.3, -0.2), Complex32::new(-0.05, 0.4));
        let mut fast = vec![Complex32::default(); 101];
        let mut slow = fast.clone();
        superpose(&s_c, &s_0, w_c, w_0, &mut fast);
        body(&s_c, &s_0, w_c, w_0, &mut slow);
        assert_eq!(fast, slow);
        for n in 0..101 {
            assert!((slow[n] - (w_c * s_c[n] + w_0 * s_0[n])).norm() < 1e-6);
        }
    }
}
