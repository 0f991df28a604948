//! Claims about rows that rest: a row whose bit is 0 does not change and counts for nothing; the others take the step of the
//! tensor's count, or of their own. For every rule that can.

mod common;

use common::run::{BINDABLE, Home, Run, TOGETHER, Words, Worst, gradients, parameters, resolve, with_slower};
use common::{Gpu, gpu_main, is_tried, trial};
use wgpu_optim::program::{Program, RowMasks, Shape};
use wgpu_optim::reference::{self, Reference, expect_step, host_scalars};
use wgpu_optim::rule::{Config, FieldKind, HostState};
use wgpu_optim::rules::{Adam, REGISTRY};
use wgpu_optim::wgpu::{BufferUsages, util::BufferInitDescriptor, util::DeviceExt};
use wgpu_optim::{
    AnyRule, BufferRange, Error, Lookahead, NonFinite, Optimizer, Options, Packing, ParamSet, Wrappers,
};

/// One element; rows of 5, 100, 59, 683 and 1 elements; none.
const TENSORS: [(usize, usize); 7] = [(1, 0), (15, 1), (1500, 1), (2183, 0), (2049, 0), (4099, 1), (0, 0)];
/// None whose rows have fewer than three elements: those go another way on CPUs. Rows of 5, 100, 59 and 3.
const LONG_ROWS: [(usize, usize); 4] = [(15, 1), (1500, 1), (2183, 0), (9, 0)];
const STEPS: u64 = 8;

fn around(kind: RowMasks, wrappers: Wrappers) -> Options {
    let mut options = Options::default();
    (options.wrappers, options.row_masks) = (wrappers, Some(kind));
    options
}

fn clipped() -> Wrappers {
    Wrappers {
        lookahead: Some(Lookahead { k: 3, alpha: 0.5 }),
        ema: Some(0.9),
        max_grad_norm: Some(100.0),
        max_grad_value: Some(1.0),
        non_finite: NonFinite::Skip,
        ..Wrappers::default()
    }
}

fn cautious() -> Wrappers {
    Wrappers { cautious: true, max_tensor_norm: Some(50.0), zero_grad: true, ..Wrappers::default() }
}

fn start<'a>(
    gpu: &'a Gpu,
    config: &AnyRule,
    home: Home,
    options: &Options,
    alter: impl FnOnce(&mut Program),
) -> Run<'a> {
    start_of(gpu, config, &TENSORS, home, options, alter)
}

fn start_of<'a>(
    gpu: &'a Gpu,
    config: &AnyRule,
    tensors: &[(usize, usize)],
    home: Home,
    options: &Options,
    alter: impl FnOnce(&mut Program),
) -> Run<'a> {
    let run = Run::altered(gpu, &with_slower(config), tensors, home, options, alter);
    run.write_theta(&parameters(1, &lens(&run)));
    run
}

fn lens(run: &Run<'_>) -> Vec<usize> {
    run.params.tensors().iter().map(|tensor| tensor.len).collect()
}

fn rows(run: &Run<'_>, tensor: usize) -> usize {
    run.params.tensor(run.tensors[tensor]).unwrap().shape[0]
}

