//! Which parameter is of which group.

use wgpu_optim::AnyRule;
use wildmatch::WildMatch;

/// A parameter of a module, as a group's condition sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its path in the module: `encoder.layers.0.norm.gamma`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A group: a label, who is in it, and the configuration.
pub(crate) struct Group {
    pub label: String,
    pub has: Box<dyn Fn(&Parameter) -> bool>,
    pub rule: AnyRule,
}

impl Group {
    /// Of the parameters whose path is like this, where `*` stands for any text and `?` for a letter.
    pub fn like(pattern: &str, rule: AnyRule) -> Self {
        let wanted = WildMatch::new(pattern);
        Self { label: pattern.into(), has: Box::new(move |parameter| wanted.matches(&parameter.name)), rule }
    }
}
