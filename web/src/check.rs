//! Holding the page's device against the reference: what to run, what to read, and what may have come of it.

use crate::{Core, thrown};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wgpu_optim::Description;
use wgpu_optim::program::{Clock, Limits};
use wgpu_optim::validate::{self, Case, Poison, Probe, cases};

/// All cases, by index.
#[wasm_bindgen]
pub struct Cases(Vec<Case>);

#[wasm_bindgen]
impl Cases {
    /// Every variant of every rule, with each poison and with what may stand around it; `quick` has one of each rule.
    #[wasm_bindgen(constructor)]
    pub fn new(quick: bool) -> Cases {
        let mut last = String::new();
        let mut wanted = |case: &Case| {
            let first = std::mem::replace(&mut last, case.rule.name().into()) != case.rule.name();
            !quick || first && case.poison == Poison::None
        };
        Self(cases().filter(|case| wanted(case)).collect())
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The name of a case's rule.
    pub fn rule(&self, index: usize) -> String {
        self.0[index].rule.name().into()
    }

    /// Starts a case on a device with these limits. With `wrong`, a rule of which the step is 2 % too long, where there is
    /// such a mutant: to see that what is wrong is found.
    pub fn start(&self, index: usize, limits: &str, wrong: bool) -> Result<Trial, JsError> {
        let limits: Limits = serde_json::from_str(limits)?;
        let mut case = self.0[index].clone();
        if wrong {
            let spec = wgpu_optim::rule::Config::rule(&case.rule).spec();
            let mutant = spec.mutants.iter().find(|mutant| mutant.name == "step x 1.02");
            case.wgsl = mutant.map(|mutant| spec.wgsl.replace(mutant.find, mutant.replace));
        }
        Ok(Trial { trial: validate::Trial::new(&case, &limits).map_err(thrown)?, gradients: vec![] })
    }
}

/// A case in progress.
#[wasm_bindgen]
pub struct Trial {
    trial: validate::Trial,
    gradients: Vec<Vec<f32>>,
}

#[wasm_bindgen]
impl Trial {
    /// The optimizer that the page is to run.
    pub fn core(&self) -> Result<Core, JsError> {
        let (tensors, program) = (self.trial.tensors().clone(), self.trial.program().clone());
        let clock =
            Clock::new(&program, self.trial.rules().clone(), self.trial.wrappers()).map_err(thrown)?;
        let limits = program.limits();
        Ok(Core::of(Description { tensors, program, clock, limits }))
    }

    /// A tensor's parameters before the first step.
    pub fn parameters(&self, tensor: usize) -> Vec<f32> {
        self.trial.parameters().swap_remove(tensor)
    }

    /// Goes on to the next step; false at the end.
    pub fn next(&mut self) -> bool {
        let next = self.trial.gradients();
        let there = next.is_some();
        self.gradients = next.unwrap_or_default();
        there
    }

    /// A tensor's gradients for this step.
    pub fn gradients(&self, tensor: usize) -> Vec<f32> {
        self.gradients[tensor].clone()
    }

    /// What to read before the first step and after each, as JSON.
    pub fn slices(&self) -> Result<String, JsError> {
        Ok(serde_json::to_string(self.trial.slices())?)
    }

    /// Looks at these words.
    pub fn see(&mut self, words: &[f32]) -> Result<(), JsError> {
        self.trial.see(words).map_err(thrown)
    }

    /// What came of it so far, as JSON.
    pub fn verdict(&self) -> Result<String, JsError> {
        Ok(serde_json::to_string(self.trial.verdict())?)
    }
}

/// The kernels that probe a device, as JSON.
#[wasm_bindgen]
pub fn probe_kernels() -> String {
    json!({"wgsl": Probe::WGSL, "kernels": Probe::KERNELS, "around": Probe::AROUND}).to_string()
}

/// What they read.
#[wasm_bindgen]
pub fn probe_numbers() -> Vec<f32> {
    Probe::numbers().concat()
}

/// What their results say, given one behind the other: the probe as JSON, with `conforms`.
#[wasm_bindgen]
pub fn probe_of(results: &[f32]) -> Result<String, JsError> {
    let all: Vec<[f32; 4]> = results.chunks_exact(4).map(|x| [x[0], x[1], x[2], x[3]]).collect();
    let quarter = all.len() / 4;
    let buffer = |index: usize| &all[index * quarter..(index + 1) * quarter];
    let probe = Probe::of([buffer(0), buffer(1), buffer(2), buffer(3)]).map_err(thrown)?;
    let mut json = serde_json::to_value(&probe)?;
    json["conforms"] = probe.conforms().into();
    Ok(json.to_string())
}

/// The version of verdicts and probes.
#[wasm_bindgen]
pub fn check_version() -> u32 {
    validate::VERSION
}

/// For every rule the options that train a small network from scratch, as JSON.
#[wasm_bindgen]
pub fn examples() -> String {
    let entry = |entry: &wgpu_optim::rules::Entry| {
        (entry.name.to_string(), wgpu_optim::rule::Config::rule(&(entry.example)()).to_json())
    };
    serde_json::Value::Object(wgpu_optim::rules::REGISTRY.iter().map(entry).collect()).to_string()
}
