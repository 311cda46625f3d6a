//! A drawing of bars with names beside them: one row for each thing, in it a bar for each series.

use std::fmt::Write as _;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{COLOURS, Drawing, FONT, write};
use crate::Result;

/// Pixels of a bar, of the space between two rows, and left of the bars for names.
const BAR: i32 = 9;
const BETWEEN: i32 = 8;
const NAMES: i32 = 470;
/// Pixels of the bars' area, above it, below it and right of it.
const WIDTH: i32 = 560;
const ABOVE: i32 = 92;
const BELOW: i32 = 60;
const RIGHT: i32 = 70;

/// A drawing of bars.
#[derive(Debug, Clone)]
pub struct Bars {
    /// Title above.
    pub title: String,
    /// Name of the values, with their unit.
    pub value_label: String,
    /// A name for each row.
    pub names: Vec<String>,
    /// Each series by its name, with a value for each row; `None` reaches beyond every value.
    pub series: Vec<(String, Vec<Option<f64>>)>,
    /// What stands beside a bar of `None`.
    pub beyond: &'static str,
    /// The value that a bar ends at; longer ones are cut and say their number.
    pub most: f64,
}

impl Bars {
    /// Writes `name`.png, `name`.svg and `name`.csv into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write(self, folder, name)
    }

    fn row_height(&self) -> i32 {
        BAR * self.series.len() as i32 + BETWEEN
    }

    fn bottom(&self) -> i32 {
        ABOVE + self.row_height() * self.names.len() as i32
    }

    fn x(&self, value: f64) -> i32 {
        NAMES + (value.clamp(0.0, self.most) / self.most * f64::from(WIDTH)).round() as i32
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let text = |size: i32, h: HPos| (FONT, size).into_font().color(&BLACK).pos(Pos::new(h, VPos::Center));
        let middle = NAMES + WIDTH / 2;
        area.draw(&Text::new(self.title.as_str(), (middle - NAMES / 2, 26), text(24, HPos::Center)))?;
        area.draw(&Text::new(self.value_label.as_str(), (middle, self.bottom() + 42), text(18, HPos::Center)))?;
        for step in 0..=4 {
            let value = self.most * f64::from(step) / 4.0;
            let x = self.x(value);
            let line = vec![(x, ABOVE), (x, self.bottom())];
            area.draw(&PathElement::new(line, RGBColor(215, 215, 215)))?;
            area.draw(&Text::new(format!("{value}"), (x, self.bottom() + 16), text(16, HPos::Center)))?;
        }
        for (index, (name, values)) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let (x, y) = (NAMES + 240 * index as i32, 62);
            area.draw(&Rectangle::new([(x, y - 6), (x + 24, y + 6)], colour.filled()))?;
            area.draw(&Text::new(name.as_str(), (x + 32, y), text(17, HPos::Left)))?;
            for (row, value) in values.iter().enumerate() {
                let top = ABOVE + self.row_height() * row as i32 + BETWEEN / 2 + BAR * index as i32;
                let end = self.x(value.unwrap_or(self.most));
                area.draw(&Rectangle::new([(NAMES, top), (end, top + BAR - 1)], colour.filled()))?;
                let beside = match value {
                    None => self.beyond.to_owned(),
                    Some(value) if *value > self.most => format!("{value:.1}"),
                    Some(_) => continue,
                };
                area.draw(&Text::new(beside, (end + 5, top + BAR / 2), text(12, HPos::Left)))?;
            }
        }
        for (row, name) in self.names.iter().enumerate() {
            let y = ABOVE + self.row_height() * row as i32 + self.row_height() / 2;
            area.draw(&Text::new(name.as_str(), (NAMES - 10, y), text(15, HPos::Right)))?;
        }
        area.present()
    }
}

impl Drawing for Bars {
    fn size(&self) -> (u32, u32) {
        ((NAMES + WIDTH + RIGHT) as u32, (self.bottom() + BELOW) as u32)
    }

    /// The data as `series,name,value` lines; the value of `None` is empty.
    fn csv(&self) -> String {
        let mut text = format!("series,name,\"{}\"\n", self.value_label);
        for (series, values) in &self.series {
            for (name, value) in self.names.iter().zip(values) {
                let value = value.map_or(String::new(), |value| value.to_string());
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\"{series}\",\"{name}\",{value}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_become_a_picture_and_their_data() {
        let folder = tempfile::tempdir().unwrap();
        let bars = Bars {
            title: "Two rows".into(),
            value_label: "loss, dB".into(),
            names: vec!["first".into(), "second".into()],
            series: vec![("one".into(), vec![Some(1.0), None]), ("two".into(), vec![Some(9.5), Some(0.0)])],
            beyond: "never",
            most: 8.0,
        };
        bars.write(folder.path(), "bars").unwrap();
        let picture = image::open(folder.path().join("bars.png")).unwrap().to_rgb8();
        let blue = picture.pixels().filter(|pixel| pixel.0 == [0, 114, 178]).count();
        // A bar of an eighth and a whole one, a pixel apart from the next ones, and the legend's patch.
        let expected = (70 + 560) * (BAR as usize - 1) + 24 * 12;
        assert!(blue.abs_diff(expected) < 100, "{blue}, expected {expected}");
        let vector = std::fs::read_to_string(folder.path().join("bars.svg")).unwrap();
        assert!(vector.contains("never") && vector.contains("9.5"));
        let data = std::fs::read_to_string(folder.path().join("bars.csv")).unwrap();
        assert!(
            data.ends_with("\"two\",\"first\",9.5\n\"two\",\"second\",0\n") && data.contains("\"second\",\n"),
            "{data}"
        );
    }
}
