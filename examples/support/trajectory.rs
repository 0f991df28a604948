//! Recorded runs (`optimizer-trajectory/1`): what some implementation of an optimizer did with given
//! gradients. The format is described in `tests/golden/README.md`.

#![allow(dead_code)] // the example and each test use their share

use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use wgpu_optim::rule::Config;
use wgpu_optim::rules::Setup;
use wgpu_optim::{AnyRule, Wrappers};

/// Value of the metadata field `format`.
pub const FORMAT: &str = "optimizer-trajectory/1";
/// Most bytes of a header. It bounds every list in it, too.
pub const MAX_HEADER: u64 = 1 << 20;
/// Most bytes of a file; decoded, it takes about as much again.
pub const MAX_FILE: u64 = 1 << 30;

/// A file that cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct LoadError {
    pub file: String,
    pub problem: Problem,
}

/// Why it cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot be read: {0}")]
    Io(String),
    #[error("{what} has {bytes} bytes; at most {limit} are read")]
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
    #[error("is not a safetensors file: {0}")]
    Container(String),
    #[error("{place} is missing")]
    Missing { place: String },
    #[error("{place} is {value}; it must be {expected}")]
    Wrong { place: String, value: String, expected: String },
    #[error("{place}: {reason}")]
    Refused { place: &'static str, reason: String },
}

/// Why a file gives no optimizer.
#[derive(Debug, thiserror::Error)]
pub enum NoRule {
    /// An optimizer or an option that this library does not have (yet).
    #[error("{0}")]
    Unsupported(String),
    /// A known option with a value that it cannot have.
    #[error(transparent)]
    Invalid(#[from] LoadError),
}

/// A recorded run: the configuration, and for each tensor its start, its gradients and where it went.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// The path that it was read from.
    pub file: String,
    /// The file's name without `.CASE.safetensors`.
    pub name: String,
    /// What the gradients and rates are like; may be empty.
    pub case: String,
    /// Which implementation was recorded; may be empty.
    pub source: String,
    /// Canonical name of the optimizer.
    pub optimizer: String,
    /// Its options.
    pub options: Map<String, Value>,
    /// The learning rate of each step.
    pub lr: Vec<f64>,
    /// At least one, together of at least one element.
    pub tensors: Vec<Recorded>,
}

/// One tensor of a recorded run. Every number is finite as an `f32`.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Unique in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its parameters before the first step.
    pub init: Vec<f32>,
    /// Its gradients, all steps one behind the other.
    pub grads: Vec<f32>,
    /// Its parameters after each step, one behind the other.
    pub params: Vec<f64>,
}

impl Recorded {
    /// The gradient of a step, counted from 0.
    pub fn grad(&self, step: usize) -> &[f32] {
        &self.grads[step * self.init.len()..][..self.init.len()]
    }

    /// The parameters after a step, counted from 0.
    pub fn param(&self, step: usize) -> &[f64] {
        &self.params[step * self.init.len()..][..self.init.len()]
    }
}

impl Trajectory {
    /// Reads a file.
    ///
    /// # Errors
    /// [`LoadError`]; nothing large is allocated before the sizes were checked.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let file = path.display().to_string();
        let bytes = read_bounded(path).map_err(|problem| LoadError { file: file.clone(), problem })?;
        Self::parse(&file, &bytes)
    }

    /// A trajectory from the contents of `file`.
    ///
    /// # Errors
    /// As [`read`](Trajectory::read).
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        parse(file, bytes).map_err(|problem| LoadError { file: file.into(), problem })
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.lr.len()
    }

    /// The rule of the first step and what stands around it. **The one place that knows what can be replayed**: whatever
    /// stands in `optimizer` and `options` is either turned into it here, or is unsupported.
    ///
    /// # Errors
    /// [`NoRule`].
    pub fn setup(&self) -> Result<Setup, NoRule> {
        let invalid = |place, error: &dyn std::fmt::Display| {
            let problem = Problem::Refused { place, reason: error.to_string() };
            LoadError { file: self.file.clone(), problem }
        };
        let name = &self.optimizer;
        let Ok(default) = AnyRule::named(name) else {
            return Err(NoRule::Unsupported(format!("optimizer '{}'", shorten(name))));
        };
        let known = default.rule().to_json();
        let around = serde_json::to_value(Wrappers::default()).unwrap_or_default();
        let unknown = |option: &&String| known.get(option).is_none() && around.get(option).is_none();
        if let Some(option) = self.options.keys().find(unknown) {
            return Err(NoRule::Unsupported(format!("option '{}' of '{name}'", shorten(option))));
        }
        let mut options = self.options.clone();
        options.insert("optimizer".into(), name.as_str().into());
        let mut setup =
            Setup::from_options(options).map_err(|error| invalid("metadata 'options'", &error))?;
        // All are checked before anything runs; what is left is the first step's.
        for lr in self.lr.iter().rev() {
            setup.rule.set("lr", *lr).map_err(|error| invalid("metadata 'lr'", &error))?;
        }
        Ok(setup)
    }

    /// The largest distance of any parameter from its start, after any step.
    pub fn displacement(&self) -> f64 {
        let mut largest = 0f64;
        for tensor in &self.tensors {
            for step in 0..self.steps() {
                for (param, init) in tensor.param(step).iter().zip(&tensor.init) {
                    largest = largest.max((param - f64::from(*init)).abs());
                }
            }
        }
        largest
    }

    /// The largest magnitude of any parameter, before or after any step.
    pub fn largest(&self) -> f64 {
        let inits = self.tensors.iter().flat_map(|tensor| &tensor.init).map(|x| f64::from(*x));
        let params = self.tensors.iter().flat_map(|tensor| &tensor.params).copied();
        inits.chain(params).fold(0.0, |largest, x| largest.max(x.abs()))
    }
}

