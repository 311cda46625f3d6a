//! How far a run is: a bar on a terminal, else a line every ten seconds.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::system::{Run, Status};

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Time from line to line where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Shows how far a run is.
pub struct Progress {
    frames: Option<u64>,
    bar: ProgressBar,
    began: Instant,
    lines: u32,
}

impl Progress {
    /// For a run of so many frames, where that is known.
    pub fn new(frames: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(frames, ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames {elapsed}") {
            bar.set_style(style);
        }
        Self { frames, bar, began: Instant::now(), lines: 0 }
    }

    /// Shows a run to its end.
    pub fn show(mut self, run: &Run) {
        let terminal = std::io::stderr().is_terminal();
        while !run.is_finished() {
            let status = run.status();
            if terminal {
                self.bar.set_position(status.frames_sent_total);
            } else if self.began.elapsed() > LINE * (self.lines + 1) {
                self.lines += 1;
                remark!("issc: {}", self.line(&status));
            }
            thread::sleep(LOOK);
        }
        self.bar.finish_and_clear();
    }

    fn line(&self, status: &Status) -> String {
        let level = |value: Option<f64>| value.map_or("—".into(), |value| format!("{value:.2} dB"));
        let error = status.figures.target.rmse_m.map_or("—".into(), |error| format!("{error:.4} m"));
        let of = self.frames.map_or(String::new(), |frames| format!(" of {frames}"));
        format!(
            "{:.0} s: frame {}{of}, SINR {}, position error {error}, {:.3} × real time",
            self.began.elapsed().as_secs_f64(),
            status.frames_sent_total,
            level(status.figures.sinr_db.measured),
            status.realtime_factor
        )
    }
}
