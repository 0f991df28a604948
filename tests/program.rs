//! Claim: a step is data: for every rule, with anything around it, its program is the same in every process and on every
//! host, comes back from its text as it was, and is refused if anything of it was changed. Needs no GPU.

#![allow(dead_code)] // a page runs the trials one by one

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use wgpu_optim::program::{
    Binding, Clock, Declared, Limits, Options, Packing, Place, Program, Tensors, Usage, Write,
};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::Adam;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::{AnyRule, Error, Lookahead, LossScale, NonFinite, Wrappers};

pub fn main() {
    let mut trials = vec![
        trial("parts that do not fit together are refused", misfits),
        trial("a program for other tensors or another device is refused", other_places),
        trial("a clock for another program is refused", other_clock),
        trial("the writes of a step stay inside their rings", writes),
        trial("room for too many steps is refused", too_many_steps_ahead),
        trial("tensors are laid out as they are declared", layouts),
    ];
    for entry in REGISTRY {
        for (i, config) in (entry.variants)().into_iter().enumerate() {
            for (around, wrappers) in wrapped() {
                let config = config.clone();
                trials.push(trial(&format!("{} variant {i}, {around}", entry.name), move || {
                    comes_back(&config, wrappers);
                    holds_together(&config, wrappers);
                }));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok::<(), Failed>(())
    })
}

/// Nothing, everything, and each wrapper that has passes of its own.
fn wrapped() -> Vec<(&'static str, Wrappers)> {
    let plain = Wrappers::default();
    let everything = Wrappers {
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
    };
    vec![
        ("plain", plain),
        ("everything", everything),
        ("clipped", Wrappers { max_grad_norm: Some(1.0), ..plain }),
        ("cautious", Wrappers { cautious: true, ..plain }),
    ]
}

/// Three tensors in two groups, one of them empty.
fn tensors(limits: &Limits) -> Tensors {
    let declared = |name: &str, shape: &[usize], group| Declared {
        name: name.into(),
        shape: shape.to_vec(),
        group,
        own: None,
    };
    let all = [declared("weight", &[65, 33], 0), declared("bias", &[7], 1), declared("none", &[0, 3], 0)];
    Tensors::lay_out(&["decay", "no decay"], &all, &[], Packing::default(), limits).unwrap()
}

fn program(config: &AnyRule, wrappers: Wrappers) -> Program {
    let limits = Limits::default();
    let mut options = Options::default();
    options.wrappers = wrappers;
    Program::new(&tensors(&limits), &[config.clone(), config.clone()], &options, &limits).unwrap()
}

/// The hashes of some programs of every rule, to be the same on every host.
pub fn hashes() -> Vec<u64> {
    let variants = REGISTRY.iter().flat_map(|entry| (entry.variants)());
    variants
        .flat_map(|config| wrapped().into_iter().map(move |(_, around)| program(&config, around).hash()))
        .collect()
}

fn comes_back(config: &AnyRule, wrappers: Wrappers) {
    let made = program(config, wrappers);
    assert_eq!(made, program(config, wrappers), "the same again");
    let text = serde_json::to_string(&made).unwrap();
    let read: Program = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.hash()), (&made, made.hash()));

    // Cut anywhere it is no program, and with any of its characters changed it is another or none.
    let bytes = text.as_bytes();
    for part in 1..40 {
        let at = part * bytes.len() / 40;
        assert!(serde_json::from_slice::<Program>(&bytes[..at]).is_err(), "cut at {at}");
        let mut changed = bytes.to_vec();
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert!(serde_json::from_slice::<Program>(&changed).is_err(), "changed at {at}");
    }
    let older = text.replacen("\"version\":1", "\"version\":0", 1);
    assert_ne!(older, text);
    let error = serde_json::from_str::<Program>(&older).unwrap_err().to_string();
    assert!(error.contains("version 0; this library reads version 1"), "{error}");
    let error =
        serde_json::from_str::<Program>(&text.replacen("\"places\":", "\"places\":1", 1)).unwrap_err();
    assert!(error.to_string().contains("but its contents have"), "{error}");

    let listing = made.to_string();
    for module in &made.modules {
        let name = module.label.rsplit(": ").next().unwrap();
        assert!(listing.contains(name), "{name} is listed");
    }
}

