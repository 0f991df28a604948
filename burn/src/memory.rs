//! burn's tensors as ranges of wgpu buffers.

use crate::error::Error;
use burn::tensor::{BackendPrimitive, DType, Float, Tensor};
use burn_wgpu::{AutoCompiler, CubeTensor, Wgpu};
use cubecl::client::Client;
use cubecl::wgpu::WgpuServer;
use std::any::Any;

/// burn's own tensor behind a [`Tensor`] of any rank.
pub(crate) type Primitive = <Float as BackendPrimitive<Wgpu>>::Primitive;

/// Where a tensor's elements are, one behind the other; its memory is not given to another as long as this lives.
pub(crate) struct Memory {
    pub buffer: wgpu::Buffer,
    /// First byte.
    pub offset: u64,
    pub client: Client,
    /// burn's hold on the memory.
    _held: Box<dyn Any + Send>,
}

/// Behind a tensor without autodiff, if it is one of f32 on burn's wgpu backend.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>, name: &str) -> Result<Primitive, Error> {
    let dtype = tensor.dtype();
    if dtype != DType::F32 {
        return Err(Error::Type { parameter: name.into(), dtype: format!("{dtype:?}") });
    }
    let device = |error| Error::Device { parameter: name.into(), reason: format!("{error:?}") };
    tensor.try_into_primitive::<Wgpu>().map_err(device)
}

impl Memory {
    /// Of some tensors, with their names; everything that burn has recorded to make them is executed first. Elements that do not
    /// lie one behind the other are copied on the device, if they may be `moved`.
    pub fn of(tensors: Vec<(&str, Primitive)>, moved: bool) -> Result<Vec<Self>, Error> {
        let (names, tensors): (Vec<&str>, Vec<Primitive>) = tensors.into_iter().unzip();
        let find = move |tensor: CubeTensor| Self::of_cube(tensor, moved);
        #[cfg(feature = "fusion")]
        let found = crate::fused::each(tensors, find)?;
        #[cfg(not(feature = "fusion"))]
        let found = tensors.into_iter().map(find);
        let named = |(found, name): (Result<Self, Wrong>, &str)| found.map_err(|wrong| wrong.of(name));
        found.into_iter().zip(names).map(named).collect()
    }

    fn of_cube(mut tensor: CubeTensor, moved: bool) -> Result<Self, Wrong> {
        if !tensor.is_contiguous() {
            if !moved {
                return Err(Wrong::Layout(tensor.meta.shape().to_vec(), tensor.meta.strides().to_vec()));
            }
            tensor = burn_wgpu::into_contiguous(tensor);
        }
        let client = tensor.client.clone();
        let resource = client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone());
        let resource = resource.map_err(|error| Wrong::Runtime(error.to_string()))?;
        let (buffer, offset) = (resource.resource().buffer.clone(), resource.resource().offset);
        Ok(Self { buffer, offset, client, _held: Box::new(resource) })
    }
}

/// What is wrong with a tensor whose name is not at hand.
pub(crate) enum Wrong {
    Layout(Vec<usize>, Vec<usize>),
    Runtime(String),
}

impl Wrong {
    fn of(self, parameter: &str) -> Error {
        match self {
            Self::Layout(shape, strides) => Error::Layout { parameter: parameter.into(), shape, strides },
            Self::Runtime(error) => Error::Runtime(format!("'{parameter}': {error}")),
        }
    }
}

/// What a tensor is known by: while it is the same, so is its memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity(
    #[cfg(feature = "fusion")] burn_ir::TensorId,
    #[cfg(not(feature = "fusion"))] (wgpu::Buffer, u64),
);

impl Identity {
    /// Of a tensor without autodiff.
    pub fn of<const D: usize>(tensor: &Tensor<D>, name: &str) -> Result<Self, Error> {
        let primitive = primitive(tensor.clone(), name)?;
        #[cfg(feature = "fusion")]
        return Ok(Self(primitive.id));
        #[cfg(not(feature = "fusion"))]
        {
            let memory = Memory::of(vec![(name, primitive)], false)?.remove(0);
            Ok(Self((memory.buffer, memory.offset)))
        }
    }
}
