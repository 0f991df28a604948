//! [wgpu-optim](https://docs.rs/wgpu-optim)'s optimizers with their state shared out over MPI ranks, as PyTorch's
//! `ZeroRedundancyOptimizer` and DeepSpeed's ZeRO stage 1 do: every rank has all parameters and gradients, and keeps and updates
//! the state of its share.
//!
//! ```no_run
//! use wgpu_optim_mpi::{Sharding, ShardedOptimizer, mpi};
//! use wgpu_optim::{Options, ParamSet, rules::Adam};
//! # fn f(device: wgpu::Device, queue: wgpu::Queue) -> Result<(), Box<dyn std::error::Error>> {
//! let universe = mpi::initialize().ok_or("MPI was initialised before")?;
//! let world = universe.world();
//! let mut params = ParamSet::builder();
//! let all = params.group("all");
//! let weight = params.tensor("weight", [4096, 1024], all);
//! let params = params.build(&device)?;
//! let mut optimizer = ShardedOptimizer::new(
//!     &world, &device, &queue, &params, [Adam::adamw()], &Options::default(), &Sharding::default(),
//! )?;
//! for _ in 0..100 {
//!     // Each rank's backward pass writes the gradients of its own examples, and is submitted.
//!     optimizer.step()?;
//! }
//! # Ok(()) }
//! ```
//!
//! # What a step does
//!
//! 1. Gradients come down in buckets. While the next comes down, each bucket is on its way: every rank sends every other what
//!    that one owns (`MPI_Ialltoallv`, the bytes of a reduce-scatter).
//! 2. The owner adds up what came **in the order of the ranks**, (((g0 + g1) + g2) + …), in f32, and divides by their number
//!    ([`Reduction::Mean`]). The order does not depend on the MPI library, nor on how the model is dealt.
//! 3. One dispatch updates the share. What is over all tensors (the norm of all gradients, whether some overflows) has stages: the
//!    terms of all tiles come together (`MPI_Iallgatherv`, 16 bytes for some thousand elements), and every rank adds them up in the
//!    order in which one device with all tensors would. So all agree without talk: on the norm, on skipping, on the loss scale.
//! 4. Parameters come down, go to all (`MPI_Iallgatherv`) and up.
//!
//! Micro-batches are added up by the host in its gradient buffers, as on one device
//! ([`grad_accumulation_steps`](wgpu_optim::Wrappers::grad_accumulation_steps)), and a step is taken once for all of them; what a
//! rank has added up is not saved: save between steps.
//!
//! N ranks have the bits of one device that was given the reduced gradients, wherever tensors stay whole. Of a tensor that is cut by
//! rows, tiles begin elsewhere, which changes the last bit of a norm over all gradients and nothing else.
//!
//! # How a model is dealt
//!
//! Tensors go by their bytes, the largest first, to the rank that has least ([`deal`]); where elements do not know one another
//! ([`Program::is_element_wise`](wgpu_optim::program::Program::is_element_wise)), large ones are cut into ranges of rows first,
//! until no rank has more than its fair share and one in a hundred. Every rank works this out by itself.
//!
//! # Time
//!
//! Everything waits at most [`Sharding::timeout`] for the other ranks. A step that found no answer is
//! [`Error::NoAnswer`], and the optimizer is of no more use; end all with `world.abort(1)`.

mod agree;
mod buckets;
mod checkpoint;

pub mod deal;
mod error;
mod optimizer;
mod prepare;
mod talk;
mod terms;

pub use agree::everyone;

pub use error::Error;
pub use mpi;
pub use optimizer::{Reduction, ShardedOptimizer, Sharding, Timings};
