//! The loss curves: one panel a run with all other runs in grey behind it, so that any number of them stays
//! readable, in colour and without.

use crate::report;
use crate::training::Run;
use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::fs::{OpenOptions, create_dir_all};
use std::path::{Path, PathBuf};

/// Width of a picture, in units of the SVG; the PNG has [`PNG_SCALE`] pixels for each.
const WIDTH: u32 = 1200;
const PNG_SCALE: u32 = 2;
/// Height of title, legend and gaps above the panels.
const HEAD: u32 = 84;
/// Height of the axis' name below the panels.
const FOOT: u32 = 30;
/// Points of a training curve; each is the mean of at least so many steps.
const POINTS: usize = 100;
const STEPS: usize = 4;
/// Losses are drawn within these.
const LOWEST: f64 = 1e-4;
const HIGHEST: f64 = 10.0;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(205, 205, 205);
const TRAINING: RGBColor = RGBColor(0, 80, 160);
const TEST: RGBColor = RGBColor(200, 80, 0);

/// Where the pictures go.
pub struct Pictures {
    pub svg: PathBuf,
    pub png: PathBuf,
}

impl Pictures {
    /// Makes the folder and sees whether the files can be written, which beats finding out after the training.
    pub fn create(folder: &Path) -> Result<Self> {
        create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let file = |name: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            opened.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        Ok(Self { svg: file("train.svg")?, png: file("train.png")? })
    }

    /// Draws both.
    pub fn draw(&self, title: &str, runs: &[Run]) -> Result<()> {
        // A font of our own: plotters then needs none of the system's.
        register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| anyhow!("the bundled font cannot be read"))?;
        let columns = (1..).find(|columns| columns * columns >= runs.len()).unwrap_or(1).min(6) as u32;
        let rows = (runs.len() as u32).div_ceil(columns);
        // A single panel need not fill the page.
        let panel = if columns == 1 { WIDTH * 3 / 4 } else { WIDTH / columns };
        let (width, height) = (panel * columns, panel * 5 / 8 * rows + HEAD + FOOT);
        let svg = SVGBackend::new(&self.svg, (width, height)).into_drawing_area();
        page(&svg, title, runs, (rows, columns), 1).with_context(|| self.svg.display().to_string())?;
        let size = (width * PNG_SCALE, height * PNG_SCALE);
        let png = BitMapBackend::new(&self.png, size).into_drawing_area();
        page(&png, title, runs, (rows, columns), PNG_SCALE).with_context(|| self.png.display().to_string())
    }
}

/// A run's curves: (epoch, loss).
struct Curves {
    training: Vec<(f64, f64)>,
    test: Vec<(f64, f64)>,
}

impl Curves {
    fn of(run: &Run) -> Self {
        let window = (run.losses.len() / POINTS).max(STEPS);
        let epoch = |step: f64| step / run.steps_per_epoch as f64;
        let mean = |(i, losses): (usize, &[f64])| {
            let middle = (i * window) as f64 + losses.len() as f64 / 2.0;
            (epoch(middle), losses.iter().sum::<f64>() / losses.len() as f64)
        };
        let test = (0..).zip(&run.tests).map(|(epoch, score)| (f64::from(epoch), score.loss));
        Self { training: drawable(run.losses.chunks(window).enumerate().map(mean)), test: drawable(test) }
    }
}

/// The points up to a divergence, within the picture.
fn drawable(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    points
        .take_while(|(_, loss)| loss.is_finite())
        .map(|(x, loss)| (x, loss.clamp(LOWEST, HIGHEST)))
        .collect()
}

