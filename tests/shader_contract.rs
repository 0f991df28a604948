//! Claim: every composed module is what the Rust side says it is: bindings, struct members, workgroup
//! size; it validates with no capabilities at all and translates to SPIR-V, MSL, HLSL and GLSL ES 3.1.
//! Needs no GPU. And the files of a rule come in pairs, with an entry in the registry.

use libtest_mimic::{Arguments, Trial};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ArraySize, Expression, Handle, Module, Scalar, StorageAccess, Type, TypeInner};
use std::collections::BTreeSet;
use std::io::Write;
use std::mem::offset_of;
use std::path::Path;
use std::process::{Command, Stdio};
use wgpu_optim::plan::Tile;
use wgpu_optim::shader::{
    Access, COMBINE, FIXED_BINDINGS, Kind, NOW_BINDING, Rows, SlotLayout, WORKGROUP, compose, compose_with,
};
use wgpu_optim::{AnyRule, Config, FieldKind, Lookahead, LossScale, Method, NonFinite, REGISTRY, Wrappers};

fn main() {
    let mut trials = vec![
        test("a shader, a Rust file and an entry for each rule", rules_are_whole),
        test("no shader has directives", no_directives),
        test("the frame reads the tile table as plan::Tile has it", tile_table),
        test("combine translates", combine),
    ];
    for entry in REGISTRY {
        for (i, config) in (entry.variants)().into_iter().enumerate() {
            let trial = |claim: &str, check: fn(&Composed)| {
                let config = config.clone();
                test(&format!("{} variant {i}: {claim}", entry.name), move || each_module(&config, check))
            };
            trials.extend([
                trial("bindings", bindings),
                trial("entry point", entry_point),
                trial("Hyper and State", structs),
                trial("nothing that WGSL leaves open", forbidden),
                trial("MSL, HLSL, GLSL", other_languages),
                trial("SPIR-V", |composed| assert!(!spirv(composed).is_empty())),
                trial("spirv-val", spirv_val).with_ignored_flag(!spirv_val_installed()),
            ]);
        }
        let default = (entry.default)();
        trials.push(test(&format!("{}: mutants compile", entry.name), move || mutants(&default)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn test(name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        check();
        Ok(())
    })
}

/// A composed module, parsed and validated without any capability.
struct Composed<'a> {
    method: &'a dyn Method,
    layout: &'a SlotLayout,
    access: Access,
    kind: Kind,
    source: String,
    module: Module,
    info: ModuleInfo,
}

fn parse(source: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    (module, info)
}

/// Both accesses, every kind of dispatch and every number of state buffers, for the slots of this
/// configuration and for all, with nothing and with everything around the rule.
fn each_module(config: &AnyRule, check: fn(&Composed)) {
    let method = config.method();
    let mut own = vec![0; method.slots().len()];
    method.keeps(&mut own);
    let all = own.iter().map(|depth| (*depth).max(1)).collect();
    let everything = Wrappers {
        lookahead: Some(Lookahead::default()),
        ema: Some(0.9),
        max_grad_norm: Some(1.0),
        max_tensor_norm: Some(1.0),
        max_grad_value: Some(1.0),
        accumulate: Some(4),
        zero_gradients: true,
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale::default()),
        cautious: true,
    };
    for own in BTreeSet::from([all, own]) {
        for wrappers in [Wrappers::default(), everything] {
            let depths: Vec<u32> = own.iter().copied().chain(wrappers.depths()).collect();
            let count = depths.iter().filter(|depth| **depth > 0).count();
            for buffers in count.min(1)..=count {
                let layout =
                    SlotLayout { depths: depths.clone(), buffers, wrappers, measures: method.measures() };
                for (access, kind) in dispatches(method, &layout) {
                    let source = compose(method, &layout, access, kind);
                    let (module, info) = parse(&source);
                    check(&Composed { method, layout: &layout, access, kind, source, module, info });
                }
            }
        }
    }
}

fn dispatches(method: &dyn Method, layout: &SlotLayout) -> Vec<(Access, Kind)> {
    let mut kinds = layout.measuring(method);
    kinds.push(Kind::Apply);
    let both = |kind: Kind| [Access::Quad, Access::Single].map(|access| (kind.access(access), kind));
    kinds.into_iter().flat_map(both).collect()
}

/// One state buffer for every slot that a rule may have.
fn whole_layout(method: &dyn Method) -> SlotLayout {
    let count = method.slots().len();
    let depths = std::iter::repeat_n(1, count).chain([0, 0]).collect();
    SlotLayout { depths, buffers: count, wrappers: Wrappers::default(), measures: method.measures() }
}

