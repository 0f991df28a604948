//! Parameter sets: named tensors in groups, in the library's arenas or in the caller's own buffers.

use crate::error::Error;
use crate::plan::{Block, ELEMENT, Span};
use crate::readback::{Download, copy_out};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use wgpu::{BufferUsages, CommandEncoder};

/// Handle of a tensor of one [`ParamSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId {
    pub(crate) set: u64,
    pub(crate) index: usize,
}

/// Handle of a parameter group of one [`ParamSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId {
    pub(crate) set: u64,
    pub(crate) index: usize,
}

impl TensorId {
    /// Position in the order of declaration.
    pub fn index(self) -> usize {
        self.index
    }
}

impl GroupId {
    /// Position in the order of declaration.
    pub fn index(self) -> usize {
        self.index
    }
}

/// A range in a buffer of the caller's: from `offset` bytes on, as long as the tensor is.
#[derive(Debug, Clone)]
pub struct BufferRange {
    /// The buffer; cloning a `wgpu::Buffer` copies a handle.
    pub buffer: wgpu::Buffer,
    /// First byte, a multiple of 4 (of 16 for the faster vec4 access).
    pub offset: u64,
}

impl BufferRange {
    /// `buffer` from byte `offset` on.
    pub fn new(buffer: &wgpu::Buffer, offset: u64) -> Self {
        Self { buffer: buffer.clone(), offset }
    }
}

/// How tensors lie in the arenas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Each tensor starts where the device lets a storage binding start (256 bytes by default), so
    /// that [`ParamSet::param`] and [`ParamSet::grad`] can be bound as they are.
    #[default]
    Bindable,
    /// Each tensor starts at a multiple of 16 bytes: for thousands of tiny tensors that kernels reach
    /// by an index into the arena.
    Tight,
}

/// A tensor's description.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its name, unique in the set.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its parameter group.
    pub group: GroupId,
    /// Its number of elements; 0 is allowed and means no work.
    pub len: usize,
    /// Index of the buffer pair.
    block: usize,
    /// First element in the pair's parameter buffer.
    param: u64,
    /// First element in the pair's gradient buffer.
    grad: u64,
}

/// A pair of buffers that hold parameters and their gradients.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub param: wgpu::Buffer,
    pub grad: wgpu::Buffer,
    pub block: Block,
}

/// What the next builder's handles are known by.
static NEXT_SET: AtomicU64 = AtomicU64::new(0);

/// Declares groups and tensors; [`build`](ParamSetBuilder::build) checks all of it.
#[derive(Debug)]
pub struct ParamSetBuilder {
    set: u64,
    label: Option<String>,
    packing: Packing,
    groups: Vec<String>,
    tensors: Vec<Declared>,
}

#[derive(Debug)]
struct Declared {
    name: String,
    shape: Vec<usize>,
    group: GroupId,
    /// Parameters and gradients, for the caller's own buffers.
    own: Option<(BufferRange, BufferRange)>,
}

impl Default for ParamSetBuilder {
    fn default() -> Self {
        Self {
            set: NEXT_SET.fetch_add(1, Ordering::Relaxed),
            label: None,
            packing: Packing::default(),
            groups: vec![],
            tensors: vec![],
        }
    }
}

impl ParamSetBuilder {
    /// A label for the arenas, seen in captures. Default `"wgpu-optim"`.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// How tensors lie in the arenas.
    pub fn packing(&mut self, packing: Packing) -> &mut Self {
        self.packing = packing;
        self
    }

    /// Declares a parameter group: tensors that share one configuration. The label is for messages.
    pub fn group(&mut self, label: impl Into<String>) -> GroupId {
        self.groups.push(label.into());
        GroupId { set: self.set, index: self.groups.len() - 1 }
    }

