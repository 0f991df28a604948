//! Draws a chart, twice: as SVG and as PNG.

use super::axis::{Scale, Tick};
use super::legend::{FONT, Frame, INK, Pen, SAMPLE, bar};
use super::{Chart, Mark, Panel, Series};
use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::path::Path;

/// Pixels a unit. The SVG has as many, since coordinates are whole numbers, and says that it is smaller.
const SVG_SCALE: u32 = 4;
const PNG_SCALE: u32 = 2;
/// Units of the page: the edge, the title, a row of the legend, room for an axis' numbers and its name.
const EDGE: i32 = 14;
const TITLE: i32 = 38;
const ROW: i32 = 24;
const LEFT: i32 = 74;
const BOTTOM: i32 = 50;
const CAPTION: i32 = 28;

const GRID: RGBColor = RGBColor(225, 225, 225);

/// Writes NAME.svg and NAME.png, beside and then renamed: an interrupt leaves the old or the new.
pub fn files(chart: &Chart, folder: &Path) -> Result<()> {
    // A font of our own: plotters then needs none of the system's.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| anyhow!("the bundled font cannot be read"))?;
    let page = Page::new(chart)?;
    let (width, height) = page.size;
    let place = |end: &str| folder.join(format!("{}.{end}", chart.name));

    let mut text = String::new();
    let size = (width * SVG_SCALE, height * SVG_SCALE);
    page.draw(&SVGBackend::with_string(&mut text, size).into_drawing_area(), SVG_SCALE)?;
    let large = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let text = text.replacen(&large, &format!("width=\"{width}\" height=\"{height}\""), 1);
    std::fs::write(place("part.svg"), text).with_context(|| place("part.svg").display().to_string())?;
    std::fs::rename(place("part.svg"), place("svg")).with_context(|| place("svg").display().to_string())?;

    let beside = place("part.png");
    let area = BitMapBackend::new(&beside, (width * PNG_SCALE, height * PNG_SCALE)).into_drawing_area();
    page.draw(&area, PNG_SCALE).with_context(|| beside.display().to_string())?;
    drop(area);
    std::fs::rename(&beside, place("png")).with_context(|| place("png").display().to_string())
}

/// Where everything goes, in units.
struct Page<'a> {
    chart: &'a Chart,
    columns: usize,
    size: (u32, u32),
    /// Width and height of a panel.
    panel: (i32, i32),
    /// Entries of the legend, with the left end of each and the middle of its row.
    legend: Vec<(&'a Series, (i32, i32))>,
    /// Height of title and legend.
    head: i32,
}

impl<'a> Page<'a> {
    fn new(chart: &'a Chart) -> Result<Self> {
        let columns = chart.columns.clamp(1, chart.panels.len().max(1));
        let width = match columns {
            1 => 800,
            2 => 580,
            3 => 440,
            _ => 370,
        };
        let panel = (width, (0.7 * f64::from(width)).min(460.0) as i32);
        let width = width * columns as i32;

        let (mut x, mut row, mut legend) = (EDGE, 0, vec![]);
        for entry in entries(chart) {
            let wide = SAMPLE + 8 + text_width(&entry.label, 15)? + 22;
            if x > EDGE && x + wide > width {
                (x, row) = (EDGE, row + 1);
            }
            legend.push((entry, (x, TITLE + row * ROW + ROW / 2)));
            x += wide;
        }
        let rows = if legend.is_empty() { 0 } else { row + 1 };
        let head = TITLE + ROW * rows + 8;
        let height = head + panel.1 * chart.panels.len().div_ceil(columns) as i32 + EDGE / 2;
        Ok(Self { chart, columns, size: ((width + EDGE) as u32, height as u32), panel, legend, head })
    }

    fn draw<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>, scale: u32) -> Result<()>
    where
        DB::ErrorType: 'static,
    {
        let pen = Pen { root, scale };
        root.fill(&WHITE)?;
        let size = fitting(&self.chart.title, 20, self.size.0 as i32 - 2 * EDGE)?;
        root.draw(&Text::new(self.chart.title.clone(), (pen.s(EDGE), pen.s(22)), pen.style(size)))?;
        for (entry, (x, y)) in &self.legend {
            pen.sample(entry, *x, *y)?;
            let at = (pen.s(x + SAMPLE + 8), pen.s(y + 2));
            root.draw(&Text::new(entry.label.clone(), at, pen.style(15)))?;
        }
        for (number, panel) in self.chart.panels.iter().enumerate() {
            let (row, column) = ((number / self.columns) as i32, (number % self.columns) as i32);
            let corner = (column * self.panel.0, self.head + row * self.panel.1);
            pen.panel(panel, corner, self.panel).with_context(|| panel.title.clone())?;
        }
        root.present()?;
        Ok(())
    }
}

/// The labels of the legend, each once, with a series that bears it.
fn entries(chart: &Chart) -> Vec<&Series> {
    let mut entries: Vec<&Series> = vec![];
    for series in chart.panels.iter().flat_map(|panel| &panel.series) {
        if !series.label.is_empty() && entries.iter().all(|entry| entry.label != series.label) {
            entries.push(series);
        }
    }
    entries
}

