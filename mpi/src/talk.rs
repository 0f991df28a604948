//! What ranks tell one another, waited for no longer than is allowed. All of it is words of 32 bits.

use crate::buckets::starts;
use crate::error::Error;
use mpi::ffi::{self, MPI_Comm, MPI_Request};
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::AsRaw;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A group of ranks that only this crate talks in.
pub struct Talk {
    comm: SimpleCommunicator,
    timeout: Duration,
    /// Memory that was used before: new one costs more than what is copied into it.
    spare: Mutex<Vec<Vec<u32>>>,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").field("rank", &self.rank()).field("ranks", &self.ranks()).finish()
    }
}

/// Something on its way. What is sent and received stays where it is until it has come.
#[derive(Debug)]
#[must_use = "what is on its way has to be waited for"]
pub struct OnItsWay {
    request: MPI_Request,
    is_done: bool,
    words: Words,
    ranks: usize,
    what: &'static str,
}

/// The memory that MPI reads and writes; moving a `Vec` leaves its elements where they are.
#[derive(Debug, Default)]
struct Words {
    sent: Vec<u32>,
    came: Vec<u32>,
    /// Counts and starts of both, in that order.
    places: [Vec<i32>; 4],
}

impl Talk {
    /// Among the ranks of `world`, which all have to call this.
    pub fn new(world: &impl Communicator, timeout: Duration) -> Self {
        Self { comm: world.duplicate(), timeout, spare: Mutex::default() }
    }

    /// So many words, of any value, in memory that was given back if there is some.
    pub fn take(&self, len: usize) -> Vec<u32> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = (0..spare.len()).filter(|at| spare[*at].capacity() >= len);
        let smallest = fitting.min_by_key(|at| spare[*at].capacity());
        let mut words = smallest.map(|at| spare.swap_remove(at)).unwrap_or_default();
        words.resize(len, 0);
        words
    }

    /// Memory that is no longer needed.
    pub fn give_back(&self, words: Vec<u32>) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    pub fn rank(&self) -> usize {
        self.comm.rank() as usize
    }

    pub fn ranks(&self) -> usize {
        self.comm.size() as usize
    }

    fn raw(&self) -> MPI_Comm {
        self.comm.as_raw()
    }

    /// Sends `counts[r]` words to each rank r, one behind the other; `from[r]` come from each.
    pub fn to_each(&self, sent: Vec<u32>, counts: &[i32], from: &[i32], what: &'static str) -> OnItsWay {
        let places = [counts.to_vec(), starts(counts), from.to_vec(), starts(from)];
        let came = self.take(from.iter().map(|count| *count as usize).sum());
        let mut words = Words { sent, came, places };
        assert!(words.sent.len() == counts.iter().map(|count| *count as usize).sum::<usize>());
        let mut request = unset();
        // SAFETY: counts and starts lie within `sent` and `came`, whose elements stay where they are until the request is
        // done: `OnItsWay` owns them and leaks them if it is dropped before.
        unsafe {
            ffi::MPI_Ialltoallv(
                words.sent.as_ptr().cast(),
                words.places[0].as_ptr(),
                words.places[1].as_ptr(),
                ffi::RSMPI_UINT32_T,
                words.came.as_mut_ptr().cast(),
                words.places[2].as_ptr(),
                words.places[3].as_ptr(),
                ffi::RSMPI_UINT32_T,
                self.raw(),
                &mut request,
            );
        }
        OnItsWay { request, is_done: false, words, ranks: self.ranks(), what }
    }

    /// Sends the same words to all; `counts[r]` come from each rank r.
    pub fn to_all(&self, sent: Vec<u32>, counts: &[i32], what: &'static str) -> OnItsWay {
        let places = [vec![], vec![], counts.to_vec(), starts(counts)];
        let came = self.take(counts.iter().map(|count| *count as usize).sum());
        let mut words = Words { sent, came, places };
        assert!(words.sent.len() == counts[self.rank()] as usize);
        let mut request = unset();
        // SAFETY: as above.
        unsafe {
            ffi::MPI_Iallgatherv(
                words.sent.as_ptr().cast(),
                words.sent.len() as i32,
                ffi::RSMPI_UINT32_T,
                words.came.as_mut_ptr().cast(),
                words.places[2].as_ptr(),
                words.places[3].as_ptr(),
                ffi::RSMPI_UINT32_T,
                self.raw(),
                &mut request,
            );
        }
        OnItsWay { request, is_done: false, words, ranks: self.ranks(), what }
    }

    /// Waits for it: what came.
    ///
    /// # Errors
    /// [`Error::NoAnswer`].
    pub fn finish(&self, mut on_its_way: OnItsWay) -> Result<Vec<u32>, Error> {
        let start = Instant::now();
        while !on_its_way.is_done() {
            if start.elapsed() > self.timeout {
                let OnItsWay { ranks, what, .. } = on_its_way;
                return Err(Error::NoAnswer { ranks, what, after: self.timeout });
            }
            // Ranks may share a core.
            std::thread::yield_now();
        }
        let Words { sent, came, .. } = std::mem::take(&mut on_its_way.words);
        self.give_back(sent);
        Ok(came)
    }

    /// A text of each rank's, to all.
    ///
    /// # Errors
    /// [`Error::NoAnswer`].
    pub fn texts(&self, own: &str, what: &'static str) -> Result<Vec<String>, Error> {
        let bytes = own.as_bytes();
        let lens = self.finish(self.to_all(vec![bytes.len() as u32], &vec![1; self.ranks()], what))?;
        let words: Vec<u32> = bytes
            .chunks(4)
            .map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
            .collect();
        let counts: Vec<i32> = lens.iter().map(|len| len.div_ceil(4) as i32).collect();
        let all = self.finish(self.to_all(words, &counts, what))?;
        let text = |(rank, len): (usize, &u32)| {
            let from = starts(&counts)[rank] as usize;
            let words = &all[from..from + counts[rank] as usize];
            let bytes: Vec<u8> =
                words.iter().flat_map(|word| word.to_le_bytes()).take(*len as usize).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(lens.iter().enumerate().map(text).collect())
    }
}

fn unset() -> MPI_Request {
    // SAFETY: a constant of the library's.
    unsafe { ffi::RSMPI_REQUEST_NULL }
}

impl OnItsWay {
    /// Whether it has come. MPI goes on with what is on its way while it is asked.
    pub fn is_done(&mut self) -> bool {
        if !self.is_done {
            let mut flag = 0;
            // SAFETY: the request was made and is not done yet.
            unsafe { ffi::MPI_Test(&mut self.request, &mut flag, ffi::RSMPI_STATUS_IGNORE) };
            self.is_done = flag != 0;
        }
        self.is_done
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if !self.is_done {
            // MPI may still write into it.
            std::mem::forget(std::mem::take(&mut self.words));
        }
    }
}
