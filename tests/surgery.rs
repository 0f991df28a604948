//! Claim: a run that is taken over to another set of tensors goes on with the words that it had: rows pruned, cloned and put in
//! another order, tensors added and removed; for every rule. What cannot be taken over is named, and changes nothing.

mod common;

use common::run::{gradients, parameters};
use common::{Gpu, gpu_main, trial, trial_of_its_own};
use wgpu_optim::program::{Limits, RowMasks};
use wgpu_optim::rule::Config;
use wgpu_optim::rules::REGISTRY;
use wgpu_optim::state::{FRESH, NONE};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{
    AnyRule, BufferRange, Changes, Description, Lookahead, LossScale, NonFinite, Optimizer, OptimizerState,
    Options, ParamSet, Wrappers, required_limits,
};

/// Rows and their elements, so that chunks, vec4 and rows never end together.
const WIDTH: usize = 59;
const ROWS: usize = 173;

struct Run<'a> {
    gpu: &'a Gpu,
    params: ParamSet,
    optimizer: Optimizer<AnyRule>,
}

impl<'a> Run<'a> {
    /// Tensors by name and shape, the second half of them in the second group.
    fn new(gpu: &'a Gpu, config: &AnyRule, tensors: &[(&str, &[usize])], options: &Options) -> Self {
        let mut builder = ParamSet::builder();
        let groups = [builder.group("a"), builder.group("b")];
        for (i, (name, shape)) in tensors.iter().enumerate() {
            builder.tensor(*name, shape, groups[2 * i / tensors.len()]);
        }
        let params = builder.build(&gpu.device).unwrap();
        let mut other = config.clone();
        let _ = other.set("weight_decay", 0.01);
        let groups = [config.clone(), other];
        let optimizer = Optimizer::with_options(&gpu.device, &gpu.queue, &params, groups, options).unwrap();
        Self { gpu, params, optimizer }
    }

    fn lens(&self) -> Vec<usize> {
        self.params.tensors().iter().map(|tensor| tensor.len).collect()
    }

    fn write(&self, values: &[Vec<f32>], write: impl Fn(&ParamSet, usize, &[f32])) {
        values.iter().enumerate().for_each(|(index, values)| write(&self.params, index, values));
    }

    fn write_theta(&self, values: &[Vec<f32>]) {
        self.write(values, |params, index, values| {
            let id = params.find(&params.tensors()[index].name).unwrap();
            params.write_param(&self.gpu.queue, id, values).unwrap();
        });
    }

    /// Lets some rows rest, where they may; which they are follows from their numbers in the first set.
    fn mask(&mut self, number: u64, rows: Option<&[u32]>) {
        if self.optimizer.program().row_masks.is_none() {
            return;
        }
        for index in 0..self.params.tensors().len() {
            let tensor = &self.params.tensors()[index];
            let count = tensor.shape.first().copied().unwrap_or(1);
            let moved = matches!(&tensor.name[..], "points" | "opacity");
            let rests = |row: usize| {
                let row = rows.filter(|_| moved).map_or(row as u64, |rows| rows[row].into());
                (row * row + 3 * row + number).is_multiple_of(3)
            };
            let mut words = vec![0u32; count.div_ceil(32)];
            (0..count).filter(|row| !rests(*row)).for_each(|row| words[row / 32] |= 1 << (row % 32));
            let id = self.params.find(&tensor.name).unwrap();
            self.optimizer.write_row_mask(id, &words).unwrap();
        }
    }

    fn step(&mut self, gradients: &[Vec<f32>]) {
        self.write(gradients, |params, index, values| {
            let id = params.find(&params.tensors()[index].name).unwrap();
            params.write_grad(&self.gpu.queue, id, values).unwrap();
        });
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).unwrap();
        self.gpu.submit(encoder);
    }

    fn take_over(&mut self, old: &Run<'_>, changes: &Changes) {
        let mut encoder = self.gpu.encoder();
        let from = (&old.optimizer, &old.params);
        self.optimizer.take_over(&mut encoder, &self.params, from, changes).unwrap();
        self.gpu.submit(encoder);
    }

    fn state(&self) -> OptimizerState {
        let mut encoder = self.gpu.encoder();
        let download = self.optimizer.download_checkpoint(&mut encoder, &self.params).unwrap();
        self.gpu.submit(encoder);
        let poll = async { self.gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap() };
        let (state, _) = pollster::block_on(futures::future::join(download.read(), poll));
        state.unwrap()
    }
}

