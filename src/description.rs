//! An optimizer and its tensors as one JSON object describes them: for hosts in other languages, which have no types of
//! ours.

use crate::error::Error;
use crate::program::{
    Clock, Declared, Limits, Options, Packing, Place, Program, RowMasks, Shape, Slice, Tensors,
};
use crate::rule::{AnyRule, Config};
use crate::rules::Setup;
use crate::state::{Change, Moves, Side};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A program with its tensors and its clock, made from one JSON object:
///
/// ```
/// use wgpu_optim::{Description, program::Limits};
/// let described = Description::from_json(
///     r#"{
///         "optimizer": "adamw", "lr": 3e-4, "max_grad_norm": 1,
///         "groups": [{"name": "decay"}, {"name": "no_decay", "weight_decay": 0}],
///         "tensors": [
///             {"name": "weight", "shape": [784, 10], "group": "decay"},
///             {"name": "bias", "shape": [10], "group": "no_decay"}
///         ]
///     }"#,
///     &Limits::default(),
/// )?;
/// assert_eq!(described.clock.groups()[1].get("weight_decay"), Some(0.0));
/// assert_eq!(described.tensors.elements(), 7850);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// `optimizer` and every option of the rule and of [`Wrappers`](crate::Wrappers) stand at the top, as
/// [`Setup::from_json`](crate::rules::Setup::from_json) reads them. Beside them:
///
/// | key | what |
/// |---|---|
/// | `tensors` | `{"name", "shape", "group", "param", "grad"}`: the name of a group, by default the first; places `{"buffer", "offset"}` in the host's own buffers, in bytes, both or neither |
/// | `groups` | `{"name", …}` with options of the rule that differ for this group; by default one, called `all` |
/// | `buffers` | sizes in bytes of the host's own buffers, which places count from 0 |
/// | `packing` | [`Packing`], `bindable` or `tight` |
/// | `label`, `shape`, `tile`, `state_buffers`, `steps_ahead`, `own_steps`, `row_masks` | as in [`Options`] |
#[derive(Debug, Clone)]
pub struct Description {
    /// The tensors, laid out.
    pub tensors: Tensors,
    /// What the device runs.
    pub program: Program,
    /// The host's side of the steps.
    pub clock: Clock<AnyRule>,
    /// Of the device that it is for.
    pub limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    tensors: Vec<DescribedTensor>,
    /// Each with its name among its options.
    #[serde(default)]
    groups: Vec<Map<String, Value>>,
    #[serde(default)]
    buffers: Vec<u64>,
    #[serde(default)]
    packing: Packing,
    label: Option<String>,
    shape: Option<Shape>,
    tile: Option<u32>,
    state_buffers: Option<usize>,
    steps_ahead: Option<u32>,
    #[serde(default)]
    own_steps: bool,
    row_masks: Option<RowMasks>,
}