/// The contents of a regular file whose sizes are within the limits.
fn read_bounded(path: &Path) -> Result<Vec<u8>, Problem> {
    let io = |error: std::io::Error| Problem::Io(error.to_string());
    // Before opening: opening a pipe waits for its writer.
    let about = std::fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        return Err(Problem::Io("it is not a regular file".into()));
    }
    let mut file = File::open(path).map_err(io)?;
    let mut bytes = vec![];
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(io)?;
    check_sizes(&bytes, about.len())?;
    // It may have grown since.
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Checks the length of the header, which the file's first 8 bytes give, and of the file.
fn check_sizes(head: &[u8], file: u64) -> Result<(), Problem> {
    if file > MAX_FILE {
        return Err(Problem::TooLarge { what: "the file", bytes: file, limit: MAX_FILE });
    }
    let Some(length) = head.first_chunk::<8>() else {
        return Err(Problem::Container(format!("it has {} bytes; the header's length takes 8", head.len())));
    };
    let header = u64::from_le_bytes(*length);
    if header > MAX_HEADER {
        return Err(Problem::TooLarge { what: "the header", bytes: header, limit: MAX_HEADER });
    }
    let rest = file.saturating_sub(8);
    if header > rest {
        return Err(Problem::Container(format!("a header of {header} bytes is announced, {rest} follow")));
    }
    Ok(())
}

