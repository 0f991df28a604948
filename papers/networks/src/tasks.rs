//! What networks are trained to do: which network, on which data, for how long.

use crate::data::{
    Authors, BACKWARDS_PLACES, BACKWARDS_TOKENS, Backwards, Data, Fashion, Letters, TEXT_TOKENS, Verses,
};
use crate::lab::{Lab, Recipe, Run, train};
use crate::methods::Method;
use crate::models::transformer::Sizes;
use crate::models::{Convolutions, LstmModel, Network, Norm, Transformer, flat};
use anyhow::{Result, anyhow};
use burn::tensor::Device;
use std::sync::OnceLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Convolutions on Fashion-MNIST.
    Images,
    /// A Transformer on letters of the Bible.
    Text(Norm),
    /// The same with large batches and few steps.
    LargeBatch,
    /// An LSTM on the same letters.
    Lstm,
    /// A Transformer that translates word by word and backwards.
    Backwards,
    /// A Transformer that has read the text learns who wrote a verse.
    Authors,
}

/// Places of a window of text.
pub const PLACES: usize = 32;
/// The seed of the model that is fine-tuned, and its rate.
const PRETRAINED: (u64, f64) = (1000, 3e-3);

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Text(Norm::Post) => "text, post-norm",
            Self::Text(Norm::Pre) => "text, pre-norm",
            Self::LargeBatch => "text, large batch",
            Self::Lstm => "text, LSTM",
            Self::Backwards => "sequences backwards",
            Self::Authors => "authors, fine-tuned",
        }
    }

    /// Steps and examples of a batch.
    pub fn size(self, quick: bool) -> (usize, usize) {
        let (steps, examples) = match self {
            Self::Images => (500, 64),
            Self::Text(_) => (300, 16),
            Self::LargeBatch => (80, 96),
            Self::Lstm => (300, 16),
            Self::Backwards => (300, 32),
            Self::Authors => (150, 16),
        };
        (if quick { 40 } else { steps }, examples)
    }

    /// Milliseconds of a step, about, on one core.
    pub fn cost(self) -> u64 {
        match self {
            Self::Images => 8,
            Self::Text(_) => 20,
            Self::LargeBatch => 110,
            Self::Lstm => 17,
            Self::Backwards => 14,
            Self::Authors => 13,
        }
    }

    /// What the figures show of it.
    pub fn describes(self) -> &'static str {
        match self {
            Self::Images => {
                "two layers of 3 x 3 convolutions and one of 128 units, 32 k parameters, on 20 000 images of Fashion-MNIST at 14 x 14 pixels"
            }
            Self::Text(Norm::Post) => {
                "a Transformer of three layers of 48 (norms after the layers), 90 k parameters, on letters of the King James Bible, 32 at a time"
            }
            Self::Text(Norm::Pre) => "the same with norms before the layers",
            Self::LargeBatch => {
                "the post-norm Transformer with batches of 96 windows for 80 steps, as much text as in 480 steps of 16"
            }
            Self::Lstm => "an LSTM of 96 cells, 62 k parameters, on the same letters",
            Self::Backwards => {
                "a Transformer of two layers of 48 (norms after the layers), 60 k parameters, that is given ten words of 32 and answers with their translations in the opposite order"
            }
            Self::Authors => {
                "the post-norm Transformer after 600 steps on the text, with a new head for the mean of its places, told verses of the Gospels from verses of Paul's letters"
            }
        }
    }
}

/// The data, read when first needed, and the model that is fine-tuned.
#[derive(Default)]
pub struct Tasks {
    fashion: OnceLock<Result<Fashion, String>>,
    verses: OnceLock<Result<Verses, String>>,
    letters: OnceLock<Letters>,
    authors: OnceLock<Authors>,
    backwards: OnceLock<Backwards>,
    pretrained: OnceLock<Result<Vec<Vec<f32>>, String>>,
    quick: bool,
}

impl Tasks {
    pub fn new(quick: bool) -> Self {
        Self { quick, ..Self::default() }
    }

    pub fn fashion(&self) -> Result<&Fashion> {
        let load = || Fashion::load().map_err(|error| format!("{error:#}"));
        self.fashion.get_or_init(load).as_ref().map_err(|error| anyhow!("{error}"))
    }

    pub fn verses(&self) -> Result<&Verses> {
        let load = || Verses::load().map_err(|error| format!("{error:#}"));
        self.verses.get_or_init(load).as_ref().map_err(|error| anyhow!("{error}"))
    }

    pub fn letters(&self) -> Result<&Letters> {
        let verses = self.verses()?;
        Ok(self.letters.get_or_init(|| Letters::new(verses, PLACES)))
    }

