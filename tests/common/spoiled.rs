//! A small trajectory file to spoil, and what must hold when any bytes are loaded as one: for
//! `malformed_trajectories.rs`, whose allocator this also is.

use super::comparison::on_reference;
use super::trajectory::{FORMAT, MAX_HEADER, Trajectory};
use safetensors::Dtype;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

thread_local! {
    /// The largest single request of this thread, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watched;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// What `run` returns, and the largest allocation that it asked for.
pub fn watched<T>(run: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.with(|largest| largest.set(0));
    let result = run();
    (result, LARGEST.with(Cell::get))
}

pub const STEPS: usize = 3;

/// A file to spoil: its metadata and its tensors (name, type, shape, bytes).
#[derive(Clone)]
pub struct Parts {
    pub metadata: BTreeMap<String, String>,
    pub tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    /// A valid one: SGD on a 2 x 2 matrix and a scalar.
    pub fn valid() -> Self {
        let metadata = [
            ("format", FORMAT),
            ("optimizer", "sgd"),
            ("options", r#"{"momentum": 0.9}"#),
            ("lr", "[0.1, 0.2, 0.3]"),
            ("steps", "3"),
            ("tensors", r#"["w", "b"]"#),
            ("source", "nobody"),
            ("case", "const"),
        ];
        let f32s = |count: usize| (0..count).flat_map(|i| (i as f32 + 0.5).to_le_bytes()).collect();
        let f64s = |count: usize| (0..count).flat_map(|i| (i as f64 + 0.25).to_le_bytes()).collect();
        let mut tensors = vec![];
        for (name, shape) in [("w", vec![2, 2]), ("b", vec![])] {
            let len: usize = shape.iter().product();
            let all_steps: Vec<usize> = [vec![STEPS], shape.clone()].concat();
            tensors.push((format!("init.{name}"), Dtype::F32, shape, f32s(len)));
            tensors.push((format!("grad.{name}"), Dtype::F32, all_steps.clone(), f32s(STEPS * len)));
            tensors.push((format!("param.{name}"), Dtype::F64, all_steps, f64s(STEPS * len)));
        }
        let own = |(field, value): (&str, &str)| (field.to_owned(), value.to_owned());
        Self { metadata: metadata.map(own).into(), tensors }
    }

    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.metadata.insert(field.into(), value.into());
        self
    }

    pub fn without(mut self, field: &str) -> Self {
        self.metadata.remove(field).unwrap();
        self
    }

    /// Changes one tensor.
    pub fn tensor(
        mut self,
        name: &str,
        change: impl FnOnce(&mut (String, Dtype, Vec<usize>, Vec<u8>)),
    ) -> Self {
        change(self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap());
        self
    }

    /// The file; the same bytes every time, so that a failure can be repeated.
    pub fn bytes(&self) -> Vec<u8> {
        let mut header = serde_json::json!({ "__metadata__": self.metadata });
        let mut data = vec![];
        for (name, dtype, shape, bytes) in &self.tensors {
            let start = data.len();
            data.extend(bytes);
            let offsets = [start, data.len()];
            header[name] = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        }
        let header = header.to_string();
        raw(header.len() as u64, &header, &data)
    }
}

/// A header of `length` bytes as announced, `header` as it is, and `rest` behind it.
pub fn raw(length: u64, header: &str, rest: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), header.as_bytes(), rest].concat()
}

/// Loads, and holds what must hold for any bytes.
pub fn load(bytes: &[u8]) -> Result<Trajectory, String> {
    let (result, largest) = watched(|| Trajectory::parse("spoiled.safetensors", bytes));
    // The numbers as they are, and the header in the parser's own terms.
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    let header = header.min(MAX_HEADER).min(bytes.len() as u64) as usize;
    let justified = bytes.len() + 32 * header + 4096;
    assert!(largest <= justified, "{largest} bytes at once for a file of {}", bytes.len());
    match result {
        Ok(trajectory) => {
            let elements: usize = trajectory.tensors.iter().map(|tensor| tensor.init.len()).sum();
            assert!(trajectory.steps() > 0 && elements > 0, "an empty comparison proves nothing");
            let last = trajectory.steps() - 1;
            for tensor in &trajectory.tensors {
                let len = tensor.shape.iter().product::<usize>();
                assert_eq!(
                    (tensor.init.len(), tensor.grad(last).len(), tensor.param(last).len()),
                    (len, len, len)
                );
            }
            // What was accepted can be replayed: to a verdict or a refusal, not to a panic.
            match trajectory.setup() {
                Ok(rule) => assert!(!on_reference(&trajectory, &rule).unwrap().share.is_nan()),
                Err(reason) => assert!(reason.to_string().len() < 1000, "{reason}"),
            }
            Ok(trajectory)
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("spoiled.safetensors: "), "{message}");
            assert!(message.len() < 1000, "a message of {} bytes", message.len());
            Err(message)
        }
    }
}

/// Loading fails with a message that has all of `parts`.
#[track_caller]
pub fn refused(bytes: &[u8], parts: &[&str]) {
    let message = load(bytes).expect_err("this must be refused");
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}
