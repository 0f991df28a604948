//! Parameter sets: named tensors in groups, in the library's arenas or in the caller's own buffers.

use super::readback::{Download, copy_out};
use super::scope::guarded;
use crate::error::Error;
use crate::program::{Arena, Declared, ELEMENT, Limits, Packing, Place, Tensor, Tensors};
use std::collections::BTreeMap;
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

/// What the next builder's handles are known by.
static NEXT_SET: AtomicU64 = AtomicU64::new(0);

/// Declares groups and tensors; [`build`](ParamSetBuilder::build) checks all of it.
#[derive(Debug)]
pub struct ParamSetBuilder {
    set: u64,
    label: Option<String>,
    packing: Packing,
    groups: Vec<String>,
    tensors: Vec<Description>,
}

#[derive(Debug)]
struct Description {
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
    /// 4 bytes. Each distinct pair of buffers costs one dispatch a step. Both may be ranges of one buffer; WebGPU in a
    /// browser wants at least 288 bytes from the first of the parameters to the first of the gradients then, and takes a
    /// dispatch for each stretch whose parameters and gradients do not lie across one another.
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
        self.tensors.push(Description { name, shape: shape.to_vec(), group, own });
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
        let mut own = OwnBuffers::default();
        let mut declared = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            if tensor.group.set != self.set {
                let (index, count) = (tensor.group.index, self.groups.len());
                return Err(Error::UnknownHandle { what: "group", index, count });
            }
            let places = match &tensor.own {
                None => None,
                Some((param, grad)) => {
                    check_usage(&tensor.name, "parameter", &param.buffer)?;
                    check_usage(&tensor.name, "gradient", &grad.buffer)?;
                    Some((own.place(param), own.place(grad)))
                }
            };
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            declared.push(Declared { name, shape, group: tensor.group.index, own: places });
        }
        let limits = Limits::of(device);
        let sizes = own.sizes();
        let tensors = Tensors::lay_out(&self.groups, &declared, &sizes, self.packing, &limits)?;
        let label = self.label.as_deref().unwrap_or("wgpu-optim");
        let mut buffers = make_arenas(device, label, tensors.buffers())?;
        buffers.extend(own.buffers);
        Ok(ParamSet { set: self.set, device: device.clone(), tensors, buffers })
    }
}

/// The caller's buffers, each once, in the order in which they were first named.
#[derive(Default)]
struct OwnBuffers {
    buffers: Vec<wgpu::Buffer>,
    #[allow(clippy::mutable_key_type)] // buffers are ordered by identity
    index: BTreeMap<wgpu::Buffer, usize>,
}

impl OwnBuffers {
    fn place(&mut self, range: &BufferRange) -> Place {
        let buffer = *self.index.entry(range.buffer.clone()).or_insert_with(|| {
            self.buffers.push(range.buffer.clone());
            self.buffers.len() - 1
        });
        Place { buffer, offset: range.offset }
    }

    fn sizes(&self) -> Vec<u64> {
        self.buffers.iter().map(wgpu::Buffer::size).collect()
    }
}

/// The arenas among `buffers`, zeroed by wgpu.
fn make_arenas(device: &wgpu::Device, label: &str, buffers: &[Arena]) -> Result<Vec<wgpu::Buffer>, Error> {
    guarded(device, "the arenas", || {
        let make = |arena: &Arena| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{label}: {}", arena.role)),
                size: arena.size,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        buffers.iter().filter(|arena| arena.is_made).map(make).collect()
    })
}

/// Refuses a caller's buffer that cannot be bound.
fn check_usage(tensor: &str, role: &'static str, buffer: &wgpu::Buffer) -> Result<(), Error> {
    let usage = buffer.usage();
    if usage.contains(BufferUsages::STORAGE) {
        return Ok(());
    }
    let problem = format!("has usages {usage:?}, but STORAGE is needed");
    Err(Error::Buffer { tensor: tensor.into(), role, problem })
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
    pub(crate) tensors: Tensors,
    /// Those of `tensors`, in order.
    pub(crate) buffers: Vec<wgpu::Buffer>,
}

