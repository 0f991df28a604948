//! What C sees: plain structs. Everything that they point to belongs to the optimizer.

use std::ffi::c_char;
use wgpu_optim::program::Limits;

/// The host's own buffer, number i of the description's `buffers`: it holds parameters or gradients.
pub const WGPU_OPTIM_USAGE_OWN: u32 = 0;
/// An arena that the host makes, for parameters or gradients: a storage buffer.
pub const WGPU_OPTIM_USAGE_ARENA: u32 = 1;
/// A storage buffer that the host makes; it is written by copies and read back.
pub const WGPU_OPTIM_USAGE_STORAGE: u32 = 2;
/// A uniform buffer that the host makes; it is written by copies.
pub const WGPU_OPTIM_USAGE_UNIFORM: u32 = 3;

/// A storage buffer that is read.
pub const WGPU_OPTIM_BINDING_READ_ONLY: u32 = 0;
/// A storage buffer that is read and written.
pub const WGPU_OPTIM_BINDING_READ_WRITE: u32 = 1;
/// The record of the step: a uniform buffer with a dynamic offset.
pub const WGPU_OPTIM_BINDING_RECORD: u32 = 2;

/// WGSL.
pub const WGPU_OPTIM_LANGUAGE_WGSL: u32 = 0;
/// SPIR-V 1.0, for Vulkan; everything is in descriptor set 0.
pub const WGPU_OPTIM_LANGUAGE_SPIRV: u32 = 1;
/// Metal Shading Language 2.0; binding i is `buffer(i)`. Compile it with fast math off.
pub const WGPU_OPTIM_LANGUAGE_MSL: u32 = 2;
/// HLSL for shader model 5.1; binding i is register `t`i, `u`i or `b`i of its kind. Compile it with IEEE strictness.
pub const WGPU_OPTIM_LANGUAGE_HLSL: u32 = 3;
/// GLSL ES 3.10; binding i is buffer binding i, of the record uniform binding i.
pub const WGPU_OPTIM_LANGUAGE_GLSL: u32 = 4;

/// What the device allows, in WebGPU's words; `wgpu_optim_limits` has what every device does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimLimits {
    /// Bytes of the largest buffer.
    pub max_buffer_size: u64,
    /// Bytes of the largest storage binding (Vulkan: `maxStorageBufferRange`).
    pub max_storage_buffer_binding_size: u64,
    /// Alignment of a storage binding's offset, in bytes (Vulkan: `minStorageBufferOffsetAlignment`).
    pub min_storage_buffer_offset_alignment: u32,
    /// Storage buffers that one shader may bind (Vulkan: `maxPerStageDescriptorStorageBuffers`).
    pub max_storage_buffers_per_shader_stage: u32,
    /// Workgroups of a dispatch in one dimension (Vulkan: `maxComputeWorkGroupCount`).
    pub max_compute_workgroups_per_dimension: u32,
    /// Invocations of a workgroup (Vulkan: `maxComputeWorkGroupInvocations`).
    pub max_compute_invocations_per_workgroup: u32,
    /// Invocations of a workgroup in the first dimension (Vulkan: `maxComputeWorkGroupSize[0]`).
    pub max_compute_workgroup_size_x: u32,
    /// 1 where one dispatch may bind overlapping ranges of a buffer to write: on every API but WebGPU in a browser.
    pub overlapping_bindings: u32,
    /// 1 where the device is a CPU.
    pub software: u32,
}

impl From<Limits> for WgpuOptimLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x,
            overlapping_bindings: limits.overlapping_bindings.into(),
            software: limits.software.into(),
        }
    }
}

impl From<WgpuOptimLimits> for Limits {
    fn from(limits: WgpuOptimLimits) -> Self {
        Self {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x,
            overlapping_bindings: limits.overlapping_bindings != 0,
            software: limits.software != 0,
        }
    }
}

/// How many there are of what is asked for by an index, and a few numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimCounts {
    /// Buffers: first those of parameters and gradients, then those that the program needs.
    pub buffers: usize,
    /// Layouts of bind groups (Vulkan: descriptor set layouts).
    pub layouts: usize,
    /// Modules, a compute pipeline each.
    pub modules: usize,
    /// Bind groups (Vulkan: descriptor sets).
    pub bindings: usize,
    /// Dispatches of a step.
    pub passes: usize,
    /// Parameter groups.
    pub groups: usize,
    /// Tensors.
    pub tensors: usize,
    /// Persistent words.
    pub persistent: usize,
    /// Steps that may be recorded ahead of a submit.
    pub steps_ahead: usize,
    /// Bytes of the slots.
    pub state_bytes: u64,
    /// The program's hash: equal on every host.
    pub hash: u64,
}

/// A buffer of the program.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimBuffer {
    /// What it holds, for captures.
    pub label: *const c_char,
    /// Its size in bytes; of the host's own, at least.
    pub size: u64,
    /// `WGPU_OPTIM_USAGE_…`
    pub usage: u32,
    /// 1 where `wgpu_optim_buffer_contents` has more than zeros.
    pub filled: u32,
}

/// The kinds of what is bound, `WGPU_OPTIM_BINDING_…`; their numbers count from 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimLayout {
    /// The kinds.
    pub kinds: *const u32,
    /// How many.
    pub count: usize,
}

/// A compute pipeline.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimModule {
    /// What it does, for captures.
    pub label: *const c_char,
    /// Index of the layout of its one bind group.
    pub layout: usize,
    /// Invocations of a workgroup, in x.
    pub invocations: u32,
}

