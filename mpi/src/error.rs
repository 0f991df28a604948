//! What can go wrong.

use std::path::PathBuf;
use std::time::Duration;

/// What a sharded optimizer answers with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the library refuses.
    #[error(transparent)]
    Library(#[from] wgpu_optim::Error),

    /// A rank has another model, rule, option or version than rank 0.
    #[error("rank {rank} differs from rank 0: {what}")]
    Differs {
        /// The first that does.
        rank: usize,
        /// The first difference, with both values.
        what: String,
    },

    /// A rank could not do its part.
    #[error("rank {rank} failed: {what}")]
    Failed {
        /// The first that did.
        rank: usize,
        /// What it said.
        what: String,
    },

    /// The other ranks do not answer: one is dead, hangs, or does something else.
    #[error("no answer from all {ranks} ranks within {} s: {what}", after.as_secs_f64())]
    NoAnswer {
        /// How many there should be.
        ranks: usize,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },

    /// An option that has no meaning yet where state is shared out.
    #[error("'{option}' cannot be shared out over ranks: {why}")]
    Unsupported {
        /// Its name.
        option: &'static str,
        /// The reason.
        why: &'static str,
    },

    /// A buffer of the host's that cannot be read or written.
    #[error("tensor '{tensor}': its {role} buffer needs COPY_SRC and COPY_DST")]
    Buffer {
        /// Its name.
        tensor: String,
        /// Parameter or gradient.
        role: &'static str,
    },

    /// Saved shares that are not a whole run.
    #[error("the saved run at '{path}' is refused: {reason}")]
    Checkpoint {
        /// Where it was looked for.
        path: PathBuf,
        /// What is missing or does not belong together.
        reason: String,
    },

    /// What the system refuses.
    #[error("'{path}': {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
