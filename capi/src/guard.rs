//! What stands between C and the core: pointers that may be null, texts that may be anything, panics that must not cross.

use crate::WgpuOptim;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Everything went well.
pub const WGPU_OPTIM_OK: u32 = 0;
/// A pointer that must not be is null or not aligned.
pub const WGPU_OPTIM_POINTER: u32 = 1;
/// A text is not UTF-8.
pub const WGPU_OPTIM_UTF8: u32 = 2;
/// What was asked for is refused: options, shapes, limits, values out of range. The text names it.
pub const WGPU_OPTIM_REFUSED: u32 = 3;
/// An index, a name or a language that there is not.
pub const WGPU_OPTIM_UNKNOWN: u32 = 4;
/// The caller's memory is too short; nothing was written.
pub const WGPU_OPTIM_TOO_SHORT: u32 = 5;
/// A step out of turn: one that was recorded already, or one that leaves some out.
pub const WGPU_OPTIM_OUT_OF_TURN: u32 = 6;
/// A fault of this library. The optimizer may be destroyed, and nothing else.
pub const WGPU_OPTIM_FAULT: u32 = 7;

/// Bytes of the text of an error.
pub const WGPU_OPTIM_ERROR_TEXT: usize = 1024;

/// Why a call failed. The caller's: nothing in it needs to be freed.
#[repr(C)]
pub struct WgpuOptimError {
    /// What the call returned.
    pub status: u32,
    /// In words, of UTF-8, ended by a zero; cut where it is longer. Empty after success.
    pub text: [c_char; WGPU_OPTIM_ERROR_TEXT],
}

/// A status and its text.
pub struct Failure {
    status: u32,
    text: String,
}

impl Failure {
    pub(crate) fn new(status: u32, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(crate) fn unknown(what: &str, index: usize, count: usize) -> Self {
        Self::new(WGPU_OPTIM_UNKNOWN, format!("there is no {what} {index}; there are {count}"))
    }
}

impl From<wgpu_optim::Error> for Failure {
    fn from(error: wgpu_optim::Error) -> Self {
        use wgpu_optim::Error;
        let status = match error {
            Error::UnknownHandle { .. } | Error::UnknownLanguage { .. } => WGPU_OPTIM_UNKNOWN,
            _ => WGPU_OPTIM_REFUSED,
        };
        Self::new(status, error.to_string())
    }
}

/// Runs a call, and reports how it ended.
///
/// # Safety
/// `error` is null or points to memory for a [`WgpuOptimError`].
pub unsafe fn call(error: *mut WgpuOptimError, run: impl FnOnce() -> Result<(), Failure>) -> u32 {
    // What a panic leaves behind is not looked at again: the caller is told to destroy it.
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(Failure::new(WGPU_OPTIM_FAULT, format!("a fault of wgpu-optim, please report it: {said}")))
    });
    let (status, text) = match &outcome {
        Ok(()) => (WGPU_OPTIM_OK, ""),
        Err(failure) => (failure.status, failure.text.as_str()),
    };
    if !error.is_null() && error.is_aligned() {
        let end = text.floor_char_boundary(WGPU_OPTIM_ERROR_TEXT - 1);
        let mut cut = [0; WGPU_OPTIM_ERROR_TEXT];
        for (to, from) in cut.iter_mut().zip(&text.as_bytes()[..end]) {
            *to = *from as c_char;
        }
        // SAFETY: the caller says that it points to memory for one.
        unsafe { error.write(WgpuOptimError { status, text: cut }) };
    }
    status
}

fn null(what: &str) -> Failure {
    Failure::new(WGPU_OPTIM_POINTER, format!("{what} is null or not aligned"))
}