/// Everything that is per element: rings of 10 in AdaShift, copies, sums of micro-batches.
fn everything() -> Options {
    let mut options = Options::default();
    options.wrappers = Wrappers {
        lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
        ema: Some(0.9),
        grad_accumulation_steps: Some(2),
        non_finite: NonFinite::Skip,
        loss_scale: Some(LossScale { initial: 8.0, interval: 2, ..LossScale::default() }),
        ..Wrappers::default()
    };
    options
}

/// Half of the rows, one of them three times, in another order.
fn kept() -> Vec<u32> {
    let mut rows: Vec<u32> = (0..ROWS as u32).filter(|row| row % 2 == 1).rev().collect();
    rows.extend([7, 7, 100]);
    rows
}

/// The elements of these rows.
fn of_rows<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    let width = values.len() / ROWS;
    rows.iter().flat_map(|row| values[*row as usize * width..][..width].iter().copied()).collect()
}

const BEFORE: [(&str, &[usize]); 4] =
    [("points", &[ROWS, WIDTH]), ("gone", &[1000]), ("opacity", &[ROWS]), ("kept", &[31, 40])];

fn is_by_element(config: &AnyRule) -> bool {
    let (rule, spec) = (config.rule(), config.rule().spec());
    !(spec.is_factored() || rule.reduces() && spec.results().next().is_some())
}

/// Whether rows of a rule may rest so.
fn can_rest(config: &AnyRule, kind: RowMasks) -> bool {
    let mut options = config.rule().to_json();
    options["row_masks"] = serde_json::to_value(kind).unwrap();
    options["tensors"] = serde_json::json!([{"name": "w", "shape": [2, 2]}]);
    Description::from_json(&options.to_string(), &Limits::default()).is_ok()
}

