//! States as safetensors bytes: the same files as in Rust, so that a run goes on wherever it likes.

use crate::{Core, thrown};
use wasm_bindgen::prelude::*;
use wgpu_optim::program::{Place, Slice};
use wgpu_optim::{Description, OptimizerState};

/// Bytes of an element.
const ELEMENT: u64 = 4;

/// What a state is made from: an optimizer as it was when the page recorded the copies.
#[wasm_bindgen]
pub struct Snapshot(Description);

/// Where parameters are, and gradients where a sum of micro-batches may be in them; with the names that a state has for them.
fn given(described: &Description) -> Vec<(String, Slice)> {
    let gradients = described.clock.wrappers().grad_accumulation_steps.is_some();
    let mut given = vec![];
    for tensor in described.tensors.tensors() {
        let (param, grad) = described.tensors.places(tensor);
        let slice = |place: Place| Slice {
            buffer: place.buffer as u32,
            offset: place.offset,
            size: ELEMENT * tensor.len as u64,
        };
        given.push((format!("param/{}", tensor.name), slice(param)));
        if gradients {
            given.push((format!("grad/{}", tensor.name), slice(grad)));
        }
    }
    given
}

#[wasm_bindgen]
impl Core {
    /// The optimizer as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.described.clone())
    }

    /// Goes on from a state. What to write is in `writes` then; what was left out, as JSON, is the result.
    pub fn load(&mut self, bytes: &[u8], strict: bool) -> Result<String, JsError> {
        let state = OptimizerState::from_safetensors(bytes).map_err(thrown)?;
        let mut params = vec![];
        for (name, slice) in given(&self.described) {
            match state.get(&name) {
                Some(words) if words.len() as u64 * ELEMENT == slice.size => params.push((slice, words)),
                Some(words) => {
                    let needed = slice.size / ELEMENT;
                    return Err(JsError::new(&format!(
                        "the state is refused: '{name}' has {} elements in it, {needed} here",
                        words.len()
                    )));
                }
                None => {}
            }
        }
        let Description { program, clock, .. } = &mut self.described;
        let restored = state.restore(program, clock, strict).map_err(thrown)?;
        self.writes.clear();
        let own = restored.writes.iter().map(|(slice, words)| (*slice, &words[..]));
        for (slice, words) in own.chain(params) {
            self.writes.add(slice.buffer, slice.offset, bytemuck::cast_slice(words));
        }
        Ok(serde_json::to_string(&restored.left)?)
    }
}

#[wasm_bindgen]
impl Snapshot {
    /// What to read, one behind the other: buffer, byte and number of bytes of each slice.
    pub fn slices(&self) -> Vec<f64> {
        let own = OptimizerState::kept(&self.0.program).into_iter().flat_map(|kept| kept.slices);
        let all = own.chain(given(&self.0).into_iter().map(|(_, slice)| slice));
        all.flat_map(|slice| [f64::from(slice.buffer), slice.offset as f64, slice.size as f64]).collect()
    }

    /// The state, of the words that were read.
    pub fn state(&self, words: &[u32]) -> Result<Vec<u8>, JsError> {
        let given = given(&self.0);
        let theirs: u64 = given.iter().map(|(_, slice)| slice.size / ELEMENT).sum();
        let own =
            words.len().checked_sub(theirs as usize).ok_or_else(|| JsError::new("words are missing"))?;
        let (own, mut rest) = words.split_at(own);
        let mut state = OptimizerState::new(&self.0.program, &self.0.clock, own).map_err(thrown)?;
        for (name, slice) in given {
            let (words, after) = rest.split_at((slice.size / ELEMENT) as usize);
            state.insert(&name, words.to_vec()).map_err(thrown)?;
            rest = after;
        }
        state.to_safetensors().map_err(thrown)
    }
}