/// Whether a row acts: some begin late, some are seen once in a while; now and then nobody or everybody does.
fn acts(tensor: usize, row: usize, step: u64) -> bool {
    let mixed =
        (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (step + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb + 2 * tensor as u64) >> 40;
    match (step + tensor as u64) % 6 {
        4 => row.is_multiple_of(64),
        5 => true,
        _ => mixed.is_multiple_of(2) && (row % 7 != 3 || step > 4),
    }
}

fn mask(rows: usize, acts: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut words = vec![0; rows.div_ceil(32)];
    (0..rows).filter(|row| acts(*row)).for_each(|row| words[row / 32] |= 1 << (row % 32));
    words
}

/// A step of the rows that [`acts`] has; the gradients of others are not to be looked at.
fn step(run: &mut Run<'_>, number: u64) -> Vec<Vec<f32>> {
    let lens = lens(run);
    let mut given = gradients(2, number, &lens);
    for tensor in 0..lens.len() {
        let rows = rows(run, tensor);
        let words = mask(rows, |row| acts(tensor, row, number));
        run.optimizer.write_row_mask(run.tensors[tensor], &words).unwrap();
        let each = lens[tensor] / rows.max(1);
        for (element, g) in given[tensor].iter_mut().enumerate() {
            if !acts(tensor, element / each, number) {
                *g = [f32::NAN, f32::NEG_INFINITY][element % 2];
            }
        }
    }
    run.step(&given);
    given
}

/// Elements of a tensor that are in the same step of their own.
struct Part {
    tensor: usize,
    t: u64,
    elements: Vec<usize>,
}

/// Steps of which every word is held against what it may be.
struct Checked {
    kind: RowMasks,
    lens: Vec<usize>,
    groups: Vec<usize>,
    taken: Vec<Vec<u64>>,
    /// For each group and number of steps.
    scalars: Vec<Vec<Vec<f64>>>,
}

impl Checked {
    fn new(run: &Run<'_>, config: &AnyRule, kind: RowMasks) -> Self {
        let of_group = |config: &AnyRule| {
            let mut host = HostState::default();
            (1..=STEPS).map(|t| host_scalars(config.rule(), t, &mut host)).collect()
        };
        let tensors = run.params.tensors();
        Self {
            kind,
            lens: lens(run),
            groups: tensors.iter().map(|tensor| tensor.group).collect(),
            taken: (0..tensors.len()).map(|tensor| vec![0; rows(run, tensor)]).collect(),
            scalars: with_slower(config).iter().map(of_group).collect(),
        }
    }

    /// What acts in a step, by its own count.
    fn parts(&mut self, number: u64) -> Vec<Part> {
        let mut parts: Vec<Part> = vec![];
        for (tensor, len) in self.lens.iter().enumerate() {
            let each = len / self.taken[tensor].len().max(1);
            for row in (0..self.taken[tensor].len()).filter(|row| acts(tensor, *row, number)) {
                self.taken[tensor][row] += 1;
                let own = self.kind == RowMasks::RowSteps;
                let t = if own { self.taken[tensor][row] } else { number + 1 };
                let elements = row * each..(row + 1) * each;
                match parts.iter_mut().find(|part| part.tensor == tensor && part.t == t) {
                    Some(part) => part.elements.extend(elements),
                    None => parts.push(Part { tensor, t, elements: elements.collect() }),
                }
            }
        }
        parts
    }

    fn step(
        &mut self,
        run: &mut Run<'_>,
        config: &AnyRule,
        wrappers: &Wrappers,
        number: u64,
        before: &Words,
    ) -> (Words, Worst) {
        let given = step(run, number);
        let after = run.read();
        let (parts, configs) = (self.parts(number), with_slower(config));
        let pick = |words: &[f32], part: &Part| -> Vec<f32> {
            // A ring has its values one behind the other.
            let all = (0..words.len()).step_by(self.lens[part.tensor].max(1));
            all.flat_map(|first| part.elements.iter().map(move |element| words[first + element])).collect()
        };
        let picked: Vec<_> = parts
            .iter()
            .map(|part| {
                let slots = before.slots[part.tensor].iter().map(|slot| pick(slot, part)).collect::<Vec<_>>();
                (pick(&before.theta[part.tensor], part), pick(&given[part.tensor], part), slots)
            })
            .collect();
        let words = parts.iter().zip(&picked).map(|(part, (theta, g, slots))| {
            let group = self.groups[part.tensor];
            reference::Words {
                rule: configs[group].rule(),
                t: part.t,
                scalars: &self.scalars[group][part.t as usize - 1],
                shape: &[],
                theta,
                g,
                evaluates: false,
                slots,
            }
        });
        let (expected, _) = expect_step(wrappers, None, &words.collect::<Vec<_>>());
        let mut worst = Worst::default();
        let mut moved: Vec<Vec<bool>> = self.lens.iter().map(|len| vec![false; *len]).collect();
        for (part, expected) in parts.iter().zip(expected) {
            let Part { tensor, t, elements } = part;
            elements.iter().for_each(|element| moved[*tensor][*element] = true);
            let own = expected.slots.len() - 2;
            let names = run.slot_names();
            for (slot, allowed) in expected.slots.iter().enumerate() {
                // Where wrappers' slots start is what the tensor's first step says.
                let late = slot >= own && self.kind == RowMasks::RowSteps && *t == 1 && number > 0;
                let got = pick(&after.slots[*tensor][slot], part);
                for (i, (got, allowed)) in got.iter().zip(allowed).enumerate().filter(|_| !late) {
                    worst.see(*got, *allowed, || {
                        format!("step {number}, tensor {tensor}, {}[{i}] (own step {t})", names[slot])
                    });
                }
            }
            for (i, (got, allowed)) in
                pick(&after.theta[*tensor], part).iter().zip(&expected.theta).enumerate()
            {
                worst.see(*got, *allowed, || {
                    format!("step {number}, tensor {tensor}, theta[{i}] (own step {t})")
                });
            }
        }
        for (tensor, moved) in moved.iter().enumerate() {
            let own = before.slots[tensor].len() - 2;
            let slots = before.slots[tensor].iter().zip(&after.slots[tensor]).enumerate();
            // Slots of wrappers start in the first step, of all rows: with the parameters as they are.
            for started in after.slots[tensor][own..].iter().filter(|slot| number == 0 && !slot.is_empty()) {
                let start = &before.theta[tensor];
                for element in (0..moved.len()).filter(|element| !moved[*element]) {
                    if started[element].to_bits() != start[element].to_bits() {
                        let place = format!("tensor {tensor}: a wrapper's slot of element {element}");
                        (worst.units, worst.place) = (f64::INFINITY, place);
                    }
                }
            }
            let slots = slots.filter(|(slot, _)| number > 0 || *slot < own).map(|(_, both)| both);
            for (before, after) in slots.chain([(&before.theta[tensor], &after.theta[tensor])]) {
                for (element, (before, after)) in before.iter().zip(after).enumerate() {
                    if !moved[element % self.lens[tensor]] && before.to_bits() != after.to_bits() {
                        let place =
                            format!("step {number}, tensor {tensor}: element {element} rests, and changed");
                        (worst.units, worst.place) = (f64::INFINITY, place);
                    }
                }
            }
        }
        (after, worst)
    }
}

/// What is run.
#[derive(Clone, Copy)]
struct Case {
    tensors: &'static [(usize, usize)],
    home: Home,
    kind: RowMasks,
    wrappers: Wrappers,
    shape: Option<Shape>,
}

impl Case {
    fn new(kind: RowMasks, wrappers: Wrappers) -> Self {
        Self { tensors: &TENSORS, home: BINDABLE, kind, wrappers, shape: None }
    }
}

fn worst(gpu: &Gpu, config: &AnyRule, case: Case, alter: impl FnOnce(&mut Program)) -> Worst {
    let Case { tensors, home, kind, wrappers, shape } = case;
    let mut options = around(kind, wrappers);
    options.shape = shape;
    let mut run = start_of(gpu, config, tensors, home, &options, alter);
    let mut checked = Checked::new(&run, config, kind);
    let mut words = run.read();
    let mut worst = Worst::default();
    for number in 0..STEPS {
        let (after, error) = checked.step(&mut run, config, &wrappers, number, &words);
        worst.merge(error);
        words = after;
    }
    worst
}

fn within_intervals(gpu: &Gpu, config: &AnyRule, case: Case) {
    let worst = worst(gpu, config, case, |_| {});
    assert!(worst.units <= 1.0, "{:.3} of the interval at {}", worst.units, worst.place);
    assert!(worst.units > 0.0, "no difference from the truth anywhere");
}

/// Wrong lines are noticed.
fn finds_wrong_lines(gpu: &Gpu) {
    let sparse = Case::new(RowMasks::TensorSteps, clipped());
    let own = Case::new(RowMasks::RowSteps, clipped());
    // Where nothing is added up, tiles are smaller.
    let plain = Case::new(RowMasks::TensorSteps, Wrappers::default());
    let zeroed = Case::new(RowMasks::TensorSteps, cautious());
    let [wide, wide_own, long, runs] = [
        Case { shape: Some(Shape::Wide(64)), ..sparse },
        Case { shape: Some(Shape::Wide(64)), ..own },
        Case { shape: Some(Shape::Long), ..plain },
        Case { shape: Some(Shape::Long), tensors: &LONG_ROWS, ..plain },
    ];
    let long_own = Case { shape: Some(Shape::Long), ..own };
    for (case, find, replace) in [
        (sparse, "let acts = there & (", "let acts = there | ("),
        (sparse, "first / 32u", "first / 64u"),
        (sparse, "row & vec4<u32>(31u)", "row & vec4<u32>(15u)"),
        (sparse, "rows += select(0u, 1u, at - rows * tile.rows.x >= tile.rows.x);", "rows += 1u;"),
        (plain, "return vec2<u32>(row, first - row * rows.x);", "return vec2<u32>(row, 0u);"),
        (plain, "let at = tile.start.y + 4u * i;", "let at = 4u * i;"),
        (sparse, "+ select(none, one, in_row >= 2u * elements)", ""),
        (own, "if (at.w != at.x) {", "if (false) {"),
        (sparse, "select(vec4<f32>(0.0), x, lanes.acts)", "x"),
        (sparse, "return select(start, theta, lanes.acts);", "return theta;"),
        (wide, "acts && some_act(tile, lanes));", "acts);"),
        (own, "tile.steps % 2u * tile.rows.w", "0u"),
        (wide_own, "(tile.steps + 1u) % 2u * tile.rows.w", "0u"),
        (wide_own, "if (lanes.begins[lane]) {", "if (lanes.acts[lane]) {"),
        (wide_own, "select(vec4<u32>(0u), vec4<u32>(1u), lanes.acts)", "vec4<u32>(1u)"),
        (long_own, "let after = tile.rows.z + (tile.steps + 1u) % 2u * tile.rows.w;", "let after = before;"),
        (long_own, "select(0u, 1u, row_acts(tile, row))", "1u"),
        (long_own, "if (row > 0u || tile.start.y == 0u) {", "if (row > 0u) {"),
        (long, "return tile.rows.x < 3u || (STARTS", "return (STARTS"),
        (
            Case { shape: Some(Shape::Long), tensors: &LONG_ROWS, ..sparse },
            "(STARTS && tile.steps == 0u)",
            "false",
        ),
        (runs, "const NARROW: bool = false;", "const NARROW: bool = true;"),
        (runs, "row_words[tile.rows.y + at / 32u] >> (at % 32u)", "row_words[tile.rows.y] >> (at % 32u)"),
        (runs, "32u - at % 32u, bits == 0u", "32u, bits == 0u"),
        (runs, "countTrailingZeros(~acting)", "1u + countTrailingZeros(~acting)"),
        (runs, "max(row * tile.rows.x, tile.start.y) - tile.start.y", "row * tile.rows.x - tile.start.y"),
        (runs, "(at < vec4<u32>(run.end))", "(at <= vec4<u32>(run.end))"),
        (runs, "(at >= vec4<u32>(run.first))", "(at > vec4<u32>(run.first))"),
        (runs, "return rows + 1u;", "return rows;"),
        (own, "h_y = hyper_at(tile, row, lanes.steps.y);", ""),
        (
            own,
            "let counted_row = counted_row_of(tile.counted, steps);",
            "let counted_row = tile.counted_row;",
        ),
        (own, "return min(steps, places - 1u);", "return 0u;"),
        (zeroed, "dot(acting(vec4<f32>(1.0), lanes), vec4<f32>(1.0))", "4.0"),
    ] {
        let config = AnyRule::named("adamw").unwrap();
        let worst = worst(gpu, &config, case, |program| {
            let with = program.modules.iter_mut().filter(|module| module.wgsl.contains(find));
            let changed = with.map(|module| module.wgsl = module.wgsl.replace(find, replace)).count();
            assert!(changed > 0, "no module has '{find}'");
        });
        // These only cost time.
        let harmless = ["acts);", "const NARROW: bool = true;"].contains(&replace);
        assert_eq!(
            worst.units > 1.0 || worst.units.is_nan(),
            !harmless,
            "'{replace}' in the place of '{find}'"
        );
    }
}

/// Gradients of rows that act are zeroed, and no others.
fn zeroes_what_acts(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    for home in [BINDABLE, Home::Own { gap: 3 }] {
        let mut run = start(gpu, &config, home, &around(RowMasks::TensorSteps, cautious()), |_| {});
        for number in [0, 4, 5] {
            let given = step(&mut run, number);
            let mut encoder = gpu.encoder();
            let left =
                run.tensors.iter().map(|id| run.params.download_grad(&mut encoder, *id).unwrap()).collect();
            gpu.submit(encoder);
            for (tensor, left) in resolve(gpu, left).iter().enumerate() {
                let each = given[tensor].len() / rows(&run, tensor).max(1);
                for (element, (left, given)) in left.iter().zip(&given[tensor]).enumerate() {
                    let wanted = if acts(tensor, element / each, number) { 0.0 } else { *given };
                    assert_eq!(left.to_bits(), wanted.to_bits(), "step {number}, tensor {tensor}, {element}");
                }
            }
        }
    }
}

/// Rows that count their own steps are as tensors of their own, in the truth too, however late they begin.
fn rows_are_as_tensors(gpu: &Gpu) {
    let config = AnyRule::named("radam").unwrap();
    let mut run = start(gpu, &config, BINDABLE, &around(RowMasks::RowSteps, Wrappers::default()), |_| {});
    let wide = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let lens = lens(&run);
    let theta = parameters(1, &lens);
    let each: Vec<usize> =
        (0..lens.len()).map(|tensor| (lens[tensor] / rows(&run, tensor).max(1)).max(1)).collect();
    let all: Vec<(usize, usize)> =
        (0..lens.len()).flat_map(|tensor| (0..rows(&run, tensor)).map(move |row| (tensor, row))).collect();
    let tensors = all.iter().map(|(tensor, row)| {
        (TENSORS[*tensor].1, wide(&theta[*tensor][row * each[*tensor]..][..each[*tensor]]))
    });
    let mut reference = Reference::new(with_slower(&config), tensors).unwrap().with_own_steps();
    for number in 0..40 {
        let given = step(&mut run, number);
        let some = all.iter().map(|(tensor, row)| {
            acts(*tensor, *row, number).then(|| wide(&given[*tensor][row * each[*tensor]..][..each[*tensor]]))
        });
        reference.step_some(&some.collect::<Vec<_>>()).unwrap();
    }
    let got = run.read();
    for ((tensor, row), want) in all.iter().zip(reference.tensors()) {
        for (got, want) in got.theta[*tensor][row * each[*tensor]..].iter().zip(&want.theta) {
            assert!((f64::from(*got) - want).abs() < 1e-5, "got {got}, reference {want}");
        }
    }
}

/// Saved in the middle of rows at counts of their own.
#[cfg(not(target_arch = "wasm32"))]
fn resumes(gpu: &Gpu, kind: RowMasks) {
    let config = AnyRule::named("adamw").unwrap();
    let options = around(kind, clipped());
    let mut run = start(gpu, &config, BINDABLE, &options, |_| {});
    (0..7).for_each(|number| drop(step(&mut run, number)));
    let state = run.optimizer.read_checkpoint_blocking(&run.params).unwrap();
    let mut resumed = start(gpu, &config, BINDABLE, &options, |_| {});
    (0..3).for_each(|number| drop(step(&mut resumed, number)));
    resumed.params.load_params(&gpu.queue, &state).unwrap();
    resumed.optimizer.load_state(&state).unwrap();
    for run in [&mut run, &mut resumed] {
        (7..15).for_each(|number| drop(step(run, number)));
    }
    assert!(resumed.read().bits() == run.read().bits(), "the run went on with other bits");
    // A new run, or one that starts again.
    let mut new = start(gpu, &config, BINDABLE, &options, |_| {});
    run.optimizer.reset().unwrap();
    run.write_theta(&parameters(1, &lens(&run)));
    for run in [&mut run, &mut new] {
        (0..5).for_each(|number| drop(step(run, number)));
    }
    assert!(run.read().bits() == new.read().bits());
    let mut other = start(gpu, &config, BINDABLE, &around(RowMasks::TensorSteps, clipped()), |_| {});
    assert_eq!(other.optimizer.load_state(&state).is_err(), kind == RowMasks::RowSteps);
}

/// PyTorch's SparseAdam, recorded (`tests/rows/record.py`): an embedding of which each step looks at some rows.
fn sparse_adam(gpu: &Gpu) {
    let file = safetensors::SafeTensors::deserialize(include_bytes!("rows/sparse_adam.safetensors")).unwrap();
    let bytes = |name: &str| file.tensor(name).unwrap().data().to_vec();
    let floats = |name: &str| bytemuck::pod_collect_to_vec::<u8, f32>(&bytes(name));
    let [init, grad] = ["init", "grad"].map(floats);
    let wanted = bytemuck::pod_collect_to_vec::<u8, f64>(&bytes("param"));
    let (seen, len) = (bytes("seen"), init.len());
    let rows = seen.len() * len / grad.len();
    let mut builder = ParamSet::builder();
    let group = builder.group("all");
    let table = builder.tensor("table", [rows, len / rows], group);
    let params = builder.build(&gpu.device).unwrap();
    params.write_param(&gpu.queue, table, &init).unwrap();
    let adam = Adam { lr: 0.01, eps: 1e-30, ..Adam::default() };
    let options = around(RowMasks::TensorSteps, Wrappers::default());
    let mut optimizer = Optimizer::with_options(&gpu.device, &gpu.queue, &params, [adam], &options).unwrap();
    let (mut worst, mut moved) = (0.0f64, 0.0f64);
    for (step, g) in grad.chunks_exact(len).enumerate() {
        let words = mask(rows, |row| seen[step * rows + row] != 0);
        optimizer.write_row_mask(table, &words).unwrap();
        params.write_grad(&gpu.queue, table, g).unwrap();
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).unwrap();
        let download = params.download_param(&mut encoder, table).unwrap();
        gpu.submit(encoder);
        let got = resolve(gpu, vec![download]).remove(0);
        for (got, (want, init)) in got.iter().zip(wanted[step * len..].iter().zip(&init)) {
            worst = worst.max((f64::from(*got) - want).abs());
            moved = moved.max((want - f64::from(*init)).abs());
        }
    }
    println!("SparseAdam on {}: {:.1e} of the largest displacement", gpu.name, worst / moved);
    // Each step rounds a parameter of up to 4 once: 40 halves of its last bit, of a displacement of 0.2.
    assert!(moved > 0.1 && worst < 40.0 * 0.5 * 2f64.powi(-22), "{worst:e} of {moved:e}");
}