/// Room for more steps than a table can hold is refused, also where words have 32 bits.
fn too_many_steps_ahead() {
    let limits = Limits::default();
    let config = AnyRule::named("adamw").unwrap();
    let made = |steps_ahead| {
        let mut options = Options::default();
        options.steps_ahead = Some(steps_ahead);
        Program::new(&tensors(&limits), &[config.clone(), config.clone()], &options, &limits)
    };
    made(1000).unwrap();
    for steps in [1 << 24, u32::MAX] {
        let error = made(steps).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }) && error.to_string().contains("steps_ahead"), "{error}");
    }
}

/// What a program says of itself is so.
fn holds_together(config: &AnyRule, wrappers: Wrappers) {
    let program = program(config, wrappers);
    program.check().unwrap();
    // Modules are all used, and no two are the same.
    let used: BTreeSet<u32> = program.passes.iter().map(|pass| pass.module).collect();
    assert_eq!(used.len(), program.modules.len());
    let texts: BTreeSet<&str> = program.modules.iter().map(|module| module.wgsl.as_str()).collect();
    assert_eq!(texts.len(), program.modules.len());
    // The device that it says it needs runs it, and one with less does not.
    let needs = program.limits();
    let tensors = tensors(&Limits::default());
    program.check_fits(&tensors, &needs).unwrap();
    for less in [
        Limits { max_buffer_size: needs.max_buffer_size - 1, ..needs },
        Limits { max_storage_buffer_binding_size: needs.max_storage_buffer_binding_size - 1, ..needs },
        Limits {
            max_storage_buffers_per_shader_stage: needs.max_storage_buffers_per_shader_stage - 1,
            ..needs
        },
        Limits { max_compute_workgroup_size_x: needs.max_compute_workgroup_size_x - 1, ..needs },
    ] {
        assert!(matches!(program.check_fits(&tensors, &less), Err(Error::Limit { .. })), "{less:?}");
    }
    // Every slot of every tensor has as many words as it should, and no word belongs to two.
    let mut taken = BTreeSet::new();
    let rule = config.rule();
    for (index, tensor) in program.tensors.iter().enumerate() {
        let elements: u64 = tensor.shape.iter().product();
        for slot in program.slots.iter().filter(|slot| slot.depth > 0) {
            let slices = program.slot(index, &slot.name).unwrap();
            let bytes: u64 = slices.iter().map(|slice| slice.size).sum();
            assert_eq!(bytes, 4 * elements * u64::from(slot.depth), "{} of {}", slot.name, tensor.name);
        }
        assert!(program.slot(index, "no such slot").is_none());
    }
    for words in program.persistent() {
        for slice in words.slices {
            for word in (slice.offset..slice.offset + slice.size).step_by(4) {
                let shared = ["skips", "loss_scale"].contains(&words.name.as_str());
                assert!(taken.insert((slice.buffer, word)) || shared, "{} shares a word", words.name);
            }
        }
    }
    // All memory is parameters, gradients, slots or overhead.
    let made: u64 =
        program.buffers.iter().filter(|buffer| buffer.usage != Usage::Given).map(|buffer| buffer.size).sum();
    assert!(program.overhead_bytes() <= made && program.state_bytes() <= made);
    assert_eq!(
        program.slot_names().count() > 0,
        !rule.spec().slots.is_empty() && program.state_bytes() > 0 || wrappers.ema.is_some()
    );
}

