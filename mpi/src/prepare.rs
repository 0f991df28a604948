//! What every rank works out and makes before the first step: the deal, the share, what has to be the same everywhere.

use crate::agree::Lines;
use crate::deal::{Piece, Whole, deal};
use crate::error::Error;
use crate::optimizer::Sharding;
use crate::talk::Talk;
use wgpu_optim::program::{Declared, Limits, Options, Packing, Program, Shape, Tensors};
use wgpu_optim::rule::Config;
use wgpu_optim::{BufferRange, GroupId, Optimizer, ParamSet, TensorId};

/// What is worked out before anything is made on the device.
pub struct Prepared {
    pub options: Options,
    pub model: Vec<Whole>,
    pub pieces: Vec<Piece>,
    /// All pieces, as one device would have them.
    pub whole: Tensors,
}

impl Prepared {
    pub fn new<C: Config>(
        talk: &Talk,
        params: &ParamSet,
        groups: &[C],
        options: &Options,
        sharding: &Sharding,
        limits: &Limits,
    ) -> Result<Self, Error> {
        // Tiles are as long on all ranks, whatever their devices are.
        let kind = match Shape::for_device(limits) {
            Shape::Long => 0,
            Shape::Wide(width) => width,
        };
        let kinds = talk.texts(&kind.to_string(), "the shape of workgroups")?;
        let shape = match kinds[0].parse() {
            Ok(0) | Err(_) => Shape::Long,
            Ok(width) => Shape::Wide(width),
        };
        for (option, given) in [("own_steps", options.own_steps), ("row_masks", options.row_masks.is_some())]
        {
            if given {
                let why = "tensors and rows rest on one device only";
                return Err(Error::Unsupported { option, why });
            }
        }
        let mut options = options.clone();
        options.shape.get_or_insert(shape);
        let model: Vec<Whole> = params
            .tensors()
            .iter()
            .map(|tensor| Whole { name: tensor.name.clone(), shape: tensor.shape.clone() })
            .collect();
        let cut = sharding.cut && Program::is_element_wise(groups, &options, limits)?;
        let pieces = deal(&model, talk.ranks(), cut);
        let declared = |piece: &Piece| Declared {
            name: piece.name(&model),
            shape: piece.shape(&model),
            group: params.tensors()[piece.tensor].group,
            own: None,
        };
        let declared: Vec<Declared> = pieces.iter().map(declared).collect();
        let whole = Tensors::lay_out(params.groups(), &declared, &[], Packing::default(), limits)?;
        Ok(Self { options, model, pieces, whole })
    }
}

/// What is made on a rank's device.
pub struct Built<C> {
    pub places: Vec<[BufferRange; 2]>,
    pub share: ParamSet,
    pub groups: Vec<GroupId>,
    pub optimizer: Optimizer<C>,
}

impl<C: Config> Built<C> {
    pub fn new(
        rank: usize,
        (device, queue): (&wgpu::Device, &wgpu::Queue),
        params: &ParamSet,
        groups: Vec<C>,
        Prepared { options, model, pieces, whole }: &Prepared,
    ) -> Result<Self, Error> {
        let places = places(params, model, pieces)?;
        let mut builder = ParamSet::builder();
        let ids: Vec<GroupId> = params.groups().iter().map(|label| builder.group(label.clone())).collect();
        for (piece, [param, grad]) in pieces.iter().zip(&places).filter(|(piece, _)| piece.owner == rank) {
            let group = ids[params.tensors()[piece.tensor].group];
            builder.external(piece.name(model), piece.shape(model), group, param.clone(), grad.clone());
        }
        let share = builder.build(device)?;
        let program = Program::part(share.layout(), whole, &groups, options, &Limits::of(device))?;
        let optimizer = Optimizer::of_program(device, queue, &share, program, groups, options.wrappers)?;
        Ok(Self { places, share, groups: ids, optimizer })
    }
}

/// What has to be the same on all ranks, line by line.
pub fn lines<C: Config>(params: &ParamSet, groups: &[C], options: &Options, sharding: &Sharding) -> Lines {
    let mut lines: Lines = vec![("library version".into(), env!("CARGO_PKG_VERSION").into())];
    for tensor in params.tensors() {
        let value = format!("shape {:?} in group {}", tensor.shape, tensor.group);
        lines.push((format!("tensor '{}'", tensor.name), value));
    }
    for (label, group) in params.groups().iter().zip(groups) {
        let rule = group.rule();
        lines.push((format!("rule of group '{label}'"), rule.spec().name.into()));
        lines.push((format!("options of group '{label}'"), rule.to_json().to_string()));
    }
    let text = serde_json::to_string(options).unwrap_or_default();
    lines.push(("options around the rule".into(), text));
    let Sharding { reduction, cut, bucket, timeout: _ } = sharding;
    lines.push(("sharding".into(), format!("{reduction:?}, cut {cut}, buckets of {bucket}")));
    let limits = Limits::default();
    // What every rank would do alone, on the same device.
    let program = Program::new(params.layout(), groups, options, &limits);
    let hash = program.map_or_else(|error| error.to_string(), |program| format!("{:016x}", program.hash()));
    lines.push(("program of the whole model".into(), hash));
    lines
}

/// Where the pieces of a model's tensors are: parameters and gradients.
fn places(params: &ParamSet, model: &[Whole], pieces: &[Piece]) -> Result<Vec<[BufferRange; 2]>, Error> {
    let place = |piece: &Piece| {
        let name = &model[piece.tensor].name;
        let unknown =
            || wgpu_optim::Error::UnknownHandle { what: "tensor", index: piece.tensor, count: model.len() };
        let id: TensorId = params.find(name).ok_or_else(unknown)?;
        let of = |slice: wgpu::BufferSlice<'_>, role: &'static str| {
            use wgpu::BufferUsages as Usage;
            if !slice.buffer().usage().contains(Usage::COPY_SRC | Usage::COPY_DST) {
                return Err(Error::Buffer { tensor: name.clone(), role });
            }
            Ok(BufferRange::new(slice.buffer(), slice.offset() + 4 * piece.first as u64))
        };
        Ok([of(params.param(id)?, "parameter")?, of(params.grad(id)?, "gradient")?])
    };
    pieces.iter().map(place).collect()
}