/// Words are where they should be, and the run goes on; by the bits of a run that never had the other rows, for rules in which
/// elements do not know one another.
fn rows_move(gpu: &Gpu, config: &AnyRule, options: &Options) {
    let rows = kept();
    let count = rows.len();
    let after: [(&str, &[usize]); 4] =
        [("points", &[count, WIDTH]), ("new", &[17]), ("opacity", &[count]), ("kept", &[31, 40])];
    let mut old = Run::new(gpu, config, &BEFORE, options);
    let theta = parameters(3, &old.lens());
    old.write_theta(&theta);
    for number in 0..7 {
        let gradients = gradients(4, number, &old.lens());
        old.mask(number, None);
        old.step(&gradients);
    }
    let before = old.state();
    // Other tiles and rings, so that every place differs.
    let mut options = options.clone();
    (options.tile, options.steps_ahead) = (Some(512), Some(100));
    let mut new = Run::new(gpu, config, &after, &options);
    let starts = new.state();
    let mut changes = Changes::new();
    changes.rows("points", rows.clone()).rows("opacity", rows.clone());
    new.take_over(&old, &changes);
    let now = new.state();
    assert_eq!((now.taken(), now.recorded()), (before.taken(), before.recorded()));
    let mut seen = 0;
    for (name, words) in now.words() {
        let expected = match name.split_once('/') {
            Some((_, "points" | "opacity")) => {
                // Of a ring all values, one behind the other.
                let own = before.get(name).unwrap();
                let wide = name.ends_with("points") && !name.starts_with("row_steps/");
                let len = if wide { ROWS * WIDTH } else { ROWS };
                own.chunks(len).flat_map(|value| of_rows(value, &rows)).collect()
            }
            Some((_, "new")) => starts.get(name).unwrap().to_vec(),
            Some((_, "kept")) => before.get(name).unwrap().to_vec(),
            _ if name == "grad_norm" || name.starts_with("steps/") => continue,
            _ => before.get(name).unwrap_or_else(|| panic!("{name}")).to_vec(),
        };
        assert!(words == expected, "{name} is not what it was");
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
    goes_on(&mut new, &old, is_by_element(config).then_some(&rows), &theta, &options);
}

/// The run goes on as one that had these rows only from the start.
fn goes_on(new: &mut Run<'_>, old: &Run<'_>, rows: Option<&Vec<u32>>, theta: &[Vec<f32>], options: &Options) {
    let lens = old.lens();
    let of_after = |values: &[Vec<f32>], rows: &[u32], new: Vec<f32>| {
        vec![of_rows(&values[0], rows), new, of_rows(&values[2], rows), values[3].clone()]
    };
    let all: Vec<u32> = rows.cloned().unwrap_or_else(kept);
    let fresh = vec![0.25; 17];
    let id = new.params.find("new").unwrap();
    new.params.write_param(&new.gpu.queue, id, &fresh).unwrap();
    for number in 7..12 {
        new.mask(number, Some(&all));
        new.step(&of_after(&gradients(4, number, &lens), &all, vec![0.5; 17]));
    }
    let Some(rows) = rows else { return };
    let config = new.optimizer.group(new.params.group_of(id).unwrap()).unwrap().clone();
    let after: [(&str, &[usize]); 4] =
        [("points", &[rows.len(), WIDTH]), ("new", &[17]), ("opacity", &[rows.len()]), ("kept", &[31, 40])];
    let mut never = Run::new(new.gpu, &config, &after, options);
    never.write_theta(&of_after(theta, rows, fresh));
    for number in 0..12 {
        never.mask(number, Some(rows));
        never.step(&of_after(&gradients(4, number, &lens), rows, vec![0.5; 17]));
    }
    let (got, expected) = (new.state(), never.state());
    for (name, words) in expected.words() {
        if name.ends_with("/points") || name.ends_with("/opacity") || name.ends_with("/kept") {
            assert!(got.get(name).unwrap() == words, "{name} went on otherwise");
        }
    }
}

/// Rows from nowhere, rows whose slots start anew, a list on the device with rows that are not there.
fn rows_from_nowhere(gpu: &Gpu) {
    let config = AnyRule::named("adam").unwrap();
    let options = Options::default();
    let mut old = Run::new(gpu, &config, &BEFORE, &options);
    old.write_theta(&parameters(3, &old.lens()));
    let gradients = gradients(4, 0, &old.lens());
    old.step(&gradients);
    let before = old.state();
    let rows = [5, NONE, 5 + FRESH, 172];
    let list = [5, 1 << 30, 5 + FRESH, 172, NONE, ROWS as u32];
    let mut new = Run::new(gpu, &config, &[("points", &[4, WIDTH]), ("clones", &[6, WIDTH])], &options);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256 + 24,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 256, bytemuck::cast_slice(&list));
    let mut changes = Changes::new();
    changes.rows("points", rows).rows_on_device("clones", "points", BufferRange::new(&buffer, 256));
    new.take_over(&old, &changes);
    let now = new.state();
    for (name, list) in [("points", &rows[..]), ("clones", &[5, NONE, 5 + FRESH, 172, NONE, NONE][..])] {
        for role in ["param", "m", "v"] {
            let own = before.get(&format!("{role}/points")).unwrap();
            let expected: Vec<u32> = list
                .iter()
                .flat_map(|row| {
                    let is_there = *row != NONE && (role == "param" || row & FRESH == 0);
                    let row = (row & !FRESH) as usize % ROWS * WIDTH;
                    own[row..][..WIDTH].iter().map(move |word| if is_there { *word } else { 0 })
                })
                .collect();
            assert!(now.get(&format!("{role}/{name}")).unwrap() == expected, "{role}/{name}");
        }
    }
}

