//! ACClip, figures 1 and 3, tables 2 and 3: clipped methods, SGD and Adam on attention and on convolutions.

use super::Experiment;
use crate::contest::{self, Contest, Measure, RULES, Shown};
use crate::models::Norm;
use crate::store::Store;
use crate::tasks::{Task, Tasks};
use anyhow::Result;
use wgpu_optim_papers::harness::report::Findings;

pub const EXPERIMENT: Experiment = Experiment {
    name: "networks-clipping",
    title: "ACClip: SGD, clipping and Adam on attention and on convolutions (figures 1 and 3, tables 2 and 3)",
    tasks: &[Task::Text(Norm::Post), Task::Images, Task::Authors],
    weight: |store| CONTESTS.iter().map(|(task, methods)| contest::weight(store, *task, methods)).sum(),
    run,
};

const TEXT: Task = Task::Text(Norm::Post);
const CONTESTS: [(Task, &[&str]); 3] = [
    (TEXT, &["SGDM", "clipped SGDM", "CClip", "ACClip", "Adam"]),
    (Task::Images, &["SGDM", "clipped SGDM", "ACClip", "Adam"]),
    (Task::Authors, &["ACClip", "Adam"]),
];

fn run(store: &Store, tasks: &Tasks) -> Result<Findings> {
    let hold = |(task, methods): &(Task, &[&str])| Contest::hold(store, tasks, *task, methods);
    let contests = CONTESTS.iter().map(hold).collect::<Result<Vec<_>>>()?;
    let [text, images, authors] = &contests[..] else { unreachable!() };
    use Measure::{Accuracy, TestLoss, TrainLoss};
    let claims = vec![
        text.claim(
            "ACClip, figure 1e",
            "On an attention model SGD is far behind Adam, however it is tuned.",
            "(curves only)",
            ("Adam", "SGDM"),
            TrainLoss,
        )?,
        text.claim(
            "ACClip, figure 3b",
            "Clipping the norm makes SGD with momentum better on an attention model.",
            "(curves only)",
            ("clipped SGDM", "SGDM"),
            TrainLoss,
        )?,
        text.claim(
            "ACClip, figure 3b",
            "With its norm clipped SGD still is far behind Adam.",
            "(curves only)",
            ("Adam", "clipped SGDM"),
            TrainLoss,
        )?,
        text.as_good(
            "ACClip, figure 3a",
            "Clipping each coordinate is comparable to Adam.",
            "(curves only)",
            ("CClip", "Adam"),
            (TrainLoss, 0.05),
        )?,
        text.claim(
            "ACClip, table 2",
            "ACClip reaches a lower validation loss than Adam in pre-training.",
            "1.877 against 1.907 (6 layers), 1.615 against 1.718 (12), 1.413 against 1.432 (24)",
            ("ACClip", "Adam"),
            TestLoss,
        )?,
        authors.claim(
            "ACClip, table 3",
            "ACClip is better than Adam in fine-tuning.",
            "F1 85.87 ± 0.13 against 84.79 ± 0.33 (6 layers)",
            ("ACClip", "Adam"),
            Accuracy,
        )?,
        images.as_good(
            "ACClip, figure 1a",
            "On a convolutional network SGD with momentum is as good as Adam.",
            "(curves only)",
            ("SGDM", "Adam"),
            (Accuracy, 0.5),
        )?,
    ];
    let Shown { charts, table, told } =
        contest::shown(store, &contests, ("networks-clipping", "networks-clipping-rates"), 3);
    Ok(Findings {
        claims,
        charts,
        tables: vec![table],
        notes: format!(
            "{}. {RULES} SGD clipped: momentum 0.9, norm at most 0.25. CClip: each coordinate at most 0.01. ACClip as in \
             the paper (alpha 1, beta1 0.9, beta2 0.99, eps 1e-5). BERT, SQuAD and Transformer-XL are not repeated: \
             these are networks of a thousandth of their size.",
            told
        ),
    })
}
