//! States as safetensors: readable by every library for that format, and by [`OptimizerState`] again. Feature `checkpoint`.

#[cfg(not(target_arch = "wasm32"))]
use super::StateFile;
use super::counts::is_of_counts;
use super::{OptimizerState, refused};
use crate::error::Error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
#[cfg(not(target_arch = "wasm32"))]
use safetensors::tensor::{View, serialize_to_file};
use std::collections::{BTreeMap, HashMap};
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
#[cfg(not(target_arch = "wasm32"))]
use std::{borrow::Cow, cell::RefCell};

/// The key of the metadata that says what the words are of.
pub(super) const ABOUT: &str = "wgpu-optim";

impl OptimizerState {
    /// A safetensors file: parameters as `param/<name>` and slots as `<slot>/<name>` in the tensors' shapes, f32; counts and rows
    /// as u32. Its metadata has the configuration under `wgpu-optim`.
    ///
    /// # Errors
    /// [`Error::State`] where the library for the format refuses it.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let views = self.words().map(|(name, words)| {
            let view = TensorView::new(
                dtype_of(name),
                self.shape_of(name, words.len()),
                bytemuck::cast_slice(words),
            );
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
            dtypes(name, view.dtype())?;
            let four = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            words.insert(name.to_string(), view.data().chunks_exact(4).map(four).collect());
        }
        Self::from_parts(about, words)
    }
}

/// Refuses words of another kind.
pub(super) fn dtypes(name: &str, dtype: Dtype) -> Result<(), Error> {
    if matches!(dtype, Dtype::F32 | Dtype::U32) {
        return Ok(());
    }
    Err(refused(format!("'{name}' is of {dtype:?}, not of f32 or u32")))
}

/// Counts and host scalars are bits, not numbers.
fn dtype_of(name: &str) -> Dtype {
    let counts = is_of_counts(name) || name.starts_with("row_steps/");
    if counts { Dtype::U32 } else { Dtype::F32 }
}

#[cfg(not(target_arch = "wasm32"))]
impl OptimizerState {
    /// As [`save`](OptimizerState::save), with words that are too many to hold at once: `tensors` gives their names (`m/w`,
    /// `param/w`) and numbers, and `read` is asked for each when its turn comes. The file is the one of a state that has
    /// them all.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, [`Error::State`] where `read` gives another number of words, and whatever
    /// `read` answers; the file is then as it was.
    pub fn save_with(
        &self,
        path: impl AsRef<Path>,
        tensors: &[(String, usize)],
        read: impl FnMut(&str) -> Result<Vec<u32>, Error>,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        let reader = RefCell::new(Reader { read, failed: None });
        let own = self.words().map(|(name, words)| (name, words.len(), Some(words)));
        let more = tensors.iter().map(|(name, count)| (&name[..], *count, None));
        let views = own.chain(more).map(|(name, count, words)| {
            (name, Streamed { name, shape: self.shape_of(name, count), count, words, reader: &reader })
        });
        let metadata = HashMap::from([(ABOUT.to_string(), self.about())]);
        let written = write_beside(path, |beside| {
            serialize_to_file(views, Some(metadata), beside).map_err(std::io::Error::other)?;
            let failed = reader.borrow_mut().failed.take();
            Ok(failed.map_or(Ok(()), Err))
        });
        written.map_err(|error| failed(path, &error))?
    }

    /// Writes it to a file, whole or not at all: beside it first, then in its place. A process that is killed meanwhile leaves
    /// the file as it was, and an unfinished one beside it, `.tmp…`.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses; the file is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = self.to_safetensors()?;
        write_beside(path, |beside| std::fs::write(beside, &bytes).map(Ok))
            .map_err(|error| failed(path, &error))?
    }

    /// Reads a file. Allocates no more than its size.
    ///
    /// # Errors
    /// [`Error::File`] where the system refuses, and as [`from_safetensors`](OptimizerState::from_safetensors).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        StateFile::open(path)?.state()
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

/// What reads words, and its first error: the library for the format asks for bytes, which cannot fail.
#[cfg(not(target_arch = "wasm32"))]
struct Reader<F> {
    read: F,
    failed: Option<Error>,
}

/// A tensor of a file whose words are there, or are read when it is written.
#[cfg(not(target_arch = "wasm32"))]
struct Streamed<'a, F> {
    name: &'a str,
    shape: Vec<usize>,
    count: usize,
    words: Option<&'a [u32]>,
    reader: &'a RefCell<Reader<F>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl<F: FnMut(&str) -> Result<Vec<u32>, Error>> View for Streamed<'_, F> {
    fn dtype(&self) -> Dtype {
        dtype_of(self.name)
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if let Some(words) = self.words {
            return bytemuck::cast_slice(words).into();
        }
        let mut reader = self.reader.borrow_mut();
        // After an error nothing of the file is used.
        if reader.failed.is_none() {
            match (reader.read)(self.name) {
                Ok(words) if words.len() == self.count => {
                    return bytemuck::cast_slice(&words).to_vec().into();
                }
                Ok(words) => {
                    let got = words.len();
                    reader.failed =
                        Some(refused(format!("'{}' has {got} words, not {}", self.name, self.count)));
                }
                Err(error) => reader.failed = Some(error),
            }
        }
        vec![].into()
    }

    fn data_len(&self) -> usize {
        self.count * 4
    }
}

/// A crash leaves the file as it was, or as it is to be: the bytes are on the disk before it gets its name.
#[cfg(not(target_arch = "wasm32"))]
fn write_beside<T>(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<Result<T, Error>>,
) -> std::io::Result<Result<T, Error>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new();
    // As any other file of the user's, who may have forbidden more.
    #[cfg(unix)]
    beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = beside.tempfile_in(folder)?;
    let permissions = file.as_file().metadata()?.permissions();
    let beside = file.into_temp_path();
    let written = write(&beside)?;
    if written.is_ok() {
        // It may be another file by now.
        std::fs::set_permissions(&beside, permissions)?;
        std::fs::File::options().append(true).open(&beside)?.sync_all()?;
        beside.persist(path).map_err(|error| error.error)?;
        // The name too; not every system can.
        if let Ok(folder) = std::fs::File::open(folder) {
            let _ = folder.sync_all();
        }
    }
    Ok(written)
}
