//! Writes the modules of an optimizer in another language, with what an executor must know of them. Needs no GPU.
//!
//! ```text
//! cargo run --release --features export --example export -- --optimizer adamw --target spirv --out out/adamw
//! cargo run --release --features export --example export -- --optimizer description.json --target hlsl --out out/mine
//! ```
//!
//! `contract.json` lists each module's file, entry point, workgroup size, hash and bindings; `program.json` is the whole
//! program: buffers with their first contents, bind groups, passes, host scalars. `shaders/README.md` explains both.

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};
use std::path::PathBuf;
use wgpu_optim::Description;
use wgpu_optim::export::{Code, Language, translate};
use wgpu_optim::program::{Limits, Module, Program};
use wgpu_optim::rules::names;

/// Writes the modules of an optimizer in another language.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name of an optimizer, a JSON object that describes one with its tensors, or a file of such an object
    #[arg(long, default_value = "adamw")]
    optimizer: String,
    /// wgsl, spirv, msl, hlsl or glsl
    #[arg(long, default_value = "spirv")]
    target: Language,
    /// For a device that is a CPU: long runs in each invocation
    #[arg(long)]
    software: bool,
    /// The folder to write to
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let limits = Limits { software: arguments.software, overlapping_bindings: true, ..Limits::default() };
    let program = program(&arguments.optimizer, &limits)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = arguments.out.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    let mut modules = vec![];
    for (index, module) in program.modules.iter().enumerate() {
        let code = translate(&program, index, arguments.target)?;
        let pass = module.label.rsplit(": ").next().unwrap_or(&module.label).replace(' ', "_");
        let file = format!("{index}_{pass}.{}", arguments.target.extension());
        write(&file, &code.bytes)?;
        println!("{file}: {} bytes, entry point {}", code.bytes.len(), code.entry_point);
        modules.push(contract(&file, module, &code));
    }
    let contract = json!({
        "library": format!("wgpu-optim {}", wgpu_optim::VERSION),
        "version": 1,
        "language": arguments.target,
        "optimizer": program.optimizer,
        "program": format!("{:016x}", program.hash()),
        "modules": modules,
    });
    write("contract.json", serde_json::to_string_pretty(&contract)?.as_bytes())?;
    write("program.json", serde_json::to_string_pretty(&program)?.as_bytes())
}

/// What an executor must know of a module.
fn contract(file: &str, module: &Module, code: &Code) -> Value {
    let mut contract = json!({
        "file": file,
        "label": module.label,
        "entry_point": code.entry_point,
        "workgroup_size": [module.invocations, 1, 1],
        "hash": format!("{:016x}", code.hash()),
        "bindings": code.resources,
    });
    if let Some((at, bindings)) = &code.lengths {
        contract["lengths"] = json!({ "at": format!("buffer({at})"), "bindings": bindings });
    }
    if let Some(at) = code.workgroups {
        contract["workgroups"] = json!({ "at": format!("b{at}") });
    }
    contract
}

/// The program of a description, or of a name with a small network's tensors.
fn program(optimizer: &str, limits: &Limits) -> Result<Program> {
    let optimizer = optimizer.trim();
    let text = if names().contains(&optimizer) {
        let tensor = |name: &str, shape: &[usize]| json!({ "name": name, "shape": shape });
        let tensors = [tensor("weight", &[784, 256]), tensor("bias", &[256])];
        json!({ "optimizer": optimizer, "tensors": tensors }).to_string()
    } else if optimizer.starts_with('{') {
        optimizer.to_string()
    } else {
        std::fs::read_to_string(optimizer).with_context(|| {
            format!(
                "--optimizer: '{optimizer}' is no optimizer and no file; known are {}",
                names().join(", ")
            )
        })?
    };
    Ok(Description::from_json(&text, limits)?.program)
}
