//! Prints a step as data: the buffers, host scalars, modules, bind groups and passes of any configuration. Needs no GPU.
//!
//! ```text
//! cargo run --example program -- --optimizer lamb --tensors 784x256,256@1
//! cargo run --example program -- --optimizer '{"optimizer": "adamw", "max_grad_norm": 1}' --wgsl apply
//! ```

use anyhow::{Context, Result, bail};
use clap::Parser;
use wgpu_optim::program::{Declared, Limits, Options, Packing, Program, Tensors};
use wgpu_optim::rules::{Setup, names};

/// Prints the program of an optimizer.
#[derive(Debug, Parser)]
struct Arguments {
    /// Name of an optimizer, or its options and what stands around it as a JSON object
    #[arg(long, default_value = "adamw")]
    optimizer: String,
    /// Shapes, each with its group behind an @ (0 if left out)
    #[arg(long, default_value = "784x256,256@1,256x10,10@1", value_delimiter = ',')]
    tensors: Vec<String>,
    /// For an adapter that is a CPU: long runs in each invocation
    #[arg(long)]
    software: bool,
    /// Tensors at multiples of 16 bytes, not where a binding may start
    #[arg(long)]
    tight: bool,
    /// Prints the WGSL of the modules whose name contains this instead
    #[arg(long, value_name = "NAME")]
    wgsl: Option<String>,
    /// Prints the program as JSON instead
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text = arguments.optimizer.trim();
    let setup = if text.starts_with('{') {
        Setup::from_json(text)
    } else {
        Setup::from_json(&serde_json::json!({ "optimizer": text }).to_string())
    };
    let setup = setup.with_context(|| format!("--optimizer; known are {}", names().join(", ")))?;
    let declared: Vec<Declared> =
        arguments.tensors.iter().enumerate().map(|(i, text)| tensor(i, text)).collect::<Result<_>>()?;
    let groups = declared.iter().map(|tensor| tensor.group + 1).max().unwrap_or(1);
    let labels: Vec<String> = (0..groups).map(|group| format!("group {group}")).collect();
    let limits = Limits { software: arguments.software, ..Limits::default() };
    let packing = if arguments.tight { Packing::Tight } else { Packing::Bindable };
    let tensors = Tensors::lay_out(&labels, &declared, &[], packing, &limits)?;
    let mut options = Options::default();
    options.wrappers = setup.wrappers;
    let program = Program::new(&tensors, &vec![setup.rule; groups], &options, &limits)?;
    match arguments.wgsl {
        None if arguments.json => println!("{}", serde_json::to_string_pretty(&program)?),
        None => print!("{program}"),
        Some(name) => {
            let modules = program.modules.iter().filter(|module| module.label.contains(&name));
            let texts: Vec<_> =
                modules.map(|module| format!("// {}\n\n{}", module.label, module.wgsl)).collect();
            if texts.is_empty() {
                bail!("no module has '{name}' in its name");
            }
            print!("{}", texts.join("\n"));
        }
    }
    Ok(())
}

/// `784x256@1`: a shape and a group.
fn tensor(index: usize, text: &str) -> Result<Declared> {
    let (shape, group) = text.split_once('@').unwrap_or((text, "0"));
    let wrong = || format!("--tensors: '{text}' is not a shape like 784x256, or one with a group like 256@1");
    let sides = shape.split('x').map(|side| side.trim().parse()).collect::<Result<Vec<usize>, _>>();
    let group = group.trim().parse::<usize>().with_context(wrong)?;
    Ok(Declared { name: format!("tensor {index}"), shape: sides.with_context(wrong)?, group, own: None })
}