fn parse(file: &str, bytes: &[u8]) -> Result<Trajectory, Problem> {
    check_sizes(bytes, bytes.len() as u64)?;
    let container = |error: safetensors::SafeTensorError| Problem::Container(error.to_string());
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(container)?;
    let none = HashMap::new();
    let fields = Fields(metadata.metadata().as_ref().unwrap_or(&none));

    fields.expect("format", FORMAT, |text| (text == FORMAT).then_some(()))?;
    let steps = fields.expect("steps", "an integer of at least 1", |text| text.parse::<usize>().ok())?;
    let lr: Vec<f64> = fields.json("lr", "a JSON list of numbers")?;
    if lr.len() != steps || steps == 0 {
        let value = format!("a list of {}", lr.len());
        return Err(wrong("metadata 'lr'", value, format!("one rate for each of {steps} steps, at least 1")));
    }
    let options: Map<String, Value> = fields.json("options", "a JSON object")?;
    if options.contains_key("optimizer") {
        return Err(wrong("option 'optimizer'", "given", "left out: it is a metadata field of its own"));
    }
    let names: Vec<String> = fields.json("tensors", "a JSON list of names")?;
    let listed: HashSet<&str> = names.iter().map(String::as_str).collect();
    if listed.len() != names.len() {
        return Err(wrong("metadata 'tensors'", "a list with a name twice", "a list of different names"));
    }
    // A tensor that was recorded and is not compared would be a hole that nobody sees.
    for recorded in metadata.offset_keys() {
        let role = recorded.split_once('.').filter(|(role, _)| ["init", "grad", "param"].contains(role));
        if role.is_some_and(|(_, name)| !listed.contains(name)) {
            let place = format!("tensor '{}'", shorten(&recorded));
            return Err(wrong(place, "recorded", "listed in metadata 'tensors'"));
        }
    }

    let data = bytes.get(8 + header..).unwrap_or_default();
    let find = |name: &str| metadata.info(name).map(|info| Stored { name: name.into(), info, data });
    let require = |name: String| match find(&name) {
        Some(stored) => Ok(stored),
        None => Err(Problem::Missing { place: format!("tensor '{}'", shorten(&name)) }),
    };
    let tensors = names.iter().map(|name| {
        let init = require(format!("init.{name}"))?;
        let shape = init.info.shape.clone();
        let all_steps: Vec<usize> = std::iter::once(steps).chain(shape.iter().copied()).collect();
        Ok(Recorded {
            name: name.clone(),
            init: init.decode(Dtype::F32, &shape, f32::from_le_bytes)?,
            grads: require(format!("grad.{name}"))?.decode(Dtype::F32, &all_steps, f32::from_le_bytes)?,
            params: require(format!("param.{name}"))?.decode(Dtype::F64, &all_steps, f64::from_le_bytes)?,
            shape,
        })
    });
    let tensors = tensors.collect::<Result<Vec<_>, Problem>>()?;
    if tensors.iter().all(|tensor| tensor.init.is_empty()) {
        return Err(wrong("the number of elements of all tensors", "0", "at least 1"));
    }

    let case = fields.0.get("case").cloned().unwrap_or_default();
    let stem = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_suffix(".safetensors").unwrap_or(&stem);
    let name = stem.strip_suffix(&case).and_then(|stem| stem.strip_suffix('.')).unwrap_or(stem);
    Ok(Trajectory {
        file: file.into(),
        name: name.into(),
        source: fields.0.get("source").cloned().unwrap_or_default(),
        optimizer: fields.text("optimizer")?.into(),
        case,
        options,
        lr,
        tensors,
    })
}

/// The metadata strings.
struct Fields<'a>(&'a HashMap<String, String>);

impl Fields<'_> {
    fn text(&self, field: &str) -> Result<&str, Problem> {
        let missing = || Problem::Missing { place: format!("metadata '{field}'") };
        self.0.get(field).map(String::as_str).ok_or_else(missing)
    }

    fn expect<T>(
        &self,
        field: &str,
        expected: &str,
        convert: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let text = self.text(field)?;
        let refused = || wrong(format!("metadata '{field}'"), format!("'{}'", shorten(text)), expected);
        convert(text).ok_or_else(refused)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, field: &str, expected: &str) -> Result<T, Problem> {
        self.expect(field, expected, |text| serde_json::from_str(text).ok())
    }
}

/// A tensor in the file.
struct Stored<'a> {
    name: String,
    info: &'a TensorInfo,
    data: &'a [u8],
}

impl Stored<'_> {
    /// Its elements, of `N` bytes each, if type and shape are the expected ones and all are finite.
    fn decode<T: Copy + Into<f64>, const N: usize>(
        &self,
        dtype: Dtype,
        shape: &[usize],
        from_bytes: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Problem> {
        let name = shorten(&self.name);
        if self.info.dtype != dtype {
            let value = format!("{:?}", self.info.dtype);
            return Err(wrong(format!("the dtype of tensor '{name}'"), value, format!("{dtype:?}")));
        }
        if self.info.shape != shape {
            let text = |shape: &[usize]| shorten(&format!("{shape:?}"));
            let place = format!("the shape of tensor '{name}'");
            return Err(wrong(place, text(&self.info.shape), text(shape)));
        }
        // The container has checked that the bytes are there and as many as type and shape take.
        let (start, end) = self.info.data_offsets;
        let (elements, _) = self.data.get(start..end).unwrap_or_default().as_chunks::<N>();
        let values: Vec<T> = elements.iter().map(|bytes| from_bytes(*bytes)).collect();
        let infinite = |x: &T| !((*x).into() as f32).is_finite();
        if let Some(i) = values.iter().position(infinite) {
            let value: f64 = values[i].into();
            let place = format!("element {i} of tensor '{name}'");
            return Err(wrong(place, value.to_string(), "finite as f32, or nothing can be compared with it"));
        }
        Ok(values)
    }
}

fn wrong(place: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Problem {
    Problem::Wrong { place: place.into(), value: value.into(), expected: expected.into() }
}

/// At most 60 characters, for messages, without line breaks and control characters.
fn shorten(text: &str) -> String {
    let mut characters = text.chars().flat_map(char::escape_debug);
    let mut short: String = characters.by_ref().take(60).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}
