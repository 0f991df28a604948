//! Runs that are saved, and gone on with by others.

use super::*;
use std::path::Path;
use wgpu_optim::rules::AdaShift;
use wgpu_optim::rules::adashift::Reduce;
use wgpu_optim_mpi::{Error, Reduction, Sharding};

/// Steps before and after a run is saved: in the middle of an accumulation, after a skipped step.
const BEFORE: u64 = 5;
const AFTER: u64 = 4;
/// Plain, with a ring of whole tensors and of cut ones, with a number over all tensors, with factored slots.
const RULES: [&str; 5] = ["adamod", "adashift", "adashift by element", "prodigy", "adafactor"];

fn rule_of(name: &str) -> AnyRule {
    if name == "adashift by element" {
        // Fewer than the steps, so that what was kept counts.
        return AnyRule::new(AdaShift { keep: 3, reduce: Reduce::None, ..AdaShift::default() });
    }
    AnyRule::named(name).unwrap()
}

struct Run<'a> {
    lab: &'a Lab,
    set: ParamSet,
    optimizer: ShardedOptimizer<AnyRule>,
}

impl<'a> Run<'a> {
    fn new(world: &SimpleCommunicator, lab: &'a Lab, name: &str) -> Self {
        let set = set(lab, MODEL.len());
        let mut sharding = Sharding::default();
        // The reduced gradient does not depend on the number of ranks: rank 0 has all of it.
        sharding.reduction = Reduction::Sum;
        // Prodigy's sums over all have the bits of one device by whole tensors only.
        sharding.cut = name != "prodigy";
        let wrappers = Wrappers { max_grad_norm: None, ..everything() };
        let rule = rule_of(name);
        write_params(lab, &set, &numbers(1, 0, 0, &set));
        let optimizer = sharded(world, lab, &set, &rule, &options(wrappers), &sharding).unwrap();
        Self { lab, set, optimizer }
    }

    fn step(&mut self, step: u64) {
        let rank = self.optimizer.rank();
        let mut gradients = numbers(2, step, 0, &self.set);
        if rank > 0 {
            gradients.iter_mut().flatten().for_each(|g| *g = 0.0);
        } else if step == 2 {
            gradients[1][0] = f32::NAN;
        }
        write_grads(self.lab, &self.set, &gradients);
        self.optimizer.step().unwrap();
    }

    fn words(&self) -> Vec<u8> {
        params(self.lab, &self.set).concat().iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

pub fn save(world: &SimpleCommunicator, lab: &Lab, folder: &Path) {
    for name in RULES {
        let mut run = Run::new(world, lab, name);
        // An earlier one goes when the next is whole.
        (0..3).for_each(|step| run.step(step));
        run.optimizer.save(folder.join(name)).unwrap();
        (3..BEFORE).for_each(|step| run.step(step));
        run.optimizer.save(folder.join(name)).unwrap();
        if rank(world) == 0 {
            let files = std::fs::read_dir(folder.join(name)).unwrap().count();
            assert_eq!(files, ranks(world), "only the last run is kept");
        }
        (BEFORE..BEFORE + AFTER).for_each(|step| run.step(step));
        if rank(world) == 0 {
            std::fs::write(folder.join(format!("{name}.words")), run.words()).unwrap();
        }
    }
}

pub fn go_on(world: &SimpleCommunicator, lab: &Lab, folder: &Path) {
    for name in RULES.iter().filter(|name| folder.join(name).exists()) {
        let mut run = Run::new(world, lab, name);
        // What was done before does not matter.
        (20..23).for_each(|step| run.step(step));
        assert_eq!(run.optimizer.load(folder.join(name)).unwrap(), BEFORE);
        (BEFORE..BEFORE + AFTER).for_each(|step| run.step(step));
        let wanted = std::fs::read(folder.join(format!("{name}.words"))).unwrap();
        let own = run.words();
        let differ = own.chunks(4).zip(wanted.chunks(4)).filter(|(a, b)| a != b).count();
        assert!(own == wanted, "{name} went on with other bits: {differ} of {}", own.len() / 4);
    }
}

/// All ranks say whose share is missing, or that it is another rule's.
pub fn missing(world: &SimpleCommunicator, lab: &Lab, folder: &Path) {
    let said =
        |name: &str, from: &str| Run::new(world, lab, name).optimizer.load(folder.join(from)).unwrap_err();
    let missing = said("adamod", "adamod");
    assert!(
        matches!(&missing, Error::Failed { rank: 0, what } if what.contains("rank 2 of 4 is missing")),
        "{missing}"
    );
    let other = said("adashift", "prodigy");
    assert!(other.to_string().contains("it is a run of \"prodigy\", not of this \"adashift\""), "{other}");
    let none = said("adashift", "nothing");
    assert!(matches!(none, Error::Failed { rank: 0, .. }), "{none}");
}

/// Rank 1 dies after a run was saved, while it writes the next.
pub fn die(world: &SimpleCommunicator, lab: &Lab, folder: &Path) {
    let name = RULES[0];
    let mut run = Run::new(world, lab, name);
    (0..BEFORE).for_each(|step| run.step(step));
    run.optimizer.save(folder.join(name)).unwrap();
    let mut whole = Run::new(world, lab, name);
    (0..BEFORE + AFTER).for_each(|step| whole.step(step));
    if rank(world) == 0 {
        std::fs::write(folder.join(format!("{name}.words")), whole.words()).unwrap();
    }
    run.step(BEFORE);
    if rank(world) == 1 {
        // Its file would be the one that is missing.
        std::process::abort();
    }
    let error = run.optimizer.save(folder.join(name)).unwrap_err();
    eprintln!("{error}");
    world.abort(1);
}
