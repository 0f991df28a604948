//! What the papers say about warm-up, against what the runs say.

use super::{ADAMOD, Comparison, LINEAR, MADAM, NAMES, NONE, RADAM, UNTUNED};
use crate::harness::report::{Claim, Verdict, number, plus_minus};
use crate::harness::stats::{mean, standard_error};
use crate::replicas::{bootstrap, mean_of, paired, window};

/// Points of accuracy below a method's best that still count as the same performance.
const TOLERANCE: f64 = 2.0;
/// MAdam's average step over Adam's at the same rate, from the paper: 1.8 / 4 and 0.875 / 2.
const PAPER_RATIOS: [f64; 2] = [0.45, 0.4375];

pub fn all(all: &Comparison) -> Vec<Claim> {
    vec![
        needed(all),
        as_good(all, RADAM, "RAdam, table 3", "34.76 ± 0.003 against 34.66 ± 0.014 BLEU (IWSLT'14 DE-EN)"),
        as_good(all, ADAMOD, "AdaMod, table 2, figure 2", "34.81 against 34.62 BLEU (IWSLT'14 De-En)"),
        untuned(all),
        gradients(all),
        step_ratio(all),
        sensitive(all),
        ranking(all),
    ]
}

fn show(values: &[f64]) -> String {
    plus_minus(mean(values), standard_error(values))
}

