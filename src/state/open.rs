//! A file whose words are read one tensor at a time: a state need not fit into the host's memory. Feature `checkpoint`.

use super::counts::is_of_counts;
use super::file::{ABOUT, dtypes, failed};
use super::{OptimizerState, refused};
use crate::error::Error;
use crate::program::ELEMENT;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes before the header: its length.
const LENGTH: usize = 8;

/// A safetensors file of a state, open: what it is of is read, and words are read when they are asked for.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: File,
    about: String,
    /// First byte and number of words of each tensor.
    places: BTreeMap<String, (u64, usize)>,
}

impl StateFile {
    /// Opens a file and reads its header. Allocates no more than that has.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, [`Error::State`] for a file that is no safetensors, is cut, or has no
    /// configuration of ours.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, mut file) = opened.map_err(|error| failed(path, &error))?;
        let foreign = |error: &dyn std::fmt::Display| refused(format!("no safetensors: {error}"));
        let mut length = [0; LENGTH];
        let header = file.read_exact(&mut length).map(|()| u64::from_le_bytes(length));
        let size = header.map_err(|error| foreign(&error))?;
        let first = size.checked_add(LENGTH as u64).filter(|first| *first <= len);
        let first = first.ok_or_else(|| foreign(&format!("a header of {size} bytes in a file of {len}")))?;
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(|error| failed(path, &error))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| foreign(&error))?;
        if first + header.data_len() as u64 != len {
            return Err(foreign(&format!("{} bytes of words in a file of {len}", header.data_len())));
        }
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ABOUT));
        let about = about.ok_or_else(|| refused(format!("its metadata has no '{ABOUT}'")))?.clone();
        let mut places = BTreeMap::new();
        for (name, info) in header.tensors() {
            dtypes(&name, info.dtype)?;
            let (start, end) = info.data_offsets;
            places.insert(name, (first + start as u64, (end - start) / ELEMENT as usize));
        }
        Ok(Self { path: path.into(), file, about, places })
    }

    /// How many words it has of this name.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.places.get(name).map(|(_, count)| *count)
    }

    /// The words of this name.
    ///
    /// # Errors
    /// [`Error::State`] where there are none, [`Error::File`] where the system refuses.
    pub fn read(&mut self, name: &str) -> Result<Vec<u32>, Error> {
        let place = self.places.get(name).copied();
        let (first, count) = place.ok_or_else(|| refused(format!("'{name}' is not in it")))?;
        let mut words = vec![0u32; count];
        let bytes = bytemuck::cast_slice_mut(&mut words);
        self.file
            .seek(SeekFrom::Start(first))
            .and_then(|_| self.file.read_exact(bytes))
            .map_err(|error| failed(&self.path, &error))?;
        words.iter_mut().for_each(|word| *word = u32::from_le(*word));
        Ok(words)
    }

    /// The state without what there may be much of: slots, parameters, and whatever else is of a tensor.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::State`] of another version.
    pub fn state_without_slots(&mut self) -> Result<OptimizerState, Error> {
        self.state_of(|name| is_of_counts(name) || !name.contains('/') || name.starts_with("host/"))
    }

    /// The whole state.
    pub(super) fn state(mut self) -> Result<OptimizerState, Error> {
        self.state_of(|_| true)
    }

    fn state_of(&mut self, wanted: impl Fn(&str) -> bool) -> Result<OptimizerState, Error> {
        // In the order of the file.
        let mut names: Vec<(u64, String)> =
            self.places.iter().map(|(name, (first, _))| (*first, name.clone())).collect();
        names.retain(|(_, name)| wanted(name));
        names.sort();
        let mut words = BTreeMap::new();
        for (_, name) in names {
            let own = self.read(&name)?;
            words.insert(name, own);
        }
        OptimizerState::from_parts(&self.about, words)
    }
}
