//! The tensors of a model and where they lie: in arenas that are laid out here, or in buffers of the host's. Pure: names,
//! shapes and bytes, no device.

use super::limits::Limits;
use super::windows::Span;
use super::{ELEMENT, VEC4};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// How tensors lie in the arenas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Each tensor starts where the device lets a storage binding start (256 bytes by default), so
    /// that its parameters and gradients can be bound as they are.
    #[default]
    Bindable,
    /// Each tensor starts at a multiple of 16 bytes: for thousands of tiny tensors that kernels reach
    /// by an index into the arena.
    Tight,
}

/// A tensor to lay out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name, unique in the set.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Index of its parameter group.
    #[serde(default)]
    pub group: usize,
    /// Where its parameters and gradients are in the host's own buffers; in an arena if left out.
    #[serde(default)]
    pub own: Option<(Place, Place)>,
}

/// A place in one of the host's own buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index of the buffer, in the order in which they are given.
    pub buffer: usize,
    /// First byte, a multiple of 4 (of 16 for the faster vec4 access).
    pub offset: u64,
}

/// A tensor and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name, unique in the set.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Index of its parameter group.
    pub group: usize,
    /// Its number of elements; 0 is allowed and means no work.
    pub len: usize,
    /// Index of its pair of buffers.
    pub(crate) pair: usize,
    /// First element in the pair's parameter buffer.
    pub(crate) param: u64,
    /// First element in the pair's gradient buffer.
    pub(crate) grad: u64,
}

/// A buffer of parameters or gradients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arena {
    /// What it holds, for its label.
    pub role: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is an arena that the executor makes; else it is the host's own.
    pub is_made: bool,
}

/// Two buffers that hold parameters and their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Index of the parameters' buffer.
    pub param: usize,
    /// Index of the gradients' buffer.
    pub grad: usize,
    /// Elements of padding between neighbours that belong to nobody else, so that tiles may run across them.
    pub padding: u64,
}

/// Tensors in groups, and the buffers that they lie in.
///
/// ```
/// use wgpu_optim::program::{Declared, Limits, Packing, Tensors};
/// let weight = Declared { name: "weight".into(), shape: vec![784, 10], group: 0, own: None };
/// let tensors = Tensors::lay_out(&["all"], &[weight], &[], Packing::default(), &Limits::default())?;
/// assert_eq!((tensors.elements(), tensors.buffers().len()), (7840, 2));
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensors {
    groups: Vec<String>,
    tensors: Vec<Tensor>,
    buffers: Vec<Arena>,
    pairs: Vec<Pair>,
}

impl Tensors {
    /// Lays out tensors: those without a place of their own in arenas, which come first among the buffers. `groups` are
    /// labels for messages, `own` the sizes of the host's buffers in bytes.
    ///
    /// # Errors
    /// [`Error::DuplicateTensor`], [`Error::UnknownHandle`], [`Error::Shape`], [`Error::Buffer`] for a buffer of the
    /// host's that is too small or misaligned, [`Error::Overlap`], [`Error::Limit`] for a tensor larger than a buffer
    /// may be.
    pub fn lay_out(
        groups: &[impl AsRef<str>],
        declared: &[Declared],
        own: &[u64],
        packing: Packing,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let align = match packing {
            Packing::Bindable => u64::from(limits.min_storage_buffer_offset_alignment).max(16) / ELEMENT,
            Packing::Tight => 4,
        };
        let mut arenas: Vec<u64> = vec![];
        let mut own_pairs: Vec<(usize, usize)> = vec![];
        let mut index_of_pair = HashMap::new();
        let mut names = HashSet::with_capacity(declared.len());
        let mut tensors = Vec::with_capacity(declared.len());
        for tensor in declared {
            let name = &tensor.name;
            if !names.insert(name.as_str()) {
                return Err(Error::DuplicateTensor { name: name.clone() });
            }
            if tensor.group >= groups.len() {
                let (index, count) = (tensor.group, groups.len());
                return Err(Error::UnknownHandle { what: "group", index, count });
            }
            let len = elements(tensor)?;
            let (pair, param, grad) = match tensor.own {
                None => {
                    let (arena, at) = place_in_arena(&mut arenas, tensor, len as u64, align, limits)?;
                    (arena, at, at)
                }
                Some((param, grad)) => {
                    check_own(name, "parameter", param, own, len)?;
                    check_own(name, "gradient", grad, own, len)?;
                    if !can_bind(param, grad, len, limits) {
                        return Err(Error::Buffer {
                            tensor: name.clone(),
                            role: "gradient",
                            problem: format!(
                                "is its parameter buffer too, and this device binds the two apart: leave \
                                 {} bytes from the one's first byte to the other's",
                                far_enough(limits)
                            ),
                        });
                    }
                    let key = (param.buffer, grad.buffer);
                    let index = *index_of_pair.entry(key).or_insert_with(|| {
                        own_pairs.push(key);
                        own_pairs.len() - 1
                    });
                    // The host's pairs come after the arenas, whose number is not known yet.
                    (usize::MAX - index, param.offset / ELEMENT, grad.offset / ELEMENT)
                }
            };
            let (name, shape) = (name.clone(), tensor.shape.clone());
            tensors.push(Tensor { name, shape, group: tensor.group, len, pair, param, grad });
        }
        for tensor in &mut tensors {
            if tensor.pair >= arenas.len() {
                tensor.pair = arenas.len() + (usize::MAX - tensor.pair);
            }
        }
        let made = |end: &u64| {
            let size = end.next_multiple_of(4) * ELEMENT;
            ["parameters", "gradients"].map(|role| Arena { role, size, is_made: true })
        };
        let mut buffers: Vec<Arena> = arenas.iter().flat_map(made).collect();
        let first_own = buffers.len();
        buffers.extend(own.iter().map(|size| Arena { role: "the host's", size: *size, is_made: false }));
        let in_arena = |arena| Pair { param: 2 * arena, grad: 2 * arena + 1, padding: align - 1 };
        let in_own = |(param, grad): (usize, usize)| Pair {
            param: first_own + param,
            grad: first_own + grad,
            padding: 0,
        };
        let pairs = (0..arenas.len()).map(in_arena).chain(own_pairs.into_iter().map(in_own)).collect();
        let groups = groups.iter().map(|label| label.as_ref().to_string()).collect();
        let laid_out = Self { groups, tensors, buffers, pairs };
        laid_out.check_overlaps()?;
        Ok(laid_out)
    }

