//! The registry: one line a rule. Names on the command line, in JSON and on pages, the tests, the
//! benches and the tables of the documentation are all read from it.

use crate::error::Error;
pub use crate::rule::WeightDecay;
use crate::rule::{AnyRule, Rule};
use crate::wrappers::Wrappers;
use serde::Deserialize;
use serde::de::value::MapDeserializer;

/// Another name of a rule, and its defaults under that name.
pub type Preset = (&'static str, fn() -> AnyRule);

/// One registered rule.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Entry {
    /// Canonical name.
    pub name: &'static str,
    /// The default configuration.
    pub default: fn() -> AnyRule,
    /// Configurations that together reach every branch of the equation.
    #[cfg(any(feature = "reference", test))]
    pub variants: fn() -> Vec<AnyRule>,
    /// A configuration that trains a small network from scratch.
    pub example: fn() -> AnyRule,
    /// Other names: the same rule with other defaults.
    pub presets: &'static [Preset],
    parse: fn(serde_json::Map<String, serde_json::Value>) -> Result<AnyRule, serde_json::Error>,
}

macro_rules! registry {
    ($($module:ident :: $rule:ident $([$($preset:literal => $make:expr),+])?;)*) => {
        $(
            pub mod $module;
            pub use $module::$rule;
        )*

        /// Every rule of this crate, in the order of the documentation.
        pub static REGISTRY: &[Entry] = &[$(Entry {
            name: <$rule as Rule>::NAME,
            default: || AnyRule::new($rule::default()),
            #[cfg(any(feature = "reference", test))]
            variants: || $rule::variants().into_iter().map(AnyRule::new).collect(),
            example: || AnyRule::new(<$rule as Rule>::example()),
            presets: &[$($(($preset, || AnyRule::new($make)),)+)?],
            // A map and nothing else, which takes half the code of a value that may be anything.
            parse: |options| $rule::deserialize(MapDeserializer::new(options.into_iter())).map(AnyRule::new),
        }),*];
    };
}

registry! {
    sgd::Sgd;
    adam::Adam ["adamw" => Adam::adamw()];
    madam::MAdam;
    lamadam::LaMAdam;
    laprop::LaProp;
    adamod::AdaMod;
    radam::RAdam;
    gclip::GClip;
    cclip::CClip;
    acclip::ACClip;
    adabelief::AdaBelief;
    adabound::AdaBound;
    lamb::Lamb;
    stable_adamw::StableAdamW;
    lars::Lars;
    nosadam::NosAdam;
    padam::Padam;
    rmsprop::RmsProp;
    adagrad::AdaGrad;
    adadelta::AdaDelta;
    yogi::Yogi;
    nadam::NAdam;
    signsgd::SignSgd ["signum" => SignSgd::signum()];
    lion::Lion;
    adashift::AdaShift;
    adafactor::Adafactor;
    adan::Adan;
    adopt::Adopt;
    ademamix::AdEmaMix;
    schedule_free_adamw::ScheduleFreeAdamW;
    prodigy::Prodigy;
}

impl AnyRule {
    /// The default configuration of a registered name.
    ///
    /// # Errors
    /// [`Error::UnknownOptimizer`], which lists the known names.
    pub fn named(name: &str) -> Result<Self, Error> {
        Ok(lookup(name)?.1)
    }

