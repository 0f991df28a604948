//! The tests in the library's `tests` folder that need no GPU, as they stand there, on the library without wgpu: `collect`,
//! then for each index `name` and `run`. See `run.mjs`.
#![allow(dead_code)] // a module has no `main` and no command line

use libtest_mimic::{Failed, Trial};

#[path = "../../../tests/program.rs"]
mod program;
#[path = "../../../tests/ranges.rs"]
mod ranges;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Shows UTF-8 text.
    fn report(text: *const u8, bytes: usize);
}

fn say(text: &str) {
    // SAFETY: the host reads the bytes before it returns.
    unsafe { report(text.as_ptr(), text.len()) }
}

/// The hashes that the host computed which built this module.
const HASHES: &[u64] = include!(concat!(env!("OUT_DIR"), "/hashes.rs"));

fn hashes_are_the_hosts() -> Result<(), Failed> {
    let ours = program::hashes();
    if HASHES.len() < 100 {
        return Err(Failed::from(format!("only {} hashes", HASHES.len())));
    }
    match ours.iter().zip(HASHES).position(|(ours, theirs)| ours != theirs) {
        None if ours.len() == HASHES.len() => Ok(()),
        at => Err(Failed::from(format!(
            "{} hashes here, {} there; the first to differ: {at:?}",
            ours.len(),
            HASHES.len()
        ))),
    }
}

/// Collects the trials: how many there are.
#[unsafe(no_mangle)]
pub extern "C" fn collect() -> u32 {
    std::panic::set_hook(Box::new(|panic| say(&format!("panic: {panic}"))));
    libtest_mimic::run(
        &libtest_mimic::Arguments::from_args(),
        vec![Trial::test("programs have the hashes that the host computes", hashes_are_the_hosts)],
    );
    program::main();
    ranges::main();
    libtest_mimic::count() as u32
}

/// Reports a trial's name, before it runs.
#[unsafe(no_mangle)]
pub extern "C" fn name(index: u32) {
    say(&libtest_mimic::name(index as usize));
}

/// Runs a trial: 0 if it passed, 1 if it failed, 2 if there is none or it is to be left out. A panic is a trap.
#[unsafe(no_mangle)]
pub extern "C" fn run(index: u32) -> u32 {
    match libtest_mimic::take(index as usize) {
        Some(trial) if !trial.is_ignored() => match trial.failure() {
            None => 0,
            Some(message) => {
                say(&message);
                1
            }
        },
        _ => 2,
    }
}
