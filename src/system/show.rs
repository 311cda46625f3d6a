//! What a person sees of a run: the picture and a table on the terminal.

use std::io::IsTerminal;

use image::RgbImage;
use image::imageops::{FilterType, resize};

use super::{Datagrams, Report, Shown};

/// Columns of one picture on the terminal.
const COLUMNS: u32 = 48;

/// Prints the picture last received and the report's table.
pub fn terminal(report: &Report, shown: Option<&Shown>) {
    if let Some(shown) = shown {
        if std::io::stdout().is_terminal() {
            say!("{}", blocks(&shown.beside()).trim_end());
        }
        let line = &shown.line;
        let number =
            |value: Option<f64>, digits: usize| value.map_or("—".into(), |value| format!("{value:.digits$}"));
        say!(
            "picture {} sent (left) and received (right): PSNR {} dB, MS-SSIM {}, {} blocks lost",
            line.index,
            number(line.psnr_db, 2),
            number(line.ms_ssim, 4),
            line.blocks_lost
        );
    }
    for (name, value) in table(report) {
        say!("{name:<22} {value}");
    }
}

fn table(report: &Report) -> Vec<(&'static str, String)> {
    let target = &report.figures.target;
    let metres = |value: Option<f64>| value.map_or("—".into(), |value| format!("{:.2} mm", 1e3 * value));
    let point = |value: Option<[f64; 2]>| value.map_or("—".into(), |[x, y]| format!("({x:.3}, {y:.3}) m"));
    let measured = |value: Option<f64>| value.map_or("—".into(), |value| format!("{value:.2}"));
    let (plan, sinr, power) = (&report.plan, &report.figures.sinr_db, &report.figures.power_dbm);
    let mut lines = vec![
        ("frames", format!("{} sent, {} decoded", report.figures.frames_sent, report.figures.frames_decoded)),
        ("blocks lost", format!("{} %", measured(report.figures.block_error_rate.map(|rate| 100.0 * rate)))),
        (
            "pictures",
            format!("{} sent whole, {} without loss", report.figures.images_total, report.figures.images_whole),
        ),
        ("SINR", format!("{} dB measured, {} dB predicted", measured(sinr.measured), measured(sinr.predicted))),
        ("target", format!("{} found, {} true", point(target.estimate_m), point(target.truth_m))),
        (
            "position error",
            format!(
                "{} RMS over {} frames, bound {}; NEES {} (2 expected); {} outliers, {} without a position",
                metres(target.rmse_m),
                target.frames,
                metres(target.hcrb_rmse_m),
                measured(target.nees),
                target.outliers,
                target.no_position
            ),
        ),
        (
            "track",
            match report.figures.track.velocity_m_s {
                Some([x, y]) => format!(
                    "{} at ({x:.2}, {y:.2}) m/s; {} RMS over {} frames, {} over {} without a position; {} tracks",
                    point(report.figures.track.estimate_m),
                    metres(report.figures.track.rmse_m),
                    report.figures.track.frames,
                    metres(report.figures.track.coasted_rmse_m),
                    report.figures.track.coasted_frames,
                    report.figures.track.tracks
                ),
                None => "none".into(),
            },
        ),
        ("power", format!("{} dBm sent, {} dBm planned", measured(power.measured), measured(power.plan))),
        (
            "plan",
            format!(
                "{}, {}{} at {:.3} bit/use, {} retunes{}",
                plan.model_name,
                if plan.shaped { "shaped " } else { "" },
                plan.modulation,
                plan.channel_rate_bits_per_use,
                report.figures.retunes_total,
                report.follow.as_ref().map_or(String::new(), |follow| format!(
                    " and {} after the track ({:.0} a second, {:.0} µs each)",
                    follow.retunes,
                    follow.retunes_per_s,
                    1e6 * follow.solve_time_s
                ))
            ),
        ),
        (
            "speed",
            format!("{:.3} MS/s per antenna, {:.4} × real time", report.samples_per_s / 1e6, report.realtime_factor),
        ),
    ];
    // Only where somebody sends data, or measures how long results take.
    let data = report.figures.receivers.iter().filter_map(|receiver| receiver.data.as_ref());
    lines.extend(data.filter(|data| data.datagrams.sent + data.datagrams.received > 0).map(|data| {
        let kilobits = |rate: Option<f64>| measured(rate.map(|rate| rate / 1e3));
        let Datagrams { received, lost, refused, .. } = data.datagrams;
        let [goodput, promised] = [data.goodput_bits_per_s, data.promised_bits_per_s].map(kilobits);
        let line = format!("{goodput} of {promised} kbit/s; {received} datagrams came, {lost} lost, {refused} refused");
        ("user data", line)
    }));
    for (what, latency) in report.figures.latency_ms.each().into_iter().filter(|(_, latency)| latency.p50.is_some()) {
        let [median, most, all] = [latency.p50, latency.p99, latency.max].map(measured);
        let line = format!("to a {what} {median} ms in the median, {most} ms in 99 of 100, {all} ms at most");
        lines.push(("latency", line));
    }
    lines
}

/// A picture in half-block characters with 24-bit colours.
fn blocks(picture: &RgbImage) -> String {
    let columns = 2 * COLUMNS;
    let rows = (columns * picture.height() / picture.width()).max(2) & !1;
    let small = resize(picture, columns, rows, FilterType::Triangle);
    let mut text = String::new();
    for row in (0..rows).step_by(2) {
        for column in 0..columns {
            let [upper, lower] = [row, row + 1].map(|row| small.get_pixel(column, row).0);
            text += &format!(
                "\x1b[38;2;{};{};{};48;2;{};{};{}m▀",
                upper[0], upper[1], upper[2], lower[0], lower[1], lower[2]
            );
        }
        text += "\x1b[0m\n";
    }
    text
}

/// Says which changes of plan were refused, and why.
pub fn infeasible(report: &Report) {
    for retune in report.retunes.iter().filter(|retune| !retune.feasible) {
        let reason = retune.reason.as_deref().unwrap_or("not feasible");
        remark!("issc: frame {}: {} kept as it was: {reason}", retune.frame, retune.cause);
    }
    if let Some(follow) = report.follow.as_ref().filter(|follow| follow.infeasible > 0) {
        let reason = follow.reason.as_deref().unwrap_or("not feasible");
        remark!("issc: {} of {} plans after the track kept as they were: {reason}", follow.infeasible, follow.retunes);
    }
}
