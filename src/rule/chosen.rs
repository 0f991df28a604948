//! A configuration with its type hidden, a rule chosen at run time, and what an optimizer accepts as a configuration.

use crate::error::Refusal;
use crate::rule::equation::{HostScalars, Slots};
use crate::rule::{
    Field, FieldKind, HostState, MAX_DEVICE_SCALARS, MAX_FIELDS, MAX_SLOTS, Range, Rule, Spec,
};
use std::fmt::Debug;

/// A configuration with its type hidden. Implemented for every [`Rule`]; not meant to be implemented by hand.
pub trait DynRule: Debug + Send + Sync {
    /// What the rule is and does, whatever its configuration.
    fn spec(&self) -> &'static Spec;
    /// Calls `each` with every number of the configuration and its range.
    fn numbers(&mut self, each: &mut dyn FnMut(&'static str, &mut f64, Range));
    /// Checks every number and what they must be together.
    ///
    /// # Errors
    /// [`Refusal`] of the first that is refused.
    fn validate(&self) -> Result<(), Refusal>;
    /// [`Rule::depths`], one for each slot.
    fn depths(&self, depths: &mut [u32]);
    /// [`Rule::initial`], one for each slot.
    fn initial(&self, values: &mut [f32]);
    /// [`Rule::hyper`]: one value for each field; what the device finds is 0.
    fn host_scalars(&self, t: u64, state: &mut HostState, values: &mut [f64]);
    /// [`Rule::evaluates`]
    fn evaluates(&self) -> bool;
    /// [`Rule::reduces`]
    fn reduces(&self) -> bool;
    /// [`Rule::device_scalars`]
    fn device_scalars(&self) -> [f64; MAX_DEVICE_SCALARS];
    /// The configuration as a JSON object, with the optimizer's name.
    fn to_json(&self) -> serde_json::Value;
    /// A copy.
    fn boxed(&self) -> Box<dyn DynRule>;
}

impl<M: Rule> DynRule for M {
    fn spec(&self) -> &'static Spec {
        const { &Spec::of::<M>() }
    }
    fn numbers(&mut self, each: &mut dyn FnMut(&'static str, &mut f64, Range)) {
        for number in M::NUMBERS {
            if let Some(value) = (number.of)(self) {
                each(number.name, value, number.range);
            }
        }
    }
    fn validate(&self) -> Result<(), Refusal> {
        // A copy, since the table only gives places to change.
        let mut copy = self.clone();
        for number in M::NUMBERS {
            if let Some(value) = (number.of)(&mut copy) {
                number.range.check(number.name, *value)?;
            }
        }
        self.consistent()
    }
    fn depths(&self, depths: &mut [u32]) {
        Rule::depths(self).each(|slot, depth| depths[slot] = depth);
    }
    fn initial(&self, values: &mut [f32]) {
        Rule::initial(self).each(|slot, value| values[slot] = value);
    }
    fn host_scalars(&self, t: u64, state: &mut HostState, values: &mut [f64]) {
        self.hyper(t, state).to_host(values);
    }
    fn evaluates(&self) -> bool {
        Rule::evaluates(self)
    }
    fn reduces(&self) -> bool {
        Rule::reduces(self)
    }
    fn device_scalars(&self) -> [f64; MAX_DEVICE_SCALARS] {
        Rule::device_scalars(self)
    }
    fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = json.as_object_mut() {
            object.insert("optimizer".into(), M::NAME.into());
        }
        json
    }
    fn boxed(&self) -> Box<dyn DynRule> {
        Box::new(self.clone())
    }
}

impl dyn DynRule + '_ {
    /// Checks the host scalars of some steps to come, up to step 2^24: what follows from numbers in their ranges may
    /// be out of `f32`'s.
    ///
    /// # Errors
    /// [`Refusal`] of a scalar that `f32` does not hold.
    pub fn foreseeable(&self) -> Result<(), Refusal> {
        let mut values = [0.0; MAX_FIELDS];
        let values = &mut values[..self.spec().fields.len()];
        for t in [1, 2, 10, 1000, 1 << 24] {
            self.host_scalars(t, &mut HostState::default(), values);
            check_host_scalars(self.spec().fields, values, t)?;
        }
        Ok(())
    }