/// The module between measuring and applying is the same for every rule.
fn combine() {
    let (module, info) = parse(COMBINE);
    let names: BTreeSet<_> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| Some((variable.binding.as_ref()?.binding, variable.name.clone()?)))
        .collect();
    assert_eq!(names, BTreeSet::from([(0, "segments".into()), (1, "scratch".into()), (2, "now".into())]));
    now(&module);
    initialised(COMBINE);
    module.functions.iter().for_each(|(_, function)| no_product_of_constants(&module, function, "combine"));
    let [entry] = &module.entry_points[..] else { panic!("one entry point") };
    no_product_of_constants(&module, &entry.function, "combine");
    assert_eq!(entry.name, wgpu_optim::shader::COMBINE_ENTRY_POINT);
    assert_eq!(entry.workgroup_size, [wgpu_optim::shader::COMBINE_WIDTH as u32, 1, 1]);
    translates(&module, &info, &entry.name, entry.workgroup_size[0]);
}

fn bindings(composed: &Composed) {
    let Composed { method, layout, access, kind, module, .. } = composed;
    let vec4 = |scalar| TypeInner::Vector { size: naga::VectorSize::Quad, scalar };
    let element = match access {
        Access::Quad => vec4(Scalar::F32),
        Access::Single => TypeInner::Scalar(Scalar::F32),
    };
    let (read, write) = (StorageAccess::LOAD, StorageAccess::LOAD | StorageAccess::STORE);
    let mut expected = vec![
        ("table".to_string(), write, vec4(Scalar::U32)),
        ("params".to_string(), write, element.clone()),
        ("grads".to_string(), if layout.wrappers.zero_gradients { write } else { read }, element),
        ("now".to_string(), read, vec4(Scalar::U32)),
    ];
    assert_eq!(expected.len(), FIXED_BINDINGS as usize);
    if layout.has_scratch(*method) {
        expected.push(("scratch".into(), write, vec4(Scalar::F32)));
    }
    assert_eq!(expected.len(), layout.first_state_binding(*method) as usize);
    let sees_slots = matches!(kind, Kind::Apply | Kind::MeasureRule | Kind::MeasureAgreement);
    if sees_slots {
        expected.extend((0..layout.buffers).map(|i| (format!("state_{i}"), write, vec4(Scalar::F32))));
    }
    if layout.has_lines(*method) && *kind != Kind::MeasureGradients {
        expected.resize(layout.lines_binding(*method) as usize, ("nothing".into(), write, vec4(Scalar::F32)));
        expected.push(("lines".into(), write, TypeInner::Scalar(Scalar::F32)));
    }

    let bound: Vec<_> =
        module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).collect();
    assert_eq!(bound.len(), expected.iter().filter(|(name, ..)| name != "nothing").count(), "{layout:?}");
    for (_, variable) in bound {
        let binding = variable.binding.as_ref().unwrap();
        assert_eq!(binding.group, 0);
        let (name, access, element) = &expected[binding.binding as usize];
        assert_eq!(variable.name.as_deref(), Some(name.as_str()), "binding {}", binding.binding);
        if binding.binding == NOW_BINDING {
            assert_eq!(variable.space, AddressSpace::Uniform, "{name}");
            now(module);
            continue;
        }
        assert_eq!(variable.space, AddressSpace::Storage { access: *access }, "{name}");
        let TypeInner::Array { base, size: ArraySize::Dynamic, .. } = module.types[variable.ty].inner else {
            panic!("{name} is not a run-time array");
        };
        assert_eq!(&module.types[base].inner, element, "{name}");
    }
}

/// The record of a step is what the Rust side writes.
fn now(module: &Module) {
    use wgpu_optim::Now;
    let offsets = [
        ("rows", offset_of!(Now, rows)),
        ("trains", offset_of!(Now, trains)),
        ("k", offset_of!(Now, k)),
        ("interval", offset_of!(Now, interval)),
        ("alpha", offset_of!(Now, alpha)),
        ("one_minus_decay", offset_of!(Now, one_minus_decay)),
        ("max_norm", offset_of!(Now, max_norm)),
        ("max_value", offset_of!(Now, max_value)),
        ("max_tensor_norm", offset_of!(Now, max_tensor_norm)),
        ("average", offset_of!(Now, average)),
        ("growth", offset_of!(Now, growth)),
        ("backoff", offset_of!(Now, backoff)),
    ];
    let members = members(module, "Now");
    let members: Vec<_> = members.iter().map(|(name, at, _)| (name.as_str(), *at as usize)).collect();
    assert_eq!(members, offsets);
}