    /// Reads what `tasks` need, so that nothing is missing later.
    pub fn prepare(&self, tasks: &[Task]) -> Result<()> {
        for task in tasks {
            match task {
                Task::Images => self.fashion().map(|_| ())?,
                Task::Backwards => (),
                _ => self.letters().map(|_| ())?,
            }
        }
        Ok(())
    }

    /// One run.
    pub fn run(&self, lab: &Lab, task: Task, method: &Method, lr: f64, seed: u64) -> Result<Run> {
        let recipe = self.recipe(task, method, lr);
        let train_new = |run: Result<(Run, _)>| run.map(|(run, ())| run);
        let host = &lab.host;
        match task {
            Task::Images => {
                let network = flat::seeded(seed, host, |device| Convolutions::new(10, device))?;
                train_new(only(lab, network, self.fashion()?, &recipe, seed))
            }
            Task::Text(norm) => {
                let network = flat::seeded(seed, host, |device| reader(norm, device))?;
                train_new(only(lab, network, self.letters()?, &recipe, seed))
            }
            Task::LargeBatch => {
                let network = flat::seeded(seed, host, |device| reader(Norm::Post, device))?;
                train_new(only(lab, network, self.letters()?, &recipe, seed))
            }
            Task::Lstm => {
                let network = flat::seeded(seed, host, |device| LstmModel::new(TEXT_TOKENS, 96, device))?;
                train_new(only(lab, network, self.letters()?, &recipe, seed))
            }
            Task::Backwards => {
                let network = flat::seeded(seed, host, translator)?;
                let data = self.backwards.get_or_init(Backwards::default);
                train_new(only(lab, network, data, &recipe, seed))
            }
            Task::Authors => {
                let verses = self.verses()?;
                let data = self.authors.get_or_init(|| Authors::new(verses, PLACES));
                train_new(only(lab, self.pretrained(lab, seed)?, data, &recipe, seed))
            }
        }
    }

    pub fn recipe(&self, task: Task, method: &Method, lr: f64) -> Recipe {
        let (steps, examples) = task.size(self.quick);
        let Method { max_grad_norm, warmup, .. } = *method;
        Recipe { rule: (method.rule)(lr), max_grad_norm, warmup, steps, examples }
    }

    /// A model that has read the text, with the same weights for all seeds, and a new head.
    fn pretrained(&self, lab: &Lab, seed: u64) -> Result<Transformer> {
        let read = || -> Result<Vec<Vec<f32>>> {
            let (first, lr) = PRETRAINED;
            let network = flat::seeded(first, &lab.host, |device| reader(Norm::Post, device))?;
            let warmed = crate::methods::named("Adam, warm-up");
            let mut recipe = self.recipe(Task::Text(Norm::Post), &warmed, lr);
            recipe.steps *= 2;
            let (_, network) = train(lab, network, self.letters()?, &recipe, first, |_, _| Ok(()))?;
            flat::parameters(&network)
        };
        let known = self.pretrained.get_or_init(|| read().map_err(|error| format!("{error:#}")));
        let known = known.as_ref().map_err(|error| anyhow!("{error}"))?;
        let sizes = Sizes { classes: 2, pooled: true, ..reading(Norm::Post) };
        let network = flat::seeded(seed, &lab.host, |device| Transformer::new(&sizes, device))?;
        // All but the head, which has other classes, and comes last.
        let own = flat::parameters(&network)?;
        let values =
            own.iter().zip(known).map(|(own, known)| if own.len() == known.len() { known } else { own });
        flat::with(network, &values.map(Vec::as_slice).collect::<Vec<_>>())
    }
}

fn only<N: Network>(lab: &Lab, network: N, data: &dyn Data, recipe: &Recipe, seed: u64) -> Result<(Run, ())> {
    train(lab, network, data, recipe, seed, |_, _| Ok(())).map(|(run, _)| (run, ()))
}

fn reading(norm: Norm) -> Sizes {
    let (tokens, places) = (TEXT_TOKENS, PLACES);
    Sizes { tokens, classes: tokens, places, width: 48, layers: 3, heads: 4, norm, pooled: false }
}

/// A model of the text.
pub fn reader(norm: Norm, device: &Device) -> Transformer {
    Transformer::new(&reading(norm), device)
}

/// A model of sequences that answers backwards.
pub fn translator(device: &Device) -> Transformer {
    let (tokens, places) = (BACKWARDS_TOKENS, BACKWARDS_PLACES);
    let sizes = Sizes {
        tokens,
        classes: tokens,
        places,
        width: 48,
        layers: 2,
        heads: 4,
        norm: Norm::Post,
        pooled: false,
    };
    Transformer::new(&sizes, device)
}