/// A module in some language.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimCode {
    /// Its text, which a zero ends, or the words of SPIR-V, aligned to 4.
    pub bytes: *const u8,
    /// Its bytes, without that zero.
    pub size: usize,
    /// The name of its entry point.
    pub entry_point: *const c_char,
    /// Of MSL: the bindings whose sizes in bytes stand, as one `uint` each, in the constant buffer `buffer(lengths_at)`.
    pub lengths: *const u32,
    /// How many.
    pub length_count: usize,
    /// See `lengths`.
    pub lengths_at: u32,
    /// Of HLSL: the register `b` of three root constants, the workgroups of the dispatch in x, y and z.
    pub workgroups_at: u32,
}

/// A range of bytes of a buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimSlice {
    /// Index of the buffer.
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A bind group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimBindings {
    /// Index of its layout.
    pub layout: usize,
    /// What is bound, in the order of the layout.
    pub slices: *const WgpuOptimSlice,
    /// How many.
    pub count: usize,
}

/// A dispatch. Each reads what those before it wrote.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimPass {
    /// Index of its module.
    pub module: usize,
    /// Index of its bind group.
    pub bindings: usize,
    /// Workgroups in x and y; one in z.
    pub workgroups: [u32; 2],
}

/// A tensor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimTensor {
    /// Its name.
    pub name: *const c_char,
    /// Index of its group.
    pub group: usize,
    /// Its elements, `float` each.
    pub elements: u64,
    /// Where its parameters are.
    pub param: WgpuOptimSlice,
    /// Where its gradients are.
    pub grad: WgpuOptimSlice,
}

/// Words that have a name.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimWords {
    /// `m/fc.weight` for a slot of a tensor; of the whole optimizer `skips`, `loss_scale`, `device_scalars`. Null where the name
    /// was asked for, or there is none.
    pub name: *const c_char,
    /// Where they are, one behind the other.
    pub slices: *const WgpuOptimSlice,
    /// How many.
    pub count: usize,
}

/// A text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimText {
    /// UTF-8, which a zero ends.
    pub text: *const c_char,
    /// Its bytes, without that zero.
    pub size: usize,
}

/// Bytes to write before a step runs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimWrite {
    /// Index of the buffer.
    pub buffer: usize,
    /// First byte in it.
    pub offset: u64,
    /// The bytes.
    pub bytes: *const u8,
    /// How many, a multiple of 4.
    pub size: usize,
}

/// What a step needs, until the next one is asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimStep {
    /// What to write. The places belong to no step in flight.
    pub writes: *const WgpuOptimWrite,
    /// How many.
    pub count: usize,
    /// The dynamic offset of the record, of every bind group.
    pub record: u32,
}

/// What to write at once, until the next step or the next writes are asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimWrites {
    /// What to write.
    pub writes: *const WgpuOptimWrite,
    /// How many.
    pub count: usize,
}

/// Of a list of rows: one that comes from nowhere; zero, or what the host has written, with slots as at the start.
pub const WGPU_OPTIM_NONE: u32 = u32::MAX;
/// Added to a row of a list: its parameters and gradients are taken, and its slots are as at the start.
pub const WGPU_OPTIM_FRESH: u32 = 1 << 31;

/// What a tensor takes over, where names and shapes do not say it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimChange {
    /// The name of a tensor of the new set.
    pub tensor: *const c_char,
    /// The name of the old one whose rows it takes over; null for a tensor that starts anew.
    pub from: *const c_char,
    /// For each new row the old one, `WGPU_OPTIM_NONE`, or a row + `WGPU_OPTIM_FRESH`. Null for a list on the device, which
    /// nobody checks.
    pub rows: *const u32,
    /// How many.
    pub count: usize,
    /// The host's number for a list on the device.
    pub list: usize,
}

/// Bytes to copy.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimCopy {
    /// From here, of the old optimizer's buffers.
    pub from: WgpuOptimSlice,
    /// To here, of the new one's.
    pub to: WgpuOptimSlice,
}

/// A dispatch that moves rows. It binds three buffers to read (chunks, list, old words) and one to write (new words).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimGather {
    /// Its module; one of a few, which dispatches share.
    pub code: *const WgpuOptimCode,
    /// The words of the buffer of chunks.
    pub chunks: *const u32,
    /// How many.
    pub chunk_words: usize,
    /// The host's number of the list on the device, or `SIZE_MAX` for a range of `WgpuOptimMoves::lists`.
    pub list: usize,
    /// First byte of that range; 0 from the start of a list on the device.
    pub list_offset: u64,
    /// Bytes of the list.
    pub list_size: u64,
    /// The old words that it binds, of the old optimizer's buffers.
    pub from: WgpuOptimSlice,
    /// The new words that it binds, of the new one's.
    pub to: WgpuOptimSlice,
    /// Workgroups in x and y; one in z.
    pub workgroups: [u32; 2],
}

/// What takes a run over from another optimizer, until the new one takes over again: all copies, then all dispatches, which do not
/// depend on one another.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WgpuOptimMoves {
    /// Copies; one from a place to itself, in a buffer that both have, is none.
    pub copies: *const WgpuOptimCopy,
    /// How many.
    pub copy_count: usize,
    /// Dispatches.
    pub passes: *const WgpuOptimGather,
    /// How many.
    pub pass_count: usize,
    /// The words of a buffer of lists.
    pub lists: *const u32,
    /// How many.
    pub list_words: usize,
}
