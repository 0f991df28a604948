//! The tests of GPUs in the library's `tests` folder, as they stand there, for a page to run: `collect`, then for each
//! index `name` and `run`. See `run.js`.
#![allow(dead_code)] // a page has no `main` and no command line

use wasm_bindgen::prelude::*;

#[path = "../../tests/counting.rs"]
mod counting;
#[path = "../../tests/decay.rs"]
mod decay;
#[path = "../../tests/evaluation_weights.rs"]
mod evaluation_weights;
#[path = "../../tests/golden.rs"]
mod golden;
#[path = "../../tests/gpu_matches_reference.rs"]
mod gpu_matches_reference;
#[path = "../../tests/lost_steps.rs"]
mod lost_steps;
#[path = "../../tests/norms.rs"]
mod norms;
#[path = "../../tests/resting.rs"]
mod resting;
#[path = "../../tests/row_masks.rs"]
mod row_masks;
#[path = "../../tests/skipping.rs"]
mod skipping;

#[wasm_bindgen]
unsafe extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn report(message: &str);
}

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| report(&format!("panic: {panic}"))));
}

/// Collects the trials of all files: how many there are. Called as `promising`, since it asks for adapters.
#[unsafe(no_mangle)]
pub extern "C" fn collect() -> u32 {
    for main in [
        gpu_matches_reference::main,
        golden::main,
        norms::main,
        skipping::main,
        counting::main,
        decay::main,
        lost_steps::main,
        evaluation_weights::main,
        resting::main,
        row_masks::main,
    ] {
        main();
    }
    libtest_mimic::count() as u32
}

/// Runs a trial: 0 if it passed, 1 if it failed, 2 if there is none or it is to be left out. A panic is a trap. Called as
/// `promising`.
#[unsafe(no_mangle)]
pub extern "C" fn run(index: u32) -> u32 {
    match libtest_mimic::take(index as usize) {
        Some(trial) if !trial.is_ignored() => match trial.failure() {
            None => 0,
            Some(message) => {
                report(&message);
                1
            }
        },
        _ => 2,
    }
}

/// A trial's name, before it runs.
#[wasm_bindgen]
pub fn name(index: u32) -> String {
    libtest_mimic::name(index as usize)
}
