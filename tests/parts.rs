//! Claim: a model whose tensors are updated in parts, each by an optimizer of its own, takes the steps of one optimizer with all
//! of them, bit for bit: for every rule, with what stands around it, when steps are skipped, and however tensors are dealt. What
//! cannot be a part is refused.

mod common;

use common::run::{gradients, parameters};
use common::{Gpu, gpu_main, trial};
use std::collections::BTreeMap;
use wgpu_optim::program::{Limits, Part, Program, Tensors};
use wgpu_optim::rules::{self, REGISTRY};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{
    AnyRule, Error, LossScale, NonFinite, Optimizer, Options, ParamSet, PreparedPart, Wrappers,
};

/// Names, shapes and groups. Large ones take more tiles than one invocation adds up.
const MODEL: [(&str, &[usize], usize); 7] = [
    ("embedding", &[301, 67], 0),
    ("first.weight", &[64, 48], 0),
    ("first.bias", &[64], 1),
    ("empty", &[0], 1),
    ("second.weight", &[5, 9, 3, 3], 0),
    ("scale", &[], 1),
    ("last", &[12_345], 0),
];

/// To which part each tensor goes.
const DEALS: [[usize; 7]; 3] = [[0; 7], [0, 1, 0, 1, 1, 0, 1], [2, 0, 1, 2, 2, 0, 0]];

struct Run {
    params: ParamSet,
    optimizer: Optimizer<AnyRule>,
    /// Its tensors, by their place in the model.
    own: Vec<usize>,
}

fn set_of(gpu: &Gpu, own: &[usize]) -> ParamSet {
    let mut builder = ParamSet::builder();
    let groups = [builder.group("weights"), builder.group("biases")];
    for index in own {
        let (name, shape, group) = MODEL[*index];
        builder.tensor(name, shape, groups[group]);
    }
    builder.build(&gpu.device).unwrap()
}

fn groups_of(config: &AnyRule) -> [AnyRule; 2] {
    let mut other = config.clone();
    let _ = other.set("weight_decay", 0.01);
    [config.clone(), other]
}

impl Run {
    fn of_all(gpu: &Gpu, config: &AnyRule, options: &Options) -> Self {
        let own: Vec<usize> = (0..MODEL.len()).collect();
        let params = set_of(gpu, &own);
        let groups = groups_of(config);
        let optimizer = Optimizer::with_options(&gpu.device, &gpu.queue, &params, groups, options).unwrap();
        Self { params, optimizer, own }
    }

    fn of_part(gpu: &Gpu, config: &AnyRule, options: &Options, whole: &Tensors, own: Vec<usize>) -> Self {
        let params = set_of(gpu, &own);
        let groups = groups_of(config);
        let limits = Limits::of(&gpu.device);
        let program = Program::part(params.layout(), whole, &groups, options, &limits).unwrap();
        let wrappers = options.wrappers;
        let optimizer =
            Optimizer::of_program(&gpu.device, &gpu.queue, &params, program, groups, wrappers).unwrap();
        Self { params, optimizer, own }
    }

    fn write(&self, gpu: &Gpu, theta: Option<&[Vec<f32>]>, gradients: &[Vec<f32>]) {
        for index in &self.own {
            let id = self.params.find(MODEL[*index].0).unwrap();
            if let Some(theta) = theta {
                self.params.write_param(&gpu.queue, id, &theta[*index]).unwrap();
            }
            self.params.write_grad(&gpu.queue, id, &gradients[*index]).unwrap();
        }
    }

    /// Words of tensors, and those that belong to none, but for counts and rows, whose places depend on windows.
    fn words(&self, gpu: &Gpu) -> BTreeMap<String, Vec<u32>> {
        let mut encoder = gpu.encoder();
        let download = self.optimizer.download_checkpoint(&mut encoder, &self.params).unwrap();
        gpu.submit(encoder);
        let poll = async { gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap() };
        let (state, _) = pollster::block_on(futures::future::join(download.read(), poll));
        let state = state.unwrap();
        let kept = state.words().filter(|(name, _)| !name.starts_with("steps/") && *name != "rows");
        kept.map(|(name, words)| (name.into(), words.to_vec())).collect()
    }
}

