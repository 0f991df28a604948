//! Claim: whatever C passes in, a call ends with a status and a text; nothing is written to a result that failed, and nothing
//! beside the memory that was given. `FUZZ_SEEDS` says how many descriptions the last test alters; `make capi-test` runs all of this
//! under AddressSanitizer.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use wgpu_optim_c::*;

const ADAMW: &str = r#"{"optimizer": "adamw", "lr": 1e-3, "max_grad_norm": 1, "non_finite": "skip",
    "groups": [{"name": "decay"}, {"name": "none", "weight_decay": 0}], "buffers": [65536],
    "tensors": [{"name": "w", "shape": [64, 32], "group": "decay",
                 "param": {"buffer": 0, "offset": 0}, "grad": {"buffer": 0, "offset": 32768}},
                {"name": "b", "shape": [32], "group": "none"}]}"#;
const LAMB: &str = r#"{"optimizer": "lamb", "ema": 0.9, "grad_accumulation_steps": 2,
    "tensors": [{"name": "w", "shape": [9, 7]}, {"name": "empty", "shape": [0]}]}"#;
const ADAFACTOR: &str = r#"{"optimizer": "adafactor", "packing": "tight", "tile": 256, "steps_ahead": 9,
    "loss_scale": {"initial": 1024}, "tensors": [{"name": "w", "shape": [300, 200]}, {"name": "v", "shape": [5]}]}"#;
const PRODIGY: &str = r#"{"optimizer": "prodigy", "state_buffers": 1, "shape": "long",
    "tensors": [{"name": "w", "shape": [3, 3, 3]}]}"#;

const RESTING: &str = r#"{"optimizer": "adam", "own_steps": true, "row_masks": "tensor_steps", "non_finite": "skip",
    "tensors": [{"name": "w", "shape": [40, 3]}, {"name": "none", "shape": [0]}, {"name": "b", "shape": [5]}]}"#;

/// An error that holds what must be overwritten.
fn error() -> WgpuOptimError {
    WgpuOptimError { status: 77, text: [b'x' as c_char; WGPU_OPTIM_ERROR_TEXT] }
}

/// Its text, of UTF-8 and ended.
fn said(error: &WgpuOptimError) -> &str {
    let bytes: &[u8] = unsafe { std::slice::from_raw_parts(error.text.as_ptr().cast(), error.text.len()) };
    CStr::from_bytes_until_nul(bytes).expect("ended by a zero").to_str().expect("UTF-8")
}

/// A call that may fail, and never for a fault of the library.
fn attempt(call: impl FnOnce(*mut WgpuOptimError) -> u32) -> Result<(), (u32, String)> {
    let mut error = error();
    let status = call(&mut error);
    assert_eq!(status, error.status);
    assert_ne!(status, WGPU_OPTIM_FAULT, "{}", said(&error));
    assert_eq!(status == WGPU_OPTIM_OK, said(&error).is_empty(), "{}", said(&error));
    if status == WGPU_OPTIM_OK { Ok(()) } else { Err((status, said(&error).to_string())) }
}

/// What a call gives.
fn ask<T>(call: impl FnOnce(*mut T, *mut WgpuOptimError) -> u32) -> Result<T, (u32, String)> {
    let mut result = MaybeUninit::uninit();
    attempt(|error| call(result.as_mut_ptr(), error))?;
    Ok(unsafe { result.assume_init() })
}

fn create(description: &[u8], limits: &WgpuOptimLimits) -> Result<*mut WgpuOptim, (u32, String)> {
    let (text, size) = (description.as_ptr().cast(), description.len());
    ask(|result, error| unsafe { wgpu_optim_create(text, size, limits, result, error) })
}

fn made(description: &str) -> *mut WgpuOptim {
    create(description.as_bytes(), &wgpu_optim_limits()).unwrap()
}

fn destroy(mut optimizer: *mut WgpuOptim) {
    unsafe { wgpu_optim_destroy(&mut optimizer) };
    assert!(optimizer.is_null());
    unsafe { wgpu_optim_destroy(&mut optimizer) };
}