/// What a pointer points to.
///
/// # Safety
/// `pointer` is null, or points to a value that nobody changes meanwhile.
pub unsafe fn get<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failure> {
    if !pointer.is_aligned() {
        return Err(null(what));
    }
    // SAFETY: it is aligned, and the caller says that it is null or points to a value.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// The same, to change.
///
/// # Safety
/// `pointer` is null, or points to a value that nobody else uses meanwhile.
pub unsafe fn get_mut<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T, Failure> {
    if !pointer.is_aligned() {
        return Err(null(what));
    }
    // SAFETY: it is aligned, and the caller says that it is null or points to a value.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// Asks an optimizer for something, which is written to `result`.
///
/// # Safety
/// `optimizer` is null or a living one that nobody else uses meanwhile; `result` and `error` are null, or point to memory for
/// their types.
pub unsafe fn ask<T>(
    optimizer: *mut WgpuOptim,
    result: *mut T,
    error: *mut WgpuOptimError,
    run: impl FnOnce(&mut WgpuOptim) -> Result<T, Failure>,
) -> u32 {
    let run = || {
        // SAFETY: as the caller says.
        let optimizer = unsafe { get_mut(optimizer, "optimizer")? };
        // What cannot be given must not be made: a step would count.
        if result.is_null() || !result.is_aligned() {
            return Err(null("result"));
        }
        let found = run(optimizer)?;
        // SAFETY: as the caller says.
        unsafe { put(result, "result", found) }
    };
    // SAFETY: as the caller says.
    unsafe { call(error, run) }
}

/// Changes an optimizer.
///
/// # Safety
/// As [`ask`].
pub unsafe fn change(
    optimizer: *mut WgpuOptim,
    error: *mut WgpuOptimError,
    run: impl FnOnce(&mut WgpuOptim) -> Result<(), Failure>,
) -> u32 {
    // SAFETY: as the caller says.
    let run = || run(unsafe { get_mut(optimizer, "optimizer")? });
    // SAFETY: as the caller says.
    unsafe { call(error, run) }
}

/// Writes a result.
///
/// # Safety
/// `to` is null, or points to memory for a value.
pub unsafe fn put<T>(to: *mut T, what: &str, value: T) -> Result<(), Failure> {
    if to.is_null() || !to.is_aligned() {
        return Err(null(what));
    }
    // SAFETY: neither null nor misaligned, and the caller says that there is memory.
    unsafe { to.write(value) };
    Ok(())
}

/// A text of the caller's, of so many bytes.
///
/// # Safety
/// `text` is null, or points to `size` bytes that nobody changes meanwhile.
pub unsafe fn text<'a>(text: *const c_char, size: usize, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: as the caller says.
    let bytes = unsafe { array(text.cast::<u8>(), size, what)? };
    std::str::from_utf8(bytes)
        .map_err(|error| Failure::new(WGPU_OPTIM_UTF8, format!("{what} is not UTF-8: {error}")))
}

/// Values of the caller's, of which there are so many.
///
/// # Safety
/// `values` is null, or points to `size` values that nobody changes meanwhile.
pub unsafe fn array<'a, T>(values: *const T, size: usize, what: &str) -> Result<&'a [T], Failure> {
    let most = isize::MAX as usize / size_of::<T>().max(1);
    if values.is_null() || !values.is_aligned() || size > most {
        return Err(null(what));
    }
    // SAFETY: neither null nor misaligned, and the caller says that so many values are there.
    Ok(unsafe { std::slice::from_raw_parts(values, size) })
}

/// A name of the caller's, ended by a zero.
///
/// # Safety
/// `name` is null, or points to bytes that a zero ends and that nobody changes meanwhile.
pub unsafe fn name<'a>(name: *const c_char, what: &str) -> Result<&'a CStr, Failure> {
    if name.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, and the caller says that a zero ends it.
    Ok(unsafe { CStr::from_ptr(name) })
}

pub(crate) fn utf8<'a>(name: &'a CStr, what: &str) -> Result<&'a str, Failure> {
    name.to_str().map_err(|error| Failure::new(WGPU_OPTIM_UTF8, format!("{what} is not UTF-8: {error}")))
}

/// Memory of the caller's, of which `needed` bytes are used.
///
/// # Safety
/// `bytes` is null, or points to `size` bytes that nobody else uses meanwhile.
pub unsafe fn memory<'a>(
    bytes: *mut c_void,
    size: u64,
    needed: u64,
    what: &str,
) -> Result<&'a mut [u8], Failure> {
    if size < needed {
        let text = format!("{what} has {size} bytes, and {needed} are needed");
        return Err(Failure::new(WGPU_OPTIM_TOO_SHORT, text));
    }
    let needed = usize::try_from(needed)
        .ok()
        .filter(|needed| *needed <= isize::MAX as usize)
        .ok_or_else(|| Failure::new(WGPU_OPTIM_TOO_SHORT, format!("{what}: memory has no {needed} bytes")))?;
    if bytes.is_null() {
        return Err(null(what));
    }
    // The caller's memory may hold nothing yet.
    // SAFETY: not null, and the caller says that so many bytes are there.
    unsafe { bytes.cast::<u8>().write_bytes(0, needed) };
    // SAFETY: the same, and they hold something now.
    Ok(unsafe { std::slice::from_raw_parts_mut(bytes.cast::<u8>(), needed) })
}
