// wgpu-optim: deep-learning optimizers for parameters that already live on the GPU, for hosts that hold their own device.
//
// Made by cbindgen from capi/src: `cargo run -p wgpu-optim-capi --example header`. examples/vulkan is a whole program, and
// shaders/README.md says what the modules expect.
//
// - Every function returns a status, WGPU_OPTIM_OK or why it failed, and says it in words where `error` is not null. Nothing is
//   written to a result then.
// - Pointers may be null, which is refused, or point to memory for their types. A text has as many bytes as is said, or a zero
//   at its end where no size is asked for.
// - Whatever an optimizer points to is its own and lives as long as it does, where nothing else is said.
// - There is no global state. Different threads may use different optimizers, one thread at a time the same one.
//
// MIT or Apache-2.0, as you like.

#ifndef WGPU_OPTIM_H
#define WGPU_OPTIM_H

#include <stddef.h>
#include <stdint.h>

// Everything went well.
#define WGPU_OPTIM_OK 0

// A pointer that must not be is null or not aligned.
#define WGPU_OPTIM_POINTER 1

// A text is not UTF-8.
#define WGPU_OPTIM_UTF8 2

// What was asked for is refused: options, shapes, limits, values out of range. The text names it.
#define WGPU_OPTIM_REFUSED 3

// An index, a name or a language that there is not.
#define WGPU_OPTIM_UNKNOWN 4

// The caller's memory is too short; nothing was written.
#define WGPU_OPTIM_TOO_SHORT 5

// A step out of turn: one that was recorded already, or one that leaves some out.
#define WGPU_OPTIM_OUT_OF_TURN 6

// A fault of this library. The optimizer may be destroyed, and nothing else.
#define WGPU_OPTIM_FAULT 7

// Bytes of the text of an error.
#define WGPU_OPTIM_ERROR_TEXT 1024

// The host's own buffer, number i of the description's `buffers`: it holds parameters or gradients.
#define WGPU_OPTIM_USAGE_OWN 0

// An arena that the host makes, for parameters or gradients: a storage buffer.
#define WGPU_OPTIM_USAGE_ARENA 1

// A storage buffer that the host makes; it is written by copies and read back.
#define WGPU_OPTIM_USAGE_STORAGE 2

// A uniform buffer that the host makes; it is written by copies.
#define WGPU_OPTIM_USAGE_UNIFORM 3

// A storage buffer that is read.
#define WGPU_OPTIM_BINDING_READ_ONLY 0

// A storage buffer that is read and written.
#define WGPU_OPTIM_BINDING_READ_WRITE 1

// The record of the step: a uniform buffer with a dynamic offset.
#define WGPU_OPTIM_BINDING_RECORD 2

// WGSL.
#define WGPU_OPTIM_LANGUAGE_WGSL 0

// SPIR-V 1.0, for Vulkan; everything is in descriptor set 0.
#define WGPU_OPTIM_LANGUAGE_SPIRV 1

// Metal Shading Language 2.0; binding i is `buffer(i)`. Compile it with fast math off.
#define WGPU_OPTIM_LANGUAGE_MSL 2

// HLSL for shader model 5.1; binding i is register `t`i, `u`i or `b`i of its kind. Compile it with IEEE strictness.
#define WGPU_OPTIM_LANGUAGE_HLSL 3

// GLSL ES 3.10; binding i is buffer binding i, of the record uniform binding i.
#define WGPU_OPTIM_LANGUAGE_GLSL 4

// Of a list of rows: one that comes from nowhere; zero, or what the host has written, with slots as at the start.
#define WGPU_OPTIM_NONE UINT32_MAX

// Added to a row of a list: its parameters and gradients are taken, and its slots are as at the start.
#define WGPU_OPTIM_FRESH (1 << 31)

// An optimizer. One thread at a time may use it.
typedef struct WgpuOptim WgpuOptim;

