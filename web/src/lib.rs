//! The core for a page: what to make on its device, and what to write before each step. Knows no WebGPU; `ts/` does.
//!
//! What is small and asked for once crosses as JSON, what crosses in every step as numbers and views of bytes.

#[cfg(feature = "validate")]
mod check;
mod moves;
mod state;

use serde_json::json;
use wasm_bindgen::prelude::*;
use wgpu_optim::program::{Limits, Program, Tensors};
use wgpu_optim::{Description, Error, Schedule};

/// An optimizer: its program and its clock.
#[wasm_bindgen]
pub struct Core {
    described: Description,
    /// What was asked for last.
    writes: Writes,
}

/// What to write where, as ranges of `bytes`.
#[derive(Default)]
struct Writes {
    places: Vec<(u32, u64, std::ops::Range<usize>)>,
    bytes: Vec<u8>,
}

impl Writes {
    fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    fn add(&mut self, buffer: u32, offset: u64, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.places.push((buffer, offset, start..self.bytes.len()));
    }
}

#[wasm_bindgen]
impl Core {
    /// From a description and the device's limits, both JSON; see `wgpu_optim::Description`.
    #[wasm_bindgen(constructor)]
    pub fn new(description: &str, limits: &str) -> Result<Core, JsError> {
        let limits: Limits = serde_json::from_str(limits)?;
        Ok(Self::of(Description::from_json(description, &limits).map_err(thrown)?))
    }

    /// What to make on the device, as JSON: buffers without their contents, modules, bindings, passes, and where everything is
    /// that has a name.
    pub fn plan(&self) -> String {
        plan(&self.described.tensors, &self.described.program).to_string()
    }

    /// What the buffers hold before the first step where that is not zero: [`Fills`] in the order of the buffers.
    pub fn fills(&self) -> Fills {
        Fills::of(&self.described.program)
    }

    /// The program's hash: equal on every host.
    pub fn hash(&self) -> String {
        format!("{:016x}", self.described.program.hash())
    }

    /// Makes the bytes of the next step; the dynamic offset of its record.
    pub fn next_step(&mut self) -> Result<u32, JsError> {
        self.writes.clear();
        let next = self.described.clock.next_step().map_err(thrown)?;
        next.writes().for_each(|write| self.writes.add(write.buffer, write.offset, write.bytes));
        Ok(next.record())
    }

    /// How many writes there are.
    pub fn writes(&self) -> usize {
        self.writes.places.len()
    }

    /// A write: buffer, byte in it, first byte and number of bytes in what [`bytes`](Core::bytes) points to.
    pub fn write(&self, index: usize) -> Box<[f64]> {
        let (buffer, offset, bytes) = &self.writes.places[index];
        Box::new([f64::from(*buffer), *offset as f64, bytes.start as f64, bytes.len() as f64])
    }

    /// Where the bytes are in the module's memory.
    pub fn bytes(&self) -> *const u8 {
        self.writes.bytes.as_ptr()
    }

    /// Steps recorded.
    pub fn recorded(&self) -> f64 {
        self.described.clock.recorded() as f64
    }

    /// How many steps may be recorded ahead of a submit.
    pub fn steps_ahead(&self) -> usize {
        self.described.clock.steps_ahead()
    }

    /// Whether it is time to read the device's count of steps.
    pub fn wants_count(&self) -> bool {
        self.described.clock.wants_count()
    }

    /// Learns the counts that were read where step number `recorded` began.
    pub fn observe(&mut self, recorded: f64, words: &[u32]) {
        self.described.clock.observe(recorded as u64, words);
    }

    /// Leaves a tensor out of the next step.
    pub fn skip(&mut self, tensor: usize) -> Result<(), JsError> {
        self.described.clock.skip(tensor).map_err(thrown)
    }

    /// Starts a tensor anew, or all of them; what to write is in `writes` then.
    pub fn reset(&mut self, tensor: Option<usize>) -> Result<(), JsError> {
        let words = self.described.reset(tensor).map_err(thrown)?;
        self.writes.clear();
        for (slice, words) in &words {
            self.writes.add(slice.buffer, slice.offset, bytemuck::cast_slice(words));
        }
        Ok(())
    }

    /// A group's rule, as JSON.
    pub fn group(&self, index: usize) -> Option<String> {
        use wgpu_optim::rule::Config;
        self.described.clock.groups().get(index).map(|rule| rule.rule().to_json().to_string())
    }

    /// Changes options of a group's rule, given as JSON.
    pub fn change_group(&mut self, index: usize, options: &str) -> Result<(), JsError> {
        self.described.change_group(index, options).map_err(thrown)
    }