    /// Declares a tensor in the library's arenas: f32, `shape` in elements, `[]` for a scalar.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        shape: impl AsRef<[usize]>,
        group: GroupId,
    ) -> TensorId {
        self.declare(name.into(), shape.as_ref(), group, None)
    }

    /// Declares a tensor in the caller's own buffers. Both need `STORAGE`, offsets are multiples of
    /// 4 bytes, and the two buffers differ. Each distinct pair of buffers costs one dispatch a step.
    /// Reading back needs `COPY_SRC`, [`ParamSet::write_param`] `COPY_DST`.
    pub fn external(
        &mut self,
        name: impl Into<String>,
        shape: impl AsRef<[usize]>,
        group: GroupId,
        param: BufferRange,
        grad: BufferRange,
    ) -> TensorId {
        self.declare(name.into(), shape.as_ref(), group, Some((param, grad)))
    }

    fn declare(
        &mut self,
        name: String,
        shape: &[usize],
        group: GroupId,
        own: Option<(BufferRange, BufferRange)>,
    ) -> TensorId {
        self.tensors.push(Declared { name, shape: shape.to_vec(), group, own });
        TensorId { set: self.set, index: self.tensors.len() - 1 }
    }

    /// Lays out the tensors and makes the arenas, parameters and gradients zero.
    ///
    /// # Errors
    /// [`Error::DuplicateTensor`], [`Error::UnknownHandle`], [`Error::Shape`], [`Error::Buffer`] for a
    /// caller's buffer that is too small, misaligned or lacks a usage, [`Error::Overlap`],
    /// [`Error::Limit`] for a tensor larger than a buffer may be, [`Error::OutOfMemory`]. wgpu does not say which device a
    /// buffer belongs to: one of another device is refused by wgpu's own validation, when an optimizer binds it.
    pub fn build(&self, device: &wgpu::Device) -> Result<ParamSet, Error> {
        let limits = device.limits();
        let label = self.label.as_deref().unwrap_or("wgpu-optim");
        let align = match self.packing {
            Packing::Bindable => u64::from(limits.min_storage_buffer_offset_alignment).max(16) / ELEMENT,
            Packing::Tight => 4,
        };
        let mut names = HashMap::with_capacity(self.tensors.len());
        let mut tensors = Vec::with_capacity(self.tensors.len());
        let mut arenas: Vec<u64> = vec![];
        let mut pairs: Vec<Pair> = vec![];
        #[allow(clippy::mutable_key_type)] // buffers are ordered by identity
        let mut pair_index = BTreeMap::new();

        for (index, declared) in self.tensors.iter().enumerate() {
            let name = &declared.name;
            if names.insert(name.as_str(), index).is_some() {
                return Err(Error::DuplicateTensor { name: name.clone() });
            }
            if declared.group.set != self.set || declared.group.index >= self.groups.len() {
                let (index, count) = (declared.group.index, self.groups.len());
                return Err(Error::UnknownHandle { what: "group", index, count });
            }
            let len = declared
                .shape
                .iter()
                .try_fold(1usize, |len, side| len.checked_mul(*side))
                .filter(|len| (*len as u64).checked_mul(ELEMENT).is_some())
                .ok_or_else(|| Error::Shape { tensor: name.clone(), shape: declared.shape.clone() })?;
            let (block, param, grad) = match &declared.own {
                None => {
                    // An empty tensor has room for one vec4, so that its range can still be bound.
                    let room = (len as u64).max(4);
                    let max = limits.max_buffer_size / ELEMENT / 4 * 4;
                    if room > max {
                        return Err(Error::Limit {
                            what: format!("tensor '{name}' of shape {:?}, in bytes", declared.shape),
                            needed: room * ELEMENT,
                            limit_name: "max_buffer_size",
                            limit: limits.max_buffer_size,
                        });
                    }
                    let at = arenas.last().map_or(0, |end| end.next_multiple_of(align));
                    if arenas.is_empty() || at + room > max {
                        arenas.push(room);
                        (arenas.len() - 1, 0, 0)
                    } else if let Some(end) = arenas.last_mut() {
                        *end = at + room;
                        (arenas.len() - 1, at, at)
                    } else {
                        (0, 0, 0)
                    }
                }
                Some((param, grad)) => {
                    check_own(name, "parameter", param, len)?;
                    check_own(name, "gradient", grad, len)?;
                    if param.buffer == grad.buffer {
                        return Err(Error::Buffer {
                            tensor: name.clone(),
                            role: "gradient",
                            problem: "is its parameter buffer too; a dispatch cannot write a buffer that \
                                      it also binds for reading, so the two must differ"
                                .into(),
                        });
                    }
                    let key = (param.buffer.clone(), grad.buffer.clone());
                    let own = *pair_index.entry(key).or_insert_with(|| {
                        let block = Block {
                            param_size: param.buffer.size(),
                            grad_size: grad.buffer.size(),
                            padding: 0,
                        };
                        pairs.push(Pair { param: param.buffer.clone(), grad: grad.buffer.clone(), block });
                        pairs.len() - 1
                    });
                    // The caller's pairs come after the arenas, whose number is not known yet.
                    (usize::MAX - own, param.offset / ELEMENT, grad.offset / ELEMENT)
                }
            };
            let shape = declared.shape.clone();
            tensors.push(Tensor {
                name: name.clone(),
                shape,
                group: declared.group,
                len,
                block,
                param,
                grad,
            });
        }

        for tensor in &mut tensors {
            if tensor.block >= arenas.len() {
                tensor.block = arenas.len() + (usize::MAX - tensor.block);
            }
        }
        let mut all = make_arenas(device, label, &arenas, align)?;
        all.extend(pairs);
        check_overlaps(&tensors, &all)?;
        Ok(ParamSet {
            set: self.set,
            device: device.clone(),
            groups: self.groups.clone(),
            tensors,
            pairs: all,
        })
    }
}

