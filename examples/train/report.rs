//! Progress, and the table at the end.

use crate::network::Score;
use crate::training::Run;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

/// A bar over the steps of one run; nothing is drawn unless stderr is a terminal.
pub fn bar(label: &str, steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>16} {wide_bar:.cyan/blue} {pos}/{len} steps  {msg}");
    let bar = ProgressBar::new(steps as u64).with_prefix(label.to_string());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A test's score, in a few words.
pub fn short(test: Score) -> String {
    format!("test accuracy {:.1} %", 100.0 * test.accuracy)
}

/// The final test accuracy, or what became of the run instead.
pub fn accuracy(run: &Run, digits: usize) -> String {
    if run.final_loss().is_finite() {
        format!("{:.digits$} %", 100.0 * run.accuracy())
    } else {
        "diverged".into()
    }
}

/// A finished run in one line.
pub fn line(run: &Run) -> String {
    let (steps, seconds) = (run.losses.len(), run.time.as_secs_f64());
    format!("{:>16}  {steps} steps in {seconds:.1} s, test accuracy {}", run.optimizer, accuracy(run, 1))
}

/// The best test accuracy first, then the smallest loss; diverged runs last.
pub fn rank(runs: &mut [Run]) {
    let diverged = |run: &Run| !run.final_loss().is_finite();
    runs.sort_by(|a, b| {
        let order = diverged(a).cmp(&diverged(b)).then(b.accuracy().total_cmp(&a.accuracy()));
        order.then(a.final_loss().total_cmp(&b.final_loss()))
    });
}

/// One row a run.
pub fn table(runs: &[Run]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["optimizer", "test accuracy", "final loss", "ms per step", "dispatches per step"]);
    for run in runs {
        let loss = run.final_loss();
        table.add_row([
            run.optimizer.clone(),
            accuracy(run, 2),
            if loss.is_finite() { format!("{loss:.5}") } else { "-".into() },
            format!("{:.3}", run.ms_per_step()),
            run.dispatches.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