// What the device allows, in WebGPU's words; `wgpu_optim_limits` has what every device does.
typedef struct WgpuOptimLimits {
  // Bytes of the largest buffer.
  uint64_t max_buffer_size;
  // Bytes of the largest storage binding (Vulkan: `maxStorageBufferRange`).
  uint64_t max_storage_buffer_binding_size;
  // Alignment of a storage binding's offset, in bytes (Vulkan: `minStorageBufferOffsetAlignment`).
  uint32_t min_storage_buffer_offset_alignment;
  // Storage buffers that one shader may bind (Vulkan: `maxPerStageDescriptorStorageBuffers`).
  uint32_t max_storage_buffers_per_shader_stage;
  // Workgroups of a dispatch in one dimension (Vulkan: `maxComputeWorkGroupCount`).
  uint32_t max_compute_workgroups_per_dimension;
  // Invocations of a workgroup (Vulkan: `maxComputeWorkGroupInvocations`).
  uint32_t max_compute_invocations_per_workgroup;
  // Invocations of a workgroup in the first dimension (Vulkan: `maxComputeWorkGroupSize[0]`).
  uint32_t max_compute_workgroup_size_x;
  // 1 where one dispatch may bind overlapping ranges of a buffer to write: on every API but WebGPU in a browser.
  uint32_t overlapping_bindings;
  // 1 where the device is a CPU.
  uint32_t software;
} WgpuOptimLimits;

// Why a call failed. The caller's: nothing in it needs to be freed.
typedef struct WgpuOptimError {
  // What the call returned.
  uint32_t status;
  // In words, of UTF-8, ended by a zero; cut where it is longer. Empty after success.
  char text[WGPU_OPTIM_ERROR_TEXT];
} WgpuOptimError;

// How many there are of what is asked for by an index, and a few numbers.
typedef struct WgpuOptimCounts {
  // Buffers: first those of parameters and gradients, then those that the program needs.
  size_t buffers;
  // Layouts of bind groups (Vulkan: descriptor set layouts).
  size_t layouts;
  // Modules, a compute pipeline each.
  size_t modules;
  // Bind groups (Vulkan: descriptor sets).
  size_t bindings;
  // Dispatches of a step.
  size_t passes;
  // Parameter groups.
  size_t groups;
  // Tensors.
  size_t tensors;
  // Persistent words.
  size_t persistent;
  // Steps that may be recorded ahead of a submit.
  size_t steps_ahead;
  // Bytes of the slots.
  uint64_t state_bytes;
  // The program's hash: equal on every host.
  uint64_t hash;
} WgpuOptimCounts;

// A buffer of the program.
typedef struct WgpuOptimBuffer {
  // What it holds, for captures.
  const char *label;
  // Its size in bytes; of the host's own, at least.
  uint64_t size;
  // `WGPU_OPTIM_USAGE_…`
  uint32_t usage;
  // 1 where `wgpu_optim_buffer_contents` has more than zeros.
  uint32_t filled;
} WgpuOptimBuffer;

// The kinds of what is bound, `WGPU_OPTIM_BINDING_…`; their numbers count from 0.
typedef struct WgpuOptimLayout {
  // The kinds.
  const uint32_t *kinds;
  // How many.
  size_t count;
} WgpuOptimLayout;

// A compute pipeline.
typedef struct WgpuOptimModule {
  // What it does, for captures.
  const char *label;
  // Index of the layout of its one bind group.
  size_t layout;
  // Invocations of a workgroup, in x.
  uint32_t invocations;
} WgpuOptimModule;

// A module in some language.
typedef struct WgpuOptimCode {
  // Its text, which a zero ends, or the words of SPIR-V, aligned to 4.
  const uint8_t *bytes;
  // Its bytes, without that zero.
  size_t size;
  // The name of its entry point.
  const char *entry_point;
  // Of MSL: the bindings whose sizes in bytes stand, as one `uint` each, in the constant buffer `buffer(lengths_at)`.
  const uint32_t *lengths;
  // How many.
  size_t length_count;
  // See `lengths`.
  uint32_t lengths_at;
  // Of HLSL: the register `b` of three root constants, the workgroups of the dispatch in x, y and z.
  uint32_t workgroups_at;
} WgpuOptimCode;

// A range of bytes of a buffer.
typedef struct WgpuOptimSlice {
  // Index of the buffer.
  size_t buffer;
  // First byte.
  uint64_t offset;
  // Bytes.
  uint64_t size;
} WgpuOptimSlice;

// A bind group.
typedef struct WgpuOptimBindings {
  // Index of its layout.
  size_t layout;
  // What is bound, in the order of the layout.
  const struct WgpuOptimSlice *slices;
  // How many.
  size_t count;
} WgpuOptimBindings;