/// A mask that a copy brings, in the same encoder as the steps that follow it.
fn copied(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    let mut run = start(gpu, &config, TOGETHER, &around(RowMasks::RowSteps, Wrappers::default()), |_| {});
    let (before, tensor) = (run.read(), 3);
    let words = [vec![7], mask(rows(&run, tensor), |row| row == 5)].concat();
    let usage = BufferUsages::COPY_SRC;
    let contents = bytemuck::cast_slice(&words);
    let buffer = gpu.device.create_buffer_init(&BufferInitDescriptor { label: None, contents, usage });
    run.write_gradients(&gradients(2, 0, &lens(&run)));
    let mut encoder = gpu.encoder();
    let id = run.tensors[tensor];
    run.optimizer.copy_row_mask(&mut encoder, id, &BufferRange::new(&buffer, 4)).unwrap();
    run.optimizer.step(&mut encoder).unwrap();
    gpu.submit(encoder);
    let moved = |tensor: usize, after: &Words| -> Vec<usize> {
        let both = before.theta[tensor].iter().zip(&after.theta[tensor]).enumerate();
        both.filter(|(_, (before, after))| before != after).map(|(element, _)| element / 59).collect()
    };
    let after = run.read();
    assert!(moved(tensor, &after).iter().all(|row| *row == 5) && moved(tensor, &after).len() > 40);
    assert!(moved(5, &after).len() > 3000, "other tensors' masks stay");
}