    /// A configuration from JSON: `{"optimizer": NAME, OPTION: VALUE, ...}`. Options that are left
    /// out have the defaults of that name; the ranges are checked.
    ///
    /// ```
    /// # use wgpu_optim::AnyRule;
    /// let rule = AnyRule::from_json(r#"{"optimizer": "adamw", "lr": 3e-4}"#)?;
    /// assert_eq!(rule.get("weight_decay"), Some(0.01));
    /// let error = AnyRule::from_json(r#"{"optimizer": "adam", "beta1": 1.5}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "group 'adam': beta1 = 1.5 is refused; it must be in [0, 1)");
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Json`] for malformed text, an option that stands twice, unknown options and wrong types,
    /// [`Error::UnknownOptimizer`], [`Error::Config`] for a value outside its range.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let malformed = |reason| Error::Json { name: "?".into(), reason };
        Self::from_options(crate::json::object(text).map_err(malformed)?)
    }

    /// As [`from_json`](AnyRule::from_json), from a parsed object.
    ///
    /// # Errors
    /// As [`from_json`](AnyRule::from_json).
    pub fn from_options(mut options: serde_json::Map<String, serde_json::Value>) -> Result<Self, Error> {
        let malformed = |name: &str, reason: String| Error::Json { name: name.into(), reason };
        let name = match options.remove("optimizer") {
            Some(serde_json::Value::String(name)) => name,
            Some(other) => return Err(malformed("?", format!("\"optimizer\" is {other}, not a string"))),
            None => return Err(malformed("?", "\"optimizer\" is missing".into())),
        };
        let (entry, default) = lookup(&name)?;
        let parse = |options: serde_json::Map<String, serde_json::Value>| {
            let mut merged = default.0.to_json();
            let mut merged = merged.as_object_mut().map(std::mem::take).unwrap_or_default();
            merged.remove("optimizer");
            merged.extend(options);
            (entry.parse)(merged)
        };
        let rule = parse(options.clone()).map_err(|error| {
            // The parser does not say which option it refused: each is tried alone.
            let refused = options.into_iter().find_map(|(key, value)| {
                let error = parse([(key.clone(), value.clone())].into_iter().collect()).err()?;
                Some(format!("{key} = {value} is refused: {error}"))
            });
            malformed(&name, refused.unwrap_or_else(|| error.to_string()))
        })?;
        let refused = |refusal| Error::Config { group: name, refusal };
        rule.0.validate().and_then(|()| rule.0.foreseeable()).map_err(refused)?;
        Ok(rule)
    }
}

/// A rule and what stands around it, as one JSON object describes them.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The rule's configuration.
    pub rule: AnyRule,
    /// Every option of [`Wrappers`].
    pub wrappers: Wrappers,
}

impl Setup {
    /// As [`AnyRule::from_json`], with the options that any rule may have.
    ///
    /// ```
    /// # use wgpu_optim::rules::Setup;
    /// let setup = Setup::from_json(r#"{"optimizer": "adamw", "max_grad_norm": 1, "lookahead": {"k": 5}}"#)?;
    /// assert_eq!(setup.wrappers.max_grad_norm, Some(1.0));
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`AnyRule::from_json`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let malformed = |reason| Error::Json { name: "?".into(), reason };
        Self::from_options(crate::json::object(text).map_err(malformed)?)
    }

    /// As [`from_json`](Setup::from_json), from a parsed object.
    ///
    /// # Errors
    /// As [`from_json`](Setup::from_json).
    pub fn from_options(mut options: serde_json::Map<String, serde_json::Value>) -> Result<Self, Error> {
        let known = serde_json::to_value(Wrappers::default()).unwrap_or_default();
        let known = known.as_object().into_iter().flat_map(serde_json::Map::keys);
        let around = known.filter_map(|key| options.remove_entry(key)).collect();
        let rule = AnyRule::from_options(options)?;
        let wrappers: Wrappers = serde_json::from_value(serde_json::Value::Object(around))
            .map_err(|error| Error::Json { name: rule.name().into(), reason: error.to_string() })?;
        let group = rule.name().to_string();
        wrappers.validate().map_err(|refusal| Error::Config { group, refusal })?;
        Ok(Self { rule, wrappers })
    }
}

/// The entry and the default configuration behind a name or a preset's name.
fn lookup(name: &str) -> Result<(&'static Entry, AnyRule), Error> {
    for entry in REGISTRY {
        if entry.name == name {
            return Ok((entry, (entry.default)()));
        }
        if let Some((_, make)) = entry.presets.iter().find(|(preset, _)| *preset == name) {
            return Ok((entry, make()));
        }
    }
    Err(Error::UnknownOptimizer { name: name.into(), known: names().join(", ") })
}

/// Every name that [`AnyRule::named`] knows, presets included.
pub fn names() -> Vec<&'static str> {
    REGISTRY
        .iter()
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.presets.iter().map(|(name, _)| *name)))
        .collect()
}
