//! A map in colours, with the scale beside it.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Drawing, FONT, label, write};
use crate::Result;

const SIZE: (u32, u32) = (1040, 640);
/// Pixels of the colour scale and its labels.
const SCALE_WIDTH: u32 = 130;
/// Steps of the colour scale.
const STEPS: i32 = 128;

/// Dark blue over green to yellow with evenly rising lightness, which greys and colour-blind eyes keep in order.
const COLOURS: [RGBColor; 6] = [
    RGBColor(68, 1, 84),
    RGBColor(65, 68, 135),
    RGBColor(42, 120, 142),
    RGBColor(34, 168, 132),
    RGBColor(122, 209, 81),
    RGBColor(253, 231, 37),
];

/// A value over two evenly stepped axes.
#[derive(Debug, Clone)]
pub struct Heat {
    /// Title above.
    pub title: String,
    /// Name of the x axis, with its unit.
    pub x_label: String,
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// Name of the value, with its unit.
    pub value_label: String,
    /// Centres of the columns, rising.
    pub x: Vec<f64>,
    /// Centres of the rows, rising.
    pub y: Vec<f64>,
    /// `[row][column]`.
    pub values: Vec<f64>,
    /// Values that the colours span; what lies outside takes the last colour.
    pub range: Range<f64>,
    /// Rings around points, each with its name and its radius in pixels.
    pub rings: Vec<(String, (f64, f64), i32)>,
}

impl Heat {
    /// Writes `name`.png, `name`.svg and `name`.csv into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write(self, folder, name)
    }

    /// Draws the colour scale.
    fn draw_scale<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let mut scale = ChartBuilder::on(area)
            .margin(16)
            .margin_top(54)
            .margin_bottom(68)
            .margin_left(0)
            .y_label_area_size(78)
            .build_cartesian_2d(0.0..1.0, self.range.clone())?;
        let step = (self.range.end - self.range.start) / f64::from(STEPS);
        scale.draw_series((0..STEPS).map(|index| {
            let from = self.range.start + f64::from(index) * step;
            Rectangle::new([(0.0, from), (1.0, from + step)], colour(f64::from(index) / f64::from(STEPS)).filled())
        }))?;
        scale
            .configure_mesh()
            .disable_mesh()
            .disable_x_axis()
            .y_desc(&self.value_label)
            .y_label_formatter(&|value| label(*value, false))
            .label_style((FONT, 17))
            .axis_desc_style((FONT, 19))
            .draw()
    }

    fn draw_on<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE)?;
        let (map, scale) = area.split_horizontally(SIZE.0 - SCALE_WIDTH);
        self.draw_scale(&scale)?;
        let [(x, x_step), (y, y_step)] = [cells(&self.x), cells(&self.y)];
        let mut chart = ChartBuilder::on(&map)
            .caption(&self.title, (FONT, 24))
            .margin(16)
            .x_label_area_size(52)
            .y_label_area_size(84)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|value| label(*value, false))
            .y_label_formatter(&|value| label(*value, false))
            .label_style((FONT, 17))
            .axis_desc_style((FONT, 19))
            .draw()?;
        let span = self.range.end - self.range.start;
        chart.draw_series(self.values.iter().enumerate().map(|(index, value)| {
            let (x, y) = (self.x[index % self.x.len()], self.y[index / self.x.len()]);
            let corners = [(x - x_step / 2.0, y - y_step / 2.0), (x + x_step / 2.0, y + y_step / 2.0)];
            Rectangle::new(corners, colour((value - self.range.start) / span).filled())
        }))?;
        let inks = [RGBColor(255, 255, 255), RGBColor(255, 90, 70)];
        for ((name, point, radius), ink) in self.rings.iter().zip(inks.into_iter().cycle()) {
            chart
                .draw_series([*point].map(|at| Circle::new(at, *radius, ink.stroke_width(2))))?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 13, y), (*radius).min(8), ink.stroke_width(2)).into_dyn());
        }
        if !self.rings.is_empty() {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .legend_area_size(34)
                .label_font((FONT, 17, &WHITE))
                .background_style(RGBColor(40, 20, 60))
                .border_style(RGBColor(160, 160, 160))
                .draw()?;
        }
        area.present()
    }
}

impl Drawing for Heat {
    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn csv(&self) -> String {
        let mut text = format!("\"{}\",\"{}\",\"{}\"\n", self.x_label, self.y_label, self.value_label);
        for (row, y) in self.values.chunks(self.x.len().max(1)).zip(&self.y) {
            for (value, x) in row.iter().zip(&self.x) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{x},{y},{value}");
            }
        }
        text
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        self.draw_on(&area).map_err(|error| error.to_string())
    }
}

/// The range that cells around these centres cover, and their step.
fn cells(centres: &[f64]) -> (Range<f64>, f64) {
    match centres {
        [first, .., last] => {
            let step = (last - first) / (centres.len() - 1) as f64;
            (first - step / 2.0..last + step / 2.0, step)
        }
        [only] => (only - 0.5..only + 0.5, 1.0),
        [] => (0.0..1.0, 1.0),
    }
}

/// The colour of a share of the scale; no number takes the lowest.
fn colour(share: f64) -> RGBColor {
    let place = if share > 0.0 { share.min(1.0) } else { 0.0 } * (COLOURS.len() - 1) as f64;
    let index = (place as usize).min(COLOURS.len() - 2);
    let (low, high, part) = (COLOURS[index], COLOURS[index + 1], place - index as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shows_its_highest_cell_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut values = vec![0.0; 20 * 10];
        values[7 * 20 + 15] = 1.0;
        let axis = |count: i32| (0..count).map(f64::from).collect::<Vec<_>>();
        let heat = Heat {
            title: "A map".into(),
            x_label: "x, m".into(),
            y_label: "y, m".into(),
            value_label: "power".into(),
            x: axis(20),
            y: axis(10),
            values,
            range: 0.0..1.0,
            rings: Vec::new(),
        };
        heat.write(folder.path(), "map").unwrap();
        let picture = image::open(folder.path().join("map.png")).unwrap().to_rgb8();
        let left = picture.width() - SCALE_WIDTH;
        let lit: Vec<_> =
            picture.enumerate_pixels().filter(|(x, _, pixel)| *x < left && pixel.0 == [253, 231, 37]).collect();
        let mean = |of: fn(&(u32, u32, &image::Rgb<u8>)) -> u32| {
            lit.iter().map(|pixel| f64::from(of(pixel))).sum::<f64>() / lit.len() as f64
        };
        // The axes' area spans 100 … 894 across and about 50 … 572 down.
        assert!((mean(|p| p.0) - (100.0 + 15.5 / 20.0 * 794.0)).abs() < 3.0, "{}", mean(|p| p.0));
        assert!((mean(|p| p.1) - (572.0 - 7.5 / 10.0 * 522.0)).abs() < 6.0, "{}", mean(|p| p.1));
        let data = std::fs::read_to_string(folder.path().join("map.csv")).unwrap();
        assert!(data.contains("\n15,7,1\n") && data.lines().count() == 201);
    }

    #[test]
    fn colours_end_where_the_scale_ends_and_no_number_is_the_lowest() {
        assert_eq!((colour(-1.0), colour(f64::NAN)), (COLOURS[0], COLOURS[0]));
        assert_eq!(colour(2.0), COLOURS[5]);
        assert_eq!(colour(0.2), COLOURS[1]);
    }
}
