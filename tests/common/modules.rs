//! Every module of a rule's programs, parsed: without a GPU.

#![allow(dead_code)] // each test binary uses its share

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Handle, Module, Type, TypeInner};
use std::collections::BTreeSet;
use wgpu_optim::program::{
    self, Binding, Declared, Limits, Options, Packing, Place, Program, Shape, Tensors,
};
use wgpu_optim::rule::DynRule;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::state::{Change, GATHER_LAYOUT, List, Taken};
use wgpu_optim::{AnyRule, Description, Lookahead, LossScale, NonFinite, Wrappers};

/// A module of a program, parsed and validated without any capability.
pub struct Composed<'a> {
    pub rule: &'a dyn DynRule,
    pub program: &'a Program,
    pub layout: &'a [Binding],
    pub text: &'a program::Module,
    /// Its number in the program.
    pub index: usize,
    /// Whether its windows read vec4.
    pub vec4: bool,
    pub module: Module,
    pub info: ModuleInfo,
}

pub fn parse(source: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}", error.emit_to_string(source)));
    (module, info)
}

/// Everything that may stand around a rule.
pub fn everything() -> Wrappers {
    Wrappers {
        lookahead: Some(Lookahead::default()),
        ema: Some(0.9),
        max_grad_norm: Some(1.0),
        max_tensor_norm: Some(1.0),
        max_grad_value: Some(1.0),
        grad_accumulation_steps: Some(4),
        zero_grad: true,
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale::default()),
        cautious: true,
    }
}

/// One matrix for each group, in an arena or, at odd offsets, in buffers of the host's, where no vec4 fits.
pub fn tensors(groups: usize, in_arena: bool) -> Tensors {
    let labels: Vec<String> = (0..groups).map(|group| format!("group {group}")).collect();
    let declared = |group: usize| {
        let offset = 4 + 1024 * group as u64;
        let own = (Place { buffer: 0, offset }, Place { buffer: 1, offset });
        let own = (!in_arena).then_some(own);
        Declared { name: format!("tensor {group}"), shape: vec![9, 7], group, own }
    };
    let declared: Vec<Declared> = (0..groups).map(declared).collect();
    let own: &[u64] = if in_arena { &[] } else { &[1 << 20, 1 << 20] };
    Tensors::lay_out(&labels, &declared, own, Packing::default(), &Limits::default()).unwrap()
}

/// Both accesses, every kind of pass and every number of state buffers, for the slots of this configuration and for
/// those of all variants of its rule, with nothing and with everything around the rule.
pub fn each_module(config: &AnyRule, check: fn(&Composed)) {
    let entry = REGISTRY.iter().find(|entry| entry.name == config.name()).unwrap();
    let start = |rule: &AnyRule| wgpu_optim::rule::Config::rule(rule).device_scalars();
    let others = (entry.variants)().into_iter().filter(|other| start(other) == start(config));
    let all: Vec<AnyRule> = std::iter::once(config.clone()).chain(others).collect();
    for groups in [vec![config.clone()], all] {
        for wrappers in [Wrappers::default(), everything()] {
            for in_arena in [true, false] {
                let tensors = tensors(groups.len(), in_arena);
                // So many slots that each may have a buffer of its own.
                let limits = Limits { max_storage_buffers_per_shader_stage: 32, ..Limits::default() };
                let mut options = Options::default();
                options.wrappers = wrappers;
                options.shape = Some(if in_arena { Shape::Long } else { Shape::Wide(128) });
                let program = Program::new(&tensors, &groups, &options, &limits).unwrap();
                let most = program.windows[0].state.len();
                for buffers in most.min(1)..=most {
                    options.state_buffers = Some(buffers);
                    let program = Program::new(&tensors, &groups, &options, &limits).unwrap();
                    each_module_of(config, &program, in_arena, check);
                }
            }
        }
    }
}

/// A program whose modules are those that move rows: on CPUs, on GPUs, and where no vec4 fits.
pub fn of_moves() -> Program {
    let made = |rows: usize, offset: Option<u32>, software: bool| {
        let limits = Limits { software, ..Limits::default() };
        let places = offset.map(|at| {
            format!(r#", "param": {{"buffer": 0, "offset": {at}}}, "grad": {{"buffer": 1, "offset": {at}}}"#)
        });
        let places = places.unwrap_or_default();
        let text = format!(
            r#"{{"optimizer": "adam", "buffers": [1004, 1004], "tensors": [{{"name": "w", "shape": [{rows}, 5]{places}}}]}}"#
        );
        Description::from_json(&text, &limits).unwrap()
    };
    let rows = List::Rows((0..9).collect());
    let change = Change { tensor: "w".into(), from: Some(Taken { tensor: "w".into(), rows }) };
    let mut program = made(9, None, false).program;
    program.modules.clear();
    program.layouts = vec![GATHER_LAYOUT.to_vec()];
    for (offset, software) in [(None, true), (None, false), (Some(4), false)] {
        let (old, new) = (made(17, offset, software), made(9, offset, software));
        for gather in new.moves_from(&old, std::slice::from_ref(&change)).unwrap().0.passes {
            if program.modules.iter().all(|module| module.wgsl != gather.wgsl) {
                program.modules.push(gather.module());
            }
        }
    }
    assert_eq!(program.modules.len(), 3);
    program
}

/// Checks each text once.
pub fn each_module_of(config: &AnyRule, program: &Program, vec4: bool, check: fn(&Composed)) {
    let mut seen = BTreeSet::new();
    for (index, text) in program.modules.iter().enumerate() {
        assert!(seen.insert(&text.wgsl), "a text stands twice");
        let (module, info) = parse(&text.wgsl);
        let rule = wgpu_optim::rule::Config::rule(config);
        let layout = &program.layouts[text.layout as usize];
        check(&Composed { rule, program, layout, text, index, vec4, module, info });
    }
}

/// Name, offset and type of each member of a struct of the module.
pub fn members(module: &Module, name: &str) -> Vec<(String, u32, TypeInner)> {
    let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name)).unwrap();
    let TypeInner::Struct { members, .. } = &ty.inner else { panic!("{name} is not a struct") };
    let inner = |ty: Handle<Type>| module.types[ty].inner.clone();
    members.iter().map(|m| (m.name.clone().unwrap(), m.offset, inner(m.ty))).collect()
}
