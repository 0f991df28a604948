//! Claim: what moves rows writes every word that it should and no other, wherever tensors lie; and a wrong line in its texts is
//! noticed. The moves are made here as another executor would make them, and held against rows moved on the host.

mod common;

use common::run::read_words;
use common::{Gpu, gpu_main, trial};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wgpu_optim::program::{Clock, Declared, Limits, Options, Packing, Place, Program, Slice, Tensors};
use wgpu_optim::rules::Adam;
use wgpu_optim::state::{Bound, Change, FRESH, GATHER_ENTRY_POINT, Gather, List, Moves, NONE, Side, Taken};
use wgpu_optim::wgpu::{self, BufferUsages};

/// What nobody writes.
const GUARD: u32 = 0x7fc0_beef;
/// Names, rows before, elements of a row: less than a vec4, one, some, and rows that end anywhere.
const TENSORS: [(&str, usize, &[usize]); 4] =
    [("points", 173, &[59]), ("pairs", 300, &[2]), ("ones", 500, &[]), ("cubes", 90, &[3, 32])];

/// Where the tensors lie, and what kind of device it is.
#[derive(Debug, Clone, Copy)]
enum Case {
    /// In arenas, for a CPU.
    OnCpu,
    /// In arenas, for a GPU.
    OnGpu,
    /// In the host's buffers, beside every vec4.
    Apart,
}

const CASES: [Case; 3] = [Case::OnCpu, Case::OnGpu, Case::Apart];

/// Old rows for new ones: pruned, cloned, reordered, from nowhere, with slots as at the start.
fn lists() -> Vec<Vec<u32>> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut list = |rows: usize| {
        let one = |_| match random.random_range(0..10) {
            0 => NONE,
            1 => random.random_range(0..rows as u32) + FRESH,
            _ => random.random_range(0..rows as u32),
        };
        (0..rows / 2 + 3).map(one).collect()
    };
    TENSORS.iter().map(|(_, rows, _)| list(*rows)).collect()
}

struct Set {
    tensors: Tensors,
    program: Program,
}

impl Set {
    fn new(rows: &[usize], case: Case, tile: u32, limits: &Limits) -> Self {
        let mut at = 4;
        let declared: Vec<Declared> = TENSORS
            .iter()
            .zip(rows)
            .map(|((name, _, row), rows)| {
                let shape: Vec<usize> = [&[*rows], *row].concat();
                let place = |buffer| Place { buffer, offset: at };
                let own = matches!(case, Case::Apart).then(|| (place(0), place(1)));
                at += 4 * shape.iter().product::<usize>() as u64 + 20;
                Declared { name: (*name).into(), shape, group: 0, own }
            })
            .collect();
        let own = if matches!(case, Case::Apart) { vec![at; 2] } else { vec![] };
        let tensors = Tensors::lay_out(&["all"], &declared, &own, Packing::Tight, limits).unwrap();
        let mut options = Options::default();
        (options.tile, options.wrappers.ema) = (Some(tile), Some(0.9));
        let program = Program::new(&tensors, &[Adam::adamw()], &options, limits).unwrap();
        Self { tensors, program }
    }

    fn side(&self) -> Side<'_> {
        Side { program: &self.program, tensors: &self.tensors }
    }

    /// For each word of parameters, of gradients and of each slot of a tensor its buffer and its place there.
    fn streams(&self, index: usize) -> Vec<Vec<(usize, usize)>> {
        let tensor = &self.tensors.tensors()[index];
        let (param, grad) = self.tensors.places(tensor);
        let whole = |place: Place| {
            let (buffer, offset) = (place.buffer as u32, place.offset);
            vec![Slice { buffer, offset, size: tensor.len as u64 * 4 }]
        };
        let slots = self.program.slot_names().map(|name| self.program.slot(index, name).unwrap());
        let slices = [whole(param), whole(grad)].into_iter().chain(slots);
        slices.map(|slices| slices.iter().flat_map(words_of).collect()).collect()
    }
}

fn words_of(slice: &Slice) -> impl Iterator<Item = (usize, usize)> {
    let (buffer, first) = (slice.buffer as usize, slice.offset as usize / 4);
    (first..first + slice.size as usize / 4).map(move |word| (buffer, word))
}

