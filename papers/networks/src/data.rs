//! What the networks learn from: Debian's Fashion-MNIST and King James Bible, and sequences that are made here.

#[path = "../../../examples/train/data.rs"]
#[allow(dead_code)] // the digits are not read here
mod images;

use crate::models::convolutions::SIDE;
use crate::models::{Batch, Inputs};
use anyhow::{Context, Result, ensure};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::path::Path;
use std::process::Command;

/// Where Debian's dataset-fashion-mnist is.
const FASHION: &str = "/usr/share/datasets/fashion-mnist";
/// How the packages come here.
const INSTALL: &str = "scripts/setup-adapter.sh --networks installs it";
/// What a token of text may be; anything else is a space.
const LETTERS: &str = "\n abcdefghijklmnopqrstuvwxyz.,;:!?'()-";
/// How many kinds of tokens text has.
pub const TEXT_TOKENS: usize = LETTERS.len();

/// Examples to learn from, and a fixed part of those to be judged by.
pub trait Data: Sync + Send {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch;
    fn held_out(&self) -> &[Batch];
}

/// Clothes of 28 x 28 pixels, brought to 14 x 14 by means of four.
pub struct Fashion {
    pixels: Vec<f32>,
    labels: Vec<i32>,
    held_out: Vec<Batch>,
}

const PIXELS: usize = SIDE * SIDE;
/// Images to learn from, and to be judged by.
const IMAGES: [usize; 2] = [20_000, 2_000];

impl Fashion {
    pub fn load() -> Result<Self> {
        let data = images::Data::idx(Path::new(FASHION))
            .with_context(|| format!("Debian's dataset-fashion-mnist is needed; {INSTALL}"))?;
        ensure!(data.train.size == 4 * PIXELS, "images of {} pixels", data.train.size);
        let halved = |images: &images::Images, count: usize| {
            let mut pixels = Vec::with_capacity(count * PIXELS);
            for image in images.pixels.chunks(4 * PIXELS).take(count) {
                for at in 0..PIXELS {
                    let corner = 4 * SIDE * (at / SIDE) + 2 * (at % SIDE);
                    let four = [0, 1, 2 * SIDE, 2 * SIDE + 1].map(|i| f32::from(image[corner + i]));
                    // About mean 0 and deviation 1 over this set of images.
                    pixels.push((four.iter().sum::<f32>() / (4.0 * 255.0) - 0.286) / 0.33);
                }
            }
            let labels: Vec<i32> = images.labels.iter().take(count).map(|label| i32::from(*label)).collect();
            (pixels, labels)
        };
        let (pixels, labels) = halved(&data.train, IMAGES[0]);
        let (test, answers) = halved(&data.test, IMAGES[1]);
        let batch = |(pixels, answers): (&[f32], &[i32])| Batch {
            inputs: Inputs::Pixels(pixels.to_vec()),
            answers: answers.to_vec(),
            examples: answers.len(),
        };
        let held_out = test.chunks(250 * PIXELS).zip(answers.chunks(250)).map(batch).collect();
        Ok(Self { pixels, labels, held_out })
    }
}

impl Data for Fashion {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        let numbers: Vec<usize> = (0..examples).map(|_| rng.random_range(0..self.labels.len())).collect();
        let pixels = numbers.iter().flat_map(|i| &self.pixels[i * PIXELS..(i + 1) * PIXELS]).copied();
        let answers = numbers.iter().map(|i| self.labels[*i]);
        Batch { inputs: Inputs::Pixels(pixels.collect()), answers: answers.collect(), examples }
    }

    fn held_out(&self) -> &[Batch] {
        &self.held_out
    }
}

/// The verses of the King James Bible, one a line, with the number of the book.
pub struct Verses(Vec<(usize, Vec<i32>)>);

impl Verses {
    pub fn load() -> Result<Self> {
        let said = Command::new("bible").args(["-f", "gen1:1-rev22:21"]).output();
        let said = said.with_context(|| format!("Debian's bible-kjv is needed; {INSTALL}"))?;
        let text = String::from_utf8(said.stdout).context("the text of bible-kjv")?;
        let (mut verses, mut books) = (vec![], vec![]);
        for line in text.lines() {
            // "Ge1:1 In the beginning ..."; a book's name may begin with a number.
            let (place, verse) = line.split_once(' ').context("a verse without its place")?;
            let chapter = place.split(':').next().unwrap_or_default();
            let book = chapter.trim_end_matches(|c: char| c.is_ascii_digit()).to_string();
            if books.last() != Some(&book) {
                books.push(book);
            }
            let token = |c: char| LETTERS.find(c.to_ascii_lowercase()).unwrap_or(1) as i32;
            verses.push((books.len() - 1, verse.chars().map(token).chain([0]).collect()));
        }
        ensure!(books.len() == 66, "{} books of 66", books.len());
        Ok(Self(verses))
    }
}

/// The letters of the text, to be continued: each place answers with the next.
pub struct Letters {
    train: Vec<i32>,
    places: usize,
    held_out: Vec<Batch>,
}

/// Every which verse is held out.
const HELD_OUT: usize = 20;

impl Letters {
    pub fn new(verses: &Verses, places: usize) -> Self {
        let part = |held_out: bool| {
            let own = verses.0.iter().enumerate().filter(move |(i, _)| (i % HELD_OUT == 0) == held_out);
            own.flat_map(|(_, (_, tokens))| tokens.iter().copied()).collect::<Vec<i32>>()
        };
        let (train, test) = (part(false), part(true));
        let windows: Vec<&[i32]> = test.windows(places + 1).step_by(test.len() / 512).take(512).collect();
        let held_out = windows.chunks(64).map(continued).collect();
        Self { train, places, held_out }
    }
}

