//! A run taken over by another set of tensors: what the page has to copy and to dispatch.

use crate::{Core, thrown};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wgpu_optim::AnyRule;
use wgpu_optim::program::Clock;
use wgpu_optim::state::{Bound, Change, GATHER_ENTRY_POINT, List, Moves, Taken};

/// How the new tensors differ from the old ones, where names and shapes do not say it.
#[wasm_bindgen]
#[derive(Default)]
pub struct Changes(Vec<Change>);

#[wasm_bindgen]
impl Changes {
    /// None.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tensor takes over these rows of `from`.
    pub fn rows(&mut self, tensor: String, from: String, rows: Vec<u32>) {
        self.take(tensor, from, List::Rows(rows));
    }

    /// A tensor takes over the rows of `from` that the page's list of this number names.
    pub fn rows_on_device(&mut self, tensor: String, from: String, list: usize) {
        self.take(tensor, from, List::OnDevice(list));
    }

    /// A tensor starts anew.
    pub fn anew(&mut self, tensor: String) {
        self.0.push(Change { tensor, from: None });
    }
}

impl Changes {
    fn take(&mut self, tensor: String, from: String, rows: List) {
        self.0.push(Change { tensor, from: Some(Taken { tensor: from, rows }) });
    }
}

/// What to do, and the clock to go on with.
#[wasm_bindgen]
pub struct TakeOver {
    moves: Moves,
    clock: Clock<AnyRule>,
}

#[wasm_bindgen]
impl TakeOver {
    /// Copies and passes, as JSON.
    pub fn plan(&self) -> String {
        let Moves { copies, passes, .. } = &self.moves;
        let list = |list: &Bound| match list {
            Bound::Lists(offset, size) => json!({"offset": offset, "size": size}),
            Bound::OnDevice(number) => json!({"number": number}),
        };
        let pass = |pass: &wgpu_optim::state::Gather| {
            json!({
                "wgsl": pass.wgsl, "list": list(&pass.list), "rows": pass.rows, "from": pass.from, "to": pass.to,
                "workgroups": pass.workgroups,
            })
        };
        json!({
            "copies": copies,
            "passes": passes.iter().map(pass).collect::<Vec<_>>(),
            "entryPoint": GATHER_ENTRY_POINT,
        })
        .to_string()
    }

    /// The lists that passes bind, one behind the other.
    pub fn lists(&self) -> Vec<u32> {
        self.moves.lists.clone()
    }

    /// The chunks of a pass.
    pub fn chunks(&self, pass: usize) -> Vec<u32> {
        self.moves.passes[pass].chunks.as_flattened().to_vec()
    }
}

#[wasm_bindgen]
impl Core {
    /// What takes over from another set of tensors. Nothing is changed.
    pub fn moves_from(&self, old: &Core, changes: &Changes) -> Result<TakeOver, JsError> {
        let (moves, clock) = self.described.moves_from(&old.described, &changes.0).map_err(thrown)?;
        Ok(TakeOver { moves, clock })
    }

    /// It is recorded: from here on the run is this optimizer's.
    pub fn go_on(&mut self, taken: &TakeOver) {
        self.described.clock = taken.clock.clone();
    }
}
