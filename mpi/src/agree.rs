//! Whether all ranks mean the same.

use crate::error::Error;
use crate::talk::Talk;
use mpi::topology::Communicator;
use std::fmt::Display;
use std::time::Duration;

/// What a rank means, line by line: what it is about, and its value.
pub type Lines = Vec<(String, String)>;

/// Refuses ranks that mean something else than rank 0: on all ranks with the same error.
///
/// # Errors
/// [`Error::Differs`], [`Error::NoAnswer`].
pub fn compare(talk: &Talk, own: &Lines) -> Result<(), Error> {
    let lines: Vec<String> = own.iter().map(|(about, value)| format!("{about}\t{value}")).collect();
    let text = if talk.rank() == 0 { lines.join("\n") } else { String::new() };
    let theirs = talk.texts(&text, "whether all ranks have the same model")?.swap_remove(0);
    let theirs: Vec<&str> = theirs.lines().collect();
    let place = (0..lines.len().max(theirs.len()))
        .find(|at| lines.get(*at).map(String::as_str) != theirs.get(*at).copied());
    let difference = place.map_or(String::new(), |at| {
        let split = |line: Option<&str>| {
            let (about, value) = line?.split_once('\t')?;
            Some((about.to_string(), value.to_string()))
        };
        let (own, theirs) = (split(lines.get(at).map(String::as_str)), split(theirs.get(at).copied()));
        let about = own.as_ref().or(theirs.as_ref()).map_or(String::new(), |(about, _)| about.clone());
        // Where one has more of a kind, the other has another line there.
        let value = |line: Option<(String, String)>| {
            line.filter(|(other, _)| *other == about).map_or("nothing".into(), |(_, value)| value)
        };
        format!("{about}: {} here, {} there", value(own), value(theirs))
    });
    let all = talk.texts(&difference, "whether all ranks have the same model")?;
    match all.into_iter().enumerate().find(|(_, difference)| !difference.is_empty()) {
        Some((rank, what)) => Err(Error::Differs { rank, what }),
        None => Ok(()),
    }
}

/// What each rank came to: its own result where all succeeded; else what the first that failed said, on all ranks. For what
/// one rank may be unable to do, such as finding an adapter, before the others wait for it.
///
/// ```no_run
/// # use std::time::Duration;
/// # use wgpu_optim_mpi::{everyone, mpi};
/// # fn open() -> Result<u32, String> { Ok(1) }
/// # fn f(world: &mpi::topology::SimpleCommunicator) -> Result<(), Box<dyn std::error::Error>> {
/// let device = everyone(world, open(), Duration::from_secs(60))?;
/// # let _ = device; Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Failed`], [`Error::NoAnswer`].
pub fn everyone<T, E: Display>(
    world: &impl Communicator,
    own: Result<T, E>,
    timeout: Duration,
) -> Result<T, Error> {
    together(&Talk::new(world, timeout), own)
}

/// The same among ranks that talk already.
pub fn together<T, E: Display>(talk: &Talk, own: Result<T, E>) -> Result<T, Error> {
    // Nothing is what those say that succeeded.
    let said = own.as_ref().err().map_or(String::new(), |error| format!("{error:#} "));
    let all = talk.texts(&said, "whether all ranks succeeded")?;
    match (own, all.into_iter().enumerate().find(|(_, said)| !said.is_empty())) {
        (Ok(own), None) => Ok(own),
        (_, failed) => {
            let (rank, what) = failed.unwrap_or((talk.rank(), said));
            Err(Error::Failed { rank, what: what.trim_end().into() })
        }
    }
}
