//! Claim: every word of workgroup memory is written before it is read, so that nobody need make it zero: with NaN in all of it
//! from the start, every rule gives the same bits.

mod common;

use common::run::{BINDABLE, Run, gradients, parameters};
use common::{Gpu, gpu_main, trial};
use wgpu_optim::program::{Program, Shape};
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, LossScale, NonFinite, Options, Wrappers};

const TENSORS: [(usize, usize); 6] = [(1, 0), (1500, 1), (3, 0), (0, 0), (12_000, 0), (2049, 1)];

/// What reduces: norms of all and of each tensor, what agrees, steps that may be skipped.
fn options(shape: Shape) -> Options {
    let mut options = Options::default();
    options.shape = Some(shape);
    options.wrappers = Wrappers {
        max_grad_norm: Some(100.0),
        max_tensor_norm: Some(50.0),
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale::default()),
        cautious: true,
        ..Wrappers::default()
    };
    options
}

/// The lines that fill a variable, from one `var<workgroup> name: array<element, count>;`.
fn poison(declaration: &str, invocations: u32) -> String {
    let (name, array) = declaration.trim_end_matches(';').split_once(": array<").unwrap();
    let (element, count) = array.strip_suffix('>').unwrap().rsplit_once(", ").unwrap();
    // Not a constant, which could not be NaN.
    let word = match element {
        "u32" => "0xdeadbeefu + (lane >> 31u)",
        _ => "bitcast<f32>(0x7fc0beefu + (lane >> 31u))",
    };
    format!(
        "    for (var word = lane; word < {count}; word += {invocations}u) {{\n        {name}[word] = {element}({word});\n    }}\n"
    )
}

/// Fills all workgroup memory of a program at the start of each module that has some; how many have.
fn poisoned(program: &mut Program) -> usize {
    let mut count = 0;
    for module in &mut program.modules {
        let lines: String = module
            .wgsl
            .lines()
            .filter_map(|line| line.strip_prefix("var<workgroup> "))
            .map(|declaration| poison(declaration, module.invocations))
            .collect();
        if lines.is_empty() {
            continue;
        }
        let entry = module.wgsl.find(&format!("fn {}(", module.entry_point)).unwrap();
        let body = entry + module.wgsl[entry..].find("{\n").unwrap() + 2;
        module.wgsl.insert_str(body, &format!("{lines}    workgroupBarrier();\n"));
        count += 1;
    }
    count
}

fn same_bits(gpu: &Gpu, config: &AnyRule, shape: Shape) {
    let lens = TENSORS.map(|(len, _)| len);
    let run = |poison: bool| {
        let configs = [config.clone(), config.clone()];
        let mut run = Run::altered(gpu, &configs, &TENSORS, BINDABLE, &options(shape), |program| {
            let found = if poison { poisoned(program) } else { 1 };
            assert!(found > 0, "there is workgroup memory");
        });
        run.write_theta(&parameters(1, &lens));
        (0..3).for_each(|step| run.step(&gradients(2, step, &lens)));
        run.read().bits()
    };
    assert!(run(true) == run(false), "a word was read before it was written");
}

/// A module that forgets to write is found.
fn would_be_seen(gpu: &Gpu) {
    let lens = TENSORS.map(|(len, _)| len);
    let run = |forgets: bool| {
        let configs = ["lamb", "lamb"].map(|name| AnyRule::named(name).unwrap());
        let mut run = Run::altered(gpu, &configs, &TENSORS, BINDABLE, &options(Shape::Long), |program| {
            poisoned(program);
            for module in program.modules.iter_mut().filter(|_| forgets) {
                module.wgsl = module.wgsl.replace("    put_sums(lane, &sums);\n", "");
            }
        });
        run.write_theta(&parameters(1, &lens));
        run.step(&gradients(2, 0, &lens));
        run.read().bits()
    };
    assert!(run(true) != run(false), "sums that nobody wrote gave the same bits");
}

fn main() {
    gpu_main("workgroup_memory", |adapter| {
        let mut trials = vec![trial(adapter, "words that nobody writes are seen", would_be_seen)];
        for entry in REGISTRY {
            let config = (entry.variants)().remove(0);
            for shape in [Shape::Long, Shape::Wide(128)] {
                let config = config.clone();
                let title = format!("{} in workgroup memory full of NaN, {shape:?}", entry.name);
                trials.push(trial(adapter, title, move |gpu| same_bits(gpu, &config, shape)));
            }
        }
        trials
    });
}