/// The arenas, zeroed by wgpu.
fn make_arenas(device: &wgpu::Device, label: &str, arenas: &[u64], align: u64) -> Result<Vec<Pair>, Error> {
    crate::scope::guarded(device, "the arenas", || {
        let make = |len: u64, role: &str| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{label}: {role}")),
                size: len * ELEMENT,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        arenas
            .iter()
            .map(|end| {
                let len = end.next_multiple_of(4);
                let block = Block { param_size: len * ELEMENT, grad_size: len * ELEMENT, padding: align - 1 };
                Pair { param: make(len, "parameters"), grad: make(len, "gradients"), block }
            })
            .collect()
    })
}

/// Refuses a caller's buffer that cannot hold the tensor or cannot be bound.
fn check_own(tensor: &str, role: &'static str, range: &BufferRange, len: usize) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Buffer { tensor: tensor.into(), role, problem });
    let usage = range.buffer.usage();
    if !usage.contains(BufferUsages::STORAGE) {
        return refuse(format!("has usages {usage:?}, but STORAGE is needed"));
    }
    if !range.offset.is_multiple_of(ELEMENT) {
        return refuse(format!("starts at byte {}, which is not a multiple of {ELEMENT}", range.offset));
    }
    let bytes = len as u64 * ELEMENT;
    match range.offset.checked_add(bytes) {
        Some(end) if end <= range.buffer.size() => Ok(()),
        _ => refuse(format!(
            "has {} bytes, but {bytes} are needed from byte {} on",
            range.buffer.size(),
            range.offset
        )),
    }
}

/// Refuses tensors that share elements, as parameters, as gradients, or one's parameters with another's
/// gradients: what is written then depends on the order of workgroups, which nobody knows.
fn check_overlaps(tensors: &[Tensor], pairs: &[Pair]) -> Result<(), Error> {
    let mut ranges: Vec<(&wgpu::Buffer, u64, &Tensor, &'static str)> = tensors
        .iter()
        .filter(|tensor| tensor.len > 0)
        .flat_map(|tensor| {
            let pair = &pairs[tensor.block];
            let param = (&pair.param, tensor.param, tensor, "parameter");
            [param, (&pair.grad, tensor.grad, tensor, "gradient")]
        })
        .collect();
    ranges.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(&b.1)));
    for pair in ranges.windows(2) {
        let ((buffer, start, first, role), (other, at, second, other_role)) = (pair[0], pair[1]);
        if buffer == other && start + first.len as u64 > at {
            let (first, second) = (first.name.clone(), second.name.clone());
            let role = if role == other_role { role } else { "parameter and gradient" };
            return Err(Error::Overlap { first, second, role, at: at * ELEMENT });
        }
    }
    Ok(())
}

