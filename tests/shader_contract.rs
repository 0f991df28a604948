//! Claim: every module of a program is what the program says it is: bindings, struct members, workgroup size, the
//! table and the record. Needs no GPU. And the files of a rule come in pairs, with an entry in the registry.

#[path = "common/modules.rs"]
mod modules;

use libtest_mimic::{Arguments, Trial};
use modules::{Composed, each_module, members, parse};
use naga::{AddressSpace, ArraySize, Expression, Handle, Scalar, StorageAccess, TypeInner};
use std::collections::BTreeSet;
use std::path::Path;
use wgpu_optim::program::{Binding, Clock, Declared, Limits, Options, Packing, Place, Program, Tensors};
use wgpu_optim::rule::{Config, FieldKind};
use wgpu_optim::rules::Adam;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Lookahead, LossScale, Wrappers};

fn main() {
    let mut trials = vec![
        test("a shader, a Rust file and an entry for each rule", rules_are_whole),
        test("no shader has directives", no_directives),
        test("the shader reads the table as the program has it", tile_table),
        test("the shader reads the record as the clock writes it", record),
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

fn bindings(composed: &Composed) {
    let Composed { program, layout, text, vec4, module, .. } = composed;
    let vec4_of = |scalar| TypeInner::Vector { size: naga::VectorSize::Quad, scalar };
    let element = if *vec4 { vec4_of(Scalar::F32) } else { TypeInner::Scalar(Scalar::F32) };
    let uints = || vec4_of(Scalar::U32);
    let floats = || vec4_of(Scalar::F32);
    let mut expected: Vec<(String, TypeInner)> = if text.label.ends_with("combine") {
        vec![("segments".into(), uints()), ("scratch".into(), floats())]
    } else {
        vec![("table".into(), uints()), ("params".into(), element.clone()), ("grads".into(), element)]
    };
    expected.push(("now".into(), uints()));
    if !text.label.ends_with("combine") {
        expected.extend(program.scratch.map(|_| ("scratch".into(), floats())));
        let states = program.windows[0].state.len();
        expected.extend((0..states).map(|i| (format!("state_{i}"), floats())));
        expected.extend(program.factored.map(|_| ("factored".into(), floats())));
    }
    assert_eq!(expected.len(), layout.len(), "{}", text.label);
    let bound =
        module.global_variables.iter().filter_map(|(_, variable)| Some((variable.binding?, variable)));
    let mut names = BTreeSet::new();
    for (binding, variable) in bound {
        assert_eq!(binding.group, 0);
        let (name, element) = &expected[binding.binding as usize];
        assert_eq!(variable.name.as_deref(), Some(name.as_str()), "binding {}", binding.binding);
        names.insert(name.as_str());
        let access = match layout[binding.binding as usize] {
            Binding::ReadOnly => StorageAccess::LOAD,
            Binding::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
            Binding::Record => {
                assert_eq!(variable.space, AddressSpace::Uniform, "{name}");
                continue;
            }
        };
        assert_eq!(variable.space, AddressSpace::Storage { access }, "{name}");
        let TypeInner::Array { base, size: ArraySize::Dynamic, .. } = module.types[variable.ty].inner else {
            panic!("{name} is not a run-time array");
        };
        // Passes over rows and columns read one by one, whatever the window.
        let single = TypeInner::Scalar(Scalar::F32);
        let fits = module.types[base].inner == *element
            || module.types[base].inner == single && ["params", "grads"].contains(&name.as_str());
        assert!(fits, "{name} in {}", text.label);
    }
    if text.entry_point == "optimizer_step" {
        assert_eq!(names.len(), layout.len(), "the pass that updates declares all");
    }
}

fn entry_point(composed: &Composed) {
    let [entry] = &composed.module.entry_points[..] else { panic!("one entry point") };
    let Composed { text, .. } = composed;
    assert_eq!(entry.name, text.entry_point);
    assert_eq!(entry.stage, naga::ShaderStage::Compute);
    assert_eq!(entry.workgroup_size, [text.invocations, 1, 1]);
    assert_eq!(text.label.ends_with("combine"), entry.name == "optimizer_combine");
    assert!(entry.workgroup_size_overrides.is_none() && composed.module.overrides.is_empty());
}

fn structs(composed: &Composed) {
    let Composed { rule, program, text, module, .. } = composed;
    if ["combine", "reduce gradients"].iter().any(|name| text.label.ends_with(name)) {
        return; // sees no rule
    }
    let spec = rule.spec();
    let scalar = |kind: FieldKind| if kind.is_flag() { Scalar::U32 } else { Scalar::F32 };
    let field = |(i, field): (u32, &wgpu_optim::rule::Field)| {
        (field.name.to_string(), 4 * i, TypeInner::Scalar(scalar(field.kind)))
    };
    let fields: Vec<_> = (0..).zip(spec.fields).map(field).collect();
    assert_eq!(members(module, "Hyper"), fields);
    let rows = &program.rows.layout;
    let words =
        |of_kind: fn(FieldKind) -> bool| spec.fields.iter().filter(|field| of_kind(field.kind)).count();
    assert!(rows.now_vec4 as usize * 4 >= words(FieldKind::is_of_now));
    assert_eq!(rows.counted_vec4 as usize, words(FieldKind::is_counted).div_ceil(4));
    let declares = |name: &str| module.functions.iter().any(|(_, f)| f.name.as_deref() == Some(name));
    assert_eq!(declares("decay"), spec.decays, "fn decay is declared as the rule says");
    assert_eq!(declares("convert"), spec.converts, "fn convert is declared as the rule says");

    // WGSL has no empty structs.
    let mut slots: Vec<&str> = spec.slots.iter().map(|slot| slot.name).collect();
    if slots.is_empty() {
        slots.push("none");
    }
    let slot = |(i, name): (u32, &&str)| (name.to_string(), 4 * i, TypeInner::Scalar(Scalar::F32));
    assert_eq!(members(module, "State"), (0..).zip(&slots).map(slot).collect::<Vec<_>>());
}

/// A mutant that does not compile, or that changes nothing, would be rejected for the wrong reason.
fn mutants(config: &AnyRule) {
    let spec = config.rule().spec();
    assert!(!spec.mutants.is_empty(), "a rule without mutants has no negative control");
    let tensors = modules::tensors(1, true);
    let mut names = BTreeSet::new();
    for mutant in spec.mutants {
        let name = mutant.name;
        assert!(names.insert(name), "two mutants '{name}'");
        assert_eq!(spec.wgsl.matches(mutant.find).count(), 1, "'{name}': {} stands once", mutant.find);
        assert_ne!(mutant.find, mutant.replace, "'{name}'");
        let mut options = Options::default();
        options.wgsl = Some(spec.wgsl.replace(mutant.find, mutant.replace));
        let limits = Limits { max_storage_buffers_per_shader_stage: 32, ..Limits::default() };
        let program = Program::new(&tensors, std::slice::from_ref(config), &options, &limits).unwrap();
        program.modules.iter().for_each(|module| drop(parse(&module.wgsl)));
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
    let shaders = stems("shaders/rules", "wgsl");
    let mut rust = stems("src/rules", "rs");
    assert!(rust.remove("mod"));
    let registry: BTreeSet<String> = REGISTRY.iter().map(|entry| entry.name.to_string()).collect();
    assert!(!registry.is_empty());
    assert_eq!(registry.len(), REGISTRY.len(), "names differ");
    assert_eq!(shaders, registry, "shaders/rules/*.wgsl and the registry");
    assert_eq!(rust, registry, "src/rules/*.rs and the registry");

    for entry in REGISTRY {
        let (name, rule) = (entry.name, (entry.default)());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shader = std::fs::read_to_string(folder.join(format!("shaders/rules/{name}.wgsl"))).unwrap();
        assert_eq!(rule.rule().spec().wgsl, shader, "{name} includes its own shader");
        assert_eq!(rule.name(), name);
        let head: String = shader.lines().take_while(|line| line.starts_with("//")).collect();
        for heading in ["Source:", "State:", "Differences:"] {
            assert!(head.contains(heading), "shaders/rules/{name}.wgsl: no '{heading}' at its head");
        }
        let docs = std::fs::read_to_string(folder.join(format!("src/rules/{name}.rs"))).unwrap();
        for heading in ["```text", "**State**", "**Source**", "**Differences**", "**Numerics**", "**Cost**"] {
            assert!(docs.contains(heading), "src/rules/{name}.rs: no '{heading}' in its documentation");
        }
        assert!((entry.variants)().len() > 1, "{name}: variants reach every branch");
    }
}

/// So that any host can concatenate the files in any order.
fn no_directives() {
    for folder in ["shaders/core", "shaders/rules"] {
        for stem in stems(folder, "wgsl") {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{folder}/{stem}.wgsl"));
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let first = line.split_whitespace().next().unwrap_or_default();
                let directive = ["enable", "requires", "diagnostic"].contains(&first);
                assert!(!directive && !first.starts_with('#'), "{stem}.wgsl: {line}");
            }
        }
    }
}

/// Two tensors in two groups: the words of the second one's tile are where the shader's `find_tile` takes them from.
fn tile_table() {
    let place = |param: u64, grad: u64| {
        Some((Place { buffer: 0, offset: 4 * param }, Place { buffer: 1, offset: 4 * grad }))
    };
    let declared = [
        Declared { name: "a".into(), shape: vec![5], group: 0, own: place(64, 128) },
        Declared { name: "b".into(), shape: vec![7], group: 1, own: place(80, 200) },
    ];
    let limits = Limits { software: true, ..Limits::default() };
    let tensors =
        Tensors::lay_out(&["x", "y"], &declared, &[4096, 4096], Packing::default(), &limits).unwrap();
    let groups = [Adam::default(), Adam::default()];
    let program = Program::new(&tensors, &groups, &Options::default(), &limits).unwrap();
    let table = &program.buffers[program.windows[0].table as usize];
    let words = |vec4: u64| {
        let fill = table.contents.iter().rev().find(|fill| fill.at <= 16 * vec4).unwrap();
        let at = (16 * vec4 - fill.at) as usize / 4;
        [0, 1, 2, 3].map(|word| fill.words[at + word])
    };
    let header = words(0);
    assert_eq!(header[0], 0, "no tile has a workgroup alone");
    // The window starts at an aligned byte before the first element.
    let (place, owner) = (words(u64::from(header[1]) + 2), words(u64::from(header[1]) + 3));
    assert_eq!(
        place,
        [80 - 64, 200 - 128, 8, 7],
        "first parameter, first gradient, first state element, elements"
    );
    assert_eq!(owner, [1, 1, 0, 1], "group, tensor, first element in it, number");

    let text = &program.modules[0].wgsl;
    let (module, _) = parse(text);
    let (_, find) =
        module.functions.iter().find(|(_, function)| function.name.as_deref() == Some("find_tile")).unwrap();
    let named = |name: &str| {
        let (handle, _) = find.named_expressions.iter().find(|(_, found)| *found == name).unwrap();
        *handle
    };
    let word = |base: Handle<Expression>, word: u32| {
        let is = |expression: &Expression| matches!(*expression, Expression::AccessIndex { base: b, index } if b == base && index == word);
        find.expressions.iter().find(|(_, expression)| is(expression)).map(|(handle, _)| handle)
    };
    let composed = find.expressions.iter().find_map(|(_, expression)| match expression {
        Expression::Compose { ty, components } if module.types[*ty].name.as_deref() == Some("Tile") => {
            Some(components)
        }
        _ => None,
    });
    let shader = members(&module, "Tile");
    let expected =
        [("place", ["param", "grad", "state", "count"]), ("owner", ["", "tensor", "first", "index"])];
    for (vec4, names) in expected {
        for (i, name) in (0..).zip(names) {
            let read = word(named(vec4), i);
            assert!(read.is_some(), "word {i} of {vec4} is read");
            if !name.is_empty() {
                let member = shader.iter().position(|(member, ..)| member == name).unwrap();
                assert_eq!(Some(composed.unwrap()[member]), read, "{name}");
            }
        }
    }
}

/// Every number of the record, read from the bytes to write as the shader declares it.
fn record() {
    let wrappers = Wrappers {
        lookahead: Some(Lookahead { k: 7, alpha: 0.25 }),
        ema: Some(0.875),
        max_grad_norm: Some(3.0),
        max_tensor_norm: Some(5.0),
        max_grad_value: Some(2.0),
        grad_accumulation_steps: Some(4),
        loss_scale: Some(LossScale { initial: 1.0, growth: 4.0, backoff: 0.5, interval: 11 }),
        ..Wrappers::default()
    };
    let mut options = Options::default();
    options.wrappers = wrappers;
    let program =
        Program::new(&modules::tensors(1, true), &[Adam::default()], &options, &Limits::default()).unwrap();
    let mut clock = Clock::new(&program, [Adam::default()], wrappers).unwrap();
    let (mut lr, mut rows) = (1.0, vec![]);
    let bytes = loop {
        // The second step, so that its rows are not the first of the ring.
        clock.group_mut(0).unwrap().lr = lr;
        lr /= 2.0;
        let next = clock.next_step().unwrap();
        let record = next.writes().find(|write| write.buffer == program.rows.records.at[0].0).unwrap();
        assert_eq!(record.offset, u64::from(next.record()));
        rows.push(record.bytes.to_vec());
        if rows.len() == 2 {
            break rows.remove(1);
        }
    };
    let text = program.modules.iter().find(|module| module.label.ends_with("apply")).unwrap();
    let (module, _) = parse(&text.wgsl);
    let rows_of_step = program.rows.set.stride as u32 / 16;
    let ints = [("rows", rows_of_step), ("trains", 1), ("k", 7), ("interval", 11)];
    let floats = [
        ("alpha", 0.25),
        ("one_minus_decay", 0.125),
        ("max_norm", 3.0),
        ("max_value", 2.0),
        ("max_tensor_norm", 5.0),
        ("average", 0.25),
        ("growth", 4.0),
        ("backoff", 0.5f32),
    ];
    let expected = ints.into_iter().chain(floats.map(|(name, x)| (name, x.to_bits())));
    let members = members(&module, "Now");
    assert_eq!(members.len(), 12);
    for (name, want) in expected {
        let (_, at, _) = members.iter().find(|(member, ..)| member == name).unwrap();
        let word: [u8; 4] = bytes[*at as usize..*at as usize + 4].try_into().unwrap();
        assert_eq!(u32::from_le_bytes(word), want, "{name}");
    }
}
