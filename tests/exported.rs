//! Claim: the compilers of other APIs read what is exported: Slang the HLSL, glslang the GLSL. (`shader_portability.rs` has
//! spirv-val.) Needs no GPU. A compiler that is not installed is passed over; with `REQUIRE_VALIDATORS=1` it must be there.

#[path = "common/modules.rs"]
mod modules;

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use wgpu_optim::export::{Code, Language, translate};
use wgpu_optim::program::{Limits, Options, Program, Shape};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Wrappers};

fn main() {
    let mut trials = vec![];
    for (name, language, arguments) in [
        ("slangc", Language::Hlsl, hlsl as fn(&Code) -> Vec<String>),
        ("glslangValidator", Language::Glsl, |_| vec!["-S".into(), "comp".into()]),
    ] {
        let there = Command::new(name).arg("-v").output().is_ok();
        let required = std::env::var_os("REQUIRE_VALIDATORS").is_some();
        for entry in REGISTRY {
            let title = format!("{}: {name} reads its {}", entry.name, language.name());
            let read = move || read_all((entry.variants)().remove(0), name, language, arguments);
            trials.push(Trial::test(title, read).with_ignored_flag(!there && !required));
        }
        let read = move || {
            let program = modules::of_moves();
            in_folder("moves", |folder| read_program(&program, folder, name, language, arguments))
        };
        let title = format!("what moves rows: {name} reads its {}", language.name());
        trials.push(Trial::test(title, read).with_ignored_flag(!there && !required));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Slang's options for one module. Unoptimised: what it generates is thrown away.
fn hlsl(code: &Code) -> Vec<String> {
    let options = format!("-lang hlsl -entry {} -stage compute -target spirv -O0", code.entry_point);
    options.split(' ').map(Into::into).collect()
}

/// Modules that were read before: many rules share them.
static READ: Mutex<Option<HashSet<(Language, u64)>>> = Mutex::new(None);

/// A folder for one trial, and then none, unless something was refused.
fn in_folder(name: &str, read: impl FnOnce(&Path) -> Result<(), Failed>) -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("wgpu-optim-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    read(&folder)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The modules of a rule with nothing and with everything around it, in both shapes and both accesses.
fn read_all(
    config: AnyRule,
    compiler: &str,
    language: Language,
    arguments: fn(&Code) -> Vec<String>,
) -> Result<(), Failed> {
    let limits = Limits { max_storage_buffers_per_shader_stage: 16, ..Limits::default() };
    for wrappers in [Wrappers::default(), modules::everything()] {
        for in_arena in [true, false] {
            let mut options = Options::default();
            options.wrappers = wrappers;
            options.shape = Some(if in_arena { Shape::Wide(128) } else { Shape::Long });
            let tensors = modules::tensors(1, in_arena);
            let program = Program::new(&tensors, std::slice::from_ref(&config), &options, &limits)?;
            in_folder(config.name(), |folder| read_program(&program, folder, compiler, language, arguments))?;
        }
    }
    Ok(())
}

/// The modules of a program.
fn read_program(
    program: &Program,
    folder: &Path,
    compiler: &str,
    language: Language,
    arguments: fn(&Code) -> Vec<String>,
) -> Result<(), Failed> {
    for (index, module) in program.modules.iter().enumerate() {
        let code = translate(program, index, language)?;
        let is_new = READ.lock()?.get_or_insert_default().insert((language, code.hash()));
        if !is_new {
            continue;
        }
        let file = folder.join(format!("module.{}", language.extension()));
        std::fs::write(&file, &code.bytes)?;
        let output = Command::new(compiler).arg(&file).args(arguments(&code)).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !output.status.success() || said.contains("error") || said.contains("ERROR") {
            let kept = folder.join(format!("refused.{}", language.extension()));
            std::fs::rename(&file, &kept)?;
            return Err(format!("{}: {compiler} on {}: {said}", module.label, kept.display()).into());
        }
    }
    Ok(())
}
