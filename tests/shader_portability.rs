//! Claim: every module of a program means the same in every compiler: nothing that WGSL leaves open, no capabilities at
//! all, and it translates to SPIR-V, MSL, HLSL and GLSL ES 3.1. Needs no GPU.

#[path = "common/grouping.rs"]
mod grouping;
#[path = "common/modules.rs"]
mod modules;

use libtest_mimic::{Arguments, Trial};
use modules::{Composed, each_module};
use naga::valid::ModuleInfo;
use naga::{Expression, Handle, Module, Scalar};
use std::io::Write;
use std::process::{Command, Stdio};
use wgpu_optim::rules::REGISTRY;

fn main() {
    let mut trials = vec![Trial::test("missing parentheses are found", || {
        grouping::finds_what_is_missing();
        Ok(())
    })];
    for entry in REGISTRY {
        for (i, config) in (entry.variants)().into_iter().enumerate() {
            let trial = |claim: &str, check: fn(&Composed)| {
                let config = config.clone();
                Trial::test(format!("{} variant {i}: {claim}", entry.name), move || {
                    each_module(&config, check);
                    Ok(())
                })
            };
            trials.extend([
                trial("nothing that WGSL leaves open", forbidden),
                trial("MSL, HLSL, GLSL", other_languages),
                trial("SPIR-V", |composed| assert!(!spirv(composed).is_empty())),
                trial("spirv-val", spirv_val).with_ignored_flag(!spirv_val_installed()),
            ]);
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Idioms whose result WGSL leaves open, or that the scalar reference cannot follow. (Subgroups, f16, float
/// atomics and whatever else needs a feature fail the validation already.)
fn forbidden(composed: &Composed) {
    initialised(&composed.text.wgsl);
    let wrong = grouping::missing_parentheses(&composed.text.wgsl);
    assert_eq!(wrong, None, "{}: parentheses are missing", composed.text.label);
    let module = &composed.module;
    // What combine.wgsl branches on is only read, and so the same for a workgroup.
    if !composed.text.label.ends_with("combine") {
        barriers_come_first(&module.entry_points[0].function.body);
    }
    let functions = module.functions.iter().map(|(_, function)| function);
    for function in functions.chain([&module.entry_points[0].function]) {
        let name = function.name.as_deref().unwrap_or(&composed.text.entry_point);
        let struct_of = |argument: u32| {
            module.types[function.arguments[argument as usize].ty].name.as_deref().unwrap_or_default()
        };
        no_product_of_constants(module, function, name);
        for (_, expression) in function.expressions.iter() {
            match *expression {
                Expression::Math { fun: naga::MathFunction::Fma, .. } => {
                    panic!("{name}: fma may or may not be fused")
                }
                Expression::Math { fun: naga::MathFunction::Pow, arg, .. } => {
                    if let Expression::AccessIndex { base, .. } = function.expressions[arg]
                        && let Expression::FunctionArgument(argument) = function.expressions[base]
                    {
                        assert_ne!(struct_of(argument), "Hyper", "{name}: powers of betas are the host's");
                    }
                }
                Expression::Binary { op, left, right } => {
                    let compares = matches!(op, naga::BinaryOperator::Equal | naga::BinaryOperator::NotEqual);
                    assert!(!(compares && left == right), "{name}: x == x is folded; test for NaN by bits");
                }
                Expression::AtomicResult { .. } | Expression::Derivative { .. } => {
                    panic!("{name}: {expression:?}")
                }
                _ => {}
            }
        }
    }
}

/// Every variable of a function is given its first value where it is declared. WGSL makes one without zero each time it
/// is declared, and a browser's compiler was seen to do so in the first round of a loop only. Read off the text: naga's
/// front end already puts in the stores that are missing there.
fn initialised(source: &str) {
    for line in source.lines().map(str::trim).filter(|line| line.starts_with("var ")) {
        assert!(line.contains('='), "no first value: {line}");
    }
}

/// No invocation returns before a barrier: the table is written by tiles, so what is read from it may differ between
/// invocations in a browser's eyes, which refuses the module. naga does not look at that.
fn barriers_come_first(body: &naga::Block) {
    fn any(block: &naga::Block, of: fn(&naga::Statement) -> bool) -> bool {
        block.iter().any(|statement| {
            of(statement)
                || match statement {
                    naga::Statement::Block(block) => any(block, of),
                    naga::Statement::If { accept, reject, .. } => any(accept, of) || any(reject, of),
                    naga::Statement::Loop { body, continuing, .. } => any(body, of) || any(continuing, of),
                    naga::Statement::Switch { cases, .. } => cases.iter().any(|case| any(&case.body, of)),
                    _ => false,
                }
        })
    }
    let statement = |statement: &naga::Statement| naga::Block::from_vec(vec![statement.clone()]);
    let returns =
        body.iter().position(|at| any(&statement(at), |of| matches!(of, naga::Statement::Return { .. })));
    let barrier = |of: &naga::Statement| matches!(of, naga::Statement::ControlBarrier(_));
    let last = body.iter().rposition(|at| any(&statement(at), barrier));
    if let (Some(returns), Some(last)) = (returns, last) {
        assert!(last < returns, "a barrier after a return");
    }
}

/// No product of a product with a constant and another constant: WGSL lets compilers multiply the constants first, which
/// overflows or underflows where the products in the order written do not. naga never does, so no run on naga shows it.
fn no_product_of_constants(module: &Module, function: &naga::Function, name: &str) {
    let expressions = &function.expressions;
    // Of floats: products of integers are exact.
    fn constant(module: &Module, expressions: &naga::Arena<Expression>, of: Handle<Expression>) -> bool {
        match expressions[of] {
            Expression::Literal(literal) => literal.scalar() == Scalar::F32,
            Expression::Constant(of) => {
                module.types[module.constants[of].ty].inner.scalar() == Some(Scalar::F32)
            }
            Expression::Splat { value, .. } => constant(module, expressions, value),
            _ => false,
        }
    }
    let constant = |of| constant(module, expressions, of);
    let product = |of: Handle<Expression>| match expressions[of] {
        Expression::Binary { op: naga::BinaryOperator::Multiply, left, right } => Some([left, right]),
        _ => None,
    };
    for (handle, _) in expressions.iter() {
        let Some([left, right]) = product(handle) else { continue };
        for (a, b) in [(left, right), (right, left)] {
            let again = product(b).is_some_and(|factors| factors.iter().any(|of| constant(*of)));
            assert!(!(constant(a) && again), "{name}: a product of two constants and something");
        }
    }
}

fn spirv(composed: &Composed) -> Vec<u32> {
    let options = naga::back::spv::Options::default();
    naga::back::spv::write_vec(&composed.module, &composed.info, &options, None).unwrap()
}

fn other_languages(composed: &Composed) {
    let Composed { module, info, text, .. } = composed;
    translates(module, info, &text.entry_point, module.entry_points[0].workgroup_size[0]);
}

fn translates(module: &Module, info: &ModuleInfo, entry_point: &str, width: u32) {
    use naga::back::{glsl, hlsl, msl};
    let (text, _) = msl::write_string(module, info, &Default::default(), &Default::default()).unwrap();
    assert!(text.contains(entry_point));

    let (mut text, options, pipeline) = (String::new(), Default::default(), Default::default());
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(module, info, None).unwrap();
    assert!(text.contains(entry_point) && text.contains(&format!("numthreads({width}, 1, 1)")));

    let (mut text, options) = (String::new(), glsl::Options::default());
    assert_eq!(options.version, glsl::Version::new_gles(310));
    let pipeline = glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: entry_point.into(),
        multiview: None,
    };
    let mut writer =
        glsl::Writer::new(&mut text, module, info, &options, &pipeline, Default::default()).unwrap();
    writer.write().unwrap();
    assert!(text.contains(&format!("local_size_x = {width}")));
}

fn spirv_val_installed() -> bool {
    Command::new("spirv-val").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A second opinion on the SPIR-V, where Debian's `spirv-tools` is installed.
fn spirv_val(composed: &Composed) {
    for environment in ["vulkan1.0", "vulkan1.1"] {
        let mut child = Command::new("spirv-val")
            .args(["--target-env", environment])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytemuck::cast_slice(&spirv(composed))).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{environment}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