/// Width of a text, in units.
fn text_width(text: &str, size: i32) -> Result<i32> {
    let font = (FONT, size * SVG_SCALE as i32).into_font();
    let (width, _) = font.box_size(text).map_err(|error| anyhow!("{error}"))?;
    Ok(width.div_ceil(SVG_SCALE) as i32)
}

/// The largest size up to `size` at which the text is not wider than `room`.
fn fitting(text: &str, size: i32, room: i32) -> Result<i32> {
    let width = text_width(text, size)?;
    Ok(if width <= room { size } else { (size * room / width).max(9) })
}

impl<DB: DrawingBackend> Pen<'_, DB>
where
    DB::ErrorType: 'static,
{
    /// A panel with its axes, its upper left corner at (x, y).
    fn panel(&self, panel: &Panel, (x, y): (i32, i32), (width, height): (i32, i32)) -> Result<()> {
        let (left, top, right, bottom) = (x + LEFT, y + CAPTION, x + width - 12, y + height - BOTTOM);
        let frame = self.frame(panel, [left, top, right, bottom]);
        let middle = (left + right) / 2;
        let centred = |size: i32| self.style(size).pos(Pos::new(HPos::Center, VPos::Center));
        let size = fitting(&panel.title, 16, right - left)?;
        self.root.draw(&Text::new(
            panel.title.clone(),
            (self.s(middle), self.s(top - CAPTION / 2)),
            centred(size),
        ))?;

        let [l, t, r, b] = frame.edges.map(|edge| edge as i32);
        let pixel = self.scale;
        let line = |from: (i32, i32), to: (i32, i32), colour: RGBColor| {
            self.root.draw(&PathElement::new(vec![from, to], colour.stroke_width(pixel)))
        };
        let numbers = |pos| self.style(13).pos(pos);
        for Tick { at, label } in frame.x.ticks(((right - left) / 65) as usize) {
            let x = l + (at * f64::from(r - l)).round() as i32;
            if let Some(label) = label {
                line((x, t), (x, b), GRID)?;
                let pos = Pos::new(HPos::Center, VPos::Top);
                self.root.draw(&Text::new(label, (x, b + self.s(9)), numbers(pos)))?;
                line((x, b), (x, b + self.s(5)), INK)?;
            } else {
                line((x, b), (x, b + self.s(3)), INK)?;
            }
        }
        for Tick { at, label } in frame.y.ticks(((bottom - top) / 42) as usize) {
            let y = b - (at * f64::from(b - t)).round() as i32;
            if let Some(label) = label {
                line((l, y), (r, y), GRID)?;
                let pos = Pos::new(HPos::Right, VPos::Center);
                self.root.draw(&Text::new(label, (l - self.s(7), y + self.s(1)), numbers(pos)))?;
                line((l - self.s(5), y), (l, y), INK)?;
            } else {
                line((l - self.s(3), y), (l, y), INK)?;
            }
        }
        for series in &panel.series {
            self.series(&frame, series).with_context(|| series.label.clone())?;
        }
        let frame = vec![(l, t), (r, t), (r, b), (l, b), (l, t)];
        self.root.draw(&PathElement::new(frame, INK.stroke_width(pixel)))?;
        let size = fitting(&panel.x.label, 15, right - left)?;
        self.root.draw(&Text::new(
            panel.x.label.clone(),
            (self.s(middle), self.s(bottom + 36)),
            centred(size),
        ))?;
        let size = fitting(&panel.y.label, 15, bottom - top)?;
        let upright = (FONT, self.s(size)).into_font().transform(FontTransform::Rotate270).color(&INK);
        let upright = upright.pos(Pos::new(HPos::Center, VPos::Center));
        let at = (self.s(x + 18), self.s((top + bottom) / 2));
        self.root.draw(&Text::new(panel.y.label.clone(), at, upright))?;
        Ok(())
    }

    /// The axes of a panel.
    fn frame(&self, panel: &Panel, edges: [i32; 4]) -> Frame {
        let xs = panel.series.iter().flat_map(|series| {
            let aside = if series.mark == Mark::Bars { bar(&series.points) / 2.0 } else { 0.0 };
            series.points.iter().flat_map(move |point| [point.0 - aside, point.0 + aside])
        });
        let x = Scale::new(&panel.x, xs, 0.02);
        // Only what the x axis shows.
        let shown = |x_of: f64| x.share(x_of).is_some_and(|share| (-1e-6..=1.0 + 1e-6).contains(&share));
        let ys = panel.series.iter().flat_map(|series| {
            let own = series.points.iter().filter(|point| shown(point.0)).map(|point| point.1);
            let bands = series.points.iter().zip(&series.band).filter(|(point, _)| shown(point.0));
            let foot = (series.mark == Mark::Bars && !panel.y.log).then_some(0.0);
            own.chain(bands.flat_map(|(_, band)| [band.0, band.1])).chain(foot)
        });
        let y = Scale::new(&panel.y, ys, 0.05);
        Frame { x, y, edges: edges.map(|edge| f64::from(self.s(edge))) }
    }
}