fn refuses(gpu: &Gpu) {
    let config = AnyRule::named("adamw").unwrap();
    let mut without = start(gpu, &config, BINDABLE, &Options::default(), |_| {});
    let id = without.tensors[2];
    let missing = |error: Error| matches!(error, Error::WithoutOption { option: "row_masks", .. });
    assert!(missing(without.optimizer.row_mask(id).unwrap_err()));
    assert!(missing(without.optimizer.write_row_mask(id, &[1]).unwrap_err()));
    let mut run = start(gpu, &config, BINDABLE, &around(RowMasks::TensorSteps, Wrappers::default()), |_| {});
    let id = run.tensors[2];
    let buffer = |usage| {
        gpu.device.create_buffer_init(&BufferInitDescriptor { label: None, contents: &[255; 8], usage })
    };
    let mut encoder = gpu.encoder();
    for (error, text) in [
        (
            run.optimizer.write_row_mask(id, &[]).unwrap_err(),
            "tensor 'tensor 2' has 15 rows, so a mask of 1 words; 0 words",
        ),
        (run.optimizer.write_row_mask(id, &[1, 2]).unwrap_err(), "2 words"),
        (
            run.optimizer
                .copy_row_mask(&mut encoder, id, &BufferRange::new(&buffer(BufferUsages::STORAGE), 0))
                .unwrap_err(),
            "COPY_SRC",
        ),
        (
            run.optimizer
                .copy_row_mask(&mut encoder, id, &BufferRange::new(&buffer(BufferUsages::COPY_SRC), 8))
                .unwrap_err(),
            "byte 8 of a buffer of 8 bytes",
        ),
        (
            run.optimizer
                .copy_row_mask(&mut encoder, id, &BufferRange::new(&buffer(BufferUsages::COPY_SRC), 2))
                .unwrap_err(),
            "byte 2",
        ),
    ] {
        assert!(error.to_string().contains(text), "{error}");
    }
    let refused = |config: AnyRule, kind, wrappers| {
        let mut builder = ParamSet::builder();
        let group = builder.group("all");
        builder.tensor("w", [8, 8], group);
        let params = builder.build(&gpu.device).unwrap();
        let options = around(kind, wrappers);
        Optimizer::with_options(&gpu.device, &gpu.queue, &params, [config], &options).unwrap_err().to_string()
    };
    let plain = Wrappers::default();
    let slow = AnyRule::new(Adam { beta2: 0.99999, ..Adam::default() });
    for (config, kind, wrappers, text) in [
        (AnyRule::named("adafactor").unwrap(), RowMasks::TensorSteps, plain, "averages of rows"),
        (AnyRule::named("prodigy").unwrap(), RowMasks::TensorSteps, plain, "device scalars"),
        (AnyRule::named("schedule_free_adamw").unwrap(), RowMasks::RowSteps, plain, "converts"),
        (AnyRule::named("adopt").unwrap(), RowMasks::TensorSteps, plain, "first step"),
        (AnyRule::named("lamb").unwrap(), RowMasks::RowSteps, plain, "norms"),
        (AnyRule::named("adam").unwrap(), RowMasks::RowSteps, cautious(), "cautious"),
        (slow, RowMasks::RowSteps, plain, "after 65536 steps"),
    ] {
        let message = refused(config, kind, wrappers);
        assert!(message.contains(text), "{message}");
    }
}

