//! Drawings as PNG and SVG, their data beside them as CSV: charts of lines and marks, and maps in colours.
//!
//! The font is compiled in, so that a drawing needs no system library and looks the same everywhere.

pub mod bars;
mod heat;
pub mod maps;
pub mod patterns;

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::part::{Part, write_whole};
use crate::{Error, Result};
pub use heat::Heat;

/// Width and height of a chart in pixels.
const SIZE: (u32, u32) = (960, 640);
/// Width and height of a square chart in pixels: its axes' area is a square.
const SQUARE: (u32, u32) = (812, 800);
const FONT: &str = "sans-serif";

/// Colours that stay apart in print and for the colour-blind (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A line.
    Solid,
    /// A dashed line.
    Dashed,
    /// Marks without a line.
    Marks,
    /// Small dots without a line, for many points.
    Dots,
}

/// Where the legend stands, away from the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corner {
    /// Upper right.
    UpperRight,
    /// Upper left.
    UpperLeft,
    /// Lower right.
    LowerRight,
    /// Lower left.
    LowerLeft,
}

impl From<Corner> for SeriesLabelPosition {
    fn from(corner: Corner) -> Self {
        match corner {
            Corner::UpperRight => Self::UpperRight,
            Corner::UpperLeft => Self::UpperLeft,
            Corner::LowerRight => Self::LowerRight,
            Corner::LowerLeft => Self::LowerLeft,
        }
    }
}

/// One line or set of marks; points with a coordinate that is not finite are left out.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the legend says; nothing where it is empty.
    pub name: String,
    /// (x, y) in the axes' units.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Index of its colour; series that belong together share one.
    pub colour: usize,
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Title above.
    pub title: String,
    /// Name of the x axis, with its unit.
    pub x_label: String,
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// Whether x runs in decades.
    pub x_log: bool,
    /// Whether y runs in decades.
    pub y_log: bool,
    /// Where the legend stands.
    pub legend: Corner,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// What can be drawn: on any backend, with its data.
trait Drawing {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);
    /// The data.
    fn csv(&self) -> String;
    /// Draws it.
    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static;
}

/// Writes `name`.png, `name`.svg and `name`.csv into a folder.
fn write(drawing: &impl Drawing, folder: &Path, name: &str) -> Result<()> {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        let bytes = include_bytes!("../../assets/DejaVuSans.ttf");
        // The font is part of the program and valid; a failure would show as an error of the drawing.
        let _ = register_font(FONT, FontStyle::Normal, bytes);
    });
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    let failed = |error: String| Error::device(format!("{}: {error}", path("png").display()));
    // Drawn under a temporary name, so that no part of a drawing has the final one.
    let (png, svg) = (Part::of(&path("png")), Part::of(&path("svg")));
    drawing.draw(BitMapBackend::new(png.path(), drawing.size()).into_drawing_area()).map_err(failed)?;
    drawing.draw(SVGBackend::new(svg.path(), drawing.size()).into_drawing_area()).map_err(failed)?;
    for (part, extension) in [(png, "png"), (svg, "svg")] {
        part.keep().map_err(|error| Error::file(&path(extension), error))?;
    }
    write_whole(&path("csv"), drawing.csv().as_bytes()).map_err(|error| Error::file(&path("csv"), error))
}

/// What a chart is drawn on: the drawn scales of both axes.
type Plane<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A chart whose axes both run from −limit to limit on one scale.
struct Square<'a> {
    chart: &'a Chart,
    limit: f64,
}

impl Drawing for Square<'_> {
    fn size(&self) -> (u32, u32) {
        SQUARE
    }

    fn csv(&self) -> String {
        self.chart.csv()
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        self.chart.draw_over(area, -self.limit..self.limit, -self.limit..self.limit)
    }
}

impl Drawing for Chart {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    /// The data as `series,x,y` lines.
    fn csv(&self) -> String {
        let mut text = format!("series,\"{}\",\"{}\"\n", self.x_label, self.y_label);
        for series in &self.series {
            for (x, y) in series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\"{}\",{x},{y:e}", series.name);
            }
        }
        text
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let all: Vec<_> = self.series.iter().flat_map(|series| self.drawn(series)).collect();
        let x = span(all.iter().map(|point| point.0), 0.0);
        let y = span(all.iter().map(|point| point.1), 0.04);
        self.draw_over(area, x, y)
    }
}

