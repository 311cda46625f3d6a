//! A kind of block of one's own in a flowgraph: it measures the power that the antennas send, where the program sees it.
//!
//! `cargo run --release --example own_block`

use std::sync::{Arc, Mutex};

use issc::Result;
use issc::blocks::Kind;
use issc::stream::{Block, Flow, Frame, Shape, erase};
use issc::system::{System, SystemSpec};
use num_complex::Complex32;

/// Passes samples on and adds up their energy and their number.
struct PowerMeter(Arc<Mutex<(f64, usize)>>);

impl Block for PowerMeter {
    type In = Complex32;
    type Out = Complex32;

    fn shape(&mut self, inlet: Shape) -> Result<Shape, String> {
        Ok(inlet)
    }

    fn work(&mut self, input: &Frame<Complex32>, output: &mut Frame<Complex32>) -> Flow {
        output.copy_rows(input, 0);
        let rows = (0..input.channels()).flat_map(|row| input.row(row));
        // Nobody else has the lock while the run goes on.
        let mut sum = self.0.lock().expect("no holder panics");
        sum.0 += rows.map(|sample| f64::from(sample.norm_sqr())).sum::<f64>();
        sum.1 += input.head.valid;
        Flow::Forward
    }
}

fn main() -> Result<()> {
    let sum = Arc::new(Mutex::new((0.0, 0)));
    let captured = Arc::clone(&sum);
    let kind = Kind {
        summary: "the power that the antennas send",
        ..Kind::new("power-meter", move |_context, _keys| Ok(erase(PowerMeter(Arc::clone(&captured)))))
    };
    let graph = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/own_block.toml");
    let report = System::build(SystemSpec::from_flowgraph(graph)?.frames(128).kind(kind))?.start()?.join()?;
    let (energy, samples) = *sum.lock().expect("no holder panics");
    let measured_dbm = 10.0 * (1e3 * energy / samples as f64).log10();
    println!("the block measured {measured_dbm:.3} dBm, the report says {:.3?}", report.figures.power_dbm.measured);
    Ok(())
}