fn entry_point(composed: &Composed) {
    let [entry] = &composed.module.entry_points[..] else { panic!("one entry point") };
    assert_eq!(entry.name, composed.kind.entry_point());
    assert_eq!(entry.stage, naga::ShaderStage::Compute);
    assert_eq!(entry.workgroup_size, [WORKGROUP, 1, 1]);
    assert!(entry.workgroup_size_overrides.is_none() && composed.module.overrides.is_empty());
}

/// Name, offset and type of each member of a struct of the module.
fn members(module: &Module, name: &str) -> Vec<(String, u32, TypeInner)> {
    let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).unwrap();
    let TypeInner::Struct { members, .. } = &ty.inner else { panic!("{name} is not a struct") };
    let inner = |ty: Handle<Type>| module.types[ty].inner.clone();
    members.iter().map(|m| (m.name.clone().unwrap(), m.offset, inner(m.ty))).collect()
}

fn structs(composed: &Composed) {
    let Composed { method, layout, module, .. } = composed;
    let scalar = |kind: FieldKind| if kind.is_flag() { Scalar::U32 } else { Scalar::F32 };
    if composed.kind == Kind::MeasureGradients {
        return; // sees no rule
    }
    let field = |(i, field): (u32, &wgpu_optim::Field)| {
        (field.name.to_string(), 4 * i, TypeInner::Scalar(scalar(field.kind)))
    };
    let fields: Vec<_> = (0..).zip(method.fields()).map(field).collect();
    assert_eq!(members(module, "Hyper"), fields);
    let rows = Rows::new(*method, layout);
    let words = |counted: bool| {
        let of_kind = |kind: &FieldKind| if counted { kind.is_counted() } else { kind.is_of_now() };
        method.fields().iter().map(|field| field.kind).filter(of_kind).count()
    };
    assert!(rows.now_quads() * 4 >= words(false) && rows.counted_quads() == words(true).div_ceil(4));
    let declares = |name: &str| module.functions.iter().any(|(_, f)| f.name.as_deref() == Some(name));
    assert_eq!(declares("decay"), method.decays(), "fn decay is declared as the rule says");
    assert_eq!(declares("convert"), method.converts(), "fn convert is declared as the rule says");

    // WGSL has no empty structs.
    let slots = if method.slots().is_empty() { &["none"] } else { method.slots() };
    let slot = |(i, name): (u32, &&str)| (name.to_string(), 4 * i, TypeInner::Scalar(Scalar::F32));
    assert_eq!(members(module, "State"), (0..).zip(slots).map(slot).collect::<Vec<_>>());
}