/// What cannot be taken over is named, and changes nothing.
fn misfits(gpu: &Gpu) {
    let adam = AnyRule::named("adam").unwrap();
    let options = Options::default();
    let mut old = Run::new(gpu, &adam, &BEFORE, &options);
    let gradients = gradients(4, 0, &old.lens());
    old.step(&gradients);
    let refused = |config: &AnyRule, tensors: &[(&str, &[usize])], options: &Options, changes: &Changes| {
        let mut new = Run::new(gpu, config, tensors, options);
        let before = new.state();
        let mut encoder = gpu.encoder();
        let error =
            new.optimizer.take_over(&mut encoder, &new.params, (&old.optimizer, &old.params), changes);
        gpu.submit(encoder);
        assert!(new.state() == before, "nothing was changed");
        error.unwrap_err().to_string()
    };
    let mut changes = Changes::new();
    changes.rows("points", [0, 173, 5]).rows("opacity", [1]).rows_of("kept", "nowhere", [1]).anew("nothing");
    changes.anew("opacity");
    let after: [(&str, &[usize]); 3] = [("points", &[3, WIDTH]), ("opacity", &[2]), ("kept", &[1, 40])];
    let all = refused(&adam, &after, &options, &changes);
    for part in [
        "row 1 of 'points' is row 173 of 'points', which has 173",
        "'opacity' has 2 rows, and its list 1",
        "rows of 'nowhere', which is not there",
        "there is no tensor 'nothing' to change",
        "'opacity' is to be changed twice",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let none = Changes::new();
    let one = |shape: &'static [usize]| [("points", shape), ("kept", &[31, 40][..])];
    let wanted = [
        (refused(&adam, &one(&[3, WIDTH]), &options, &none), "'points' had shape [173, 59] and has [3, 59]"),
        (
            refused(&AnyRule::named("sgd").unwrap(), &one(&[ROWS, WIDTH]), &options, &none),
            "'adam', not 'sgd'",
        ),
        (refused(&adam, &one(&[ROWS, WIDTH]), &everything(), &none), "wrappers"),
        (
            refused(&adam, &one(&[3, 58]), &options, Changes::new().rows("points", [1, 2, 3])),
            "rows of 'points' have shape [58], of 'points' [59]",
        ),
        (
            refused(&adam, &one(&[]), &options, Changes::new().rows("points", [1])),
            "is a scalar, which has no rows",
        ),
    ];
    for (message, part) in wanted {
        assert!(message.contains(part), "{part}: {message}");
    }
    let adafactor = AnyRule::named("adafactor").unwrap();
    let old = Run::new(gpu, &adafactor, &BEFORE, &options);
    let mut new = Run::new(gpu, &adafactor, &one(&[3, WIDTH]), &options);
    let mut changes = Changes::new();
    changes.rows("points", [1, 2, 3]);
    let from = (&old.optimizer, &old.params);
    let error = new.optimizer.take_over(&mut gpu.encoder(), &new.params, from, &changes).unwrap_err();
    assert!(error.to_string().contains("averages over columns"), "{error}");
    // Other parameters than the optimizer's.
    let from = (&old.optimizer, &new.params);
    let mut other = Run::new(gpu, &adafactor, &one(&[3, WIDTH]), &options);
    let error = other.optimizer.take_over(&mut gpu.encoder(), &other.params, from, &changes).unwrap_err();
    assert!(error.to_string().contains("these parameters are not those"), "{error}");
}

pub fn main() {
    gpu_main("surgery", |adapter| {
        let small = adapter.clone();
        let few = trial_of_its_own(adapter, "rows move between windows", move |_| {
            let mut limits = required_limits(&small);
            limits.max_storage_buffer_binding_size = 16 << 10;
            let gpu = Gpu::open_with(&small, limits);
            let nadam = AnyRule::named("nadam").unwrap();
            rows_move(&gpu, &nadam, &Options::default());
            rows_move(&gpu, &nadam, &everything());
        });
        let mut trials = vec![
            few,
            trial(adapter, "misfits", misfits),
            trial(adapter, "rows from nowhere", rows_from_nowhere),
        ];
        for entry in REGISTRY {
            let config = (entry.variants)().remove(0);
            if config.rule().spec().is_factored() {
                continue;
            }
            let masked = |kind, mut options: Options| {
                options.row_masks = Some(kind);
                options
            };
            for (name, options) in [
                ("alone", Options::default()),
                ("with everything around it", everything()),
                ("and rest", masked(RowMasks::TensorSteps, Options::default())),
                ("and rest, with everything around it", masked(RowMasks::TensorSteps, everything())),
                ("and rest, with steps of their own", masked(RowMasks::RowSteps, everything())),
            ] {
                if options.row_masks.is_some_and(|kind| !can_rest(&config, kind)) {
                    continue;
                }
                let config = config.clone();
                let title = format!("{}: rows move, {name}", entry.name);
                trials.push(trial(adapter, title, move |gpu| rows_move(gpu, &config, &options)));
            }
        }
        trials
    });
}