const KEYS: [&str; 11] = [
    "tensors",
    "groups",
    "buffers",
    "packing",
    "label",
    "shape",
    "tile",
    "state_buffers",
    "steps_ahead",
    "own_steps",
    "row_masks",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedTensor {
    name: String,
    shape: Vec<usize>,
    group: Option<String>,
    param: Option<Place>,
    grad: Option<Place>,
}

impl Description {
    /// Reads it, for a device with these limits.
    ///
    /// # Errors
    /// [`Error::Json`] for malformed text, unknown and doubled keys; as [`Setup::from_json`](crate::rules::Setup::from_json),
    /// [`Tensors::lay_out`] and [`Program::new`].
    pub fn from_json(text: &str, limits: &Limits) -> Result<Self, Error> {
        let malformed = |name: &str, reason: String| Error::Json { name: name.into(), reason };
        let mut options = crate::json::object(text).map_err(|reason| malformed("?", reason))?;
        let name = options.get("optimizer").and_then(Value::as_str).unwrap_or("?").to_string();
        let frame: Map<String, Value> = KEYS.iter().filter_map(|key| options.remove_entry(*key)).collect();
        let Setup { rule, wrappers } = Setup::from_options(options.clone())?;
        let frame: Frame = serde_json::from_value(Value::Object(frame))
            .map_err(|error| malformed(&name, error.to_string()))?;

        let mut described = frame.groups;
        if described.is_empty() {
            described.push([("name".to_string(), "all".into())].into_iter().collect());
        }
        let (mut labels, mut groups) = (vec![], vec![]);
        for (index, mut options) in described.into_iter().enumerate() {
            let Some(Value::String(label)) = options.remove("name") else {
                return Err(malformed(&name, format!("group {index} has no name")));
            };
            if labels.contains(&label) {
                return Err(malformed(&name, format!("group \"{label}\" stands twice")));
            }
            groups.push(changed(&rule, options).map_err(|error| in_group(&label, error))?);
            labels.push(label);
        }
        let declared = frame.tensors.into_iter().map(|tensor| declared(tensor, &labels));
        let declared =
            declared.collect::<Result<Vec<_>, String>>().map_err(|reason| malformed(&name, reason))?;
        let tensors = Tensors::lay_out(&labels, &declared, &frame.buffers, frame.packing, limits)?;
        let Frame { label, shape, tile, state_buffers, steps_ahead, own_steps, row_masks, .. } = frame;
        let made = Options {
            label,
            shape,
            tile,
            state_buffers,
            steps_ahead,
            own_steps,
            row_masks,
            wrappers,
            ..Options::default()
        };
        let program = Program::new(&tensors, &groups, &made, limits)?;
        let clock = Clock::new(&program, groups, wrappers)?;
        Ok(Self { tensors, program, clock, limits: *limits })
    }

    /// Changes options of a group's rule, from the next step on, which checks what concerns all groups.
    ///
    /// # Errors
    /// As [`AnyRule::from_json`]; [`Error::UnknownHandle`] for a group that is not there.
    pub fn change_group(&mut self, index: usize, options: &str) -> Result<(), Error> {
        let options = crate::json::object(options)
            .map_err(|reason| Error::Json { name: self.program.optimizer.clone(), reason })?;
        let count = self.program.groups.len();
        let Some(group) = self.clock.groups().get(index) else {
            return Err(Error::UnknownHandle { what: "group", index, count });
        };
        let rule = changed(group, options).map_err(|error| in_group(&self.program.groups[index], error))?;
        if let Some(group) = self.clock.group_mut(index) {
            *group = rule;
        }
        Ok(())
    }

    /// Sets a number of a group's rule by its name, from the next step on: as [`change_group`](Self::change_group), and
    /// cheap enough for every step of a schedule.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a group that is not there, [`Error::Json`] for a number that its rule does not have,
    /// [`Error::Config`] for a value outside its range.
    pub fn set(&mut self, index: usize, number: &str, value: f64) -> Result<(), Error> {
        let count = self.program.groups.len();
        let (label, optimizer) = (self.program.groups.get(index).cloned(), &self.program.optimizer);
        let (Some(label), Some(group)) = (label, self.clock.group_mut(index)) else {
            return Err(Error::UnknownHandle { what: "group", index, count });
        };
        let mut name = None;
        let mut known = vec![];
        group.rule_mut().numbers(&mut |own, _, _| {
            known.push(own);
            name = name.or((own == number).then_some(own));
        });
        let unknown =
            || format!("group \"{label}\": there is no number \"{number}\"; there are {}", known.join(", "));
        let name = name.ok_or_else(|| Error::Json { name: optimizer.clone(), reason: unknown() })?;
        group.set(name, value).map_err(|refusal| Error::Config { group: label, refusal })
    }

    /// Starts again, as before the first step, with the parameters, options and rates as they are: all tensors, or one of those
    /// that count their own steps. What to write on the device before the next step.
    ///
    /// # Errors
    /// As [`Clock::start_anew`], for one tensor.
    pub fn reset(&mut self, tensor: Option<usize>) -> Result<Vec<(Slice, Vec<u32>)>, Error> {
        let slices = match tensor {
            Some(tensor) => {
                self.clock.start_anew(tensor)?;
                self.program.of_tensor(tensor)
            }
            None => {
                self.clock.restart();
                self.program.persistent().into_iter().flat_map(|words| words.slices).collect()
            }
        };
        Ok(slices.into_iter().map(|slice| (slice, self.program.first_words(&slice))).collect())
    }

    /// What takes a run over from another set of tensors: what to copy and to dispatch on the device, and the clock to go on
    /// with once that is recorded. See [`Moves::between`].
    ///
    /// # Errors
    /// As [`Moves::between`].
    pub fn moves_from(&self, old: &Self, changes: &[Change]) -> Result<(Moves, Clock<AnyRule>), Error> {
        let before = Side { program: &old.program, tensors: &old.tensors };
        let after = Side { program: &self.program, tensors: &self.tensors };
        Moves::between((before, &old.clock), (after, &self.clock), changes, &self.limits)
    }

    /// Changes numbers of what stands around the rule, from the next step on, which checks them.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn change_wrappers(&mut self, options: &str) -> Result<(), Error> {
        let malformed = |reason: String| Error::Json { name: self.program.optimizer.clone(), reason };
        let options = crate::json::object(options).map_err(malformed)?;
        let mut all = serde_json::to_value(self.clock.wrappers()).unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            all.extend(options);
        }
        *self.clock.wrappers_mut() =
            serde_json::from_value(all).map_err(|error| malformed(error.to_string()))?;
        Ok(())
    }
}

