//! wgpu-optim behind a C ABI: what to make on a device of the caller's, and what to write before each step. Knows no
//! graphics API; the header is `include/wgpu_optim.h`, and `examples/vulkan` a whole program.
//!
//! Every function returns a status and, where `error` is not null, says in words why it failed; nothing is written to a
//! result then. Pointers that an optimizer gives out are its own and live as long as it does, where nothing else is said.
//! There is no global state: different threads may use different optimizers.

#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
// What is safe is the same for all functions, and stands in the header's first lines: pointers are null, or point to memory
// for their types; texts have as many bytes as is said, or a zero at their end; one thread uses an optimizer at a time.
#![allow(clippy::missing_safety_doc)]

mod code;
mod guard;
mod moves;
mod optimizer;
mod types;
mod writes;

pub use guard::*;
pub use optimizer::WgpuOptim;
pub use types::*;

use std::ffi::{c_char, c_void};
use wgpu_optim::Description;
use wgpu_optim::program::Limits;

/// The library's version, a text that lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn wgpu_optim_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What every device of WebGPU allows: to start from.
#[unsafe(no_mangle)]
pub extern "C" fn wgpu_optim_limits() -> WgpuOptimLimits {
    Limits::default().into()
}

/// Makes an optimizer from a description, a JSON object of `size` bytes:
///
/// `{"optimizer": "adamw", "lr": 1e-3, "max_grad_norm": 1,
///   "groups": [{"name": "decay"}, {"name": "no_decay", "weight_decay": 0}],
///   "buffers": [1048576],
///   "tensors": [{"name": "w", "shape": [64, 32], "group": "decay",
///                "param": {"buffer": 0, "offset": 0}, "grad": {"buffer": 0, "offset": 524288}}]}`
///
/// `buffers` are the sizes of buffers of the caller's own, which the tensors' places name; tensors without places lie in arenas
/// that the caller makes. The caller destroys what is written to `optimizer`, which is null after a failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_create(
    description: *const c_char,
    size: usize,
    limits: *const WgpuOptimLimits,
    optimizer: *mut *mut WgpuOptim,
    error: *mut WgpuOptimError,
) -> u32 {
    let run = || {
        // SAFETY: as the caller says.
        let (json, limits) = unsafe { (text(description, size, "description")?, get(limits, "limits")?) };
        // SAFETY: as the caller says.
        unsafe { put(optimizer, "optimizer", std::ptr::null_mut())? };
        let made = Box::new(WgpuOptim::new(Description::from_json(json, &(*limits).into())?));
        // SAFETY: as the caller says.
        unsafe { put(optimizer, "optimizer", Box::into_raw(made)) }
    };
    // SAFETY: as the caller says.
    unsafe { call(error, run) }
}

/// Destroys an optimizer and sets the pointer to null, so that a call with it later is refused. Null is let be. No copy of the
/// pointer may be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_destroy(optimizer: *mut *mut WgpuOptim) {
    if optimizer.is_null() || !optimizer.is_aligned() {
        return;
    }
    // SAFETY: neither null nor misaligned, and the caller says that a pointer is there.
    let made = unsafe { optimizer.replace(std::ptr::null_mut()) };
    if !made.is_null() && made.is_aligned() {
        // SAFETY: made by `Box::into_raw`, and taken back once.
        drop(unsafe { Box::from_raw(made) });
    }
}

/// How many there are of everything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_counts(
    optimizer: *mut WgpuOptim,
    result: *mut WgpuOptimCounts,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| Ok(optimizer.counts())) }
}

/// A buffer: those of parameters and gradients come first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_buffer(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimBuffer,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.buffer(index)) }
}

/// A layout of bind groups.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_layout(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimLayout,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.layout(index)) }
}

/// A module, for a compute pipeline.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_module(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimModule,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.module(index)) }
}

/// A module in a language, `WGPU_OPTIM_LANGUAGE_…`; it is translated when it is first asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_code(
    optimizer: *mut WgpuOptim,
    index: usize,
    language: u32,
    result: *mut WgpuOptimCode,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.code(index, language)) }
}

/// A bind group.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_bindings(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimBindings,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.bindings(index)) }
}

/// A dispatch of a step: all of them in order, every step, each behind what the one before wrote.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_pass(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimPass,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.pass(index)) }
}

/// A tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_tensor(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimTensor,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.tensor(index)) }
}

/// Words that persist from step to step: slots, counts, host scalars, what the whole optimizer keeps. Together with the
/// parameters and `wgpu_optim_progress` they are the state of a run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_persistent(
    optimizer: *mut WgpuOptim,
    index: usize,
    result: *mut WgpuOptimWords,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.persistent(index)) }
}

/// Where words are that have a name: persistent ones, or what can be read after a step (`grad_norm`, two floats whose product is
/// the norm of all gradients). The name in the result is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_words(
    optimizer: *mut WgpuOptim,
    name: *const c_char,
    result: *mut WgpuOptimWords,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.words(guard::name(name, "name")?)) }
}

/// Makes what step number `step` needs, 1 for the first; it counts as recorded then. Write everything before the step runs, and
/// dispatch every pass. What `result` points to lives until the next step is asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_next_step(
    optimizer: *mut WgpuOptim,
    step: u64,
    result: *mut WgpuOptimStep,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.next_step(step)) }
}

/// Steps recorded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_recorded(
    optimizer: *mut WgpuOptim,
    result: *mut u64,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| Ok(optimizer.described.clock.recorded())) }
}

