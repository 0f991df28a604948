//! Lines, markers, bars and bands, in pixels.

use super::axis::Scale;
use super::{Mark, STYLES, Series};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub const FONT: &str = "sans-serif";
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Length of a sample in the legend, in units.
pub const SAMPLE: i32 = 40;

/// Colour, dash (on, off, ... in units) and marker of each style; the greys of the colours differ too.
const LOOKS: [(RGBColor, &[f64], Marker); STYLES] = [
    (RGBColor(0, 80, 160), &[], Marker::Disc),
    (RGBColor(205, 75, 0), &[9.0, 4.0], Marker::Square),
    (RGBColor(0, 140, 90), &[2.5, 3.0], Marker::Triangle),
    (RGBColor(130, 50, 150), &[10.0, 3.0, 2.5, 3.0], Marker::Diamond),
    (RGBColor(30, 30, 30), &[], Marker::Cross),
    (RGBColor(215, 160, 0), &[16.0, 4.0], Marker::Ring),
    (RGBColor(90, 175, 225), &[5.0, 3.0], Marker::Box),
    (RGBColor(150, 150, 150), &[10.0, 3.0, 2.0, 2.0, 2.0, 3.0], Marker::Plus),
];

#[derive(Debug, Clone, Copy)]
enum Marker {
    Disc,
    Square,
    Triangle,
    Diamond,
    Cross,
    Ring,
    Box,
    Plus,
}

/// Pixels, before they are rounded.
type Point = (f64, f64);

/// Where the points of a panel go.
pub struct Frame {
    pub x: Scale,
    pub y: Scale,
    /// Left, top, right, bottom, in pixels.
    pub edges: [f64; 4],
}

impl Frame {
    fn place(&self, (x, y): (f64, f64)) -> Option<Point> {
        let [left, top, right, bottom] = self.edges;
        let (x, y) = (self.x.share(x)?, self.y.share(y)?);
        Some((left + x * (right - left), bottom - y * (bottom - top)))
    }

    fn holds(&self, (x, y): Point) -> bool {
        let [left, top, right, bottom] = self.edges;
        (left - 0.5..=right + 0.5).contains(&x) && (top - 0.5..=bottom + 0.5).contains(&y)
    }

    /// The part of a segment that is inside.
    fn clip(&self, a: Point, b: Point) -> Option<(Point, Point)> {
        let [left, top, right, bottom] = self.edges;
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut from, mut to) = (0f64, 1f64);
        for (step, room) in [(-dx, a.0 - left), (dx, right - a.0), (-dy, a.1 - top), (dy, bottom - a.1)] {
            if step == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if step < 0.0 {
                from = from.max(room / step);
            } else {
                to = to.min(room / step);
            }
        }
        let at = |share: f64| (a.0 + share * dx, a.1 + share * dy);
        (from <= to).then(|| (at(from), at(to)))
    }
}

/// Draws on an area, in units of `scale` pixels.
pub struct Pen<'a, DB: DrawingBackend> {
    pub root: &'a DrawingArea<DB, Shift>,
    pub scale: u32,
}