/// Whether rows of a rule may rest.
fn can(config: &AnyRule, kind: RowMasks) -> bool {
    let (rule, spec) = (config.rule(), config.rule().spec());
    let shared = spec.is_factored() || spec.device_scalars().next().is_some() || spec.converts;
    let first = spec.fields.iter().any(|field| field.kind == FieldKind::First);
    // Numbers of these do not come to rest, with ADOPT those of its clipping; AdaShift has rings.
    let json = rule.to_json();
    let moves = json["lr_decay"].as_f64().is_some_and(|decay| decay > 0.0)
        || spec.name == "adopt" && json["clip"] == true;
    let shares = moves || ["adabound", "nosadam", "adashift"].contains(&spec.name);
    !shared
        && match kind {
            RowMasks::TensorSteps => !first,
            RowMasks::RowSteps => !(shares || rule.reduces() && spec.results().next().is_some()),
        }
}

pub fn main() {
    gpu_main("row_masks", |adapter| {
        let mut trials = vec![];
        let mut add =
            |name: String, test: Box<dyn FnOnce(&Gpu) + Send>| trials.push(trial(adapter, name, test));
        let (sparse, own) = (RowMasks::TensorSteps, RowMasks::RowSteps);
        for entry in REGISTRY.iter().filter(|entry| is_tried(entry.name)) {
            for (i, config) in (entry.variants)().into_iter().enumerate() {
                let [sparse, own] = [sparse, own].map(|kind| Case::new(kind, Wrappers::default()));
                let apart = Home::Own { gap: 3 };
                let [long, wide] = [Shape::Long, Shape::Wide(64)].map(Some);
                for (what, case) in [
                    ("the tensor's steps", sparse),
                    ("the tensor's steps, clipped", Case { home: apart, wrappers: clipped(), ..sparse }),
                    (
                        "the tensor's steps, cautious",
                        Case { home: Home::Arena(Packing::Tight), wrappers: cautious(), ..sparse },
                    ),
                    ("the tensor's steps, runs", Case { tensors: &LONG_ROWS, shape: long, ..sparse }),
                    ("the tensor's steps, wide", Case { shape: wide, wrappers: clipped(), ..sparse }),
                    ("own steps", own),
                    ("own steps, clipped", Case { home: apart, wrappers: clipped(), ..own }),
                    ("own steps, wide", Case { shape: wide, ..own }),
                ] {
                    if can(&config, case.kind) {
                        let config = config.clone();
                        let name = format!("{} variant {i}, {what}", entry.name);
                        add(name, Box::new(move |gpu| within_intervals(gpu, &config, case)));
                    }
                }
            }
        }
        add("wrong lines".into(), Box::new(finds_wrong_lines));
        add("gradients".into(), Box::new(zeroes_what_acts));
        add("rows as tensors".into(), Box::new(rows_are_as_tensors));
        #[cfg(not(target_arch = "wasm32"))]
        for kind in [own, sparse] {
            add(format!("resumes, {kind:?}"), Box::new(move |gpu| resumes(gpu, kind)));
        }
        add("SparseAdam".into(), Box::new(sparse_adam));
        add("a copied mask".into(), Box::new(copied));
        add("what cannot be".into(), Box::new(refuses));
        trials
    });
}
