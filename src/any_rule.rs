//! A rule chosen at run time, and what an optimizer accepts as a configuration.

use crate::error::Refusal;
use crate::rule::{Method, Rule};

/// A rule chosen at run time: `AnyRule::from_json(r#"{"optimizer": "madam", "lr": 1e-3}"#)`.
#[derive(Debug)]
pub struct AnyRule(pub(crate) Box<dyn Method>);

impl AnyRule {
    /// Hides the type of a rule, ours or the caller's own.
    pub fn new(rule: impl Rule) -> Self {
        Self(Box::new(rule))
    }

    /// Canonical name.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Sets a number of the configuration by its name, as a schedule does.
    ///
    /// # Errors
    /// [`Refusal`] if the rule has no such number or the value is outside its range.
    pub fn set(&mut self, field: &'static str, value: f64) -> Result<(), Refusal> {
        let mut result = None;
        self.0.numbers(&mut |name, number, limit| {
            if name == field {
                result = Some(limit.check(field, value).map(|()| *number = value));
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

/// What an [`Optimizer`](crate::Optimizer) holds one of for each group: a rule's own configuration,
/// or an [`AnyRule`].
pub trait Config: Clone {
    /// The rule behind it.
    fn method(&self) -> &dyn Method;
    /// The rule behind it, to change.
    fn method_mut(&mut self) -> &mut dyn Method;
}

impl<M: Rule> Config for M {
    fn method(&self) -> &dyn Method {
        self
    }
    fn method_mut(&mut self) -> &mut dyn Method {
        self
    }
}

impl Config for AnyRule {
    fn method(&self) -> &dyn Method {
        &*self.0
    }
    fn method_mut(&mut self) -> &mut dyn Method {
        &mut *self.0
    }
}
