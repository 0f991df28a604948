//! The picture: for each rule and adapter the share of the rate of a kernel that copies. Twice, as SVG and as PNG.

use crate::document::{Document, Report};
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::path::Path;

const FONT: &str = "bundled";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);
/// Told apart with any eyes: Okabe, Ito, "Color Universal Design", 2002.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
];
const BAR: i32 = 12;
const LEFT: i32 = 190;
const RIGHT: i32 = 40;
const PLOT: i32 = 720;

/// Shares of one rule, one for each adapter that measured it.
struct Line {
    rule: String,
    shares: Vec<Option<f64>>,
}

/// Writes share.svg and share.png; nothing where no rule was measured.
pub fn files(document: &Document, folder: &Path) -> Result<bool> {
    let shown: Vec<&Report> = document
        .adapters
        .iter()
        .filter(|report| report.rows.iter().any(|row| row.section == "rules"))
        .collect();
    let lines = lines(&shown);
    if lines.is_empty() {
        return Ok(false);
    }
    // A font of our own: plotters then needs none of the system's.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| anyhow!("the bundled font cannot be read"))?;
    let head = 64 + 22 * shown.len() as i32;
    let line = BAR * shown.len() as i32 + 10;
    let size = ((LEFT + PLOT + RIGHT) as u32, (head + line * lines.len() as i32 + 56) as u32);
    let page = Page { shown: &shown, lines: &lines, head, line };
    page.draw(SVGBackend::new(&folder.join("share.svg"), size).into_drawing_area(), 1)?;
    let large = (2 * size.0, 2 * size.1);
    page.draw(BitMapBackend::new(&folder.join("share.png"), large).into_drawing_area(), 2)?;
    Ok(true)
}

/// The rules of all adapters; the best share of the first adapter first.
fn lines(shown: &[&Report]) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    for (at, report) in shown.iter().enumerate() {
        for row in report.rows.iter().filter(|row| row.section == "rules" && row.ranked) {
            let Some(share) = row.share_of_copy else { continue };
            let line = match lines.iter().position(|line| line.rule == row.name) {
                Some(line) => line,
                None => {
                    lines.push(Line { rule: row.name.clone(), shares: vec![None; shown.len()] });
                    lines.len() - 1
                }
            };
            lines[line].shares[at] = Some(share.median);
        }
    }
    let first = |line: &Line| line.shares.iter().flatten().next().copied().unwrap_or(0.0);
    lines.sort_by(|a, b| first(b).total_cmp(&first(a)));
    lines
}

struct Page<'a> {
    shown: &'a [&'a Report],
    lines: &'a [Line],
    head: i32,
    line: i32,
}

impl Page<'_> {
    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, plotters::coord::Shift>, scale: i32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        area.fill(&WHITE)?;
        let style = |size: i32, colour: &RGBColor, at: HPos| {
            (FONT, size * scale).into_font().color(colour).pos(Pos::new(at, VPos::Center))
        };
        let put = |text: &str, x: i32, y: i32, size: i32, colour: &RGBColor, at: HPos| {
            area.draw(&Text::new(text.to_string(), (x * scale, y * scale), style(size, colour, at)))
        };
        let title = "A step of each rule, as a share of the rate of a kernel that copies as many bytes";
        put(title, 20, 26, 19, &INK, HPos::Left)?;
        for (i, report) in self.shown.iter().enumerate() {
            let y = 56 + 22 * i as i32;
            let mark = [(20 * scale, (y - 6) * scale), (34 * scale, (y + 6) * scale)];
            area.draw(&Rectangle::new(mark, COLOURS[i % COLOURS.len()].filled()))?;
            let mut label = format!("{} ({})", report.name, report.backend);
            if report.software {
                label += ": a CPU, says nothing about a GPU";
            }
            put(&label, 42, y, 15, &INK, HPos::Left)?;
        }
        let most = self.lines.iter().flat_map(|line| &line.shares).flatten().fold(1.0f64, |a, b| a.max(*b));
        let most = (most * 5.0).ceil() / 5.0;
        let x = |share: f64| LEFT + (share / most * f64::from(PLOT)) as i32;
        let bottom = self.head + self.line * self.lines.len() as i32;
        for tick in 0..=(most * 5.0).round() as i32 {
            let share = f64::from(tick) / 5.0;
            let colour = if tick == 5 { &INK } else { &GRID };
            let ends = [(x(share) * scale, (self.head - 6) * scale), (x(share) * scale, bottom * scale)];
            area.draw(&PathElement::new(ends.to_vec(), colour.stroke_width(scale as u32)))?;
            put(&format!("{share:.1}"), x(share), bottom + 14, 14, &INK, HPos::Center)?;
        }
        put(
            "1 is the copy: every byte moved once, nothing computed",
            LEFT,
            bottom + 36,
            14,
            &INK,
            HPos::Left,
        )?;
        for (at, line) in self.lines.iter().enumerate() {
            let top = self.head + self.line * at as i32;
            put(&line.rule, LEFT - 8, top + (self.line - 10) / 2, 14, &INK, HPos::Right)?;
            for (i, share) in line.shares.iter().enumerate() {
                let Some(share) = share else { continue };
                let y = top + BAR * i as i32;
                let corners = [(LEFT * scale, y * scale), (x(*share) * scale, (y + BAR - 2) * scale)];
                area.draw(&Rectangle::new(corners, COLOURS[i % COLOURS.len()].filled()))?;
                // Inside, where it meets no line of the grid.
                let (text, end) = (format!("{share:.2}"), x(*share));
                let inside = end - LEFT > 40;
                let (at, colour, side) =
                    if inside { (end - 4, &WHITE, HPos::Right) } else { (end + 4, &INK, HPos::Left) };
                put(&text, at, y + BAR / 2 - 1, 11, colour, side)?;
            }
        }
        area.present()?;
        Ok(())
    }
}