/// The rule with some options changed.
fn changed(rule: &AnyRule, options: Map<String, Value>) -> Result<AnyRule, Error> {
    if options.is_empty() {
        return Ok(rule.clone());
    }
    let mut all = rule.rule().to_json();
    if let Some(all) = all.as_object_mut() {
        all.extend(options);
    }
    AnyRule::from_options(all.as_object().cloned().unwrap_or_default())
}

/// Names the group in what was refused, where the optimizer's name stands.
fn in_group(name: &str, error: Error) -> Error {
    match error {
        Error::Config { refusal, .. } => Error::Config { group: name.into(), refusal },
        Error::Json { name: rule, reason } => {
            Error::Json { name: rule, reason: format!("group \"{name}\": {reason}") }
        }
        other => other,
    }
}

fn declared(tensor: DescribedTensor, groups: &[String]) -> Result<Declared, String> {
    let DescribedTensor { name, shape, group, param, grad } = tensor;
    let index = match &group {
        None => Some(0),
        Some(group) => groups.iter().position(|label| label == group),
    };
    let group = index.ok_or_else(|| {
        let (group, known) = (group.unwrap_or_default(), groups.join(", "));
        format!("tensor \"{name}\" is of group \"{group}\"; there are {known}")
    })?;
    if param.is_some() != grad.is_some() {
        return Err(format!("tensor \"{name}\" has a place for its parameters or its gradients; give both"));
    }
    Ok(Declared { name, shape, group, own: param.zip(grad) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Description::from_json(text, &Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |rest: &str| error(&format!(r#"{{"optimizer": "adamw", {rest}}}"#));
        for (rest, message) in [
            (r#""lr": -1, "tensors": []"#, "lr = -1 is refused"),
            (r#""learning_rate": 1, "tensors": []"#, "learning_rate"),
            (r#""lr": 1"#, "missing field `tensors`"),
            (
                r#""tensors": [{"name": "w", "shape": [2], "group": "x"}]"#,
                "tensor \"w\" is of group \"x\"; there are all",
            ),
            (r#""tensors": [{"name": "w", "shape": [-2]}]"#, "invalid value"),
            (r#""tensors": [{"name": "w", "shape": [2], "grad": {"buffer": 0, "offset": 0}}]"#, "give both"),
            (r#""tensors": [], "groups": [{"name": "a", "beta1": 2}]"#, "group 'a': beta1 = 2 is refused"),
            (r#""tensors": [], "groups": [{"name": "a", "lrr": 2}]"#, "group \"a\": lrr"),
            (r#""tensors": [], "groups": [{"name": "a"}, {"name": "a"}]"#, "group \"a\" stands twice"),
            (r#""tensors": [], "tensors": []"#, "stands twice"),
            (r#""tensors": [{"name": "w", "shape": [1]}, {"name": "w", "shape": [1]}]"#, "w"),
        ] {
            assert!(of(rest).contains(message), "{rest}: {}", of(rest));
        }
        assert!(error("{}").contains("\"optimizer\" is missing") && error("[").contains("EOF"));
    }

    #[test]
    fn tensors_and_rows_rest() {
        let text = |options: &str| {
            format!(r#"{{"optimizer": "adam", {options} "tensors": [{{"name": "w", "shape": [33, 3]}}]}}"#)
        };
        let made = |options: &str| Description::from_json(&text(options), &Limits::default()).unwrap();
        let mut own = made(r#""own_steps": true,"#);
        own.clock.skip(0).unwrap();
        assert!(own.clock.skip(1).is_err());
        let of_one: Vec<Slice> = own.reset(Some(0)).unwrap().into_iter().map(|(slice, _)| slice).collect();
        assert_eq!(of_one, own.program.of_tensor(0));
        assert!(own.reset(Some(1)).unwrap_err().to_string().contains("which has 1"));
        let mask = made(r#""row_masks": "row_steps","#).program.row_mask(0).unwrap();
        assert_eq!(mask.size, 8);

        let mut plain = made("");
        let without = |error: Error, what: &str| assert!(error.to_string().contains(what), "{error}");
        without(plain.clock.skip(0).unwrap_err(), "own_steps");
        without(plain.reset(Some(0)).unwrap_err(), "own_steps");
        without(plain.program.row_mask(0).unwrap_err(), "row_masks");
        plain.clock.next_step().unwrap();
        let all = plain.reset(None).unwrap();
        assert!(all.iter().all(|(slice, words)| slice.size == words.len() as u64 * 4));
        assert_eq!((plain.clock.recorded(), all.len()), (0, 4));
        assert!(error(&text(r#""row_masks": "rows","#)).contains("row_steps"));
    }

    #[test]
    fn groups_and_wrappers_change() {
        let text = r#"{"optimizer": "adam", "max_grad_norm": 1, "tensors": [{"name": "w", "shape": [3]}]}"#;
        let mut described = Description::from_json(text, &Limits::default()).unwrap();
        described.change_group(0, r#"{"lr": 0.5}"#).unwrap();
        described.change_wrappers(r#"{"max_grad_norm": 2}"#).unwrap();
        assert_eq!(described.clock.groups()[0].get("lr"), Some(0.5));
        assert_eq!(described.clock.wrappers().max_grad_norm, Some(2.0));
        assert!(described.clock.next_step().is_ok());
        described.set(0, "beta1", 0.8).unwrap();
        assert_eq!(described.clock.groups()[0].get("beta1"), Some(0.8));
        assert!(
            described.set(0, "beta1", 1.0).unwrap_err().to_string().starts_with("group 'all': beta1 = 1")
        );
        assert!(described.set(0, "beta9", 0.5).unwrap_err().to_string().contains("beta9"));
        assert!(described.set(1, "lr", 0.5).is_err());
        let refused = described.change_group(0, r#"{"lr": -1}"#).unwrap_err().to_string();
        assert!(refused.starts_with("group 'all': lr = -1 is refused"), "{refused}");
        assert!(described.change_group(1, "{}").is_err());
        assert!(described.change_wrappers(r#"{"max_norm": 2}"#).is_err());
        // Nothing can be switched on.
        described.change_wrappers(r#"{"ema": 0.9}"#).unwrap();
        assert!(described.clock.next_step().is_err());
    }
}
