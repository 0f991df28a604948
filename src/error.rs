//! The one error type. Every message names the tensor or group, the field, the value and the limit.

/// What can go wrong. Everything that can be refused is refused at construction or, for a
/// configuration changed later, at the next step, before anything was recorded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a group's configuration is outside its range, NaN or infinite.
    #[error("group '{group}': {refusal}")]
    Config {
        /// Label of the parameter group.
        group: String,
        /// The field, its value and its range.
        refusal: Refusal,
    },

    /// A configuration given as JSON does not name a known optimizer.
    #[error("unknown optimizer '{name}'; known are {known}")]
    UnknownOptimizer {
        /// The name that was asked for.
        name: String,
        /// The registered names, separated by commas.
        known: String,
    },

    /// A configuration given as JSON is malformed, has an unknown option or a value of a wrong type.
    #[error("options of optimizer '{name}': {reason}")]
    Json {
        /// The optimizer whose options were read, or `?` before its name was known.
        name: String,
        /// What the parser refused.
        reason: String,
    },

    /// The number of configurations differs from the number of parameter groups.
    #[error("{groups} parameter group(s) but {configs} configuration(s); give one for each group, in order")]
    GroupCount {
        /// Groups declared in the parameter set.
        groups: usize,
        /// Configurations given.
        configs: usize,
    },

    /// Two groups of one optimizer have different rules; one dispatch runs one rule.
    #[error(
        "group '{group}' has optimizer '{got}', but the first group has '{first}'; one optimizer runs one rule"
    )]
    MixedRules {
        /// Label of the group that differs.
        group: String,
        /// Its optimizer's name.
        got: String,
        /// The first group's optimizer's name.
        first: String,
    },

    /// Two tensors have the same name.
    #[error("tensor '{name}' is declared twice; names must differ")]
    DuplicateTensor {
        /// The name used twice.
        name: String,
    },

    /// A tensor or group handle that this set did not hand out.
    #[error("{what} handle {index} is not of this parameter set, which has {count}")]
    UnknownHandle {
        /// `tensor` or `group`.
        what: &'static str,
        /// The handle's index.
        index: usize,
        /// How many there are.
        count: usize,
    },

    /// A shape whose number of elements cannot be addressed.
    #[error("tensor '{tensor}': shape {shape:?} has too many elements to address")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
    },

    /// A caller's buffer cannot serve as a tensor's parameters or gradients.
    #[error("tensor '{tensor}', its {role} buffer: {problem}")]
    Buffer {
        /// The tensor's name.
        tensor: String,
        /// `parameter` or `gradient`.
        role: &'static str,
        /// What is wrong, with the value and the limit.
        problem: String,
    },

    /// Two tensors share elements of one buffer.
    #[error("tensors '{first}' and '{second}' overlap in their {role} buffer, at byte {at}")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside it.
        second: String,
        /// `parameter`, `gradient`, or `parameter and gradient` for one's parameters and the other's gradients.
        role: &'static str,
        /// First shared byte.
        at: u64,
    },

    /// The device's limits are too small for what was asked.
    #[error(
        "{what}: {needed} needed, but the device's {limit_name} is {limit}; ask for more with required_limits()"
    )]
    Limit {
        /// What needs it.
        what: String,
        /// How much it needs.
        needed: u64,
        /// The name of the wgpu limit.
        limit_name: &'static str,
        /// The device's value.
        limit: u64,
    },

    /// A group's configuration was changed so that it needs a slot that was not allocated.
    #[error(
        "group '{group}' now needs the state slot '{slot}', which no group needed when the optimizer was made"
    )]
    MissingSlot {
        /// Label of the group.
        group: String,
        /// Name of the slot.
        slot: String,
    },

    /// The rule has no slot of this name, or this optimizer did not allocate it.
    #[error("optimizer '{rule}' keeps no slot '{slot}'; it keeps {kept}")]
    UnknownSlot {
        /// Name of the rule.
        rule: String,
        /// The slot asked for.
        slot: String,
        /// The allocated slots, separated by commas.
        kept: String,
    },

    /// The length of given data differs from the tensor's.
    #[error("tensor '{tensor}' has {expected} elements, but {got} were given")]
    Length {
        /// The tensor's name.
        tensor: String,
        /// Its number of elements.
        expected: usize,
        /// The number given.
        got: usize,
    },

    /// A reading that this optimizer does not have, since nothing around its rule makes it.
    #[error("optimizer '{rule}' has no reading '{what}': nothing here makes it")]
    NoReading {
        /// Name of the rule.
        rule: String,
        /// Name of the reading.
        what: &'static str,
    },

    /// A rule asks for more than a step has room for.
    #[error("rule '{rule}': {reason}")]
    Rule {
        /// Name of the rule.
        rule: String,
        /// What it asks for, and the limit.
        reason: String,
    },

    /// A program that was cut, altered, made by another version, or made for something else.
    #[error("the program is refused: {reason}")]
    Program {
        /// What is wrong with it.
        reason: String,
    },

    /// A saved state that does not fit, or is not one.
    #[error("the state is refused: {reason}")]
    State {
        /// What is wrong with it, or how it differs.
        reason: String,
    },

    /// A file that cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system answered.
        reason: String,
    },

    /// A language that programs are not translated to.
    #[error("unknown language '{name}'; known are {known}")]
    UnknownLanguage {
        /// The name that was asked for.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },

    /// A text of the caller's that cannot be translated.
    #[error("module '{module}' cannot be translated to {language}: {reason}")]
    Translation {
        /// Label of the module.
        module: String,
        /// The language.
        language: &'static str,
        /// The translator's message.
        reason: String,
    },

    /// The device refused what it was asked to make: a pipeline of a rule that does not compile, a buffer, a bind group.
    #[error("{what} was refused by the device: {reason}")]
    Refused {
        /// What it was.
        what: String,
        /// The device's message.
        reason: String,
    },

    /// The device has no memory left for the arenas or slots.
    #[error("{what}: the device is out of memory ({reason})")]
    OutOfMemory {
        /// What was being allocated.
        what: String,
        /// The device's message.
        reason: String,
    },

    /// Where steps may be skipped: so many were recorded since the device's count of those taken was last known, that
    /// the host scalars of the ones to come would take the place of some that may still be needed.
    #[error(
        "{recorded} steps were recorded since the device's count of them was last known, and host scalars are kept \
         for {limit}; submit them and poll the device, or let the page's event loop run"
    )]
    StepsAhead {
        /// Steps since then.
        recorded: u64,
        /// Steps whose host scalars are kept.
        limit: u64,
    },

    /// What was asked for is only there with an option of [`Options`](crate::Options), which was not given.
    #[error("`{what}` needs the option `{option}`, given when the optimizer is made")]
    WithoutOption {
        /// What was asked for.
        what: &'static str,
        /// The option.
        option: &'static str,
    },

    /// A mask does not fit the rows of its tensor.
    #[error("tensor '{tensor}' has {rows} rows, so a mask of {words} words; {problem}")]
    RowMask {
        /// The tensor's name.
        tensor: String,
        /// Its rows.
        rows: u64,
        /// Words of its mask.
        words: u64,
        /// What is wrong with what was given.
        problem: String,
    },

    /// What was given belongs to another device.
    #[error("{what} of another device; an optimizer and all that it is given must be of one")]
    OtherDevice {
        /// What it is.
        what: &'static str,
    },

    /// The device was lost or destroyed. State that was read back before stays valid.
    #[error(
        "the device is lost or destroyed ({reason}); make everything on a new device and load the state read back \
         before (load_state)"
    )]
    DeviceLost {
        /// What the device answered.
        reason: String,
    },
}

/// A field of a configuration that is outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} = {value} is refused; it must be {limit}")]
pub struct Refusal {
    /// Name of the field, as in the configuration struct and in JSON.
    pub field: &'static str,
    /// The value given.
    pub value: String,
    /// The range that is allowed, in words.
    pub limit: String,
}

impl Refusal {
    /// A refusal of `field = value`, which must be `limit`.
    pub fn new(field: &'static str, value: impl std::fmt::Display, limit: impl Into<String>) -> Self {
        Self { field, value: value.to_string(), limit: limit.into() }
    }
}