    /// The labels of the groups, in order.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The tensors, in the order in which they were declared.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The buffers that they lie in: arenas to make, then the host's own in the order in which they were given.
    pub fn buffers(&self) -> &[Arena] {
        &self.buffers
    }

    /// Parameters in all tensors.
    pub fn elements(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.len as u64).sum()
    }

    /// Bytes of the arenas beyond parameters and gradients: padding between tensors.
    pub fn overhead_bytes(&self) -> u64 {
        let made = self.buffers.iter().filter(|buffer| buffer.is_made);
        let total: u64 = made.map(|buffer| buffer.size).sum();
        let inside = self.tensors.iter().filter(|tensor| self.buffers[self.pairs[tensor.pair].param].is_made);
        total - inside.map(|tensor| 2 * ELEMENT * tensor.len as u64).sum::<u64>()
    }

    /// Where a tensor's parameters and gradients are: two places among [`buffers`](Tensors::buffers).
    pub fn places(&self, tensor: &Tensor) -> (Place, Place) {
        let pair = self.pairs[tensor.pair];
        let place = |buffer, element: u64| Place { buffer, offset: element * ELEMENT };
        (place(pair.param, tensor.param), place(pair.grad, tensor.grad))
    }

    pub(crate) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The tensors that have elements, for the planner.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let spans = self.tensors.iter().enumerate().filter(|(_, tensor)| tensor.len > 0);
        spans
            .map(|(index, tensor)| Span {
                block: tensor.pair,
                param: tensor.param,
                grad: tensor.grad,
                len: tensor.len as u64,
                owner: tensor.group as u32,
                tensor: index as u32,
            })
            .collect()
    }

    /// Refuses tensors that share elements, as parameters, as gradients, or one's parameters with another's
    /// gradients: what is written then depends on the order of workgroups, which nobody knows.
    fn check_overlaps(&self) -> Result<(), Error> {
        let mut ranges: Vec<(usize, u64, &Tensor, &'static str)> = self
            .tensors
            .iter()
            .filter(|tensor| tensor.len > 0)
            .flat_map(|tensor| {
                let pair = self.pairs[tensor.pair];
                let param = (pair.param, tensor.param, tensor, "parameter");
                [param, (pair.grad, tensor.grad, tensor, "gradient")]
            })
            .collect();
        ranges.sort_unstable_by_key(|(buffer, at, ..)| (*buffer, *at));
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
}

/// The number of elements of a shape.
fn elements(tensor: &Declared) -> Result<usize, Error> {
    let product = tensor.shape.iter().try_fold(1usize, |len, side| len.checked_mul(*side));
    product
        .filter(|len| (*len as u64).checked_mul(ELEMENT).is_some())
        .ok_or_else(|| Error::Shape { tensor: tensor.name.clone(), shape: tensor.shape.clone() })
}

/// The arena, of ends in elements, that takes a tensor, a new one if need be, and its first element there.
fn place_in_arena(
    arenas: &mut Vec<u64>,
    tensor: &Declared,
    len: u64,
    align: u64,
    limits: &Limits,
) -> Result<(usize, u64), Error> {
    // An empty tensor has room for one vec4, so that its range can still be bound.
    let room = len.max(4);
    let max = limits.max_buffer_size / ELEMENT / 4 * 4;
    if room > max {
        return Err(Error::Limit {
            what: format!("tensor '{}' of shape {:?}, in bytes", tensor.name, tensor.shape),
            needed: room * ELEMENT,
            limit_name: "max_buffer_size",
            limit: limits.max_buffer_size,
        });
    }
    let at = arenas.last().map(|end| end.next_multiple_of(align)).filter(|at| at + room <= max);
    match (at, arenas.last_mut()) {
        (Some(at), Some(end)) => {
            *end = at + room;
            Ok((arenas.len() - 1, at))
        }
        _ => {
            arenas.push(room);
            Ok((arenas.len() - 1, 0))
        }
    }
}

/// Whether ranges of both places can be bound that do not overlap, where one buffer holds both and the device asks for it.
/// Bindings start at multiples of the alignment and are of whole vec4.
fn can_bind(param: Place, grad: Place, len: usize, limits: &Limits) -> bool {
    let alignment = binding_alignment(limits);
    let (first, second) = (param.offset.min(grad.offset), param.offset.max(grad.offset));
    param.buffer != grad.buffer
        || limits.overlapping_bindings
        // All of it at once, or else part by part, down to a vec4, wherever that lies.
        || second - second % alignment >= (first + ELEMENT * len as u64).next_multiple_of(VEC4)
        || second - first >= far_enough(limits)
}

/// Where a binding may start: at multiples of these bytes.
fn binding_alignment(limits: &Limits) -> u64 {
    u64::from(limits.min_storage_buffer_offset_alignment).max(ELEMENT)
}

/// Bytes from one place to another in the same buffer that are enough for any device to bind the two apart.
fn far_enough(limits: &Limits) -> u64 {
    binding_alignment(limits) + 2 * VEC4
}

/// Refuses a buffer of the host's that cannot hold the tensor.
fn check_own(tensor: &str, role: &'static str, place: Place, own: &[u64], len: usize) -> Result<(), Error> {
    let refuse = |problem: String| Err(Error::Buffer { tensor: tensor.into(), role, problem });
    let Some(size) = own.get(place.buffer) else {
        return refuse(format!("is number {}, but {} are given", place.buffer, own.len()));
    };
    if !place.offset.is_multiple_of(ELEMENT) {
        return refuse(format!("starts at byte {}, which is not a multiple of {ELEMENT}", place.offset));
    }
    let bytes = len as u64 * ELEMENT;
    match place.offset.checked_add(bytes) {
        Some(end) if end <= *size => Ok(()),
        _ => refuse(format!("has {size} bytes, but {bytes} are needed from byte {} on", place.offset)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tensor of 8 elements in one buffer, with its parameters and gradients from these bytes on.
    fn both(param: u64, grad: u64, limits: Limits) -> Result<Tensors, Error> {
        let place = |offset| Place { buffer: 0, offset };
        let own = Some((place(param), place(grad)));
        let tensor = Declared { name: "w".into(), shape: vec![8], group: 0, own };
        Tensors::lay_out(&["all"], &[tensor], &[1024], Packing::default(), &limits)
    }

    #[test]
    fn one_buffer_holds_both_where_they_can_be_bound() {
        let browser = Limits::default();
        let native = Limits { overlapping_bindings: true, ..browser };
        assert!(both(0, 32, native).is_ok() && both(900, 4, native).is_ok());
        for (param, grad) in [(0, 256), (256, 0), (224, 256), (4, 292), (100, 388)] {
            assert!(both(param, grad, browser).is_ok(), "{param} {grad}");
        }
        for (param, grad) in [(0, 32), (0, 252), (228, 260), (260, 228)] {
            let refused = both(param, grad, browser).unwrap_err().to_string();
            assert!(refused.contains("parameter buffer too") && refused.contains("288 bytes"), "{refused}");
        }
        let shared = both(0, 28, native).unwrap_err().to_string();
        assert!(shared.contains("parameter and gradient"), "{shared}");
    }
}