/// Draws title, legend, panels and the axes' names, `scale` pixels a unit.
fn page<DB: DrawingBackend>(
    root: &DrawingArea<DB, Shift>,
    title: &str,
    runs: &[Run],
    (rows, columns): (u32, u32),
    scale: u32,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    root.fill(&WHITE)?;
    let s = |length: u32| (length * scale) as i32;
    let font = |size: u32| (FONT, s(size)).into_font().color(&INK);
    let (width, height) = root.dim_in_pixel();
    root.draw(&Text::new(title.to_string(), (s(16), s(12)), font(22)))?;
    legend(root, runs.len() > 1, scale)?;

    let curves: Vec<Curves> = runs.iter().map(Curves::of).collect();
    let all = || curves.iter().flat_map(|curves| curves.training.iter().chain(&curves.test));
    let low = all().map(|point| point.1).fold(0.1, f64::min);
    let high = all().map(|point| point.1).fold(1.0, f64::max);
    let epochs = all().map(|point| point.0).fold(1.0, f64::max);
    let (_, below) = root.split_vertically(s(HEAD));
    let (panels, _) = below.split_vertically(height as i32 - s(HEAD + FOOT));
    let (_, panels) = panels.split_horizontally(s(24));
    for ((number, run), area) in
        runs.iter().enumerate().zip(panels.split_evenly((rows as usize, columns as usize)))
    {
        let caption = format!("{}: {}", run.optimizer, report::accuracy(run, 1));
        // Long names in smaller letters, about half as wide as high.
        let size = (2 * area.dim_in_pixel().0 / scale / caption.len() as u32).min(16);
        let mut chart = ChartBuilder::on(&area)
            .margin(s(6))
            .margin_right(s(12))
            .caption(caption, font(size))
            .set_label_area_size(LabelAreaPosition::Left, s(44))
            .set_label_area_size(LabelAreaPosition::Bottom, s(20))
            .build_cartesian_2d(0.0..epochs, (low * 0.8..high * 1.2).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.4).stroke_width(scale))
            .axis_style(INK.stroke_width(scale))
            .x_labels(5)
            .y_labels(6)
            // Without the last digits of 0.1 + 0.2.
            .x_label_formatter(&|epoch| format!("{}", (epoch * 1e3).round() / 1e3))
            .y_label_formatter(&|loss| format!("{loss}"))
            .label_style(font(13))
            .draw()?;
        for (_, other) in curves.iter().enumerate().filter(|(other, _)| *other != number) {
            chart.draw_series(LineSeries::new(other.training.iter().copied(), GREY.stroke_width(scale)))?;
        }
        let own = &curves[number];
        chart.draw_series(LineSeries::new(own.training.iter().copied(), TRAINING.stroke_width(2 * scale)))?;
        // As many as stand apart from each other.
        let room = (chart.plotting_area().dim_in_pixel().0 / scale / 16) as usize;
        let circle = |&point: &(f64, f64)| Circle::new(point, s(3), TEST.stroke_width(scale));
        chart
            .draw_series(own.test.iter().step_by(own.test.len().div_ceil(room.max(1)).max(1)).map(circle))?;
    }
    let name = font(15).pos(Pos::new(HPos::Center, VPos::Center));
    root.draw(&Text::new("epoch", (width as i32 / 2, height as i32 - s(FOOT / 2)), name.clone()))?;
    let upright = name.transform(FontTransform::Rotate270);
    let middle = (s(HEAD) + height as i32 - s(FOOT)) / 2;
    root.draw(&Text::new("loss (cross-entropy, nats)", (s(18), middle), upright))?;
    root.present()?;
    Ok(())
}

/// What the lines mean, below the title.
fn legend<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, others: bool, scale: u32) -> Result<()>
where
    DB::ErrorType: 'static,
{
    let s = |length: u32| (length * scale) as i32;
    let text = (FONT, s(15)).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    let y = s(60);
    let label = |x: u32, label: &str| root.draw(&Text::new(label.to_string(), (s(x), y), text.clone()));
    let line = |x: u32| vec![(s(x), y), (s(x + 32), y)];
    root.draw(&PathElement::new(line(16), TRAINING.stroke_width(2 * scale)))?;
    label(56, "training loss")?;
    for x in [172, 186, 200] {
        root.draw(&Circle::new((s(x), y), s(3), TEST.stroke_width(scale)))?;
    }
    label(212, "test loss")?;
    label(300, "%: test accuracy at the end")?;
    if others {
        root.draw(&PathElement::new(line(510), GREY.stroke_width(scale)))?;
        label(550, "training loss of the others")?;
    }
    Ok(())
}
