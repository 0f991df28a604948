//! The optimizers of the papers, each with the rates that are tried.

use wgpu_optim::AnyRule;
use wgpu_optim::rules::adam::AmsGrad;
use wgpu_optim::rules::{
    ACClip, AdaBelief, AdaBound, AdaMod, Adam, CClip, LaMAdam, LaProp, Lamb, MAdam, RAdam, Sgd,
};

/// A rule with all but its rate.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    pub name: &'static str,
    pub rule: fn(f64) -> AnyRule,
    /// The middle of the grid.
    pub rate: f64,
    pub max_grad_norm: Option<f64>,
    /// Share of the steps in which the rate grows from 0.
    pub warmup: f64,
}

/// Adam's, where nothing else is said: the papers' for Transformers (AdaMod and MaxVA: 0.98).
const BETA2: f64 = 0.98;

const fn method(name: &'static str, rate: f64, rule: fn(f64) -> AnyRule) -> Method {
    Method { name, rule, rate, max_grad_norm: None, warmup: 0.0 }
}

fn adam(lr: f64) -> AnyRule {
    AnyRule::new(Adam { lr, beta2: BETA2, ..Adam::default() })
}

fn momentum(lr: f64) -> AnyRule {
    AnyRule::new(Sgd { lr, momentum: 0.9, ..Sgd::default() })
}

pub const METHODS: &[Method] = &[
    method("SGDM", 0.1, momentum),
    Method { max_grad_norm: Some(0.25), ..method("clipped SGDM", 0.1, momentum) },
    method("CClip", 0.1, |lr| AnyRule::new(CClip { lr, threshold: 0.01, ..CClip::default() })),
    method("ACClip", 0.01, |lr| AnyRule::new(ACClip { lr, ..ACClip::default() })),
    method("Adam", 3e-3, adam),
    Method { warmup: 0.2, ..method("Adam, warm-up", 3e-3, adam) },
    method("AMSGrad", 3e-3, |lr| {
        AnyRule::new(Adam { lr, beta2: BETA2, amsgrad: AmsGrad::Raw, ..Adam::default() })
    }),
    method("RAdam", 3e-3, |lr| AnyRule::new(RAdam { lr, beta2: BETA2, ..RAdam::default() })),
    method("AdaMod", 3e-3, |lr| {
        // As long a memory, for its share of the steps, as 0.9999 in the paper's runs.
        AnyRule::new(AdaMod { lr, beta2: BETA2, beta3: 0.99, ..AdaMod::default() })
    }),
    method("AdaBound", 3e-3, |lr| AnyRule::new(AdaBound { lr, final_lr: 0.1, ..AdaBound::default() })),
    method("AdaBelief", 3e-3, |lr| AnyRule::new(AdaBelief { lr, beta2: BETA2, ..AdaBelief::default() })),
    method("LaProp", 3e-3, |lr| AnyRule::new(LaProp { lr, beta2: BETA2, ..LaProp::default() })),
    method("MAdam", 3e-3, |lr| AnyRule::new(MAdam { lr, beta_max: BETA2, ..MAdam::default() })),
    method("LaMAdam", 3e-3, |lr| AnyRule::new(LaMAdam { lr, beta_max: BETA2, ..LaMAdam::default() })),
    method("LAMB", 1e-2, |lr| AnyRule::new(Lamb { lr, beta2: BETA2, ..Lamb::default() })),
];

/// The method of this name.
///
/// # Panics
/// Where there is none: names are written in this program.
pub fn named(name: &str) -> Method {
    *METHODS.iter().find(|method| method.name == name).unwrap_or_else(|| panic!("no method {name}"))
}