/// Named tensors in groups, with their parameters and gradients on the GPU.
///
/// ```no_run
/// # fn f(device: &wgpu::Device) -> Result<(), wgpu_optim::Error> {
/// use wgpu_optim::ParamSet;
/// let mut params = ParamSet::builder();
/// let decay = params.group("weights");
/// let weight = params.tensor("fc1.weight", [784, 256], decay);
/// let params = params.build(device)?;
/// let binding = params.param(weight)?; // a BufferSlice, ready to be bound
/// # let _ = binding; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ParamSet {
    pub(crate) set: u64,
    pub(crate) device: wgpu::Device,
    pub(crate) groups: Vec<String>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) pairs: Vec<Pair>,
}

impl ParamSet {
    /// An empty set to declare groups and tensors in.
    pub fn builder() -> ParamSetBuilder {
        ParamSetBuilder::default()
    }

    /// The tensors, in the order of declaration.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The labels of the groups, in the order of declaration.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Parameters in all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.len as u64).sum()
    }

    /// Bytes of the arenas beyond parameters and gradients: padding between tensors.
    pub fn overhead_bytes(&self) -> u64 {
        // Arenas come first; the caller's own buffers have no padding of ours.
        let arenas = self.pairs.iter().filter(|pair| pair.block.padding > 0);
        let total: u64 = arenas.map(|pair| pair.block.param_size + pair.block.grad_size).sum();
        let inside = self.tensors.iter().filter(|tensor| self.pairs[tensor.block].block.padding > 0);
        total - inside.map(|tensor| 2 * ELEMENT * tensor.len as u64).sum::<u64>()
    }

    /// The tensor of this name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        let index = self.tensors.iter().position(|tensor| tensor.name == name)?;
        Some(TensorId { set: self.set, index })
    }

    /// A tensor's description.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn tensor(&self, tensor: TensorId) -> Result<&Tensor, Error> {
        let (index, count) = (tensor.index, self.tensors.len());
        let known = self.tensors.get(index).filter(|_| tensor.set == self.set);
        known.ok_or(Error::UnknownHandle { what: "tensor", index, count })
    }

    /// A tensor's parameters, f32. In an arena with [`Packing::Bindable`] the slice can be bound as
    /// storage. An empty tensor's slice is 16 bytes that nothing reads.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn param(&self, tensor: TensorId) -> Result<wgpu::BufferSlice<'_>, Error> {
        let tensor = self.tensor(tensor)?;
        slice(&self.pairs[tensor.block].param, tensor, tensor.param)
    }

    /// A tensor's gradients, f32: where the backward pass writes. As [`param`](ParamSet::param).
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn grad(&self, tensor: TensorId) -> Result<wgpu::BufferSlice<'_>, Error> {
        let tensor = self.tensor(tensor)?;
        slice(&self.pairs[tensor.block].grad, tensor, tensor.grad)
    }

    /// Queues an upload of a tensor's parameters; it takes effect before the next submit.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::UnknownHandle`], [`Error::Buffer`] for a caller's buffer without `COPY_DST`.
    pub fn write_param(&self, queue: &wgpu::Queue, tensor: TensorId, values: &[f32]) -> Result<(), Error> {
        self.write(queue, tensor, values, self.param(tensor)?, "parameter")
    }

    /// Queues an upload of a tensor's gradients; it takes effect before the next submit.
    ///
    /// # Errors
    /// As [`write_param`](ParamSet::write_param).
    pub fn write_grad(&self, queue: &wgpu::Queue, tensor: TensorId, values: &[f32]) -> Result<(), Error> {
        self.write(queue, tensor, values, self.grad(tensor)?, "gradient")
    }

    fn write(
        &self,
        queue: &wgpu::Queue,
        tensor: TensorId,
        values: &[f32],
        to: wgpu::BufferSlice<'_>,
        role: &'static str,
    ) -> Result<(), Error> {
        let tensor = self.tensor(tensor)?;
        if values.len() != tensor.len {
            let (expected, got) = (tensor.len, values.len());
            return Err(Error::Length { tensor: tensor.name.clone(), expected, got });
        }
        self.needs(tensor, role, to.buffer(), BufferUsages::COPY_DST)?;
        if !values.is_empty() {
            queue.write_buffer(to.buffer(), to.offset(), bytemuck::cast_slice(values));
        }
        Ok(())
    }

    fn needs(
        &self,
        tensor: &Tensor,
        role: &'static str,
        buffer: &wgpu::Buffer,
        usage: BufferUsages,
    ) -> Result<(), Error> {
        if buffer.usage().contains(usage) {
            return Ok(());
        }
        let problem = format!("has usages {:?}, but {usage:?} is needed", buffer.usage());
        Err(Error::Buffer { tensor: tensor.name.clone(), role, problem })
    }

    /// Records a copy of a tensor's parameters as they are at this point of the encoder.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`], [`Error::Buffer`] for a caller's buffer without `COPY_SRC`.
    pub fn download_param(&self, encoder: &mut CommandEncoder, tensor: TensorId) -> Result<Download, Error> {
        self.download(encoder, tensor, self.param(tensor)?, "parameter")
    }

    /// Records a copy of a tensor's gradients as they are at this point of the encoder.
    ///
    /// # Errors
    /// As [`download_param`](ParamSet::download_param).
    pub fn download_grad(&self, encoder: &mut CommandEncoder, tensor: TensorId) -> Result<Download, Error> {
        self.download(encoder, tensor, self.grad(tensor)?, "gradient")
    }

    fn download(
        &self,
        encoder: &mut CommandEncoder,
        tensor: TensorId,
        from: wgpu::BufferSlice<'_>,
        role: &'static str,
    ) -> Result<Download, Error> {
        let tensor = self.tensor(tensor)?;
        self.needs(tensor, role, from.buffer(), BufferUsages::COPY_SRC)?;
        let bytes = tensor.len as u64 * ELEMENT;
        Ok(copy_out(&self.device, encoder, &[(from.buffer().clone(), from.offset(), bytes)]))
    }

    /// Reads a tensor's parameters. **Submits and blocks**: for tools and tests; inside an application
    /// record a [`download_param`](ParamSet::download_param) and await it.
    ///
    /// # Errors
    /// As [`download_param`](ParamSet::download_param), and [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_param_blocking(&self, queue: &wgpu::Queue, tensor: TensorId) -> Result<Vec<f32>, Error> {
        crate::readback::read_blocking(&self.device, queue, |encoder| self.download_param(encoder, tensor))
    }

    /// The tensors that have elements, for the planner.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let spans = self.tensors.iter().enumerate().filter(|(_, tensor)| tensor.len > 0);
        spans
            .map(|(index, tensor)| Span {
                block: tensor.block,
                param: tensor.param,
                grad: tensor.grad,
                len: tensor.len as u64,
                group: tensor.group.index as u32,
                tensor: index as u32,
            })
            .collect()
    }
}

/// The bytes of a tensor; WebGPU has no empty ranges, so an empty one gets up to 16 bytes nearby.
fn slice<'a>(buffer: &'a wgpu::Buffer, tensor: &Tensor, at: u64) -> Result<wgpu::BufferSlice<'a>, Error> {
    let bytes = if tensor.len > 0 { tensor.len as u64 * ELEMENT } else { buffer.size().min(16) };
    let start = (at * ELEMENT).min(buffer.size() - bytes);
    if bytes == 0 {
        let problem = "has no bytes, so there is nothing to bind or copy".into();
        return Err(Error::Buffer { tensor: tensor.name.clone(), role: "own", problem });
    }
    Ok(buffer.slice(start..start + bytes))
}
