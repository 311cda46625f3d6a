//! An optimizer of one's own in the loop: it hears what the shipped one hears and answers with other beams. This one
//! points all power at the communication receiver whenever it is asked, whatever becomes of the position bound.
//!
//! `cargo run --release --example own_optimizer`

use issc::Result;
use issc::array::Beams;
use issc::control::{Command, Observation, Optimizer, Planned, Planner};
use issc::system::{System, SystemSpec};
use nalgebra::DVector;
use num_complex::Complex64;

/// Maximum ratio transmission along the channel that was sounded last.
struct MaximumRatio {
    /// Chooses source model and channel rate for the beams, and keeps the budget.
    rates: Planner,
    channel: Option<DVector<Complex64>>,
    power_w: f64,
}

impl Optimizer for MaximumRatio {
    fn observe(&mut self, observation: Observation<'_>) -> Result<()> {
        match observation {
            Observation::Sounding { gains, amplitude, .. } => {
                let entry =
                    |gain: &num_complex::Complex32| Complex64::new(f64::from(gain.re), -f64::from(gain.im)) / amplitude;
                self.channel = Some(DVector::from_iterator(gains.len(), gains.iter().map(entry)));
            }
            Observation::Command(Command::Power(power_dbm)) => self.power_w = 1e-3 * 10f64.powf(power_dbm / 10.0),
            _ => {}
        }
        self.rates.observe(observation)
    }

    fn plan(&mut self, epoch: u64, from_frame: u64) -> Result<Planned> {
        if let Some(channel) = &self.channel {
            let w_c = channel * Complex64::from(self.power_w.sqrt() / channel.norm());
            let beams = Beams { w_0: DVector::zeros(w_c.len()), w_c };
            self.rates.observe(Observation::Command(&Command::Weights(Some(beams))))?;
        }
        self.rates.plan(epoch, from_frame)
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn copy(&self) -> Box<dyn Optimizer> {
        Box::new(Self { rates: self.rates.clone(), channel: self.channel.clone(), power_w: self.power_w })
    }
}

fn main() -> Result<()> {
    let mean_sinr =
        |spec| -> Result<Option<f64>> { Ok(System::build(spec)?.start()?.join()?.figures.sinr_db.measured) };
    let shipped = SystemSpec::shipped("loopback")?.frames(320);
    let own = shipped.clone().optimizer(|rates| Box::new(MaximumRatio { rates, channel: None, power_w: 1e-3 }));
    println!(
        "SINR with the shipped optimizer {:.2?} dB, with maximum ratio {:.2?} dB",
        mean_sinr(shipped)?,
        mean_sinr(own)?
    );
    Ok(())
}