impl ParamSet {
    /// An empty set to declare groups and tensors in.
    pub fn builder() -> ParamSetBuilder {
        ParamSetBuilder::default()
    }

    /// The tensors, in the order of declaration.
    pub fn tensors(&self) -> &[Tensor] {
        self.tensors.tensors()
    }

    /// The labels of the groups, in the order of declaration.
    pub fn groups(&self) -> &[String] {
        self.tensors.groups()
    }

    /// Where all of them lie, as data: what a [`Program`](crate::program::Program) and a
    /// [`Reference`](crate::reference::Reference) are made for.
    pub fn layout(&self) -> &Tensors {
        &self.tensors
    }

    /// Parameters in all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.elements()
    }

    /// Bytes of the arenas beyond parameters and gradients: padding between tensors.
    pub fn overhead_bytes(&self) -> u64 {
        self.tensors.overhead_bytes()
    }

    /// The tensor of this name.
    pub fn find(&self, name: &str) -> Option<TensorId> {
        let index = self.tensors().iter().position(|tensor| tensor.name == name)?;
        Some(TensorId { set: self.set, index })
    }

    /// A tensor's description.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn tensor(&self, tensor: TensorId) -> Result<&Tensor, Error> {
        let (index, count) = (tensor.index, self.tensors().len());
        let known = self.tensors().get(index).filter(|_| tensor.set == self.set);
        known.ok_or(Error::UnknownHandle { what: "tensor", index, count })
    }

    /// The handle of a tensor's group.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn group_of(&self, tensor: TensorId) -> Result<GroupId, Error> {
        Ok(GroupId { set: self.set, index: self.tensor(tensor)?.group })
    }

    /// A tensor's parameters, f32. In an arena with [`Packing::Bindable`] the slice can be bound as
    /// storage. An empty tensor's slice is 16 bytes that nothing reads.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn param(&self, tensor: TensorId) -> Result<wgpu::BufferSlice<'_>, Error> {
        let tensor = self.tensor(tensor)?;
        let (param, _) = self.tensors.places(tensor);
        slice(&self.buffers[param.buffer], tensor, param.offset)
    }

    /// A tensor's gradients, f32: where the backward pass writes. As [`param`](ParamSet::param).
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for a handle of another set.
    pub fn grad(&self, tensor: TensorId) -> Result<wgpu::BufferSlice<'_>, Error> {
        let tensor = self.tensor(tensor)?;
        let (_, grad) = self.tensors.places(tensor);
        slice(&self.buffers[grad.buffer], tensor, grad.offset)
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
        Ok(copy_out(&self.device, encoder, &[(from.buffer(), from.offset(), bytes)]))
    }

    /// Reads a tensor's parameters. **Submits and blocks**: for tools and tests; inside an application
    /// record a [`download_param`](ParamSet::download_param) and await it.
    ///
    /// # Errors
    /// As [`download_param`](ParamSet::download_param), and [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_param_blocking(&self, queue: &wgpu::Queue, tensor: TensorId) -> Result<Vec<f32>, Error> {
        super::readback::read_blocking(&self.device, queue, |encoder| self.download_param(encoder, tensor))
    }
}

/// The bytes of a tensor; WebGPU has no empty ranges, so an empty one gets up to 16 bytes nearby.
fn slice<'a>(buffer: &'a wgpu::Buffer, tensor: &Tensor, offset: u64) -> Result<wgpu::BufferSlice<'a>, Error> {
    let bytes = if tensor.len > 0 { tensor.len as u64 * ELEMENT } else { buffer.size().min(16) };
    let start = offset.min(buffer.size() - bytes);
    if bytes == 0 {
        let problem = "has no bytes, so there is nothing to bind or copy".into();
        return Err(Error::Buffer { tensor: tensor.name.clone(), role: "own", problem });
    }
    Ok(buffer.slice(start..start + bytes))
}