fn refused<T>(result: Result<T, (u32, String)>, status: u32, parts: &[&str]) {
    let Err((got, text)) = result else { panic!("taken, where {parts:?} was expected") };
    assert!(got == status && parts.iter().all(|part| text.contains(part)), "{got}: {text}");
}

#[test]
fn null_and_misaligned_pointers() {
    let optimizer = made(ADAMW);
    let pointer = |result| refused::<()>(result, WGPU_OPTIM_POINTER, &["null"]);
    unsafe {
        let limits = wgpu_optim_limits();
        let text = c"{}".as_ptr();
        let mut out = null_mut();
        pointer(attempt(|error| wgpu_optim_create(null(), 2, &limits, &mut out, error)));
        pointer(attempt(|error| wgpu_optim_create(text, usize::MAX, &limits, &mut out, error)));
        pointer(attempt(|error| wgpu_optim_create(text, 2, null(), &mut out, error)));
        pointer(attempt(|error| wgpu_optim_create(text, 2, &limits, null_mut(), error)));
        // Without an error to write to, the status says it.
        assert_eq!(wgpu_optim_create(null(), 0, &limits, &mut out, null_mut()), WGPU_OPTIM_POINTER);
        wgpu_optim_destroy(null_mut());

        macro_rules! by_index {
            ($($name:ident),*) => {$(
                pointer(attempt(|error| $name(null_mut(), 0, MaybeUninit::uninit().as_mut_ptr(), error)));
                pointer(attempt(|error| $name(optimizer, 0, null_mut(), error)));
                refused(
                    ask(|result, error| $name(optimizer, usize::MAX, result, error)),
                    WGPU_OPTIM_UNKNOWN,
                    &["18446744073709551615", "there are"],
                );
            )*};
        }
        by_index!(
            wgpu_optim_buffer,
            wgpu_optim_layout,
            wgpu_optim_module,
            wgpu_optim_bindings,
            wgpu_optim_pass,
            wgpu_optim_tensor,
            wgpu_optim_persistent
        );
        let mut counts = MaybeUninit::uninit();
        pointer(attempt(|error| wgpu_optim_counts(null_mut(), counts.as_mut_ptr(), error)));
        let misaligned = optimizer.cast::<u8>().add(1).cast();
        pointer(attempt(|error| wgpu_optim_counts(misaligned, counts.as_mut_ptr(), error)));
        let mut misplaced = [0u64; 16];
        let result = misplaced.as_mut_ptr().cast::<u8>().add(1).cast();
        pointer(attempt(|error| wgpu_optim_counts(optimizer, result, error)));
        assert_eq!(misplaced, [0; 16], "nothing was written");

        pointer(attempt(|error| wgpu_optim_set(optimizer, 0, null(), 1.0, error)));
        pointer(attempt(|error| wgpu_optim_set(null_mut(), 0, c"lr".as_ptr(), 1.0, error)));
        pointer(attempt(|error| wgpu_optim_get(optimizer, 0, null(), &mut 0.0, error)));
        pointer(attempt(|error| wgpu_optim_change_group(optimizer, 0, null(), 0, error)));
        pointer(attempt(|error| wgpu_optim_change_wrappers(optimizer, null(), 0, error)));
        pointer(attempt(|error| wgpu_optim_observe(null_mut(), 0, &0, 1, error)));
        pointer(attempt(|error| wgpu_optim_observe(optimizer, 0, null(), 1, error)));
        pointer(attempt(|error| wgpu_optim_observe(optimizer, 0, &0, usize::MAX, error)));
        pointer(attempt(|error| wgpu_optim_reset(optimizer, usize::MAX, null_mut(), error)));
        pointer(attempt(|error| wgpu_optim_buffer_contents(optimizer, 0, null_mut(), u64::MAX, error)));
        pointer(attempt(|error| wgpu_optim_next_step(optimizer, 1, null_mut(), error)));
        let recorded = ask(|result, error| wgpu_optim_recorded(optimizer, result, error));
        assert_eq!(recorded, Ok(0), "a step that could not be given does not count");
    }
    destroy(optimizer);
}