// A dispatch. Each reads what those before it wrote.
typedef struct WgpuOptimPass {
  // Index of its module.
  size_t module;
  // Index of its bind group.
  size_t bindings;
  // Workgroups in x and y; one in z.
  uint32_t workgroups[2];
} WgpuOptimPass;

// A tensor.
typedef struct WgpuOptimTensor {
  // Its name.
  const char *name;
  // Index of its group.
  size_t group;
  // Its elements, `float` each.
  uint64_t elements;
  // Where its parameters are.
  struct WgpuOptimSlice param;
  // Where its gradients are.
  struct WgpuOptimSlice grad;
} WgpuOptimTensor;

// Words that have a name.
typedef struct WgpuOptimWords {
  // `m/fc.weight` for a slot of a tensor; of the whole optimizer `skips`, `loss_scale`, `device_scalars`. Null where the name
  // was asked for, or there is none.
  const char *name;
  // Where they are, one behind the other.
  const struct WgpuOptimSlice *slices;
  // How many.
  size_t count;
} WgpuOptimWords;

// Bytes to write before a step runs.
typedef struct WgpuOptimWrite {
  // Index of the buffer.
  size_t buffer;
  // First byte in it.
  uint64_t offset;
  // The bytes.
  const uint8_t *bytes;
  // How many, a multiple of 4.
  size_t size;
} WgpuOptimWrite;

// What a step needs, until the next one is asked for.
typedef struct WgpuOptimStep {
  // What to write. The places belong to no step in flight.
  const struct WgpuOptimWrite *writes;
  // How many.
  size_t count;
  // The dynamic offset of the record, of every bind group.
  uint32_t record;
} WgpuOptimStep;

// What to write at once, until the next step or the next writes are asked for.
typedef struct WgpuOptimWrites {
  // What to write.
  const struct WgpuOptimWrite *writes;
  // How many.
  size_t count;
} WgpuOptimWrites;

// A text.
typedef struct WgpuOptimText {
  // UTF-8, which a zero ends.
  const char *text;
  // Its bytes, without that zero.
  size_t size;
} WgpuOptimText;

// What a tensor takes over, where names and shapes do not say it.
typedef struct WgpuOptimChange {
  // The name of a tensor of the new set.
  const char *tensor;
  // The name of the old one whose rows it takes over; null for a tensor that starts anew.
  const char *from;
  // For each new row the old one, `WGPU_OPTIM_NONE`, or a row + `WGPU_OPTIM_FRESH`. Null for a list on the device, which
  // nobody checks.
  const uint32_t *rows;
  // How many.
  size_t count;
  // The host's number for a list on the device.
  size_t list;
} WgpuOptimChange;

// Bytes to copy.
typedef struct WgpuOptimCopy {
  // From here, of the old optimizer's buffers.
  struct WgpuOptimSlice from;
  // To here, of the new one's.
  struct WgpuOptimSlice to;
} WgpuOptimCopy;

// A dispatch that moves rows. It binds three buffers to read (chunks, list, old words) and one to write (new words).
typedef struct WgpuOptimGather {
  // Its module; one of a few, which dispatches share.
  const struct WgpuOptimCode *code;
  // The words of the buffer of chunks.
  const uint32_t *chunks;
  // How many.
  size_t chunk_words;
  // The host's number of the list on the device, or `SIZE_MAX` for a range of `WgpuOptimMoves::lists`.
  size_t list;
  // First byte of that range; 0 from the start of a list on the device.
  uint64_t list_offset;
  // Bytes of the list.
  uint64_t list_size;
  // The old words that it binds, of the old optimizer's buffers.
  struct WgpuOptimSlice from;
  // The new words that it binds, of the new one's.
  struct WgpuOptimSlice to;
  // Workgroups in x and y; one in z.
  uint32_t workgroups[2];
} WgpuOptimGather;

// What takes a run over from another optimizer, until the new one takes over again: all copies, then all dispatches, which do not
// depend on one another.
typedef struct WgpuOptimMoves {
  // Copies; one from a place to itself, in a buffer that both have, is none.
  const struct WgpuOptimCopy *copies;
  // How many.
  size_t copy_count;
  // Dispatches.
  const struct WgpuOptimGather *passes;
  // How many.
  size_t pass_count;
  // The words of a buffer of lists.
  const uint32_t *lists;
  // How many.
  size_t list_words;
} WgpuOptimMoves;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version, a text that lives for ever.
const char *wgpu_optim_version(void);