fn misfits() {
    let made = program(&AnyRule::new(Adam::adamw()), wrapped()[1].1);
    let value = serde_json::to_value(&made).unwrap();
    // Each with a hash of its own, as a program that claims to be whole would have.
    let refused = |what: &str, change: &dyn Fn(&mut serde_json::Value), part: &str| {
        let mut value = value.clone();
        change(&mut value);
        // The hash that the change asks for is in the message.
        let error = serde_json::from_value::<Program>(value.clone()).unwrap_err().to_string();
        let right = error.rsplit("have ").next().unwrap()[..16].to_string();
        value["hash"] = right.into();
        let error = serde_json::from_value::<Program>(value).unwrap_err().to_string();
        assert!(error.contains(part), "{what}: {error}");
    };
    refused("a layout", &|value| value["modules"][0]["layout"] = 9.into(), "module 0 has layout 9");
    refused("a layout", &|value| value["bindings"][0]["layout"] = 9.into(), "bind group 0 has layout 9");
    refused(
        "a binding",
        &|value| drop(value["bindings"][0]["slices"].as_array_mut().unwrap().pop()),
        "binds",
    );
    refused("a buffer", &|value| value["bindings"][0]["slices"][0]["buffer"] = 99.into(), "of buffer 99");
    refused(
        "a range",
        &|value| value["bindings"][0]["slices"][0]["size"] = (1u64 << 40).into(),
        "bind group 0 has bytes",
    );
    refused(
        "an end",
        &|value| value["bindings"][0]["slices"][0]["offset"] = u64::MAX.into(),
        "bind group 0 has bytes",
    );
    refused("a pass", &|value| value["passes"][0]["module"] = 77.into(), "pass 0 runs module 77");
    refused(
        "contents",
        &|value| value["buffers"][2]["contents"][0]["at"] = (1u64 << 50).into(),
        "contents beyond its end",
    );
    refused("a ring", &|value| value["rows"]["set"]["places"] = (1u32 << 31).into(), "the ring of set rows");
    refused("no places", &|value| value["rows"]["counted"]["places"] = 0.into(), "0 places");
    refused("a stride", &|value| value["rows"]["set"]["stride"] = 16.into(), "places of 16 bytes");
    refused(
        "a word",
        &|value| value["rows"]["layout"]["fields"][0][1] = serde_json::json!({ "now": 99 }),
        "is outside its row",
    );
    refused("groups", &|value| value["groups"] = serde_json::json!([]), "places of");
    refused(
        "a piece",
        &|value| value["tensors"][0]["pieces"][0]["state"] = u64::MAX.into(),
        "slot 'm' of 'weight'",
    );
    refused("a window", &|value| value["tensors"][0]["pieces"][0]["window"] = 5.into(), "has window 5");
    refused("a state buffer", &|value| value["slots"][0]["place"][0] = 12.into(), "is in state buffer 12");
    let unknown = serde_json::json!({ "version": 1, "more": 2 });
    assert!(serde_json::from_value::<Program>(unknown).is_err());
}

