//! States as safetensors: readable by every library for that format, and by [`OptimizerState`] again. Feature `checkpoint`.

use super::{OptimizerState, refused};
use crate::error::Error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
#[cfg(not(target_arch = "wasm32"))]
use std::{io::Write, path::Path};

/// The key of the metadata that says what the words are of.
const ABOUT: &str = "wgpu-optim";

impl OptimizerState {
    /// A safetensors file: parameters as `param/<name>` and slots as `<slot>/<name>` in the tensors' shapes, f32; counts and rows
    /// as u32. Its metadata has the configuration under `wgpu-optim`.
    ///
    /// # Errors
    /// [`Error::State`] where the library for the format refuses it.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let views = self.words().map(|(name, words)| {
            let is_count = name.starts_with("steps/") || name == "rows";
            let dtype = if is_count { Dtype::U32 } else { Dtype::F32 };
            let view = TensorView::new(dtype, self.shape_of(name, words.len()), bytemuck::cast_slice(words));
            view.map(|view| (name, view)).map_err(|error| refused(format!("'{name}': {error}")))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        let metadata = HashMap::from([(ABOUT.to_string(), self.about())]);
        serialize(views, Some(metadata)).map_err(|error| refused(error.to_string()))
    }

    /// The shape of a tensor, with the length of a ring before it; of everything else its number of words.
    fn shape_of(&self, name: &str, len: usize) -> Vec<usize> {
        let tensor = name.split_once('/').and_then(|(_, tensor)| self.shape(tensor));
        let sides: Vec<usize> = tensor.unwrap_or_default().iter().map(|side| *side as usize).collect();
        let elements: usize = sides.iter().product();
        match tensor {
            Some(_) if elements == len => sides,
            Some(_) if elements > 0 && len.is_multiple_of(elements) => {
                [&[len / elements], &sides[..]].concat()
            }
            _ => vec![len],
        }
    }

    /// Reads it again. Allocates no more than the file's size, twice.
    ///
    /// # Errors
    /// [`Error::State`] for a file that is no safetensors, is cut or altered, has no configuration of ours or one of another
    /// version.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| refused(format!("no safetensors: {error}")))?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ABOUT));
        let about = about.ok_or_else(|| refused(format!("its metadata has no '{ABOUT}'")))?;
        let file =
            SafeTensors::deserialize(bytes).map_err(|error| refused(format!("no safetensors: {error}")))?;
        let mut words = BTreeMap::new();
        for (name, view) in file.iter() {
            if !matches!(view.dtype(), Dtype::F32 | Dtype::U32) {
                return Err(refused(format!("'{name}' is of {:?}, not of f32 or u32", view.dtype())));
            }
            let four = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            words.insert(name.to_string(), view.data().chunks_exact(4).map(four).collect());
        }
        Self::from_parts(about, words)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl OptimizerState {
    /// Writes it to a file, whole or not at all: beside it first, then in its place.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses; the file is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_safetensors()?;
        write_whole(path, &bytes).map_err(|error| failed(path, &error))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, and as [`from_safetensors`](OptimizerState::from_safetensors).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| failed(path, &error))?;
        Self::from_safetensors(&bytes)
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

/// A crash leaves the file as it was, or as it is to be: the bytes are on the disk before it gets its name.
#[cfg(not(target_arch = "wasm32"))]
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new();
    // As any other file of the user's, who may have forbidden more.
    #[cfg(unix)]
    beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = beside.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name too; not every system can.
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}