/// Windows of text with what comes next in each place.
fn continued(windows: &[&[i32]]) -> Batch {
    let all_but_last = windows.iter().flat_map(|window| &window[..window.len() - 1]).copied().collect();
    let answers = windows.iter().flat_map(|window| &window[1..]).copied().collect();
    Batch { inputs: Inputs::Tokens(all_but_last), answers, examples: windows.len() }
}

impl Data for Letters {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        let mut window = || {
            let at = rng.random_range(0..self.train.len() - self.places);
            &self.train[at..=at + self.places]
        };
        continued(&(0..examples).map(|_| window()).collect::<Vec<_>>())
    }

    fn held_out(&self) -> &[Batch] {
        &self.held_out
    }
}

/// Verses of the Gospels and of Paul, to be told apart: what a model of the text is fine-tuned to.
pub struct Authors {
    train: Vec<(i32, Vec<i32>)>,
    places: usize,
    held_out: Vec<Batch>,
}

/// Matthew to John, Romans to Philemon.
const AUTHORS: [std::ops::Range<usize>; 2] = [39..43, 44..57];

impl Authors {
    pub fn new(verses: &Verses, places: usize) -> Self {
        let class = |book: usize| AUTHORS.iter().position(|books| books.contains(&book));
        let labelled =
            verses.0.iter().filter_map(|(book, verse)| Some((class(*book)? as i32, verse.clone())));
        let all: Vec<(i32, Vec<i32>)> = labelled.filter(|(_, verse)| verse.len() > places).collect();
        // As many of each.
        let rarer = (0..2).map(|class| all.iter().filter(|(of, _)| *of == class).count()).min().unwrap_or(0);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut even = vec![];
        for class in 0..2 {
            let mut own: Vec<_> = all.iter().filter(|(of, _)| *of == class).cloned().collect();
            own.shuffle(&mut rng);
            even.extend(own.into_iter().take(rarer));
        }
        even.shuffle(&mut rng);
        let (test, train) = even.split_at(even.len() / 4);
        let held_out = test.chunks(64).map(|verses| Self::batch(verses.iter(), places)).collect();
        Self { train: train.to_vec(), places, held_out }
    }

    fn batch<'a>(verses: impl Iterator<Item = &'a (i32, Vec<i32>)>, places: usize) -> Batch {
        let (mut tokens, mut answers) = (vec![], vec![]);
        for (class, verse) in verses {
            tokens.extend(&verse[..places]);
            answers.push(*class);
        }
        Batch { inputs: Inputs::Tokens(tokens), examples: answers.len(), answers }
    }
}

impl Data for Authors {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        let numbers: Vec<usize> = (0..examples).map(|_| rng.random_range(0..self.train.len())).collect();
        Self::batch(numbers.iter().map(|i| &self.train[*i]), self.places)
    }

    fn held_out(&self) -> &[Batch] {
        &self.held_out
    }
}

/// Words that are translated by a dictionary and told backwards: a sequence, a sign, its answer.
pub struct Backwards {
    held_out: Vec<Batch>,
}

/// Kinds of words, and the sign behind a sequence.
pub const WORDS: i32 = 32;
pub const BACKWARDS_TOKENS: usize = WORDS as usize + 1;
/// Words of a sequence.
const LENGTH: usize = 10;
/// Places of a sequence with its answer, but for the last.
pub const BACKWARDS_PLACES: usize = 2 * LENGTH;

impl Default for Backwards {
    fn default() -> Self {
        // A stream of its own: no sequence of 32^10 is likely to come twice.
        let mut rng = ChaCha8Rng::seed_from_u64(u64::MAX);
        Self { held_out: (0..8).map(|_| Self::sequences(&mut rng, 64)).collect() }
    }
}

impl Backwards {
    fn sequences(rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        let (mut tokens, mut answers) = (vec![], vec![]);
        for _ in 0..examples {
            let words: Vec<i32> = (0..LENGTH).map(|_| rng.random_range(0..WORDS)).collect();
            // 7 has no divisor in common with 32: each word has one that it is translated to.
            let told: Vec<i32> = words.iter().rev().map(|word| (7 * word + 5) % WORDS).collect();
            tokens.extend(words.iter().chain([&WORDS]).chain(&told[..LENGTH - 1]));
            answers.extend([-1; LENGTH].iter().chain(&told));
        }
        Batch { inputs: Inputs::Tokens(tokens), answers, examples }
    }
}

impl Data for Backwards {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        Self::sequences(rng, examples)
    }

    fn held_out(&self) -> &[Batch] {
        &self.held_out
    }
}

/// Text whose letters are replaced by normal vectors as long as embedded ones, so that nothing can be read from
/// them: the synthetic data of ACClip's figure 4.
pub struct Gaussian<'a> {
    pub letters: &'a Letters,
    pub width: usize,
}

impl Data for Gaussian<'_> {
    fn draw(&self, rng: &mut ChaCha8Rng, examples: usize) -> Batch {
        let batch = self.letters.draw(rng, examples);
        let count = examples * self.letters.places * self.width;
        let scale = (1.0 / self.width as f32).sqrt();
        let normal = |_| scale * rng.sample::<f32, _>(StandardNormal);
        Batch { inputs: Inputs::Vectors((0..count).map(normal).collect()), ..batch }
    }

    fn held_out(&self) -> &[Batch] {
        &[]
    }
}