fn other_places() {
    let limits = Limits::default();
    let made = program(&AnyRule::new(Adam::adamw()), Wrappers::default());
    let says = |tensors: &Tensors, part: &str| {
        let error = made.check_fits(tensors, &limits).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let one = |name: &str, shape: &[usize]| Declared {
        name: name.into(),
        shape: shape.to_vec(),
        group: 0,
        own: None,
    };
    let lay_out = |tensors: &[Declared]| {
        Tensors::lay_out(&["a", "b"], tensors, &[], Packing::default(), &limits).unwrap()
    };
    says(&lay_out(&[one("weight", &[65, 33])]), "it was made for");
    let mut three = vec![one("weight", &[65, 33]), one("bias", &[7]), one("none", &[0, 3])];
    says(
        &lay_out(&three),
        "tensor 'bias' of shape [7] in group 0 was made for 'bias' of shape [7] in group 1",
    );
    three[1].group = 1;
    made.check_fits(&lay_out(&three), &limits).unwrap();
    three[0].shape = vec![33, 65];
    says(&lay_out(&three), "tensor 'weight' of shape [33, 65]");
    let coarse = Limits { min_storage_buffer_offset_alignment: 512, ..limits };
    assert!(made.check_fits(&tensors(&limits), &coarse).is_ok(), "every binding of an arena starts at 0");
}

fn other_clock() {
    let plain = Wrappers::default();
    let made = program(&AnyRule::new(Adam::adamw()), plain);
    let refused = |rule: AnyRule, wrappers: Wrappers, part: &str| {
        let error = Clock::new(&made, [rule.clone(), rule], wrappers).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let lion = AnyRule::named("lion").unwrap();
    refused(lion, plain, "it is one of 'adam', not of this 'lion'");
    let clipped = Wrappers { max_grad_norm: Some(1.0), ..plain };
    refused(AnyRule::new(Adam::adamw()), clipped, "it was made with the wrappers [], not [max_grad_norm]");
    let error = Clock::new(&made, [Adam::adamw()], plain).unwrap_err();
    assert!(matches!(error, Error::GroupCount { groups: 2, configs: 1 }), "{error}");
}

/// Over many steps with rates that change, every write lies in a buffer, the record is that of the step, and a step whose
/// settings are those of the step before writes no rows of what is set.
fn writes() {
    let made = program(&AnyRule::new(Adam::adamw()), Wrappers::default());
    let mut clock = Clock::new(&made, [Adam::adamw(), Adam::adamw()], Wrappers::default()).unwrap();
    let set: Vec<u32> = made.rows.set.at.iter().map(|(buffer, _)| *buffer).collect();
    for step in 0..200u32 {
        if step % 3 == 0 {
            clock.group_mut(1).unwrap().lr = 1e-3 / f64::from(step + 1);
        }
        assert_eq!(clock.recorded(), u64::from(step));
        let next = clock.next_step().unwrap();
        let record = made.rows.records.at[0];
        let mut rows = 0;
        for Write { buffer, offset, bytes } in next.writes() {
            let size = made.buffers[buffer as usize].size;
            assert!(offset + bytes.len() as u64 <= size && !bytes.is_empty() && bytes.len() % 4 == 0);
            if (buffer, offset) == (record.0, record.1 + u64::from(next.record())) {
                assert_eq!(bytes.len(), 48);
            }
            let ring = made.rows.set.at[0].1;
            let end = ring + made.rows.set.stride * u64::from(made.rows.set.places);
            rows += u32::from(set.contains(&buffer) && (ring..end).contains(&offset));
        }
        assert_eq!(rows > 0, step % 3 == 0, "step {step}");
    }
    assert!(clock.group_mut(2).is_none());
    clock.group_mut(0).unwrap().lr = f64::NAN;
    assert!(matches!(clock.next_step(), Err(Error::Config { .. })));
    assert_eq!(clock.recorded(), 200, "a refused step does not count");
}

fn layouts() {
    let limits = Limits::default();
    let own = |buffer, offset| Some((Place { buffer, offset }, Place { buffer: buffer + 1, offset }));
    let declared = [
        Declared { name: "ours".into(), shape: vec![3], group: 0, own: None },
        Declared { name: "theirs".into(), shape: vec![2, 2], group: 0, own: own(0, 8) },
        Declared { name: "theirs too".into(), shape: vec![5], group: 0, own: own(0, 24) },
    ];
    let tensors = Tensors::lay_out(&["all"], &declared, &[64, 64], Packing::Tight, &limits).unwrap();
    let places: Vec<_> = tensors.tensors().iter().map(|tensor| tensors.places(tensor)).collect();
    let place = |buffer, offset| Place { buffer, offset };
    assert_eq!(places[0], (place(0, 0), place(1, 0)));
    assert_eq!(places[1], (place(2, 8), place(3, 8)), "the host's buffers come after the arenas");
    assert_eq!(places[2], (place(2, 24), place(3, 24)));
    let made: Vec<bool> = tensors.buffers().iter().map(|buffer| buffer.is_made).collect();
    assert_eq!(made, [true, true, false, false]);
    let options = Options::default();
    let program = Program::new(&tensors, &[Adam::adamw()], &options, &limits).unwrap();
    assert_eq!(program.passes.len(), 2, "a dispatch for each pair of buffers");
    assert!(program.layouts[0].contains(&Binding::ReadOnly));
    let missing = [Declared { name: "x".into(), shape: vec![1], group: 0, own: own(1, 0) }];
    let error = Tensors::lay_out(&["all"], &missing, &[64, 64], Packing::Tight, &limits).unwrap_err();
    assert!(error.to_string().contains("is number 2, but 2 are given"), "{error}");
}