// What every device of WebGPU allows: to start from.
struct WgpuOptimLimits wgpu_optim_limits(void);

// Makes an optimizer from a description, a JSON object of `size` bytes:
//
// `{"optimizer": "adamw", "lr": 1e-3, "max_grad_norm": 1,
//   "groups": [{"name": "decay"}, {"name": "no_decay", "weight_decay": 0}],
//   "buffers": [1048576],
//   "tensors": [{"name": "w", "shape": [64, 32], "group": "decay",
//                "param": {"buffer": 0, "offset": 0}, "grad": {"buffer": 0, "offset": 524288}}]}`
//
// `buffers` are the sizes of buffers of the caller's own, which the tensors' places name; tensors without places lie in arenas
// that the caller makes. The caller destroys what is written to `optimizer`, which is null after a failure.
uint32_t wgpu_optim_create(const char *description,
                           size_t size,
                           const struct WgpuOptimLimits *limits,
                           struct WgpuOptim **optimizer,
                           struct WgpuOptimError *error);

// Destroys an optimizer and sets the pointer to null, so that a call with it later is refused. Null is let be. No copy of the
// pointer may be used again.
void wgpu_optim_destroy(struct WgpuOptim **optimizer);

// How many there are of everything.
uint32_t wgpu_optim_counts(struct WgpuOptim *optimizer, struct WgpuOptimCounts *result, struct WgpuOptimError *error);

// A buffer: those of parameters and gradients come first.
uint32_t wgpu_optim_buffer(struct WgpuOptim *optimizer,
                           size_t index,
                           struct WgpuOptimBuffer *result,
                           struct WgpuOptimError *error);

// A layout of bind groups.
uint32_t wgpu_optim_layout(struct WgpuOptim *optimizer,
                           size_t index,
                           struct WgpuOptimLayout *result,
                           struct WgpuOptimError *error);

// A module, for a compute pipeline.
uint32_t wgpu_optim_module(struct WgpuOptim *optimizer,
                           size_t index,
                           struct WgpuOptimModule *result,
                           struct WgpuOptimError *error);

// A module in a language, `WGPU_OPTIM_LANGUAGE_…`; it is translated when it is first asked for.
uint32_t wgpu_optim_code(struct WgpuOptim *optimizer,
                         size_t index,
                         uint32_t language,
                         struct WgpuOptimCode *result,
                         struct WgpuOptimError *error);

// A bind group.
uint32_t wgpu_optim_bindings(struct WgpuOptim *optimizer,
                             size_t index,
                             struct WgpuOptimBindings *result,
                             struct WgpuOptimError *error);

// A dispatch of a step: all of them in order, every step, each behind what the one before wrote.
uint32_t wgpu_optim_pass(struct WgpuOptim *optimizer,
                         size_t index,
                         struct WgpuOptimPass *result,
                         struct WgpuOptimError *error);

// A tensor.
uint32_t wgpu_optim_tensor(struct WgpuOptim *optimizer,
                           size_t index,
                           struct WgpuOptimTensor *result,
                           struct WgpuOptimError *error);

// Words that persist from step to step: slots, counts, host scalars, what the whole optimizer keeps. Together with the
// parameters and `wgpu_optim_progress` they are the state of a run.
uint32_t wgpu_optim_persistent(struct WgpuOptim *optimizer,
                               size_t index,
                               struct WgpuOptimWords *result,
                               struct WgpuOptimError *error);

// Where words are that have a name: persistent ones, or what can be read after a step (`grad_norm`, two floats whose product is
// the norm of all gradients). The name in the result is null.
uint32_t wgpu_optim_words(struct WgpuOptim *optimizer,
                          const char *name,
                          struct WgpuOptimWords *result,
                          struct WgpuOptimError *error);

// Makes what step number `step` needs, 1 for the first; it counts as recorded then. Write everything before the step runs, and
// dispatch every pass. What `result` points to lives until the next step is asked for.
uint32_t wgpu_optim_next_step(struct WgpuOptim *optimizer,
                              uint64_t step,
                              struct WgpuOptimStep *result,
                              struct WgpuOptimError *error);

// Steps recorded.
uint32_t wgpu_optim_recorded(struct WgpuOptim *optimizer, uint64_t *result, struct WgpuOptimError *error);

