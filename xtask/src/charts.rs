//! Charts for the documents: values over time, as an SVG file.

use anyhow::{anyhow, bail};
use plotters::prelude::*;
use serde::Deserialize;

/// How wide and how high one of them is, in pixels.
const SIZE: (u32, u32) = (520, 240);

/// How many stand side by side.
const COLUMNS: usize = 2;

/// Times further apart than this, in seconds, are not joined by a line.
const GAP: f64 = 60.0;

/// Some of a chart's lines are told apart by these.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0xc4, 0x2e, 0x2e),
    RGBColor(0x2f, 0x6d, 0xb3),
    RGBColor(0x3d, 0x8f, 0x45),
    RGBColor(0xd0, 0x86, 0x1b),
    RGBColor(0x7d, 0x4f, 0xa3),
    RGBColor(0x55, 0x55, 0x55),
];

/// Values over time.
#[derive(Debug)]
pub struct Chart {
    /// What it is about.
    pub title: String,
    /// What its values are.
    pub unit: Unit,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub struct Line {
    /// What it is about.
    pub name: String,
    /// Seconds, and the value.
    pub points: Vec<(f64, f64)>,
}

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of something.
    Count,
    /// Bytes.
    Bytes,
    /// So many a second.
    PerSecond,
    /// Bytes a second.
    BytesPerSecond,
}

/// Draws them, two in a row.
///
/// # Errors
///
/// When there is nothing to draw.
pub fn svg(charts: &[Chart]) -> anyhow::Result<String> {
    let rows = charts.len().div_ceil(COLUMNS);
    let size = (SIZE.0 * COLUMNS as u32, SIZE.1 * rows as u32);
    let mut text = String::new();
    let sheet = SVGBackend::with_string(&mut text, size).into_drawing_area();
    sheet.fill(&WHITE).map_err(failed)?;
    for (chart, place) in charts.iter().zip(sheet.split_evenly((rows, COLUMNS))) {
        draw(chart, &place)?;
    }
    sheet.present().map_err(failed)?;
    drop(sheet);
    Ok(text)
}

type Place<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(chart: &Chart, place: &Place<'_>) -> anyhow::Result<()> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let greatest = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(0.0, f64::max);
    let (last, most) = (greatest(|point| point.0), greatest(|point| point.1));
    if points().next().is_none() {
        bail!("nothing to draw: {}", chart.title);
    }
    // A line at zero is drawn at the bottom of something.
    let most = if most > 0.0 { most * 1.1 } else { 1.0 };
    let mut area = ChartBuilder::on(place)
        .margin(10)
        .caption(&chart.title, ("sans-serif", 15))
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, 0.0..most)
        .map_err(failed)?;
    area.configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&|at| say_time(*at, last))
        .y_label_formatter(&|value| chart.unit.say(*value))
        .draw()
        .map_err(failed)?;
    for (line, colour) in chart.lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        let mut named = false;
        for points in pieces(&line.points) {
            let series = LineSeries::new(points.iter().copied(), style);
            let drawn = area.draw_series(series).map_err(failed)?;
            if !named {
                drawn
                    .label(&line.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style));
                named = true;
            }
        }
    }
    area.configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(TRANSPARENT)
        .draw()
        .map_err(failed)
}

/// In minutes where it is long until the `last` moment.
fn say_time(at: f64, last: f64) -> String {
    if last > 600.0 {
        format!("{:.0} min", at / 60.0)
    } else {
        format!("{at:.0} s")
    }
}

/// What is joined by a line.
fn pieces(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunk_by(|one, next| next.0 - one.0 <= GAP)
}

fn failed(error: impl std::error::Error) -> anyhow::Error {
    anyhow!("draw a chart: {error}")
}

impl Unit {
    fn say(self, value: f64) -> String {
        let (kilo, prefixes) = match self {
            Self::Bytes => (1024.0_f64, ["", "Ki", "Mi"]),
            _ => (1000.0, ["", "k", "M"]),
        };
        let times = |times| value >= kilo.powi(times);
        let power = i32::from(times(1)) + i32::from(times(2));
        let (value, prefix) = (value / kilo.powi(power), prefixes[power as usize]);
        let digits = if value.fract() == 0.0 { 0 } else { 1 };
        let unit = match self {
            Self::Count => "",
            Self::Bytes => "B",
            Self::PerSecond => "/s",
            Self::BytesPerSecond => "B/s",
        };
        let blank = if unit.starts_with('B') { " " } else { "" };
        format!("{value:.digits$}{blank}{prefix}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Chart, Line, Unit, pieces, svg};

    #[test]
    fn values_are_said_with_their_unit() {
        assert_eq!(Unit::Count.say(150.0), "150");
        assert_eq!(Unit::PerSecond.say(2.5), "2.5/s");
        assert_eq!(Unit::BytesPerSecond.say(1_500.0), "1.5 kB/s");
        assert_eq!(Unit::Bytes.say(1_536.0), "1.5 KiB");
    }

    #[test]
    fn what_is_far_apart_is_not_joined() {
        let points = [(0.0, 1.0), (5.0, 1.0), (80.0, 2.0)];
        let pieces: Vec<_> = pieces(&points).map(<[_]>::len).collect();
        assert_eq!(pieces, [2, 1]);
    }

    #[test]
    fn a_drawing_has_every_title_and_every_line() {
        let chart = |title: &str| Chart {
            title: title.to_owned(),
            unit: Unit::Count,
            lines: vec![Line {
                name: format!("line of {title}"),
                points: vec![(0.0, 1.0), (5.0, 3.0)],
            }],
        };
        let text = svg(&[chart("one"), chart("two"), chart("three")]).unwrap();
        for title in ["one", "two", "three", "line of one", "line of three"] {
            assert!(text.contains(title), "{title}: {text}");
        }
        let mut empty = chart("empty");
        empty.lines.clear();
        assert!(svg(&[empty]).is_err());
    }
}