/// One move: what it says, what was there, and what is to be there.
struct Moved {
    moves: Moves,
    old: Vec<Vec<u32>>,
    new: Vec<Vec<u32>>,
    expected: Vec<Vec<u32>>,
}

fn prepare(gpu: &Gpu, case: Case) -> Moved {
    let limits = Limits { software: matches!(case, Case::OnCpu), ..Limits::of(&gpu.device) };
    let lists = lists();
    let before: Vec<usize> = TENSORS.iter().map(|(_, rows, _)| *rows).collect();
    let after: Vec<usize> = lists.iter().map(Vec::len).collect();
    let (old, new) = (Set::new(&before, case, 256, &limits), Set::new(&after, case, 1024, &limits));
    let changes: Vec<Change> = TENSORS
        .iter()
        .zip(&lists)
        .map(|((name, ..), list)| Change {
            tensor: (*name).into(),
            from: Some(Taken { tensor: (*name).into(), rows: List::Rows(list.clone()) }),
        })
        .collect();
    let clock = |set: &Set| {
        let wrappers = wgpu_optim::Wrappers { ema: Some(0.9), ..Default::default() };
        Clock::new(&set.program, [Adam::adamw()], wrappers).unwrap()
    };
    let (mut moves, _) =
        Moves::between((old.side(), &clock(&old)), (new.side(), &clock(&new)), &changes, &limits).unwrap();

    // As a device may write it: no such row is there, and its first element would be number 8 of `points`, modulo 2^32.
    moves.lists.iter_mut().filter(|row| **row == NONE).for_each(|row| *row = 72_796_056);

    let mut random = ChaCha8Rng::seed_from_u64(3);
    let words = |set: &Set, word: &mut dyn FnMut() -> u32| -> Vec<Vec<u32>> {
        let sizes = set.program.buffers.iter().map(|buffer| buffer.size as usize / 4);
        sizes.map(|size| (0..size).map(|_| word()).collect()).collect()
    };
    let old_words = words(&old, &mut || random.random());
    let new_words = words(&new, &mut || GUARD);
    let mut expected = new_words.clone();
    for (from, to) in &moves.copies {
        for ((a, i), (b, k)) in words_of(from).zip(words_of(to)) {
            expected[b][k] = old_words[a][i];
        }
    }
    for (index, list) in lists.iter().enumerate() {
        let width: usize = TENSORS[index].2.iter().product();
        let streams = old.streams(index).into_iter().zip(new.streams(index));
        for (stream, (from, to)) in streams.enumerate() {
            for (row, named) in list.iter().enumerate() {
                if *named == NONE || stream >= 2 && *named >= FRESH {
                    continue;
                }
                for column in 0..width {
                    let (a, i) = from[(named & !FRESH) as usize * width + column];
                    let (b, k) = to[row * width + column];
                    expected[b][k] = old_words[a][i];
                }
            }
        }
    }
    let (a, i) = words_of(&old.program.windows[0].counts).next().unwrap();
    for (b, k) in new.program.windows.iter().flat_map(|window| words_of(&window.counts)) {
        expected[b][k] = old_words[a][i];
    }
    Moved { moves, old: old_words, new: new_words, expected }
}

/// Whether the new buffers are what they should be, with the texts as `alter` makes them.
fn is_right(gpu: &Gpu, case: &Moved, alter: impl Fn(&str) -> String) -> bool {
    let buffer = |words: &[u32]| {
        let made = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (words.len() as u64 * 4).max(16),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        gpu.queue.write_buffer(&made, 0, bytemuck::cast_slice(words));
        made
    };
    let (old, new): (Vec<_>, Vec<_>) = (
        case.old.iter().map(|words| buffer(words)).collect(),
        case.new.iter().map(|words| buffer(words)).collect(),
    );
    let lists = buffer(&case.moves.lists);
    let mut encoder = gpu.encoder();
    for (from, to) in &case.moves.copies {
        let (source, target) = (&old[from.buffer as usize], &new[to.buffer as usize]);
        encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.size);
    }
    for gather in &case.moves.passes {
        dispatch(
            gpu,
            &mut encoder,
            gather,
            &alter(gather.wgsl),
            [&lists, &old[gather.from.buffer as usize], &new[gather.to.buffer as usize]],
            &buffer,
        );
    }
    gpu.submit(encoder);
    new.iter()
        .zip(&case.expected)
        .all(|(buffer, expected)| read_words(gpu, buffer)[..expected.len()] == expected[..])
}