/// A step of all parts; `broken` leaves out what the last part sends.
fn step(gpu: &Gpu, parts: &mut [Run], broken: bool) {
    let infos: Vec<Part> = parts.iter().map(|run| run.optimizer.program().part.clone().unwrap()).collect();
    let mut encoder = gpu.encoder();
    let mut steps: Vec<PreparedPart<'_>> =
        parts.iter_mut().map(|run| run.optimizer.prepare_part(&mut encoder).unwrap()).collect();
    gpu.submit(encoder);
    let stages = steps.iter().map(PreparedPart::stages).max().unwrap();
    for stage in 0..stages {
        let mut encoder = gpu.encoder();
        for step in &steps {
            step.encode(stage, &mut encoder.begin_compute_pass(&Default::default()));
        }
        // Each tile's terms by the name of its tensor, in the order of the whole model.
        let senders = if broken { steps.len() - 1 } else { steps.len() };
        for to in &steps {
            let Some((_, all)) = to.exchange(stage) else { continue };
            let mut at = all.offset();
            let tiles: u64 = infos[0].tiles.iter().map(|(_, tiles)| u64::from(*tiles)).sum();
            let bytes = all.size() / tiles;
            for (name, tiles) in &infos[0].tiles {
                let size = u64::from(*tiles) * bytes;
                for (from, info) in steps[..senders].iter().zip(&infos) {
                    let Some(place) = info.own.iter().position(|own| own == name) else { continue };
                    let before: u64 = info.own[..place]
                        .iter()
                        .map(|own| u64::from(info.tiles.iter().find(|(name, _)| name == own).unwrap().1))
                        .sum();
                    let (own, _) = from.exchange(stage).unwrap();
                    let from_byte = own.offset() + before * bytes;
                    // Copies within a buffer go through another.
                    let between = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                        label: None,
                        size,
                        usage: BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                        mapped_at_creation: false,
                    });
                    encoder.copy_buffer_to_buffer(own.buffer(), from_byte, &between, 0, size);
                    encoder.copy_buffer_to_buffer(&between, 0, all.buffer(), at, size);
                }
                at += size;
            }
        }
        gpu.submit(encoder);
    }
    steps.clear();
}

/// Sets of wrappers with everything that is over all tensors, and without.
fn around() -> [Wrappers; 3] {
    [
        Wrappers::default(),
        Wrappers { max_grad_norm: Some(0.5), ..Wrappers::default() },
        Wrappers {
            max_grad_norm: Some(2.0),
            non_finite: NonFinite::Skip,
            loss_scale: Some(LossScale { initial: 8.0, interval: 2, ..LossScale::default() }),
            grad_accumulation_steps: Some(2),
            cautious: true,
            ..Wrappers::default()
        },
    ]
}

/// Steps of the whole and of the parts, with one overflow where that is skipped; the words that differ in the end.
fn differences(
    gpu: &Gpu,
    config: &AnyRule,
    options: &Options,
    deal: &[usize; 7],
    broken: bool,
) -> Vec<String> {
    let lens: Vec<usize> = MODEL.iter().map(|(_, shape, _)| shape.iter().product()).collect();
    let mut whole = Run::of_all(gpu, config, options);
    let count = deal.iter().max().unwrap() + 1;
    let dealt = |part: usize| (0..MODEL.len()).filter(|index| deal[*index] == part).collect::<Vec<_>>();
    let layout = whole.params.layout().clone();
    let mut parts: Vec<Run> =
        (0..count).map(|part| Run::of_part(gpu, config, options, &layout, dealt(part))).collect();
    let theta = parameters(3, &lens);
    for number in 0..6 {
        let mut gradients = gradients(4, number, &lens);
        if number == 3 && options.wrappers.non_finite == NonFinite::Skip {
            gradients[2][5] = f32::INFINITY;
        }
        let first = (number == 0).then_some(&theta[..]);
        for run in parts.iter().chain([&whole]) {
            run.write(gpu, first, &gradients);
        }
        let mut encoder = gpu.encoder();
        whole.optimizer.step(&mut encoder).unwrap();
        gpu.submit(encoder);
        step(gpu, &mut parts, broken);
    }
    let wanted = whole.words(gpu);
    let mut different = vec![];
    let mut seen = 0;
    for part in &parts {
        for (name, words) in part.words(gpu) {
            seen += usize::from(name.contains('/'));
            if wanted.get(&name) != Some(&words) {
                different.push(name);
            }
        }
    }
    assert_eq!(seen, wanted.keys().filter(|name| name.contains('/')).count(), "{:?}", wanted.keys());
    different
}