    /// The length of the rule's rings, at least 1.
    pub(crate) fn ring_length(&self) -> u32 {
        depths_of(self).iter().copied().max().unwrap_or(0).max(1)
    }

    /// Refuses device scalars that do not start as those of the first group.
    pub(crate) fn starts_alike(&self, first: &[f64; MAX_DEVICE_SCALARS]) -> Result<(), Refusal> {
        for ((field, got), first) in self.spec().device_scalars().zip(self.device_scalars()).zip(first) {
            if got != *first {
                let limit = format!("{first}, as in the first group: all groups start it alike and share it");
                return Err(Refusal::new(field.name, got, limit));
            }
        }
        Ok(())
    }

    /// Whether the two can share a dispatch. Most share the very text, which then needs no comparison.
    pub(crate) fn is_same_rule(&self, other: &dyn DynRule) -> bool {
        let (a, b) = (self.spec(), other.spec());
        std::ptr::eq(a, b) || a.name == b.name && a.wgsl == b.wgsl
    }
}

/// [`DynRule::depths`] without an allocation: zeros behind the rule's slots.
pub(crate) fn depths_of(rule: &dyn DynRule) -> [u32; MAX_SLOTS] {
    let mut depths = [0; MAX_SLOTS];
    rule.depths(&mut depths);
    depths
}

/// [`DynRule::initial`]: zeros behind the rule's slots.
pub(crate) fn initial_of(rule: &dyn DynRule) -> [f32; MAX_SLOTS] {
    let mut values = [0.0; MAX_SLOTS];
    rule.initial(&mut values);
    values
}

/// Refuses host scalars of step `t` that `f32` does not hold.
pub(crate) fn check_host_scalars(fields: &[Field], values: &[f64], t: u64) -> Result<(), Refusal> {
    for (field, value) in fields.iter().zip(values) {
        if !field.kind.is_flag() && field.kind != FieldKind::Device && !(*value as f32).is_finite() {
            let limit =
                format!("finite in f32 at step {t}; it follows from the numbers of the configuration");
            return Err(Refusal::new(field.name, *value, limit));
        }
    }
    Ok(())
}

/// A rule chosen at run time: `AnyRule::from_json(r#"{"optimizer": "madam", "lr": 1e-3}"#)`.
#[derive(Debug)]
pub struct AnyRule(pub(crate) Box<dyn DynRule>);

impl AnyRule {
    /// Hides the type of a rule, ours or the caller's own.
    pub fn new(rule: impl Rule) -> Self {
        Self(Box::new(rule))
    }

    /// Canonical name.
    pub fn name(&self) -> &'static str {
        self.0.spec().name
    }

    /// Sets a number of the configuration by its name, as a schedule does.
    ///
    /// # Errors
    /// [`Refusal`] if the rule has no such number or the value is outside its range.
    pub fn set(&mut self, field: &'static str, value: f64) -> Result<(), Refusal> {
        let mut result = None;
        self.0.numbers(&mut |name, number, range| {
            if name == field {
                result = Some(range.check(field, value).map(|()| *number = value));
            }
        });
        // Not made beforehand: a schedule sets numbers in every step and must not allocate.
        result.unwrap_or_else(|| {
            Err(Refusal::new(field, value, format!("left out: {} has no such number", self.name())))
        })
    }

    /// The number of this name.
    pub fn get(&self, field: &str) -> Option<f64> {
        let mut found = None;
        self.0.boxed().numbers(&mut |name, number, _| {
            if name == field {
                found = Some(*number);
            }
        });
        found
    }
}

impl Clone for AnyRule {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

/// What an optimizer holds one of for each group: a rule's own configuration, or an [`AnyRule`].
pub trait Config: Clone {
    /// The rule behind it.
    fn rule(&self) -> &dyn DynRule;
    /// The rule behind it, to change.
    fn rule_mut(&mut self) -> &mut dyn DynRule;
}

impl<M: Rule> Config for M {
    fn rule(&self) -> &dyn DynRule {
        self
    }
    fn rule_mut(&mut self) -> &mut dyn DynRule {
        self
    }
}

impl Config for AnyRule {
    fn rule(&self) -> &dyn DynRule {
        &*self.0
    }
    fn rule_mut(&mut self) -> &mut dyn DynRule {
        &mut *self.0
    }
}
