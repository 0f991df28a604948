//! Claim: every module of a program means the same in every compiler: nothing that WGSL leaves open, no capabilities at
//! all, and it translates to SPIR-V, MSL, HLSL and GLSL ES 3.1. Needs no GPU.

#[path = "common/grouping.rs"]
mod grouping;
#[path = "common/modules.rs"]
mod modules;

use libtest_mimic::{Arguments, Trial};
use modules::{Composed, each_module, each_module_of, of_moves};
use naga::{Expression, Handle, Module, Scalar};
use std::io::Write;
use std::process::{Command, Stdio};
use wgpu_optim::export::{Code, Language, translate};
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
                trial("spirv-val", spirv_val).with_ignored_flag(!installed("spirv-val")),
            ]);
        }
    }
    for (claim, check) in [
        ("nothing that WGSL leaves open", forbidden as fn(&Composed)),
        ("MSL, HLSL, GLSL", other_languages),
        ("spirv-val", spirv_val),
    ] {
        let ignored = claim == "spirv-val" && !installed(claim);
        let run = move || {
            each_module_of(&(REGISTRY[0].variants)()[0], &of_moves(), true, check);
            Ok(())
        };
        trials.push(Trial::test(format!("what moves rows: {claim}"), run).with_ignored_flag(ignored));
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

fn exported(composed: &Composed, language: Language) -> Code {
    translate(composed.program, composed.index, language).unwrap()
}

fn text_of(code: &Code) -> &str {
    std::str::from_utf8(&code.bytes).unwrap()
}

/// What the languages are told apart by: where each binding is, the workgroup, the entry point.
fn other_languages(composed: &Composed) {
    let width = composed.module.entry_points[0].workgroup_size[0];
    let msl = exported(composed, Language::Msl);
    let text = text_of(&msl);
    let (at, measured) = msl.lengths.as_ref().unwrap();
    assert!(text.contains(&format!("kernel void {}(", msl.entry_point)));
    let sizes = text.matches("uint size").count();
    assert!(sizes >= measured.len() && *at == composed.layout.len() as u32, "{sizes} {measured:?}");
    let hlsl = exported(composed, Language::Hlsl);
    let text = text_of(&hlsl);
    assert!(text.contains(&hlsl.entry_point) && text.contains(&format!("numthreads({width}, 1, 1)")));
    let glsl = exported(composed, Language::Glsl);
    assert!(text_of(&glsl).contains(&format!("local_size_x = {width}")));
    let used = |binding: u32| {
        composed
            .module
            .global_variables
            .iter()
            .any(|(_, variable)| variable.binding.as_ref().is_some_and(|own| own.binding == binding))
    };
    for ((msl_at, hlsl_at), glsl_at) in msl.resources.iter().zip(&hlsl.resources).zip(&glsl.resources) {
        if used(msl_at.binding) {
            // An entry point has no parameter for what it does not use.
            let declared = text_of(&hlsl).contains(&format!("register({})", hlsl_at.at));
            assert!(declared, "{}: no {}", composed.text.label, hlsl_at.at);
            let binding = glsl_at.at.rsplit(' ').next().unwrap();
            assert!(
                glsl_at.at.ends_with(&glsl_at.binding.to_string()) && binding == msl_at.binding.to_string()
            );
        }
    }
    assert_eq!(exported(composed, Language::Wgsl).bytes, composed.text.wgsl.as_bytes());
}

fn installed(validator: &str) -> bool {
    Command::new(validator).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A second opinion on the SPIR-V, where Debian's `spirv-tools` is installed.
fn spirv_val(composed: &Composed) {
    let code = exported(composed, Language::Spirv);
    for environment in ["vulkan1.0", "vulkan1.1"] {
        read_by(Command::new("spirv-val").args(["--target-env", environment]), &code.bytes);
    }
}

/// A validator reads this and has nothing to say.
fn read_by(validator: &mut Command, code: &[u8]) {
    let mut child =
        validator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(code).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{validator:?}: {}", String::from_utf8_lossy(&said));
}
