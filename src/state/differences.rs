//! How a state differs from the optimizer that is to take it.

use super::{OptimizerState, refused};
use crate::error::Error;
use crate::program::{Clock, Program};
use crate::rule::Config;
use serde_json::Value;
use std::collections::BTreeMap;

/// Differences, in words.
pub(super) struct Differences(Vec<String>);

impl Differences {
    /// None so far.
    ///
    /// # Errors
    /// [`Error::State`] of another rule, or other wrappers: nothing of it would mean the same.
    pub fn of<C: Config>(state: &OptimizerState, program: &Program, clock: &Clock<C>) -> Result<Self, Error> {
        let about = &state.about;
        if about.optimizer != program.optimizer {
            let (its, ours) = (&about.optimizer, &program.optimizer);
            return Err(refused(format!("it is one of '{its}', not of this '{ours}'")));
        }
        let (its, ours) = (about.wrappers.names().join(", "), program.wrappers.join(", "));
        if its != ours {
            return Err(refused(format!("it is one with the wrappers [{its}], not [{ours}]")));
        }
        for (what, its, ours) in [
            ("tensors count their own steps", state.has_own_steps(), !program.rows.owners.is_empty()),
            ("rows count their own steps", about.ends, program.rows.ends),
        ] {
            if its != ours {
                let where_they = if its { "in it, and not here" } else { "here, and not in it" };
                return Err(refused(format!("{what} {where_they}")));
            }
        }
        about
            .wrappers
            .only_numbers_changed(clock.wrappers())
            .and_then(|()| about.wrappers.validate())
            .map_err(|refusal| refused(refusal.to_string()))?;
        Ok(Self(vec![]))
    }

    pub fn add(&mut self, difference: String) {
        self.0.push(difference);
    }

    pub fn into_list(self) -> Vec<String> {
        self.0
    }

    /// The groups with the numbers of the state, if there are as many.
    pub fn groups<C: Config>(
        &mut self,
        state: &OptimizerState,
        program: &Program,
        clock: &Clock<C>,
    ) -> Option<Vec<C>> {
        let about = &state.about;
        let names: Vec<&String> = about.groups.iter().map(|group| &group.name).collect();
        if !names.iter().copied().eq(&program.groups) {
            let (its, ours) = (join(names), program.groups.join(", "));
            self.add(format!("the groups are [{its}] in the state, [{ours}] here"));
            return None;
        }
        let mut groups = clock.groups().to_vec();
        for (group, saved) in groups.iter_mut().zip(&about.groups) {
            let rule = group.rule_mut();
            rule.numbers(&mut |name, number, _| {
                if let Some(saved) = saved.options.get(name).and_then(Value::as_f64) {
                    *number = saved;
                }
            });
            let (its, ours) = (&saved.options, rule.to_json());
            if *its != ours {
                let different = differing(its, &ours);
                self.add(format!("group '{}' has {different}", saved.name));
            }
            if let Err(refusal) = rule.validate() {
                self.add(format!("group '{}': {refusal}", saved.name));
                return None;
            }
        }
        Some(groups)
    }

    /// The names of the tensors that are the same in both.
    pub fn tensors<'a>(&mut self, state: &OptimizerState, program: &'a Program) -> Vec<&'a str> {
        let saved: BTreeMap<&str, _> =
            state.about.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut same = vec![];
        for tensor in &program.tensors {
            match saved.get(tensor.name.as_str()) {
                None => self.add(format!("tensor '{}' is not in the state", tensor.name)),
                Some(saved) if saved.shape != tensor.shape => self.add(format!(
                    "tensor '{}' has shape {:?} in the state, {:?} here",
                    tensor.name, saved.shape, tensor.shape
                )),
                Some(saved) => {
                    same.push(tensor.name.as_str());
                    if saved.group != tensor.group {
                        let (its, ours) = (saved.group, tensor.group);
                        self.add(format!(
                            "tensor '{}' is of group {its} in the state, of {ours} here",
                            tensor.name
                        ));
                    }
                }
            }
        }
        for name in saved.keys() {
            if !program.tensors.iter().any(|tensor| tensor.name == *name) {
                self.add(format!("tensor '{name}' of the state is not here"));
            }
        }
        same
    }
}

/// The options that differ, with both values.
fn differing(its: &Value, ours: &Value) -> String {
    let empty = serde_json::Map::new();
    let (its, ours) = (its.as_object().unwrap_or(&empty), ours.as_object().unwrap_or(&empty));
    let keys = its.keys().chain(ours.keys().filter(|key| !its.contains_key(*key)));
    let both = keys.filter(|key| its.get(*key) != ours.get(*key)).map(|key| {
        let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
        format!("{key} = {} in the state, {} here", text(its.get(key)), text(ours.get(key)))
    });
    both.collect::<Vec<_>>().join(", ")
}

fn join(names: Vec<&String>) -> String {
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