fn main() {
    gpu_main("parts", |adapter| {
        let mut trials = vec![];
        for entry in REGISTRY {
            let test = move |gpu: &Gpu| {
                let [plain, clipped, everything] = around();
                let cases = [(plain, 2), (clipped, 0), (clipped, 1), (everything, 2)];
                for (wrappers, deal) in cases {
                    let mut options = Options::default();
                    options.wrappers = wrappers;
                    let config = (entry.variants)().remove(0);
                    let different = differences(gpu, &config, &options, &DEALS[deal], false);
                    assert!(different.is_empty(), "{:?}, {wrappers:?}: {different:?}", DEALS[deal]);
                }
            };
            trials.push(trial(adapter, format!("{} in parts", entry.name), test));
        }
        trials.push(trial(adapter, "terms that do not come are noticed", terms_count));
        trials.push(trial(adapter, "what cannot be a part is refused", refused));
        trials
    });
}

fn terms_count(gpu: &Gpu) {
    let mut options = Options::default();
    options.wrappers.max_grad_norm = Some(0.5);
    let config = AnyRule::new(rules::Adam::adamw());
    assert!(!differences(gpu, &config, &options, &DEALS[1], true).is_empty());
}

fn refused(gpu: &Gpu) {
    let whole = set_of(gpu, &[0, 1, 2]);
    let other = set_of(gpu, &[0, 6]);
    let config = AnyRule::new(rules::GClip::default());
    let groups = groups_of(&config);
    let (options, limits) = (Options::default(), Limits::of(&gpu.device));
    let said = Program::part(other.layout(), whole.layout(), &groups, &options, &limits).unwrap_err();
    assert_eq!(said.to_string(), "the program is refused: tensor 'last' is not in the whole model");

    // One step for all stages would add up what has not come.
    let part = set_of(gpu, &[0, 1]);
    let program = Program::part(part.layout(), whole.layout(), &groups, &options, &limits).unwrap();
    let read: Program = serde_json::from_str(&serde_json::to_string(&program).unwrap()).unwrap();
    assert_eq!(read, program);
    let mut optimizer =
        Optimizer::of_program(&gpu.device, &gpu.queue, &part, program, groups.clone(), options.wrappers)
            .unwrap();
    let mut encoder = gpu.encoder();
    let said = optimizer.step(&mut encoder).unwrap_err();
    assert!(matches!(&said, Error::Program { reason } if reason.contains("prepare_part")), "{said}");

    // Which rules' tensors may be cut into rows.
    let cuts = |config: &AnyRule, options: &Options| {
        Program::is_element_wise(&groups_of(config), options, &limits).unwrap()
    };
    let of = |name: &str| AnyRule::named(name).unwrap();
    for (name, wanted) in
        [("adam", true), ("gclip", true), ("lamb", false), ("adafactor", false), ("lars", false)]
    {
        assert_eq!(cuts(&of(name), &options), wanted, "{name}");
    }
    let mut cautious = Options::default();
    cautious.wrappers.cautious = true;
    assert!(!cuts(&of("adam"), &cautious));
}
