//! Pictures and tables of the warm-ups.

use super::{Comparison, LINEAR, NAMES, NONE, STYLES};
use crate::charts::{Axis, Chart, Panel, Series};
use crate::harness::report::{Table, number};
use crate::harness::stats::{mean, standard_error};
use crate::replicas::curve;

pub fn charts(all: &Comparison) -> Vec<Chart> {
    vec![overview(all), gradients(all)]
}

/// One line a method.
fn lines(of: impl Fn(usize) -> Vec<(f64, Vec<f64>)>) -> Vec<Series> {
    (0..NAMES.len())
        .map(|method| curve(NAMES[method], of(method).into_iter()).style(STYLES[method]))
        .collect()
}

fn overview(all: &Comparison) -> Chart {
    let history = &all.history;
    let by_rate = |method: usize| {
        let values = |rate: usize| history.final_accuracy(all.setting(method, rate));
        all.rates.iter().enumerate().map(|(place, rate)| (*rate, values(place))).collect()
    };
    let loss = |rate: usize| {
        let of = |method: usize| {
            let point =
                |record| (history.middle(record), history.train_loss(all.setting(method, rate), record));
            (0..history.task.records()).map(point).collect()
        };
        let title = format!("rate {}", number(all.rates[rate]));
        Panel::new(title, Axis::new("step"), Axis::new("training loss (nats)").log(), lines(of))
    };
    let moves = |method: usize| {
        all.moves(method, all.best).map(|(t, moves)| (f64::from(t), moves.to_vec())).collect()
    };
    Chart {
        name: "warmup".into(),
        title: "Warm-up on a narrow, deep network: mean and standard error over seeds".into(),
        columns: 2,
        panels: vec![
            Panel::new(
                "at the end",
                Axis::new("learning rate").log(),
                Axis::new("test accuracy (%)"),
                lines(by_rate),
            ),
            Panel::new(
                format!("rate {}", number(all.rates[all.best])),
                Axis::new("step").log(),
                Axis::new("average step size").log().range(3e-5, 0.03),
                lines(moves),
            ),
            loss(all.best),
            loss(all.large),
        ],
    }
}

fn gradients(all: &Comparison) -> Chart {
    let shown = [1, 3, 5, 10, 50];
    let panel = |(place, method): (usize, usize)| {
        let counts = &all.gradients[place];
        let rows = shown.iter().filter_map(|step| counts.steps.iter().position(|t| t == step));
        let line = |(style, row): (usize, usize)| {
            // Zeros are in the first bin.
            let shares = counts.shares(row).into_iter().filter(|(g, _)| (1e-8..10.0).contains(g));
            let points = shares.map(|(g, share)| (g, 100.0 * share)).collect();
            Series::line(format!("step {}", counts.steps[row]), points).style(style)
        };
        let x = Axis::new("|g| of a parameter, zeros left out").log().range(1e-8, 10.0);
        Panel::new(
            NAMES[method],
            x,
            Axis::new("share of the parameters (% a bin)").range(0.0, 4.5),
            rows.enumerate().map(line).collect(),
        )
    };
    Chart {
        name: "warmup-gradients".into(),
        title: format!(
            "RAdam's figure 2 on the digits, rate {}: ten bins a decade",
            number(all.rates[all.large])
        ),
        columns: 2,
        panels: [(0, NONE), (1, LINEAR)].map(panel).into(),
    }
}

pub fn tables(all: &Comparison) -> Vec<Table> {
    let columns = ["method", "rate", "accuracy_percent", "accuracy_error", "training_loss", "loss_error"];
    let mut ends = Table::new("warmup", &columns);
    let mut moves = Table::new("warmup-steps", &["method", "rate", "step", "average_step", "standard_error"]);
    for (method, name) in NAMES.iter().enumerate() {
        for (place, rate) in all.rates.iter().enumerate() {
            let setting = all.setting(method, place);
            let (accuracy, loss) = (all.history.final_accuracy(setting), all.history.final_loss(setting));
            ends.row(&[
                name,
                rate,
                &mean(&accuracy),
                &standard_error(&accuracy),
                &mean(&loss),
                &standard_error(&loss),
            ]);
        }
        for (t, seeds) in all.moves(method, all.best) {
            moves.row(&[name, &all.rates[all.best], &t, &mean(seeds), &standard_error(seeds)]);
        }
    }
    vec![ends, moves]
}