impl<DB: DrawingBackend> Pen<'_, DB>
where
    DB::ErrorType: 'static,
{
    pub fn s(&self, units: i32) -> i32 {
        units * self.scale as i32
    }

    pub fn style(&self, size: i32) -> TextStyle<'static> {
        (FONT, self.s(size)).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center))
    }

    /// An entry's line, marker or box.
    pub fn sample(&self, entry: &Series, x: i32, y: i32) -> Result<()> {
        let (x, y, end) = (f64::from(self.s(x)), f64::from(self.s(y)), f64::from(self.s(x + SAMPLE)));
        let half = f64::from(self.s(6));
        match entry.mark {
            Mark::Line | Mark::Plain => {
                if !entry.band.is_empty() {
                    self.fill(
                        &[(x, y - half), (end, y - half), (end, y + half), (x, y + half)],
                        entry,
                        0.18,
                    )?;
                }
                self.dash(&[(x, y), (end, y)], entry.style)?;
                if entry.mark == Mark::Plain {
                    return Ok(());
                }
                self.marker(((x + end) / 2.0, y), entry.style)
            }
            Mark::Dots => self.marker(((x + end) / 2.0, y), entry.style),
            Mark::Bars => {
                let corners = [(x, y + half), (x, y - half), (end, y - half), (end, y + half), (x, y + half)];
                self.fill(&corners, entry, 0.3)?;
                self.dash(&corners, entry.style)
            }
        }
    }

    pub fn series(&self, frame: &Frame, series: &Series) -> Result<()> {
        match series.mark {
            Mark::Line | Mark::Plain => {
                self.band(frame, series)?;
                let places: Vec<_> = series.points.iter().map(|point| frame.place(*point)).collect();
                for piece in places.split(|place| place.is_none()) {
                    let piece: Vec<Point> = piece.iter().flatten().copied().collect();
                    self.clipped(frame, &piece, series.style)?;
                }
                if series.mark == Mark::Plain {
                    return Ok(());
                }
                self.markers(frame, &places, series.style)
            }
            Mark::Dots => {
                let colour = look(series.style).0;
                for (point, band) in series.points.iter().zip(&series.band) {
                    let ends = [(point.0, band.0), (point.0, band.1)].map(|end| frame.place(end));
                    if let [Some(low), Some(high)] = ends
                        && let Some((low, high)) = frame.clip(low, high)
                    {
                        self.path(&[low, high], colour, 1.0)?;
                    }
                }
                let places = series.points.iter().filter_map(|point| frame.place(*point));
                for place in places.filter(|place| frame.holds(*place)) {
                    self.marker(place, series.style)?;
                }
                Ok(())
            }
            Mark::Bars => self.bars(frame, series),
        }
    }

    /// The space between lower and upper ends, cut off at the frame.
    fn band(&self, frame: &Frame, series: &Series) -> Result<()> {
        let [left, top, right, bottom] = frame.edges;
        let inside = |(x, y): Point| (x.clamp(left, right), y.clamp(top, bottom));
        let ends = series.points.iter().zip(&series.band).map(|(point, band)| {
            let place =
                |y: f64| frame.place((point.0, y)).filter(|(x, _)| (left - 0.5..=right + 0.5).contains(x));
            Some((inside(place(band.0)?), inside(place(band.1)?)))
        });
        let ends: Vec<_> = ends.collect();
        for piece in ends.split(|ends| ends.is_none()) {
            let low = piece.iter().flatten().map(|ends| ends.0);
            let corners: Vec<Point> = low.chain(piece.iter().rev().flatten().map(|ends| ends.1)).collect();
            if corners.len() > 2 {
                self.fill(&corners, series, 0.18)?;
            }
        }
        Ok(())
    }

    fn bars(&self, frame: &Frame, series: &Series) -> Result<()> {
        let [left, top, right, bottom] = frame.edges;
        let half = bar(&series.points) / 2.0;
        let foot = frame.y.share(0.0).map_or(bottom, |share| bottom - share * (bottom - top));
        let inside = |(x, y): Point| (x.clamp(left, right), y.clamp(top, bottom));
        let mut outline: Vec<Point> = vec![];
        for point in &series.points {
            let ends = [(point.0 - half, point.1), (point.0 + half, point.1)];
            let [Some(from), Some(to)] = ends.map(|end| {
                let (x, y) = frame.place((end.0, if point.1 > 0.0 { end.1 } else { 1.0 }))?;
                Some(inside((x, if point.1 > 0.0 { y } else { foot })))
            }) else {
                continue;
            };
            if outline.is_empty() {
                outline.push((from.0, foot));
            }
            outline.extend([from, to]);
        }
        let Some(last) = outline.last() else { return Ok(()) };
        outline.push((last.0, foot));
        self.fill(&outline, series, 0.25)?;
        self.dash(&outline, series.style)
    }

    /// A line, where it is inside the frame.
    fn clipped(&self, frame: &Frame, points: &[Point], style: usize) -> Result<()> {
        let mut piece: Vec<Point> = vec![];
        for ends in points.windows(2) {
            match frame.clip(ends[0], ends[1]) {
                Some((from, to)) => {
                    if piece.last() != Some(&from) {
                        self.dash(&piece, style)?;
                        piece = vec![from];
                    }
                    piece.push(to);
                }
                None => {
                    self.dash(&piece, style)?;
                    piece.clear();
                }
            }
        }
        self.dash(&piece, style)
    }

    /// A few markers along a line, at other places for another style.
    fn markers(&self, frame: &Frame, places: &[Option<Point>], style: usize) -> Result<()> {
        let apart = (frame.edges[2] - frame.edges[0]) / 6.0;
        let mut next = frame.edges[0] + apart * (0.15 + 0.7 * (style % STYLES) as f64 / STYLES as f64);
        for place in places.iter().flatten().filter(|place| frame.holds(**place)) {
            if place.0 >= next {
                self.marker(*place, style)?;
                next = place.0 + apart;
            }
        }
        Ok(())
    }

    /// A line in the style's dashes.
    fn dash(&self, points: &[Point], style: usize) -> Result<()> {
        let (colour, dash, _) = look(style);
        if dash.is_empty() {
            return self.path(points, colour, 2.0);
        }
        let (mut number, mut left) = (0, dash[0] * f64::from(self.scale));
        let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
        for ends in points.windows(2) {
            let (mut from, to) = (ends[0], ends[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                if length < left {
                    left -= length;
                    piece.push(to);
                    break;
                }
                let share = left / length;
                from = (from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1));
                piece.push(from);
                if number % 2 == 0 {
                    self.path(&piece, colour, 2.0)?;
                }
                piece = vec![from];
                number += 1;
                left = dash[number % dash.len()] * f64::from(self.scale);
            }
        }
        if number % 2 == 0 {
            self.path(&piece, colour, 2.0)?;
        }
        Ok(())
    }

    fn path(&self, points: &[Point], colour: RGBColor, width: f64) -> Result<()> {
        let mut points: Vec<(i32, i32)> = points.iter().map(round).collect();
        points.dedup();
        if points.len() > 1 {
            let width = (width * f64::from(self.scale)).round() as u32;
            self.root.draw(&PathElement::new(points, colour.stroke_width(width)))?;
        }
        Ok(())
    }

    fn fill(&self, corners: &[Point], series: &Series, opacity: f64) -> Result<()> {
        let corners: Vec<(i32, i32)> = corners.iter().map(round).collect();
        self.root.draw(&Polygon::new(corners, look(series.style).0.mix(opacity).filled()))?;
        Ok(())
    }

    fn marker(&self, at: Point, style: usize) -> Result<()> {
        let (colour, _, marker) = look(style);
        let r = 3.6 * f64::from(self.scale);
        let shape = |corners: &[Point]| -> Vec<Point> {
            corners.iter().map(|(x, y)| (at.0 + r * x, at.1 + r * y)).collect()
        };
        let solid = |corners: &[Point]| -> Result<()> {
            let corners: Vec<(i32, i32)> = shape(corners).iter().map(round).collect();
            self.root.draw(&Polygon::new(corners, colour.filled()))?;
            Ok(())
        };
        let stroke = |corners: &[Point]| self.path(&shape(corners), colour, 1.8);
        let square = [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (-0.9, -0.9)];
        match marker {
            Marker::Disc => self.root.draw(&Circle::new(round(&at), r as i32, colour.filled()))?,
            Marker::Square => solid(&square)?,
            Marker::Triangle => solid(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)])?,
            Marker::Diamond => solid(&[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)])?,
            Marker::Cross => {
                stroke(&[(-0.9, -0.9), (0.9, 0.9)])?;
                stroke(&[(-0.9, 0.9), (0.9, -0.9)])?;
            }
            Marker::Ring => {
                self.root.draw(&Circle::new(round(&at), r as i32, WHITE.filled()))?;
                let edge = colour.stroke_width((1.6 * f64::from(self.scale)) as u32);
                self.root.draw(&Circle::new(round(&at), r as i32, edge))?;
            }
            Marker::Box => {
                let corners: Vec<(i32, i32)> = shape(&square).iter().map(round).collect();
                self.root.draw(&Polygon::new(corners, WHITE.filled()))?;
                stroke(&square)?;
            }
            Marker::Plus => {
                stroke(&[(-1.1, 0.0), (1.1, 0.0)])?;
                stroke(&[(0.0, -1.1), (0.0, 1.1)])?;
            }
        }
        Ok(())
    }
}

fn look(style: usize) -> (RGBColor, &'static [f64], Marker) {
    LOOKS[style % STYLES]
}

fn round(point: &Point) -> (i32, i32) {
    (point.0.round() as i32, point.1.round() as i32)
}

/// Width of a histogram's bars.
pub fn bar(points: &[(f64, f64)]) -> f64 {
    let apart = points.windows(2).map(|pair| (pair[1].0 - pair[0].0).abs());
    apart.filter(|apart| *apart > 0.0).fold(f64::INFINITY, f64::min).min(1e300)
}
