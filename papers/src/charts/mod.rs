//! Charts as data; `chart.rs` makes pictures of them, with `legend.rs` and `axis.rs`.

mod axis;
mod chart;
mod legend;

use anyhow::Result;
use std::path::Path;

/// Panels in rows of `columns`, with one legend for all of them.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Files NAME.svg and NAME.png.
    pub name: String,
    pub title: String,
    pub columns: usize,
    pub panels: Vec<Panel>,
}

#[derive(Debug, Clone)]
pub struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// The first is drawn first.
    pub series: Vec<Series>,
}

#[derive(Debug, Clone)]
pub struct Axis {
    /// What it is, with its unit.
    pub label: String,
    pub log: bool,
    /// By default what the points need. Points outside are cut off.
    pub range: Option<(f64, f64)>,
}

#[derive(Debug, Clone)]
pub struct Series {
    /// In the legend; none for an empty one.
    pub label: String,
    /// Where x or y is not finite (or not positive, on a logarithmic axis) a line is interrupted.
    pub points: Vec<(f64, f64)>,
    /// Lower and upper end at each point; may be empty. Of dots and bars they are error bars.
    pub band: Vec<(f64, f64)>,
    pub mark: Mark,
    /// Colour, dash and marker: the same for the same method in all panels. 0 to [`STYLES`] - 1.
    pub style: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Line,
    /// A line without markers.
    Plain,
    Dots,
    /// A histogram: bars around x, as wide as x are apart, from 0 (the axis' end, if logarithmic).
    Bars,
}

/// Styles that look different.
pub const STYLES: usize = 8;

impl Axis {
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: false, range: None }
    }

    pub fn log(self) -> Self {
        Self { log: true, ..self }
    }

    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }
}

impl Series {
    pub fn line(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.into(), points, band: vec![], mark: Mark::Line, style: 0 }
    }

    pub fn plain(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { mark: Mark::Plain, ..Self::line(label, points) }
    }

    pub fn dots(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { mark: Mark::Dots, ..Self::line(label, points) }
    }

    pub fn bars(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { mark: Mark::Bars, ..Self::line(label, points) }
    }

    pub fn style(self, style: usize) -> Self {
        Self { style, ..self }
    }

    pub fn band(self, band: Vec<(f64, f64)>) -> Self {
        Self { band, ..self }
    }
}

impl Panel {
    pub fn new(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self { title: title.into(), x, y, series }
    }
}

impl Chart {
    /// Writes NAME.svg and NAME.png into `folder`.
    pub fn draw(&self, folder: &Path) -> Result<()> {
        chart::files(self, folder)
    }
}