fn dispatch(
    gpu: &Gpu,
    encoder: &mut wgpu::CommandEncoder,
    gather: &Gather,
    wgsl: &str,
    [lists, old, new]: [&wgpu::Buffer; 3],
    buffer: &dyn Fn(&[u32]) -> wgpu::Buffer,
) {
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some(GATHER_ENTRY_POINT),
        compilation_options: Default::default(),
        cache: None,
    });
    let chunks = buffer(gather.chunks.as_flattened());
    let Bound::Lists(at, bytes) = gather.list else { panic!("all lists are the host's") };
    let bound = [
        (&chunks, 0, chunks.size()),
        (lists, at, bytes),
        (old, gather.from.offset, gather.from.size),
        (new, gather.to.offset, gather.to.size),
    ];
    let entries = (0..).zip(bound).map(|(binding, (buffer, offset, size))| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    });
    let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries.collect::<Vec<_>>(),
    });
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(gather.workgroups[0], gather.workgroups[1], 1);
}

/// Wrong lines, each of which some of the texts have.
const MUTANTS: &[(&str, &str)] = &[
    ("let index = id.y * grid.x + id.x;", "let index = id.x / 2u;"),
    ("let kept = named & ~FRESH;", "let kept = named;"),
    ("kept >= chunk.rows || ", ""),
    ("(chunk.width >= OF_SLOT && named >= FRESH)", "named >= FRESH"),
    ("(chunk.width >= OF_SLOT && named >= FRESH)", "false"),
    ("- chunk.old_first", "+ chunk.old_first + 1u"),
    ("new_words[chunk.to + i] = old_words[chunk.start + at];", "new_words[chunk.to + i] = old_words[at];"),
    ("let down = SIDE / width;", "let down = 0u;"),
    ("let right = SIDE % width;", "let right = 0u;"),
    ("let length = (chunk.count + LANES / SIDE - 1u)", "let length = (chunk.count - 1u)"),
    ("min((lane / SIDE + 1u) * length, chunk.count)", "(lane / SIDE + 1u) * length - 1u"),
    ("var i = lane / SIDE * length + lane % SIDE;", "var i = lane / SIDE * length + lane;"),
    ("i += SIDE", "i += 1u"),
    ("if (known != row) {", "if (known == row) {"),
    ("let down = 4u * LANES / width;", "let down = 0u;"),
    ("let right = 4u * LANES % width;", "let right = 4u;"),
    ("column -= width;", "column -= width - 1u;"),
    ("row += 1u;", ""),
    ("i += LANES", "i += 1u"),
    ("column + 4u <= width && ", ""),
    ("let at = taken_from(chunk, row) + column;", "let at = taken_from(chunk, row);"),
    ("old_words[(word + 3u) / 4u]", "old_words[word / 4u]"),
    ("four_from(chunk.start + at)", "four_from(at)"),
    ("let odd = select(low, vec4<u32>(low.yzw, high.x), (by & 1u) != 0u);", "let odd = low;"),
    ("let next = select(high.xy, high.yz, (by & 1u) != 0u);", "let next = high.xy;"),
    ("return select(odd, vec4<u32>(odd.zw, next), (by & 2u) != 0u);", "return odd;"),
    ("if (column == width && k + 1u < live) {", "if (column > width) {"),
    ("            begins = taken_from(chunk, row);\n        }\n    }", "        }\n    }"),
];

fn main() {
    gpu_main("moved_rows", |adapter| {
        let mut trials = vec![];
        for case in CASES {
            let title = format!("every word is where it should be, {case:?}");
            trials.push(trial(adapter, title, move |gpu| {
                assert!(is_right(gpu, &prepare(gpu, case), str::to_string));
            }));
        }
        for (find, replace) in MUTANTS {
            trials.push(trial(adapter, format!("{find} -> {replace}"), move |gpu| {
                let cases = CASES.map(|case| prepare(gpu, case));
                let has = |case: &&Moved| case.moves.passes.iter().any(|pass| pass.wgsl.contains(find));
                assert!(cases.iter().filter(has).count() > 0, "no text has it");
                let noticed = |case: &Moved| !is_right(gpu, case, |wgsl| wgsl.replace(find, replace));
                assert!(cases.iter().filter(has).any(noticed), "not noticed");
            }));
        }
        trials
    });
}
