//! Draws every schedule over a thousand steps, one panel each: `cargo run --release --example schedules`
//! writes out/schedules.svg and out/schedules.png; another folder may be given.

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::PathBuf;
use wgpu_optim::{Curve, Schedule};

const STEPS: u64 = 1000;
const COLUMNS: usize = 4;
/// A panel and the title above all, in units of the SVG; the PNG has [`PNG_SCALE`] pixels for each.
const PANEL: (u32, u32) = (300, 200);
const HEAD: u32 = 44;
const PNG_SCALE: u32 = 2;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GREY: RGBColor = RGBColor(225, 225, 225);
const LINE: RGBColor = RGBColor(0, 80, 160);

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".into()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // A font of our own: plotters then needs none of the system's.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| anyhow!("the bundled font cannot be read"))?;
    let panels = panels()?;
    let rows = panels.len().div_ceil(COLUMNS);
    let size = |scale: u32| (COLUMNS as u32 * PANEL.0 * scale, (rows as u32 * PANEL.1 + HEAD) * scale);
    let (svg, png) = (folder.join("schedules.svg"), folder.join("schedules.png"));
    let page = SVGBackend::new(&svg, size(1)).into_drawing_area();
    draw(&page, &panels, rows, 1).with_context(|| format!("cannot draw {}", svg.display()))?;
    let page = BitMapBackend::new(&png, size(PNG_SCALE)).into_drawing_area();
    draw(&page, &panels, rows, PNG_SCALE).with_context(|| format!("cannot draw {}", png.display()))?;
    println!("{} schedules in {} and {}", panels.len(), svg.display(), png.display());
    Ok(())
}

/// Every curve, and the three ways to put some together.
fn panels() -> Result<Vec<(String, Schedule)>> {
    let (peak, end, warmup, total) = (1.0, 0.05, 200, STEPS);
    let curves = [
        Curve::Constant { value: peak },
        Curve::LinearWarmup { from: 0.1, to: peak, warmup },
        Curve::UntunedWarmup { beta2: 0.99 },
        Curve::InverseSqrt { peak, warmup },
        Curve::InverseSqrtFairseq { from: end, peak, warmup },
        Curve::Noam { factor: 320.0, width: 512, warmup },
        Curve::Polynomial { peak, end, power: 2.0, warmup, total },
        Curve::PolynomialBert { peak, power: 0.5, warmup: 0.2843, total },
        Curve::MultiStep { value: peak, factor: 0.3, milestones: vec![400, 800] },
        Curve::Cosine { peak, end, total },
        Curve::CosineRestarts { peak, end, period: 143, growth: 2 },
        Curve::TriStage { peak, first: 0.1, last: end, warmup: 150, hold: 300, decay: 450 },
        Curve::OneCycle { peak, total, rise: 0.3, divisor: 25.0, final_divisor: 1e4 },
    ];
    let mut panels = vec![];
    for curve in curves {
        let schedule = Schedule::new(curve)?;
        panels.push((name(&schedule)?, schedule));
    }
    let cosine = |total| Schedule::new(Curve::Cosine { peak, end, total });
    let constant = Schedule::constant(peak)?;
    panels.push(("constant, then cosine".into(), constant.then(500, cosine(500)?)?));
    panels.push(("cosine after a warm-up".into(), cosine(801)?.warmup(warmup)?));
    let waves = Schedule::new(Curve::CosineRestarts { peak, end, period: 200, growth: 1 })?;
    panels.push(("cosine times restarts".into(), cosine(total)?.times(waves)));
    Ok(panels)
}

/// Its name in JSON, in words.
fn name(schedule: &Schedule) -> Result<String> {
    let json = serde_json::to_value(schedule)?;
    Ok(json["curve"].as_str().context("a curve has a name")?.replace('_', " "))
}

fn draw<DB: DrawingBackend>(
    page: &DrawingArea<DB, Shift>,
    panels: &[(String, Schedule)],
    rows: usize,
    scale: u32,
) -> Result<()>
where
    DB::ErrorType: 'static,
{
    page.fill(&WHITE)?;
    let s = |length: u32| (length * scale) as i32;
    let font = |size: u32| (FONT, s(size)).into_font().color(&INK);
    let title = format!("The schedules over {STEPS} steps, their peaks at 1");
    page.draw(&Text::new(title, (s(16), s(12)), font(20)))?;
    let (_, below) = page.split_vertically(s(HEAD));
    for ((name, schedule), area) in panels.iter().zip(below.split_evenly((rows, COLUMNS))) {
        let mut chart = ChartBuilder::on(&area)
            .margin(s(8))
            .margin_right(s(20))
            .caption(name, font(16))
            .set_label_area_size(LabelAreaPosition::Left, s(30))
            .set_label_area_size(LabelAreaPosition::Bottom, s(20))
            .build_cartesian_2d(0.0..STEPS as f64, 0.0..1.1)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.stroke_width(scale))
            .axis_style(INK.stroke_width(scale))
            .x_labels(3)
            .y_labels(3)
            .x_label_formatter(&|step| format!("{step}"))
            .y_label_formatter(&|value| format!("{value}"))
            .label_style(font(12))
            .draw()?;
        let points = (1..=STEPS).map(|step| (step as f64, schedule.at(step)));
        chart.draw_series(LineSeries::new(points, LINE.stroke_width(2 * scale)))?;
    }
    page.present()?;
    Ok(())
}