/// Idioms whose result WGSL leaves open, or that the scalar twin cannot follow. (Subgroups, f16, float
/// atomics and whatever else needs a feature fail the validation already.)
fn forbidden(composed: &Composed) {
    initialised(&composed.source);
    let module = &composed.module;
    barriers_come_first(&module.entry_points[0].function.body);
    let functions = module.functions.iter().map(|(_, function)| function);
    for function in functions.chain([&module.entry_points[0].function]) {
        let name = function.name.as_deref().unwrap_or(composed.kind.entry_point());
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
    let Composed { module, info, .. } = composed;
    translates(module, info, composed.kind.entry_point(), WORKGROUP);
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

/// A mutant that does not compile, or that changes nothing, would be rejected for the wrong reason.
fn mutants(config: &AnyRule) {
    let method = config.method();
    assert!(!method.mutants().is_empty(), "a rule without mutants has no negative control");
    let layout = whole_layout(method);
    let mut names = BTreeSet::new();
    for mutant in method.mutants() {
        let name = mutant.name;
        assert!(names.insert(name), "two mutants '{name}'");
        assert_eq!(method.wgsl().matches(mutant.find).count(), 1, "'{name}': {} stands once", mutant.find);
        assert_ne!(mutant.find, mutant.replace, "'{name}'");
        let wrong = method.wgsl().replace(mutant.find, mutant.replace);
        for (access, kind) in dispatches(method, &layout) {
            parse(&compose_with(method, &wrong, &layout, access, kind));
        }
    }
}

/// The stems of the files in `folder` with this extension.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect()
}

fn rules_are_whole() {
    let mut shaders = stems("shaders", "wgsl");
    for shared in [
        "frame",
        "now",
        "scaled",
        "access_quad",
        "access_single",
        "clear_quad",
        "clear_single",
        "apply",
        "measure",
        "combine",
        "scratch",
        "carry",
        "lines",
        "measure_lines",
        "average_lines",
        "average_matrices",
        "wrappers",
    ] {
        assert!(shaders.remove(shared), "{shared}.wgsl");
    }
    let mut rust = stems("src/optimizers", "rs");
    assert!(rust.remove("mod"));
    let registry: BTreeSet<String> = REGISTRY.iter().map(|entry| entry.name.to_string()).collect();
    assert!(!registry.is_empty());
    assert_eq!(registry.len(), REGISTRY.len(), "names differ");
    assert_eq!(shaders, registry, "shaders/*.wgsl and the registry");
    assert_eq!(rust, registry, "src/optimizers/*.rs and the registry");

    for entry in REGISTRY {
        let (name, rule) = (entry.name, (entry.default)());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shader = std::fs::read_to_string(folder.join(format!("shaders/{name}.wgsl"))).unwrap();
        assert_eq!(rule.method().wgsl(), shader, "{name} includes its own shader");
        assert_eq!(rule.name(), name);
        let head: String = shader.lines().take_while(|line| line.starts_with("//")).collect();
        for heading in ["Source:", "State:", "Differences:"] {
            assert!(head.contains(heading), "shaders/{name}.wgsl: no '{heading}' at its head");
        }
        let docs = std::fs::read_to_string(folder.join(format!("src/optimizers/{name}.rs"))).unwrap();
        for heading in ["```text", "**State**", "**Source**", "**Differences**", "**Numerics**", "**Cost**"] {
            assert!(docs.contains(heading), "src/optimizers/{name}.rs: no '{heading}' in its documentation");
        }
        assert!((entry.variants)().len() > 1, "{name}: variants reach every branch");
    }
}

/// So that any host can concatenate the files in any order.
fn no_directives() {
    for stem in stems("shaders", "wgsl") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("shaders/{stem}.wgsl"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let first = line.split_whitespace().next().unwrap_or_default();
            let directive = ["enable", "requires", "diagnostic"].contains(&first);
            assert!(!directive && !first.starts_with('#'), "{stem}.wgsl: {line}");
        }
    }
}

/// The words that the entry point takes from a tile's row stand where `plan::Tile` writes them.
fn tile_table() {
    let rule = (REGISTRY[0].default)();
    let layout = whole_layout(rule.method());
    let (module, _) = parse(&compose(rule.method(), &layout, Access::Quad, Kind::Apply));
    let (_, entry) =
        module.functions.iter().find(|(_, function)| function.name.as_deref() == Some("find_tile")).unwrap();
    let rows = |name: &str| {
        let (handle, _) = entry.named_expressions.iter().find(|(_, found)| *found == name).unwrap();
        *handle
    };
    let (place, owner) = (rows("place"), rows("owner"));
    let word = |base: Handle<Expression>, word: u32| {
        let is = |expression: &Expression| matches!(*expression, Expression::AccessIndex { base: b, index } if b == base && index == word);
        entry.expressions.iter().find(|(_, expression)| is(expression)).map(|(handle, _)| handle)
    };

    let composed = entry.expressions.iter().find_map(|(_, expression)| match expression {
        Expression::Compose { ty, components } if module.types[*ty].name.as_deref() == Some("Tile") => {
            Some(components)
        }
        _ => None,
    });
    let shader = members(&module, "Tile");
    let rust = [
        ("param", offset_of!(Tile, param)),
        ("grad", offset_of!(Tile, grad)),
        ("state", offset_of!(Tile, state)),
        ("count", offset_of!(Tile, count)),
    ];
    // The index comes first in the shader.
    for (i, (name, offset)) in (1..).zip(rust) {
        assert_eq!(shader[i].0, name);
        assert_eq!(Some(composed.unwrap()[i]), word(place, (offset / 4) as u32), "{name}");
    }
    assert_eq!((offset_of!(Tile, group), size_of::<Tile>()), (16, 32), "the second vec4 of two");
    assert!(word(owner, 0).is_some(), "the group is the first word of the second vec4");
    let rust = [
        ("tensor", offset_of!(Tile, tensor)),
        ("first", offset_of!(Tile, first)),
        ("index", offset_of!(Tile, index)),
    ];
    for (name, offset) in rust {
        let member = shader.iter().position(|(member, ..)| member == name).unwrap();
        assert_eq!(Some(composed.unwrap()[member]), word(owner, (offset / 4 - 4) as u32), "{name}");
    }
}