/// Leaves a tensor out of the next step, as one without a gradient: it is not decayed, nor moved by its momentum, and the step is
/// none of its own. Needs `"own_steps": true` in the description.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_skip(
    optimizer: *mut WgpuOptim,
    tensor: usize,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { change(optimizer, error, |optimizer| Ok(optimizer.described.clock.skip(tensor)?)) }
}

/// Where the mask of a tensor's rows is: of row i bit i % 32 of word i / 32. Steps that run afterwards leave out rows whose bit
/// is 0; before the first step all are 1. Needs `"row_masks"` in the description: `"tensor_steps"` or `"row_steps"`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_row_mask(
    optimizer: *mut WgpuOptim,
    tensor: usize,
    result: *mut WgpuOptimSlice,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.row_mask(tensor)) }
}

/// Starts a tensor anew, with the parameters as they are, or all of them where `tensor` is `SIZE_MAX`: what to write before the
/// next step, which lives until then. One alone needs `"own_steps": true` in the description. Counts that were read before are
/// not to be observed any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_reset(
    optimizer: *mut WgpuOptim,
    tensor: usize,
    result: *mut WgpuOptimWrites,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.reset(tensor)) }
}

/// Where the counts of the steps that the device has taken are, a word in each slice, if it is time to read them where the next
/// step begins; else no slices. Give the words to `wgpu_optim_observe` whenever they are known. Where steps may be skipped, a host
/// that never does comes to the end of the steps that it may record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_wants_count(
    optimizer: *mut WgpuOptim,
    result: *mut WgpuOptimWords,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| Ok(optimizer.wants_count())) }
}

/// Learns the `size` counts that were read where `recorded` steps were recorded, by `wgpu_optim_recorded`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_observe(
    optimizer: *mut WgpuOptim,
    recorded: u64,
    counts: *const u32,
    size: usize,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        change(optimizer, error, |optimizer| optimizer.observe(recorded, array(counts, size, "counts")?))
    }
}

/// A number of a group's rule by its name, such as `lr`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_get(
    optimizer: *mut WgpuOptim,
    group: usize,
    name: *const c_char,
    result: *mut f64,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.number(group, guard::name(name, "name")?)) }
}

/// Sets a number of a group's rule by its name, such as `lr`, from the next step on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_set(
    optimizer: *mut WgpuOptim,
    group: usize,
    name: *const c_char,
    value: f64,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        change(optimizer, error, |optimizer| {
            let name = guard::name(name, "name")?;
            Ok(optimizer.described.set(group, utf8(name, "name")?, value)?)
        })
    }
}

/// Changes options of a group's rule, a JSON object, from the next step on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_change_group(
    optimizer: *mut WgpuOptim,
    group: usize,
    options: *const c_char,
    size: usize,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        change(optimizer, error, |optimizer| {
            Ok(optimizer.described.change_group(group, text(options, size, "options")?)?)
        })
    }
}

/// Changes numbers of what stands around the rule, a JSON object, from the next step on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_change_wrappers(
    optimizer: *mut WgpuOptim,
    options: *const c_char,
    size: usize,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        change(optimizer, error, |optimizer| {
            Ok(optimizer.described.change_wrappers(text(options, size, "options")?)?)
        })
    }
}

/// Writes what a buffer holds before the first step into the caller's memory, as many bytes as the buffer has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_buffer_contents(
    optimizer: *mut WgpuOptim,
    index: usize,
    bytes: *mut c_void,
    size: u64,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe {
        change(optimizer, error, |optimizer| {
            let needed = optimizer.buffer(index)?.size;
            optimizer.fill(index, memory(bytes, size, needed, "bytes")?);
            Ok(())
        })
    }
}

/// What the library remembers of the run, as JSON, until it is asked for again. To go on in another process, or on another device,
/// with the same bits: make an optimizer of the same description and limits, set the numbers that were changed, write all
/// persistent words, and give it this with `wgpu_optim_resume`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_progress(
    optimizer: *mut WgpuOptim,
    result: *mut WgpuOptimText,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, |optimizer| optimizer.progress()) }
}

/// Goes on from what `wgpu_optim_progress` said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_resume(
    optimizer: *mut WgpuOptim,
    progress: *const c_char,
    size: usize,
    error: *mut WgpuOptimError,
) -> u32 {
    // SAFETY: as the caller says.
    unsafe { change(optimizer, error, |optimizer| optimizer.resume(text(progress, size, "progress")?)) }
}

/// Goes on where `old` is, with another set of tensors: those of the same name and shape are taken over, and those that the
/// `count` changes name; the others start as in a new optimizer. The run is `optimizer`'s from here on: make the copies and the
/// dispatches of `result`, whose modules are of `language`, behind all steps of `old`. That stays as it is; destroy it once they
/// are done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_optim_take_over(
    optimizer: *mut WgpuOptim,
    old: *const WgpuOptim,
    changes: *const WgpuOptimChange,
    count: usize,
    language: u32,
    result: *mut WgpuOptimMoves,
    error: *mut WgpuOptimError,
) -> u32 {
    let run = |new: &mut WgpuOptim| {
        if std::ptr::eq(optimizer, old) {
            return Err(Failure::new(WGPU_OPTIM_REFUSED, "an optimizer cannot take over from itself"));
        }
        // SAFETY: as the caller says.
        let (old, changes) = unsafe { (get(old, "old")?, moves::changes(changes, count)?) };
        new.take_over(old, &changes, language)
    };
    // SAFETY: as the caller says.
    unsafe { ask(optimizer, result, error, run) }
}