impl Chart {
    /// Writes `name`.png, `name`.svg and `name`.csv into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write(self, folder, name)
    }

    /// The same on square axes from −limit to limit.
    pub fn write_square(&self, folder: &Path, name: &str, limit: f64) -> Result<()> {
        write(&Square { chart: self, limit }, folder, name)
    }

    /// Points on the drawn (for decades: logarithmic) scale.
    fn drawn(&self, series: &Series) -> Vec<(f64, f64)> {
        let scale = |value: f64, log: bool| if log { value.log10() } else { value };
        let points = series.points.iter().map(|(x, y)| (scale(*x, self.x_log), scale(*y, self.y_log)));
        points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }

    /// Draws the series over these ranges of the drawn scale.
    fn draw_over<B: DrawingBackend>(
        &self,
        area: DrawingArea<B, Shift>,
        x: Range<f64>,
        y: Range<f64>,
    ) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let text = |error: DrawingAreaErrorKind<B::ErrorType>| error.to_string();
        area.fill(&WHITE).map_err(text)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, (FONT, 24))
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(92)
            .build_cartesian_2d(x, y)
            .map_err(text)?;
        self.draw_mesh(&mut chart)?;
        for series in &self.series {
            self.draw_series(&mut chart, series)?;
        }
        chart
            .configure_series_labels()
            .position(self.legend.into())
            .legend_area_size(34)
            .label_font((FONT, 17))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(160, 160, 160))
            .draw()
            .map_err(text)?;
        area.present().map_err(text)
    }

    /// Axes with their names, and the lines across.
    fn draw_mesh<B: DrawingBackend>(&self, chart: &mut Plane<'_, B>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|value| label(*value, self.x_log))
            .y_label_formatter(&|value| label(*value, self.y_log))
            .label_style((FONT, 17))
            .axis_desc_style((FONT, 19))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(220, 220, 220))
            .draw()
            .map_err(|error| error.to_string())
    }

    /// One series, and its line of the legend where it has a name.
    fn draw_series<'a, B: DrawingBackend + 'a>(&self, chart: &mut Plane<'a, B>, series: &Series) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let points = self.drawn(series);
        let colour = COLOURS[series.colour % COLOURS.len()];
        let (stroke, style) = (series.stroke, colour.stroke_width(2));
        let drawn = match stroke {
            Stroke::Solid => chart.draw_series(LineSeries::new(points, style)),
            Stroke::Dashed => chart.draw_series(DashedLineSeries::new(points, 8, 6, style)),
            Stroke::Marks => chart.draw_series(points.into_iter().map(|at| Circle::new(at, 4, colour.filled()))),
            Stroke::Dots => chart.draw_series(points.into_iter().map(|at| Circle::new(at, 2, colour.filled()))),
        };
        let drawn = drawn.map_err(|error| error.to_string())?;
        if series.name.is_empty() {
            return Ok(());
        }
        drawn.label(&series.name).legend(move |(x, y)| {
            let piece = |from: i32, to: i32| PathElement::new(vec![(x + from, y), (x + to, y)], style).into_dyn();
            match stroke {
                Stroke::Solid => piece(0, 26),
                Stroke::Dashed => piece(0, 11),
                Stroke::Marks => Circle::new((x + 13, y), 4, colour.filled()).into_dyn(),
                Stroke::Dots => Circle::new((x + 13, y), 2, colour.filled()).into_dyn(),
            }
        });
        Ok(())
    }
}

/// The range of some values, widened by a share on both sides.
fn span(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let widened = (margin * (high - low)).max(if high > low { 0.0 } else { 0.5 });
    low - widened..high + widened
}

fn label(value: f64, log: bool) -> String {
    if log {
        return if (value - value.round()).abs() < 1e-9 {
            format!("1e{value:.0}")
        } else {
            format!("{:.1e}", 10f64.powf(value))
        };
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_becomes_a_picture_a_vector_drawing_and_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let chart = Chart {
            title: "A line".into(),
            x_label: "x, m".into(),
            y_label: "y".into(),
            x_log: false,
            y_log: true,
            legend: Corner::UpperLeft,
            series: vec![Series {
                name: "one".into(),
                points: vec![(0.0, 1e-3), (1.0, f64::NAN), (2.0, 1e-1)],
                stroke: Stroke::Dashed,
                colour: 0,
            }],
        };
        chart.write(folder.path(), "line").unwrap();
        let picture = image::open(folder.path().join("line.png")).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), SIZE);
        assert!(picture.pixels().any(|pixel| pixel.0 == [0, 114, 178]), "the line is drawn");
        let vector = std::fs::read_to_string(folder.path().join("line.svg")).unwrap();
        assert!(vector.contains("A line") && vector.contains("1e-2"));
        let data = std::fs::read_to_string(folder.path().join("line.csv")).unwrap();
        assert_eq!(data, "series,\"x, m\",\"y\"\n\"one\",0,1e-3\n\"one\",2,1e-1\n");
    }
}