#[test]
fn what_is_refused_is_named() {
    let limits = wgpu_optim_limits();
    for (description, status, parts) in [
        (&b"{"[..], WGPU_OPTIM_REFUSED, &["EOF"][..]),
        (b"{\"optimizer\": \"\xff\"}", WGPU_OPTIM_UTF8, &["description is not UTF-8"]),
        (br#"{"optimizer": "adan2", "tensors": []}"#, WGPU_OPTIM_REFUSED, &["adan2", "known are"]),
        (br#"{"optimizer": "sgd", "lr": -1, "tensors": []}"#, WGPU_OPTIM_REFUSED, &["lr = -1"]),
        (
            br#"{"optimizer": "sgd", "tensors": [{"name": "w", "shape": [4294967296, 4294967296]}]}"#,
            WGPU_OPTIM_REFUSED,
            &["'w'", "shape"],
        ),
        (
            br#"{"optimizer": "sgd", "tensors": [{"name": "w", "shape": [1000000000000]}]}"#,
            WGPU_OPTIM_REFUSED,
            &["'w'", "max_buffer_size"],
        ),
    ] {
        refused(create(description, &limits), status, parts);
    }
    // Limits that no device has.
    let none = WgpuOptimLimits { max_storage_buffers_per_shader_stage: 0, ..limits };
    refused(create(LAMB.as_bytes(), &none), WGPU_OPTIM_REFUSED, &["storage buffers", "limit"]);
    let none = WgpuOptimLimits { max_compute_workgroups_per_dimension: 0, ..limits };
    refused(create(LAMB.as_bytes(), &none), WGPU_OPTIM_REFUSED, &["max_compute_workgroups_per_dimension"]);
    let none = WgpuOptimLimits { max_buffer_size: 0, ..limits };
    refused(create(LAMB.as_bytes(), &none), WGPU_OPTIM_REFUSED, &["max_buffer_size"]);
    let all =
        WgpuOptimLimits { max_buffer_size: u64::MAX, max_storage_buffer_binding_size: u64::MAX, ..limits };
    let huge = br#"{"optimizer": "sgd", "tensors": [{"name": "w", "shape": [1152921504606846976]}]}"#;
    refused(create(huge, &all), WGPU_OPTIM_REFUSED, &["tiles"]);
}

#[test]
fn tensors_and_rows_rest() {
    let optimizer = made(RESTING);
    let next = |step| ask(|result, error| unsafe { wgpu_optim_next_step(optimizer, step, result, error) });
    let wants = || ask(|result, error| unsafe { wgpu_optim_wants_count(optimizer, result, error) }).unwrap();
    let observe = |recorded, counts: &[u32]| {
        let (words, size) = (counts.as_ptr(), counts.len());
        attempt(|error| unsafe { wgpu_optim_observe(optimizer, recorded, words, size, error) })
    };
    let skip = |tensor| attempt(|error| unsafe { wgpu_optim_skip(optimizer, tensor, error) });
    let mask = |tensor| ask(|result, error| unsafe { wgpu_optim_row_mask(optimizer, tensor, result, error) });
    assert_eq!(mask(0).unwrap().size, 8);
    refused(mask(3), WGPU_OPTIM_UNKNOWN, &["tensor", "3"]);

    // One tensor rests in every second step. The device has taken all of these steps; the tensor without elements has no count.
    let mut taken = [0, 0];
    for step in 1..=1000 {
        if wants().count > 0 {
            assert_eq!(wants().count, 2);
            observe(step - 1, &taken).unwrap();
        }
        if step % 2 == 0 {
            skip(2).unwrap();
        }
        assert!(next(step).is_ok(), "step {step}");
        taken = [taken[0] + 1, taken[1] + (step % 2) as u32];
    }
    refused(observe(1000, &[1000]), WGPU_OPTIM_TOO_SHORT, &["1 counts", "there are 2"]);
    refused(skip(3), WGPU_OPTIM_UNKNOWN, &["tensor", "3"]);

    let reset = |tensor| ask(|result, error| unsafe { wgpu_optim_reset(optimizer, tensor, result, error) });
    refused(reset(3), WGPU_OPTIM_UNKNOWN, &["tensor", "3"]);
    let bytes = |writes: WgpuOptimWrites| unsafe {
        let writes = std::slice::from_raw_parts(writes.writes, writes.count);
        writes.iter().map(|write| std::slice::from_raw_parts(write.bytes, write.size).len()).sum::<usize>()
    };
    // Two slots of five elements, and counts of whichever invocations there are.
    assert!(bytes(reset(2).unwrap()) > 2 * 5 * 4);
    assert!(next(1001).is_ok());
    assert!(bytes(reset(usize::MAX).unwrap()) > 2 * 125 * 4);
    assert!(next(1).is_ok(), "all of it starts again");
    destroy(optimizer);

    let plain = made(ADAMW);
    let skip = attempt(|error| unsafe { wgpu_optim_skip(plain, 0, error) });
    refused(skip, WGPU_OPTIM_REFUSED, &["own_steps"]);
    let mask = ask(|result, error| unsafe { wgpu_optim_row_mask(plain, 0, result, error) });
    refused(mask, WGPU_OPTIM_REFUSED, &["row_masks"]);
    destroy(plain);
}

fn change(tensor: &CStr, from: Option<&CStr>, rows: Option<&[u32]>) -> WgpuOptimChange {
    let (rows, count) = rows.map_or((null(), 0), |rows| (rows.as_ptr(), rows.len()));
    WgpuOptimChange { tensor: tensor.as_ptr(), from: from.map_or(null(), CStr::as_ptr), rows, count, list: 3 }
}

fn take_over(
    new: *mut WgpuOptim,
    old: *const WgpuOptim,
    changes: &[WgpuOptimChange],
    language: u32,
) -> Result<WgpuOptimMoves, (u32, String)> {
    let (all, count) = (changes.as_ptr(), changes.len());
    ask(|result, error| unsafe { wgpu_optim_take_over(new, old, all, count, language, result, error) })
}

#[test]
fn runs_are_taken_over() {
    let text = |tensors: &str| format!(r#"{{"optimizer": "adam", "tensors": [{tensors}]}}"#);
    let old = made(&text(r#"{"name": "w", "shape": [9, 59]}, {"name": "b", "shape": [7]}"#));
    let new = made(&text(r#"{"name": "b", "shape": [7]}, {"name": "v", "shape": [3, 59]}"#));
    for step in 1..=4 {
        assert!(ask(|result, error| unsafe { wgpu_optim_next_step(old, step, result, error) }).is_ok());
    }
    let rows = [8, WGPU_OPTIM_NONE, 2 + WGPU_OPTIM_FRESH];
    let v = |rows| change(c"v", Some(c"w"), rows);
    refused(
        take_over(new, old, &[v(Some(&[9, 0, 0]))], 1),
        WGPU_OPTIM_REFUSED,
        &["row 0 of 'v' is row 9 of 'w'"],
    );
    refused(
        take_over(new, old, &[v(Some(&[0]))], 1),
        WGPU_OPTIM_REFUSED,
        &["'v' has 3 rows, and its list 1"],
    );
    refused(take_over(new, old, &[v(Some(&rows))], 5), WGPU_OPTIM_UNKNOWN, &["language"]);
    refused(take_over(new, new, &[], 1), WGPU_OPTIM_REFUSED, &["itself"]);
    refused(take_over(new, null(), &[], 1), WGPU_OPTIM_POINTER, &["old"]);
    let nameless = WgpuOptimChange { tensor: null(), ..v(None) };
    refused(take_over(new, old, &[nameless], 1), WGPU_OPTIM_POINTER, &["tensor of a change"]);
    refused(take_over(new, old, &[change(c"\xff", None, None)], 1), WGPU_OPTIM_UTF8, &["change"]);
    refused(take_over(new, old, &[change(c"x", None, None)], 1), WGPU_OPTIM_REFUSED, &["no tensor 'x'"]);
    let recorded = |of| ask(|result, error| unsafe { wgpu_optim_recorded(of, result, error) }).unwrap();
    assert_eq!(recorded(new), 0, "nothing was changed");

    for given in [Some(&rows[..]), None] {
        for language in 0..5 {
            let moves = take_over(new, old, &[v(given)], language).unwrap();
            assert_eq!(recorded(new), 4);
            let (copies, passes, lists) = unsafe {
                (
                    std::slice::from_raw_parts(moves.copies, moves.copy_count),
                    std::slice::from_raw_parts(moves.passes, moves.pass_count),
                    std::slice::from_raw_parts(moves.lists, moves.list_words),
                )
            };
            // Parameters, gradients and two slots of `b`.
            assert!(copies.iter().filter(|copy| copy.from.size == 28 && copy.to.size == 28).count() == 4);
            let mut moved = 0;
            for pass in passes {
                let code = unsafe { &*pass.code };
                let bytes = unsafe { std::slice::from_raw_parts(code.bytes, code.size) };
                assert!(language == 1 || std::str::from_utf8(bytes).is_ok_and(|text| text.contains("Chunk")));
                let chunks = unsafe { std::slice::from_raw_parts(pass.chunks, pass.chunk_words) };
                let list = match pass.list {
                    usize::MAX => &lists[pass.list_offset as usize / 4..][..pass.list_size as usize / 4],
                    3 => &rows[..pass.list_size as usize / 4],
                    other => panic!("list {other}"),
                };
                let of_rows = chunks.chunks(8).filter(|chunk| chunk[3] & !WGPU_OPTIM_FRESH == 59);
                let elements: u32 = of_rows.map(|chunk| chunk[2]).sum();
                moved += elements;
                assert!(elements == 0 || list == rows);
                assert!(pass.workgroups[0] * pass.workgroups[1] * 8 >= pass.chunk_words as u32);
            }
            assert_eq!(moved, 4 * 3 * 59);
        }
    }
    destroy(old);
    destroy(new);
}

#[test]
fn a_refused_optimizer_is_null() {
    let mut optimizer = std::ptr::without_provenance_mut(8);
    let limits = wgpu_optim_limits();
    unsafe { wgpu_optim_create(c"{".as_ptr(), 1, &limits, &mut optimizer, null_mut()) };
    assert!(optimizer.is_null());
}

#[test]
fn steps_come_in_turn() {
    let optimizer = made(ADAMW);
    let next = |step| ask(|result, error| unsafe { wgpu_optim_next_step(optimizer, step, result, error) });
    refused(next(0), WGPU_OPTIM_OUT_OF_TURN, &["step 0", "the next is 1"]);
    refused(next(2), WGPU_OPTIM_OUT_OF_TURN, &["step 2", "the next is 1"]);
    assert!(next(1).is_ok() && next(2).is_ok());
    refused(next(2), WGPU_OPTIM_OUT_OF_TURN, &["step 2", "2 are recorded"]);
    refused(next(1), WGPU_OPTIM_OUT_OF_TURN, &["step 1"]);
    refused(next(u64::MAX), WGPU_OPTIM_OUT_OF_TURN, &["the next is 3"]);
    // What is out of range is refused when the next step is asked for at the latest, and then no step counts.
    let set = |name: &CStr, value| {
        attempt(|error| unsafe { wgpu_optim_set(optimizer, 1, name.as_ptr(), value, error) })
    };
    refused(set(c"lr", f64::NAN), WGPU_OPTIM_REFUSED, &["group 'none'", "lr = NaN"]);
    refused(set(c"Lr", 1.0), WGPU_OPTIM_REFUSED, &["\"Lr\"", "lr, "]);
    refused(set(c"\xff", 1.0), WGPU_OPTIM_UTF8, &["name"]);
    refused(
        attempt(|error| unsafe { wgpu_optim_observe(optimizer, 3, &0, 1, error) }),
        WGPU_OPTIM_OUT_OF_TURN,
        &["3 steps were observed, but 2"],
    );
    assert!(set(c"lr", 0.5).is_ok() && next(3).is_ok());
    let lr = ask(|result, error| unsafe { wgpu_optim_get(optimizer, 1, c"lr".as_ptr(), result, error) });
    assert_eq!(lr, Ok(0.5));
    // A host that never says how many were taken comes to an end.
    let end = (4..10_000).find_map(|step| next(step).err());
    refused::<()>(Err(end.unwrap()), WGPU_OPTIM_REFUSED, &["steps were recorded since"]);
    destroy(optimizer);
}

#[test]
fn a_run_goes_on() {
    let (first, second) = (made(ADAMW), made(ADAMW));
    let next = |optimizer, step| {
        let step: WgpuOptimStep =
            ask(|result, error| unsafe { wgpu_optim_next_step(optimizer, step, result, error) }).unwrap();
        let writes = unsafe { std::slice::from_raw_parts(step.writes, step.count) };
        writes
            .iter()
            .map(|write| unsafe { std::slice::from_raw_parts(write.bytes, write.size) }.to_vec())
            .collect()
    };
    let _: Vec<Vec<Vec<u8>>> = (1..=5).map(|step| next(first, step)).collect();
    let progress = ask(|result, error| unsafe { wgpu_optim_progress(first, result, error) }).unwrap();
    let resume =
        |text: *const c_char, size| attempt(|error| unsafe { wgpu_optim_resume(second, text, size, error) });
    resume(progress.text, progress.size).unwrap();
    let (got, expected): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (next(second, 6), next(first, 6));
    // The counted rows and the record; the first step of a process writes what is set too.
    assert_eq!(got[got.len() - 2], expected[expected.len() - 2]);
    for (text, part) in [("{", "progress"), ("{}", "missing field"), (r#"{"recorded": 1}"#, "missing")] {
        refused(resume(text.as_ptr().cast(), text.len()), WGPU_OPTIM_REFUSED, &[part]);
    }
    let text = unsafe { CStr::from_ptr(progress.text) }.to_str().unwrap();
    let more = text.replacen("\"made\":5", "\"made\":9", 1);
    refused(resume(more.as_ptr().cast(), more.len()), WGPU_OPTIM_REFUSED, &["host scalars for 9"]);
    destroy(first);
    destroy(second);
}

#[test]
fn memory_that_is_too_short_is_left_alone() {
    let optimizer = made(ADAMW);
    let counts = ask(|result, error| unsafe { wgpu_optim_counts(optimizer, result, error) }).unwrap();
    for index in 0..counts.buffers {
        let buffer =
            ask(|result, error| unsafe { wgpu_optim_buffer(optimizer, index, result, error) }).unwrap();
        let mut short = vec![7u8; buffer.size as usize - 1];
        let (bytes, size) = (short.as_mut_ptr().cast(), short.len() as u64);
        let short_of =
            attempt(|error| unsafe { wgpu_optim_buffer_contents(optimizer, index, bytes, size, error) });
        refused(short_of, WGPU_OPTIM_TOO_SHORT, &["are needed"]);
        assert!(short.iter().all(|byte| *byte == 7), "a partial write");
    }
    destroy(optimizer);
}

#[test]
fn languages_have_their_numbers() {
    use wgpu_optim::export::Language;
    let numbers = [
        (WGPU_OPTIM_LANGUAGE_WGSL, Language::Wgsl),
        (WGPU_OPTIM_LANGUAGE_SPIRV, Language::Spirv),
        (WGPU_OPTIM_LANGUAGE_MSL, Language::Msl),
        (WGPU_OPTIM_LANGUAGE_HLSL, Language::Hlsl),
        (WGPU_OPTIM_LANGUAGE_GLSL, Language::Glsl),
    ];
    for (number, language) in numbers {
        assert_eq!(Language::ALL[number as usize], language);
    }
    let optimizer = made(PRODIGY);
    let code = |index, language| {
        ask(|result, error| unsafe { wgpu_optim_code(optimizer, index, language, result, error) })
    };
    refused(code(0, 5), WGPU_OPTIM_UNKNOWN, &["no language 5"]);
    refused(code(99, WGPU_OPTIM_LANGUAGE_SPIRV), WGPU_OPTIM_UNKNOWN, &["module"]);
    let spirv = code(0, WGPU_OPTIM_LANGUAGE_SPIRV).unwrap();
    assert!(spirv.bytes.cast::<u32>().is_aligned() && spirv.size.is_multiple_of(4));
    assert_eq!(unsafe { spirv.bytes.cast::<u32>().read() }, 0x0723_0203, "the magic number");
    destroy(optimizer);
}

/// Looks at everything that an optimizer has, and takes some steps.
fn walk(optimizer: *mut WgpuOptim, random: &mut ChaCha8Rng) {
    let mut sum = 0u64;
    unsafe {
        let counts = ask(|result, error| wgpu_optim_counts(optimizer, result, error)).unwrap();
        let read = |text: *const c_char| CStr::from_ptr(text).to_bytes().len() as u64;
        for index in 0..counts.buffers {
            let buffer = ask(|result, error| wgpu_optim_buffer(optimizer, index, result, error)).unwrap();
            sum += read(buffer.label);
            if buffer.usage >= WGPU_OPTIM_USAGE_STORAGE && buffer.size <= 1 << 22 {
                let mut bytes = vec![0u8; buffer.size as usize];
                let to = bytes.as_mut_ptr().cast();
                attempt(|error| wgpu_optim_buffer_contents(optimizer, index, to, buffer.size, error))
                    .unwrap();
                sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
        }
        for index in 0..counts.layouts {
            let layout = ask(|result, error| wgpu_optim_layout(optimizer, index, result, error)).unwrap();
            sum += std::slice::from_raw_parts(layout.kinds, layout.count)
                .iter()
                .map(|x| u64::from(*x))
                .sum::<u64>();
        }
        for index in 0..counts.modules {
            let module = ask(|result, error| wgpu_optim_module(optimizer, index, result, error)).unwrap();
            sum += read(module.label) + module.layout as u64;
            let language = random.random_range(0..7);
            if let Ok(code) = ask(|result, error| wgpu_optim_code(optimizer, index, language, result, error))
            {
                sum += std::slice::from_raw_parts(code.bytes, code.size)
                    .iter()
                    .map(|x| u64::from(*x))
                    .sum::<u64>();
                sum += read(code.entry_point) + code.length_count as u64;
            }
        }
        for index in 0..counts.bindings {
            let group = ask(|result, error| wgpu_optim_bindings(optimizer, index, result, error)).unwrap();
            for slice in std::slice::from_raw_parts(group.slices, group.count) {
                assert!(slice.buffer < counts.buffers && slice.size > 0);
            }
        }
        for index in 0..counts.passes {
            let pass = ask(|result, error| wgpu_optim_pass(optimizer, index, result, error)).unwrap();
            assert!(pass.module < counts.modules && pass.bindings < counts.bindings);
        }
        for index in 0..counts.tensors {
            let tensor = ask(|result, error| wgpu_optim_tensor(optimizer, index, result, error)).unwrap();
            sum += read(tensor.name);
        }
        for index in 0..counts.persistent {
            let words = ask(|result, error| wgpu_optim_persistent(optimizer, index, result, error)).unwrap();
            let found = ask(|result, error| wgpu_optim_words(optimizer, words.name, result, error));
            // A zero inside a name cuts it for C.
            if let Ok(found) = found {
                assert_eq!(found.count, words.count);
            }
        }
        for step in 1..=random.random_range(1..20) {
            let Ok(step) = ask(|result, error| wgpu_optim_next_step(optimizer, step, result, error)) else {
                break;
            };
            for write in std::slice::from_raw_parts(step.writes, step.count) {
                let bytes = std::slice::from_raw_parts(write.bytes, write.size);
                sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            }
            let number =
                CString::new(["lr", "beta1", "eps", "weight_decay", "", "lr lr"][random.random_range(0..6)]);
            let (group, value) =
                (random.random_range(0..3), [0.5, -1.0, f64::INFINITY, 1e-300][random.random_range(0..4)]);
            let number = number.unwrap();
            let _ = attempt(|error| wgpu_optim_set(optimizer, group, number.as_ptr(), value, error));
            let text = [r#"{"ema": 2}"#, r#"{"max_grad_norm": 3}"#, "[", "{}"][random.random_range(0..4)];
            let (options, size) = (text.as_ptr().cast(), text.len());
            let _ = attempt(|error| wgpu_optim_change_wrappers(optimizer, options, size, error));
            let _ = attempt(|error| wgpu_optim_change_group(optimizer, group, options, size, error));
            let (at, counts) = (random.random_range(0..30), [random.random(), 0, 1]);
            let size = random.random_range(0..=counts.len());
            let _ = attempt(|error| wgpu_optim_observe(optimizer, at, counts.as_ptr(), size, error));
            let _ = ask(|result, error| wgpu_optim_wants_count(optimizer, result, error));
            let tensor = [0, 1, 2, usize::MAX][random.random_range(0..4)];
            let _ = attempt(|error| wgpu_optim_skip(optimizer, tensor, error));
            let _ = ask(|result, error| wgpu_optim_row_mask(optimizer, tensor, result, error));
            if random.random_range(0..8) == 0
                && let Ok(all) = ask(|result, error| wgpu_optim_reset(optimizer, tensor, result, error))
            {
                for write in std::slice::from_raw_parts(all.writes, all.count) {
                    let bytes = std::slice::from_raw_parts(write.bytes, write.size);
                    sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                }
                break;
            }
        }
    }
    std::hint::black_box(sum);
}

/// A description with something of it changed.
fn altered(random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut text = [ADAMW, LAMB, ADAFACTOR, PRODIGY, RESTING][random.random_range(0..5)].as_bytes().to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..text.len());
        let end = (at + random.random_range(1..9)).min(text.len());
        match random.random_range(0..5) {
            0 => text[at] = random.random(),
            1 => drop(text.drain(at..end)),
            2 => drop(text.splice(at..at, text[at..end].to_vec())),
            3 => {
                // A number in the place of another.
                let numbers = ["0", "-1", "1e308", "4294967296", "3", "0.5", "1e-46", "257", "null", "[]"];
                let number = numbers[random.random_range(0..numbers.len())];
                let digits: Vec<usize> = (0..text.len()).filter(|i| text[*i].is_ascii_digit()).collect();
                if let Some(at) = digits.get(random.random_range(0..digits.len().max(1))) {
                    let end = (*at..text.len()).find(|i| !text[*i].is_ascii_digit()).unwrap_or(text.len());
                    text.splice(*at..end, number.bytes());
                }
            }
            _ => text.truncate(end),
        }
        if text.is_empty() {
            break;
        }
    }
    text
}

#[test]
fn altered_descriptions_and_limits() {
    // By number, not by time: a seed that fails somewhere fails everywhere.
    let seeds = std::env::var("FUZZ_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let usual = wgpu_optim_limits();
        let mut limits = usual;
        for _ in 0..random.random_range(0..3) {
            let value = [0, 1, 3, 4, 16, 63, 64, 100, 256, 4096, u32::MAX][random.random_range(0..11)];
            let bytes = if value == u32::MAX { u64::MAX >> random.random_range(0..32) } else { value.into() };
            match random.random_range(0..8) {
                0 => limits.max_buffer_size = bytes,
                1 => limits.max_storage_buffer_binding_size = bytes,
                2 => limits.min_storage_buffer_offset_alignment = value,
                3 => limits.max_storage_buffers_per_shader_stage = value,
                4 => limits.max_compute_workgroups_per_dimension = value,
                5 => limits.max_compute_invocations_per_workgroup = value,
                6 => limits.overlapping_bindings = value,
                _ => limits.software = value,
            }
        }
        let description = altered(&mut random);
        match create(&description, &limits) {
            Ok(optimizer) => {
                walk(optimizer, &mut random);
                destroy(optimizer);
                taken += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!("{taken} descriptions taken, {refused} refused");
    assert!(taken > 10 && refused > 10, "{taken} taken, {refused} refused");
}
