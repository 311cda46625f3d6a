//! The status as Prometheus reads it: text, version 0.0.4. Names end in their unit; what counts ends in `_total`.

use std::fmt::Write;

use crate::system::{State, Status};

/// The content type.
pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Lines of one metric after another.
#[derive(Default)]
struct Page(String);

impl Page {
    /// One metric with its samples: labels and values. Samples without a value are left out.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (String, Option<f64>)>) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            if let Some(value) = value {
                let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
                let _ = writeln!(self.0, "{name}{labels} {value}");
            }
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.metric(name, "gauge", help, [(String::new(), value)]);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "counter", help, [(String::new(), Some(value as f64))]);
    }
}

fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The page of metrics; without a run it only says that there is none.
pub fn page(status: Option<&Status>, readers: usize) -> String {
    let mut page = Page::default();
    page.gauge("issc_up", "Whether a run is under way: 1 or 0.", {
        Some(f64::from(status.is_some_and(|status| status.state != State::Ended)))
    });
    page.gauge("issc_stream_readers", "Readers of the WebSocket stream.", Some(readers as f64));
    let Some(status) = status else { return page.0 };
    let figures = &status.figures;
    page.metric(
        "issc_state",
        "gauge",
        "What the run is doing: 1 at its state.",
        [State::Waiting, State::Running, State::Stopping, State::Ended].map(|state| {
            let name = serde_json::to_value(state).unwrap_or_default();
            (label("state", name.as_str().unwrap_or_default()), Some(f64::from(state == status.state)))
        }),
    );
    page.counter("issc_frames_sent_total", "Frames sent since the start.", status.frames_sent_total);
    page.counter("issc_pictures_sent_total", "Pictures sent whole since the start.", figures.images_total);
    page.counter(
        "issc_pictures_whole_total",
        "Pictures that the first communication receiver shows as their error-free decode.",
        figures.images_whole,
    );
    page.counter("issc_retunes_total", "Changes of plan by soundings and commands.", figures.retunes_total);
    page.counter("issc_overflows_total", "Receivers' events of lost samples.", figures.overflows);
    page.counter("issc_underflows_total", "Transmitter's events of missing samples.", figures.underflows);
    let dropped = &figures.dropped;
    page.metric(
        "issc_frames_dropped_total",
        "counter",
        "Frames that were given up, by cause.",
        [("overload", dropped.overload), ("late", dropped.late), ("gap", dropped.gap)]
            .map(|(cause, count)| (label("cause", cause), Some(count as f64))),
    );
    page.gauge("issc_frame", "The frame sent last.", status.frame.map(|frame| frame as f64));
    page.gauge("issc_realtime_ratio", "Signal time per wall-clock time.", Some(status.realtime_factor));
    page.gauge("issc_resident_memory_bytes", "Memory of the process.", status.memory_bytes.map(|bytes| bytes as f64));
    page.metric(
        "issc_power_dbm",
        "gauge",
        "Power of the plans and as sent, over the last 100 frames.",
        [(label("kind", "plan"), figures.power_dbm.plan), (label("kind", "measured"), figures.power_dbm.measured)],
    );
    page.gauge("issc_plan_epoch", "Number of the plan in force.", Some(status.plan.epoch as f64));
    page.gauge("issc_plan_rate_bits_per_use", "Channel rate of the plan in force.", {
        Some(status.plan.channel_rate_bits_per_use)
    });
    page.gauge(
        "issc_plan_predicted_mse",
        "Mean squared error that the plan predicts.",
        Some(status.plan.predicted_mse),
    );
    receivers(&mut page, status);
    page.metric(
        "issc_latency_seconds",
        "gauge",
        "Time from the last antenna sample to a result; absent where nobody measures it.",
        figures.latency_ms.each().into_iter().flat_map(|(what, latency)| {
            [("0.5", latency.p50), ("0.99", latency.p99), ("1", latency.max)].map(|(quantile, milliseconds)| {
                let labels = format!("{},{}", label("result", what), label("quantile", quantile));
                (labels, milliseconds.map(|milliseconds| milliseconds / 1e3))
            })
        }),
    );
    page.0
}

fn receivers(page: &mut Page, status: &Status) {
    let receivers = &status.figures.receivers;
    let node = |id: &str| label("node", id);
    page.metric(
        "issc_sinr_db",
        "gauge",
        "SINR at a communication receiver over the last 100 frames.",
        receivers.iter().filter_map(|receiver| Some((receiver, receiver.sinr_db.as_ref()?))).flat_map(
            |(receiver, sinr)| {
                [("measured", sinr.measured), ("predicted", sinr.predicted)]
                    .map(|(kind, level)| (format!("{},{}", node(&receiver.id), label("kind", kind)), level))
            },
        ),
    );
    page.metric(
        "issc_data_bits_per_second",
        "gauge",
        "User data per second of signal over the last 100 frames: room for it, and what arrived.",
        receivers.iter().filter_map(|receiver| Some((receiver, receiver.data.as_ref()?))).flat_map(
            |(receiver, data)| {
                [("room", data.promised_bits_per_s), ("received", data.goodput_bits_per_s)]
                    .map(|(kind, rate)| (format!("{},{}", node(&receiver.id), label("kind", kind)), rate))
            },
        ),
    );
    page.metric(
        "issc_block_error_ratio",
        "gauge",
        "Share of payload blocks that did not arrive, over the last 100 frames.",
        receivers.iter().map(|receiver| (node(&receiver.id), receiver.block_error_rate)),
    );
    page.metric(
        "issc_picture_psnr_db",
        "gauge",
        "PSNR of the last picture received.",
        receivers.iter().filter_map(|receiver| {
            let last = receiver.images.as_ref()?.last()?;
            Some((node(&receiver.id), last.psnr_db))
        }),
    );
    let targets = || {
        receivers.iter().flat_map(|receiver| {
            let labels = |id: &str| format!("{},{}", node(&receiver.id), label("target", id));
            receiver.targets.iter().flatten().map(move |target| (labels(&target.id), target))
        })
    };
    page.metric(
        "issc_position_error_meters",
        "gauge",
        "Root mean square position error over the last 100 frames, where the truth is known.",
        targets().map(|(labels, figures)| (labels, figures.target.rmse_m)),
    );
    page.metric(
        "issc_position_bound_meters",
        "gauge",
        "Root of the mean position bound over the last 100 frames.",
        targets().map(|(labels, figures)| (labels, figures.target.hcrb_rmse_m)),
    );
    page.metric(
        "issc_position_meters",
        "gauge",
        "The last position found.",
        targets().flat_map(|(labels, figures)| {
            [("x", 0), ("y", 1)].map(|(axis, index)| {
                let place = figures.target.estimate_m.map(|place| place[index]);
                (format!("{labels},{}", label("axis", axis)), place)
            })
        }),
    );
    page.metric(
        "issc_positions_refused",
        "gauge",
        "Frames of the last 100 in which a position was refused, by reason.",
        targets().flat_map(|(labels, figures)| {
            figures
                .refused
                .iter()
                .map(move |(reason, count)| (format!("{labels},{}", label("reason", reason)), Some(*count as f64)))
        }),
    );
}