// Leaves a tensor out of the next step, as one without a gradient: it is not decayed, nor moved by its momentum, and the step is
// none of its own. Needs `"own_steps": true` in the description.
uint32_t wgpu_optim_skip(struct WgpuOptim *optimizer,
                         size_t tensor,
                         struct WgpuOptimError *error);

// Where the mask of a tensor's rows is: of row i bit i % 32 of word i / 32. Steps that run afterwards leave out rows whose bit
// is 0; before the first step all are 1. Needs `"row_masks"` in the description: `"tensor_steps"` or `"row_steps"`.
uint32_t wgpu_optim_row_mask(struct WgpuOptim *optimizer,
                             size_t tensor,
                             struct WgpuOptimSlice *result,
                             struct WgpuOptimError *error);

// Starts a tensor anew, with the parameters as they are, or all of them where `tensor` is `SIZE_MAX`: what to write before the
// next step, which lives until then. One alone needs `"own_steps": true` in the description. Counts that were read before are
// not to be observed any more.
uint32_t wgpu_optim_reset(struct WgpuOptim *optimizer,
                          size_t tensor,
                          struct WgpuOptimWrites *result,
                          struct WgpuOptimError *error);

// Where the counts of the steps that the device has taken are, a word in each slice, if it is time to read them where the next
// step begins; else no slices. Give the words to `wgpu_optim_observe` whenever they are known. Where steps may be skipped, a host
// that never does comes to the end of the steps that it may record.
uint32_t wgpu_optim_wants_count(struct WgpuOptim *optimizer,
                                struct WgpuOptimWords *result,
                                struct WgpuOptimError *error);

// Learns the `size` counts that were read where `recorded` steps were recorded, by `wgpu_optim_recorded`.
uint32_t wgpu_optim_observe(struct WgpuOptim *optimizer,
                            uint64_t recorded,
                            const uint32_t *counts,
                            size_t size,
                            struct WgpuOptimError *error);

// A number of a group's rule by its name, such as `lr`.
uint32_t wgpu_optim_get(struct WgpuOptim *optimizer,
                        size_t group,
                        const char *name,
                        double *result,
                        struct WgpuOptimError *error);

// Sets a number of a group's rule by its name, such as `lr`, from the next step on.
uint32_t wgpu_optim_set(struct WgpuOptim *optimizer,
                        size_t group,
                        const char *name,
                        double value,
                        struct WgpuOptimError *error);

// Changes options of a group's rule, a JSON object, from the next step on.
uint32_t wgpu_optim_change_group(struct WgpuOptim *optimizer,
                                 size_t group,
                                 const char *options,
                                 size_t size,
                                 struct WgpuOptimError *error);

// Changes numbers of what stands around the rule, a JSON object, from the next step on.
uint32_t wgpu_optim_change_wrappers(struct WgpuOptim *optimizer,
                                    const char *options,
                                    size_t size,
                                    struct WgpuOptimError *error);

// Writes what a buffer holds before the first step into the caller's memory, as many bytes as the buffer has.
uint32_t wgpu_optim_buffer_contents(struct WgpuOptim *optimizer,
                                    size_t index,
                                    void *bytes,
                                    uint64_t size,
                                    struct WgpuOptimError *error);

// What the library remembers of the run, as JSON, until it is asked for again. To go on in another process, or on another device,
// with the same bits: make an optimizer of the same description and limits, set the numbers that were changed, write all
// persistent words, and give it this with `wgpu_optim_resume`.
uint32_t wgpu_optim_progress(struct WgpuOptim *optimizer,
                             struct WgpuOptimText *result,
                             struct WgpuOptimError *error);

// Goes on from what `wgpu_optim_progress` said.
uint32_t wgpu_optim_resume(struct WgpuOptim *optimizer,
                           const char *progress,
                           size_t size,
                           struct WgpuOptimError *error);

// Goes on where `old` is, with another set of tensors: those of the same name and shape are taken over, and those that the
// `count` changes name; the others start as in a new optimizer. The run is `optimizer`'s from here on: make the copies and the
// dispatches of `result`, whose modules are of `language`, behind all steps of `old`. That stays as it is; destroy it once they
// are done.
uint32_t wgpu_optim_take_over(struct WgpuOptim *optimizer,
                              const struct WgpuOptim *old,
                              const struct WgpuOptimChange *changes,
                              size_t count,
                              uint32_t language,
                              struct WgpuOptimMoves *result,
                              struct WgpuOptimError *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WGPU_OPTIM_H */
