//! Labelled images: the bundled digits, or MNIST's IDX files.

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The bundled digits; see `data/README.md`.
const DIGITS: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// Images of one byte a pixel, and what each one shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Pixels of an image.
    pub size: usize,
    /// Row by row, image by image.
    pub pixels: Vec<u8>,
    /// One for each image.
    pub labels: Vec<u8>,
}

/// What a network learns from, and what it is then tested on.
#[derive(Debug, Clone)]
pub struct Data {
    /// For messages.
    pub name: String,
    pub train: Images,
    pub test: Images,
    /// Labels are below this.
    pub classes: usize,
    /// Brightest pixel.
    pub white: u8,
}

impl Images {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The images with these numbers, in this order.
    fn select(&self, numbers: &[usize]) -> Self {
        let pixels = |&i: &usize| &self.pixels[i * self.size..(i + 1) * self.size];
        Self {
            size: self.size,
            pixels: numbers.iter().flat_map(pixels).copied().collect(),
            labels: numbers.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

impl Data {
    /// The bundled digits, a fifth of them, drawn by `rng`, held out for the test.
    pub fn digits(rng: &mut ChaCha8Rng) -> Result<Self> {
        let all = read_digits(DIGITS).context("the bundled digits")?;
        let mut numbers: Vec<usize> = (0..all.len()).collect();
        numbers.shuffle(rng);
        let (test, train) = numbers.split_at(all.len() / 5);
        Ok(Self {
            name: "UCI optical digits".into(),
            train: all.select(train),
            test: all.select(test),
            classes: 10,
            white: 16,
        })
    }

    /// MNIST, Fashion-MNIST or anything else in their four files, plain or with `.gz`.
    pub fn idx(folder: &Path) -> Result<Self> {
        ensure!(folder.is_dir(), "--data {}: no such folder", folder.display());
        let train = read_pair(folder, "train")?;
        let test = read_pair(folder, "t10k")?;
        ensure!(
            train.size == test.size,
            "{}: training images have {} pixels, test images {}",
            folder.display(),
            train.size,
            test.size
        );
        let classes = usize::from(train.labels.iter().chain(&test.labels).max().copied().unwrap_or(0)) + 1;
        ensure!(classes > 1, "{}: every label is 0", folder.display());
        Ok(Self { name: folder.display().to_string(), train, test, classes, white: 255 })
    }
}

/// Reads lines of 64 pixels and a label.
fn read_digits(compressed: &[u8]) -> Result<Images> {
    let mut text = String::new();
    GzDecoder::new(compressed).read_to_string(&mut text)?;
    let mut images = Images { size: 64, pixels: vec![], labels: vec![] };
    for (number, line) in (1..).zip(text.lines()) {
        let values = line.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>();
        match values.with_context(|| format!("line {number}"))?.split_last() {
            Some((&label @ 0..=9, pixels))
                if pixels.len() == 64 && pixels.iter().all(|pixel| *pixel <= 16) =>
            {
                images.pixels.extend(pixels);
                images.labels.push(label);
            }
            _ => bail!("line {number}: not 64 pixels up to 16 and a digit"),
        }
    }
    Ok(images)
}

/// Images and labels of one part, `train` or `t10k`.
fn read_pair(folder: &Path, part: &str) -> Result<Images> {
    let (sides, pixels) = read_idx(folder, &format!("{part}-images-idx3-ubyte"), 3)?;
    let (count, labels) = read_idx(folder, &format!("{part}-labels-idx1-ubyte"), 1)?;
    ensure!(sides[0] == count[0], "{}: {} {part} images but {} labels", folder.display(), sides[0], count[0]);
    Ok(Images { size: sides[1] * sides[2], pixels, labels })
}

/// Reads `folder/name` or `folder/name.gz`: unsigned bytes in `dimensions` dimensions, none of them 0.
fn read_idx(folder: &Path, name: &str, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let plain = folder.join(name);
    let path = if plain.exists() { plain } else { folder.join(format!("{name}.gz")) };
    ensure!(path.exists(), "{}: neither {name} nor {name}.gz is there", folder.display());
    let file = BufReader::new(File::open(&path).with_context(|| format!("cannot open {}", path.display()))?);
    let compressed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    parse_idx(reader, dimensions).with_context(|| path.display().to_string())
}

/// The IDX format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
/// dimension as a big-endian u32, then the bytes.
pub fn parse_idx(mut reader: impl Read, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut word = || -> Result<u32> {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).context("the file ends inside its header")?;
        Ok(u32::from_be_bytes(bytes))
    };
    let (magic, expected) = (word()?, 0x800 + dimensions as u32);
    ensure!(
        magic == expected,
        "starts with {magic:#010x}, but IDX with {dimensions} dimension(s) is {expected:#010x}"
    );
    let sides = (0..dimensions).map(|_| Ok(word()? as usize)).collect::<Result<Vec<_>>>()?;
    let count = sides.iter().try_fold(1u64, |count, side| count.checked_mul(*side as u64));
    let Some(count) = count.filter(|count| (1..1 << 32).contains(count)) else {
        bail!("dimensions {sides:?} in the header make no bytes or more than 4 GiB");
    };
    // Grows with what is there, not with what the header claims.
    let mut bytes = vec![];
    reader.take(count + 1).read_to_end(&mut bytes).context("cannot be read to its end")?;
    match bytes.len() as u64 {
        got if got < count => bail!("is cut short: {got} bytes after the header, but {sides:?} need {count}"),
        got if got > count => bail!("has more than the {count} bytes that its header {sides:?} names"),
        _ => Ok((sides, bytes)),
    }
}