    /// What stands around the rule, as JSON.
    pub fn wrappers(&self) -> Result<String, JsError> {
        Ok(serde_json::to_string(self.described.clock.wrappers())?)
    }

    /// Changes numbers of it, given as JSON.
    pub fn change_wrappers(&mut self, options: &str) -> Result<(), JsError> {
        self.described.change_wrappers(options).map_err(thrown)
    }
}

impl Core {
    fn of(described: Description) -> Self {
        Self { described, writes: Writes::default() }
    }
}

/// Words of buffers before the first step.
#[wasm_bindgen]
pub struct Fills(Vec<(u32, u64, Vec<u32>, u64)>);

#[wasm_bindgen]
impl Fills {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Buffer, byte in it, and how many times the words stand there.
    pub fn place(&self, index: usize) -> Box<[f64]> {
        let (buffer, at, _, times) = &self.0[index];
        Box::new([f64::from(*buffer), *at as f64, *times as f64])
    }

    /// The words.
    pub fn words(&self, index: usize) -> Vec<u32> {
        self.0[index].2.clone()
    }
}

impl Fills {
    fn of(program: &Program) -> Self {
        let of_buffer = |(index, buffer): (u32, &wgpu_optim::program::Buffer)| {
            let fill =
                move |fill: &wgpu_optim::program::Fill| (index, fill.at, fill.words.clone(), fill.times);
            buffer.contents.iter().map(fill).collect::<Vec<_>>()
        };
        Self((0..).zip(&program.buffers).flat_map(of_buffer).collect())
    }
}

/// What to make and where everything is.
fn plan(tensors: &Tensors, program: &Program) -> serde_json::Value {
    let buffer = |buffer: &wgpu_optim::program::Buffer| json!({"label": buffer.label, "size": buffer.size, "usage": buffer.usage, "filled": !buffer.contents.is_empty()});
    let given: Vec<bool> = tensors.buffers().iter().map(|arena| arena.is_made).collect();
    let tensor = |(index, tensor): (usize, &wgpu_optim::program::Tensor)| {
        let (param, grad) = tensors.places(tensor);
        let slots: serde_json::Map<String, serde_json::Value> = program
            .slot_names()
            .filter_map(|name| Some((name.to_string(), json!(program.slot(index, name)?))))
            .collect();
        json!({
            "name": tensor.name, "shape": tensor.shape, "group": tensor.group, "len": tensor.len,
            "param": param, "grad": grad, "slots": slots,
        })
    };
    json!({
        "optimizer": program.optimizer,
        "label": program.label,
        "groups": program.groups,
        "buffers": program.buffers.iter().map(buffer).collect::<Vec<_>>(),
        // Of the buffers of parameters and gradients, which come first: whether it is an arena, else the page's own.
        "arenas": given,
        "layouts": program.layouts,
        "modules": program.modules,
        "bindings": program.bindings,
        "passes": program.passes,
        "counts": program.rows.counts(),
        "rowMasks": program.row_masks.as_ref().map(|places| &places.masks),
        "tensors": tensors.tensors().iter().enumerate().map(tensor).collect::<Vec<_>>(),
        "readings": program.readings,
        "stateBytes": program.state_bytes(),
        "overheadBytes": program.overhead_bytes() + tensors.overhead_bytes(),
        "bytesPerParameter": program.bytes_per_parameter,
    })
}

/// A value at a step of a schedule that is given as JSON.
#[wasm_bindgen]
pub struct Curve(Schedule);

#[wasm_bindgen]
impl Curve {
    /// As `wgpu_optim::Schedule` reads it.
    #[wasm_bindgen(constructor)]
    pub fn new(json: &str) -> Result<Curve, JsError> {
        Ok(Self(serde_json::from_str(json)?))
    }

    /// The value at a step, 1 for the first.
    pub fn at(&self, step: f64) -> f64 {
        self.0.at(step as u64)
    }
}

/// The library's version.
#[wasm_bindgen]
pub fn version() -> String {
    wgpu_optim::VERSION.into()
}

/// Every name of an optimizer, presets included.
#[wasm_bindgen]
pub fn names() -> Vec<String> {
    wgpu_optim::rules::names().into_iter().map(Into::into).collect()
}

/// A rule and its options, with their defaults where `options` leaves them out; both JSON.
#[wasm_bindgen]
pub fn defaults(options: &str) -> Result<String, JsError> {
    let setup = wgpu_optim::rules::Setup::from_json(options).map_err(thrown)?;
    Ok(wgpu_optim::rule::Config::rule(&setup.rule).to_json().to_string())
}

fn thrown(error: Error) -> JsError {
    JsError::new(&error.to_string())
}