/// Whether Adam suffers without warm-up.
fn needed(all: &Comparison) -> Claim {
    let at = |method: usize, rate: usize| all.history.final_loss(all.setting(method, rate));
    // At its own best rate, and at the large one.
    let best = [NONE, LINEAR].map(|method| at(method, all.best_rate(method)));
    let large = [NONE, LINEAR].map(|method| at(method, all.large));
    let worse = |pair: &[Vec<f64>; 2]| {
        let (difference, error) = paired(&pair[0], &pair[1]);
        difference > 2.0 * error
    };
    let verdict = match (worse(&best), worse(&large)) {
        (true, true) => Verdict::Reproduced,
        (false, false) => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    Claim {
        source: "RAdam, figure 1; AdaMod, figure 1a",
        claim: "Removing the warm-up makes Adam end at a higher training loss.".into(),
        paper: "AdaMod: around 9.5 without, below 3.5 with".into(),
        ours: format!(
            "training loss without against with linear warm-up: each at its best rate {} against {}; at rate \
             {}: {} against {}",
            show(&best[0]),
            show(&best[1]),
            number(all.rates[all.large]),
            show(&large[0]),
            show(&large[1])
        ),
        verdict,
        why: "Loss of the last batches, mean over seeds. Reproduced if it is higher without by two standard \
              errors of the difference at the best rates and at the large one, partly if at one of them."
            .into(),
    }
}

/// Whether a rule without warm-up is as good as Adam with.
fn as_good(all: &Comparison, method: usize, source: &'static str, paper: &str) -> Claim {
    let best = |method: usize| all.setting(method, all.best_rate(method));
    let loss = |method: usize| all.history.final_loss(best(method));
    let accuracy = |method: usize| all.history.final_accuracy(best(method));
    let warm = if mean(&loss(LINEAR)) <= mean(&loss(UNTUNED)) { LINEAR } else { UNTUNED };
    let (loss_above, loss_error) = paired(&loss(method), &loss(warm));
    let (accuracy_below, accuracy_error) = paired(&accuracy(warm), &accuracy(method));
    let verdict = match (loss_above > 2.0 * loss_error, accuracy_below > 2.0 * accuracy_error) {
        (false, false) => Verdict::Reproduced,
        (true, true) => Verdict::NotReproduced,
        _ => Verdict::Partly,
    };
    let text = |method: usize| {
        format!(
            "{} (rate {}) {} % and {}",
            NAMES[method],
            number(all.rates[all.best_rate(method)]),
            show(&accuracy(method)),
            show(&loss(method))
        )
    };
    Claim {
        source,
        claim: format!("{} without warm-up is at least as good as Adam with warm-up.", NAMES[method]),
        paper: paper.into(),
        ours: format!("test accuracy and training loss: {}, {}", text(method), text(warm)),
        verdict,
        why: "Each at its rate of lowest training loss, Adam with the better of two warm-ups. Reproduced if \
              neither accuracy nor loss is worse by two standard errors of the difference over seeds, partly \
              if one of them is."
            .into(),
    }
}

/// The distance of two methods' loss curves at a rate, for some of the seeds: the mean over records of
/// |log (ratio of the mean losses)|.
fn apart(all: &Comparison, a: usize, b: usize, rate: usize, seeds: &[usize]) -> f64 {
    let records = all.history.task.records();
    let loss = |method: usize, record: usize| {
        mean_of(&all.history.train_loss(all.setting(method, rate), record), seeds).ln()
    };
    (0..records).map(|record| (loss(a, record) - loss(b, record)).abs()).sum::<f64>() / records as f64
}

/// Whether untuned warm-up makes Adam RAdam.
fn untuned(all: &Comparison) -> Claim {
    let mut texts = vec![];
    let mut ratios = vec![];
    for rate in [all.best, all.large] {
        let distance =
            |method| bootstrap(all.history.task.seeds, |seeds| apart(all, method, RADAM, rate, seeds));
        let ((near, near_error), (far, far_error)) = (distance(UNTUNED), distance(NONE));
        ratios.push(near / far);
        texts.push(format!(
            "rate {}: {}, without warm-up {}",
            number(all.rates[rate]),
            plus_minus(near, near_error),
            plus_minus(far, far_error)
        ));
    }
    let ends =
        [UNTUNED, RADAM].map(|method| all.history.final_accuracy(all.setting(method, all.best_rate(method))));
    let (difference, error) = paired(&ends[0], &ends[1]);
    let same = difference.abs() <= 2.0 * error;
    let verdict = match ratios.iter().copied().fold(0.0, f64::max) {
        worst if worst <= 0.5 && same => Verdict::Reproduced,
        worst if worst <= 0.5 || same => Verdict::Partly,
        _ => Verdict::NotReproduced,
    };
    Claim {
        source: "MaxVA, section 6 (of Ma and Yarats)",
        claim: "Adam with linear warm-up over 2 / (1 - beta2) steps converges almost as RAdam does.".into(),
        paper: "\"almost the same convergence\"".into(),
        ours: format!(
            "mean distance of the training loss from RAdam's, as a logarithm: {}; test accuracy at the best \
             rates {} % against {} %",
            texts.join("; "),
            show(&ends[0]),
            show(&ends[1])
        ),
        verdict,
        why: "Reproduced if at both rates the distance is at most half of that of Adam without warm-up, and \
              the accuracies differ by at most two standard errors; partly if one of these holds."
            .into(),
    }
}

/// Whether gradients become small in the first steps without warm-up.
fn gradients(all: &Comparison) -> Claim {
    let place = |t: u32| all.gradients[0].steps.iter().position(|step| *step == t).unwrap_or(0);
    let (first, tenth) = (place(1), place(10));
    // A hundredth of the first gradients' median.
    let small = mean(&all.gradients[0].quantile(first, 0.5)) - 2.0;
    let [[before, without], [_, with]] =
        all.gradients.each_ref().map(|counts| [first, tenth].map(|row| counts.share_below(row, small)));
    let more = |a: &[f64], b: &[f64]| {
        let (difference, error) = paired(a, b);
        difference > 2.0 * error
    };
    let verdict = match more(&without, &with) {
        true if more(&without, &before) => Verdict::Reproduced,
        true => Verdict::Partly,
        false => Verdict::NotReproduced,
    };
    Claim {
        source: "RAdam, figure 2",
        claim: "Without warm-up the gradients' distribution is distorted within 10 updates, to a centre at \
                small values."
            .into(),
        paper: "(histograms only)".into(),
        ours: format!(
            "share of gradients below a hundredth of the first median: {} % at step 1, {} % at step 10 \
             without, {} % with linear warm-up (rate {}); zero at step 10: {} % without, {} % with",
            show(&before),
            show(&without),
            show(&with),
            number(all.rates[all.large]),
            show(&all.gradients[0].share_from(tenth, -12)[1]),
            show(&all.gradients[1].share_from(tenth, -12)[1])
        ),
        verdict,
        why:
            "Reproduced if the share at step 10 is larger than with warm-up and than at step 1, each by two \
             standard errors over seeds; partly if only the first. Zeros are of units that are off for every \
             sample of the batch, and of empty pixels."
                .into(),
    }
}

/// MAdam's average step size over Adam's.
fn step_ratio(all: &Comparison) -> Claim {
    let seeds = all.history.task.seeds;
    let total = |method: usize| {
        let mut sums = vec![0.0; seeds];
        for (_, moves) in all.moves(method, all.best) {
            sums.iter_mut().zip(moves).for_each(|(sum, moved)| *sum += moved);
        }
        sums
    };
    let ratios: Vec<f64> = total(MADAM).iter().zip(total(NONE)).map(|(madam, adam)| madam / adam).collect();
    let (ratio, error) = (mean(&ratios), standard_error(&ratios));
    let near = PAPER_RATIOS.iter().any(|paper| (ratio / paper).ln().abs() <= 1.25f64.ln());
    let verdict = match ratio + 2.0 * error < 1.0 {
        true if near => Verdict::Reproduced,
        true => Verdict::Partly,
        false => Verdict::NotReproduced,
    };
    Claim {
        source: "MaxVA, section 5.3",
        claim: "At the same learning rate MaxVA's average step is less than half of the one without.".into(),
        paper: "1.8 / 4 = 0.45 (GLUE, Adam), 0.875 / 2 = 0.44 (IWSLT'14, LaProp)".into(),
        ours: format!("MAdam over Adam, rate {}: {}", number(all.rates[all.best]), plus_minus(ratio, error)),
        verdict,
        why:
            "Average step sizes summed over the recorded steps, no warm-up in both. The paper has steps and \
             rates of other pairs; their quotient is this. Reproduced if within a factor of 1.25 of one of \
             its numbers, partly if below 1 by two standard errors."
                .into(),
    }
}

/// Whether RAdam depends less on the rate than Adam with warm-up.
fn sensitive(all: &Comparison) -> Claim {
    let x: Vec<f64> = all.rates.iter().map(|rate| rate.log10()).collect();
    let accuracies = [RADAM, LINEAR].map(|method| {
        (0..x.len()).map(|rate| all.history.final_accuracy(all.setting(method, rate))).collect::<Vec<_>>()
    });
    let width = |values: &[Vec<f64>], seeds: &[usize]| {
        let y: Vec<f64> = values.iter().map(|values| mean_of(values, seeds)).collect();
        let (low, high) = window(&x, &y, TOLERANCE);
        high - low
    };
    let seeds = all.history.task.seeds;
    let [radam, adam] = accuracies.each_ref().map(|values| bootstrap(seeds, |seeds| width(values, seeds)));
    let (difference, error) =
        bootstrap(seeds, |seeds| width(&accuracies[0], seeds) - width(&accuracies[1], seeds));
    let verdict = if difference > 2.0 * error { Verdict::Reproduced } else { Verdict::NotReproduced };
    Claim {
        source: "RAdam, comparison with heuristic warm-up",
        claim: "Adam with warm-up is more sensitive to the choice of the learning rate than RAdam.".into(),
        paper: "(curves only)".into(),
        ours: format!(
            "RAdam {} decades, Adam with linear warm-up {}",
            plus_minus(radam.0, radam.1),
            plus_minus(adam.0, adam.1)
        ),
        verdict,
        why: format!(
            "Range of rates whose mean final test accuracy is within {TOLERANCE} points of the method's \
             best. Reproduced if RAdam's is wider by two standard errors (bootstrap over seeds)."
        ),
    }
}

/// All methods at their best, and their first steps.
fn ranking(all: &Comparison) -> Claim {
    let mut order: Vec<usize> = (0..NAMES.len()).collect();
    let accuracy = |method: usize, rate: usize| all.history.final_accuracy(all.setting(method, rate));
    let best = |method: usize| accuracy(method, all.best_rate(method));
    order.sort_by(|a, b| mean(&best(*b)).total_cmp(&mean(&best(*a))));
    let text = |method: &usize| {
        let first = all.moves(*method, all.best).next().map_or(f64::NAN, |(_, moves)| mean(moves));
        format!(
            "{}: {} % at its best rate {}, {} % at rate {}, first step {} times rate {}",
            NAMES[*method],
            show(&best(*method)),
            number(all.rates[all.best_rate(*method)]),
            show(&accuracy(*method, all.large)),
            number(all.rates[all.large]),
            number(first / all.rates[all.best]),
            number(all.rates[all.best]),
        )
    };
    let gains = [paired(&best(LINEAR), &best(NONE)), {
        let large = |method| accuracy(method, all.large);
        paired(&large(LINEAR), &large(NONE))
    }]
    .map(|(gain, error)| plus_minus(gain, error));
    Claim {
        source: "MaxVA, section 5; RAdam; AdaMod",
        claim: "Test accuracy and first average step of all six.".into(),
        paper: String::new(),
        ours: order.iter().map(text).collect::<Vec<_>>().join("; "),
        verdict: Verdict::Found,
        why: format!(
            "Linear warm-up gains Adam {} points at the best rates, {} at the large one.",
            gains[0], gains[1]
        ),
    }
}
