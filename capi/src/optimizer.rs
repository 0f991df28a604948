//! An optimizer as C holds it: the core's, and in C's shape everything that is asked for.

use crate::code::Kept;
use crate::guard::{
    Failure, WGPU_OPTIM_FAULT, WGPU_OPTIM_OUT_OF_TURN, WGPU_OPTIM_REFUSED, WGPU_OPTIM_TOO_SHORT,
    WGPU_OPTIM_UNKNOWN, utf8,
};
use crate::moves::Given;
use crate::types::*;
use crate::writes::Writes;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use wgpu_optim::Description;
use wgpu_optim::export::{Language, translate};
use wgpu_optim::program::{Binding, Slice, Usage};

/// An optimizer. One thread at a time may use it.
pub struct WgpuOptim {
    pub(crate) described: Description,
    /// Texts that C has pointers to.
    texts: Texts,
    layouts: Vec<Box<[u32]>>,
    bindings: Vec<Box<[WgpuOptimSlice]>>,
    persistent: Vec<(String, Box<[WgpuOptimSlice]>)>,
    readings: Vec<(String, Box<[WgpuOptimSlice]>)>,
    /// The counts of the steps taken.
    counted: Box<[WgpuOptimSlice]>,
    code: BTreeMap<(usize, Language), Kept>,
    /// Of the step or the reset made last.
    writes: Writes,
    /// The progress that was asked for last.
    progress: CString,
    /// What took over last.
    pub(crate) taken: Given,
}

/// Labels and names, each ended by a zero.
struct Texts {
    buffers: Vec<CString>,
    modules: Vec<CString>,
    tensors: Vec<CString>,
    persistent: Vec<CString>,
}

/// A zero inside a name would end it: what stands before it is kept.
pub(crate) fn ended(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

pub(crate) fn slice(slice: &Slice) -> WgpuOptimSlice {
    WgpuOptimSlice { buffer: slice.buffer as usize, offset: slice.offset, size: slice.size }
}

fn slices(all: &[Slice]) -> Box<[WgpuOptimSlice]> {
    all.iter().map(slice).collect()
}

/// What has this index among things of one kind.
pub(crate) fn find<'a, T>(all: &'a [T], what: &str, index: usize) -> Result<&'a T, Failure> {
    all.get(index).ok_or_else(|| Failure::unknown(what, index, all.len()))
}

fn pointer(text: &CString) -> *const c_char {
    text.as_ptr()
}

impl WgpuOptim {
    pub(crate) fn new(described: Description) -> Self {
        let program = &described.program;
        let kind = |binding: &Binding| match binding {
            Binding::ReadOnly => WGPU_OPTIM_BINDING_READ_ONLY,
            Binding::ReadWrite => WGPU_OPTIM_BINDING_READ_WRITE,
            Binding::Record => WGPU_OPTIM_BINDING_RECORD,
        };
        let persistent: Vec<_> =
            program.persistent().into_iter().map(|words| (words.name, slices(&words.slices))).collect();
        let readings = program.readings.iter().map(|words| (words.name.clone(), slices(&words.slices)));
        let texts = Texts {
            buffers: program.buffers.iter().map(|buffer| ended(&buffer.label)).collect(),
            modules: program.modules.iter().map(|module| ended(&module.label)).collect(),
            tensors: program.tensors.iter().map(|tensor| ended(&tensor.name)).collect(),
            persistent: persistent.iter().map(|(name, _)| ended(name)).collect(),
        };
        Self {
            texts,
            layouts: program.layouts.iter().map(|layout| layout.iter().map(kind).collect()).collect(),
            bindings: program.bindings.iter().map(|group| slices(&group.slices)).collect(),
            readings: readings.collect(),
            counted: slices(&program.rows.counts()),
            persistent,
            code: BTreeMap::new(),
            writes: Writes::default(),
            progress: CString::default(),
            taken: Given::default(),
            described,
        }
    }

    pub(crate) fn counts(&self) -> WgpuOptimCounts {
        let program = &self.described.program;
        WgpuOptimCounts {
            buffers: program.buffers.len(),
            layouts: program.layouts.len(),
            modules: program.modules.len(),
            bindings: program.bindings.len(),
            passes: program.passes.len(),
            groups: program.groups.len(),
            tensors: program.tensors.len(),
            persistent: self.persistent.len(),
            steps_ahead: self.described.clock.steps_ahead(),
            state_bytes: program.state_bytes(),
            hash: program.hash(),
        }
    }

    pub(crate) fn buffer(&self, index: usize) -> Result<WgpuOptimBuffer, Failure> {
        let buffer = find(&self.described.program.buffers, "buffer", index)?;
        let is_made = self.described.tensors.buffers().get(index).is_some_and(|arena| arena.is_made);
        Ok(WgpuOptimBuffer {
            label: pointer(&self.texts.buffers[index]),
            size: buffer.size,
            usage: match buffer.usage {
                Usage::Given if is_made => WGPU_OPTIM_USAGE_ARENA,
                Usage::Given => WGPU_OPTIM_USAGE_OWN,
                Usage::Storage => WGPU_OPTIM_USAGE_STORAGE,
                Usage::Uniform => WGPU_OPTIM_USAGE_UNIFORM,
            },
            filled: (!buffer.contents.is_empty()).into(),
        })
    }

    /// Writes what a buffer holds at first into zeros, as many as it has bytes.
    pub(crate) fn fill(&self, index: usize, bytes: &mut [u8]) {
        for fill in &self.described.program.buffers[index].contents {
            let words: Vec<u8> = fill.words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let times = bytes[fill.at as usize..].chunks_exact_mut(words.len().max(1));
            for to in times.take(fill.times as usize) {
                to.copy_from_slice(&words);
            }
        }
    }

    pub(crate) fn layout(&self, index: usize) -> Result<WgpuOptimLayout, Failure> {
        let kinds = find(&self.layouts, "layout", index)?;
        Ok(WgpuOptimLayout { kinds: kinds.as_ptr(), count: kinds.len() })
    }

    pub(crate) fn module(&self, index: usize) -> Result<WgpuOptimModule, Failure> {
        let module = find(&self.described.program.modules, "module", index)?;
        let label = pointer(&self.texts.modules[index]);
        let layout = module.layout as usize;
        Ok(WgpuOptimModule { label, layout, invocations: module.invocations })
    }

    /// Translated when it is first asked for.
    pub(crate) fn code(&mut self, index: usize, language: u32) -> Result<WgpuOptimCode, Failure> {
        let language = *find(&Language::ALL, "language", language as usize)?;
        if !self.code.contains_key(&(index, language)) {
            let code = translate(&self.described.program, index, language)?;
            self.code.insert((index, language), Kept::new(code));
        }
        Ok(self.code[&(index, language)].given())
    }

    pub(crate) fn bindings(&self, index: usize) -> Result<WgpuOptimBindings, Failure> {
        let slices = find(&self.bindings, "bind group", index)?;
        let layout = self.described.program.bindings[index].layout as usize;
        Ok(WgpuOptimBindings { layout, slices: slices.as_ptr(), count: slices.len() })
    }

    pub(crate) fn pass(&self, index: usize) -> Result<WgpuOptimPass, Failure> {
        let pass = find(&self.described.program.passes, "pass", index)?;
        let (module, bindings) = (pass.module as usize, pass.bindings as usize);
        Ok(WgpuOptimPass { module, bindings, workgroups: pass.workgroups })
    }

    pub(crate) fn tensor(&self, index: usize) -> Result<WgpuOptimTensor, Failure> {
        let tensor = find(self.described.tensors.tensors(), "tensor", index)?;
        let (param, grad) = self.described.tensors.places(tensor);
        let elements = tensor.len as u64;
        let slice = |place: wgpu_optim::program::Place| WgpuOptimSlice {
            buffer: place.buffer,
            offset: place.offset,
            size: 4 * elements,
        };
        Ok(WgpuOptimTensor {
            name: pointer(&self.texts.tensors[index]),
            group: tensor.group,
            elements,
            param: slice(param),
            grad: slice(grad),
        })
    }

    pub(crate) fn persistent(&self, index: usize) -> Result<WgpuOptimWords, Failure> {
        let (_, slices) = find(&self.persistent, "persistent words", index)?;
        let name = pointer(&self.texts.persistent[index]);
        Ok(WgpuOptimWords { name, slices: slices.as_ptr(), count: slices.len() })
    }

    /// Persistent words and readings by their name.
    pub(crate) fn words(&self, name: &CStr) -> Result<WgpuOptimWords, Failure> {
        let own = utf8(name, "name")?;
        let mut all = self.persistent.iter().chain(&self.readings);
        let unknown = || Failure::new(WGPU_OPTIM_UNKNOWN, format!("there are no words \"{own}\""));
        let (_, slices) = all.find(|(known, _)| known == own).ok_or_else(unknown)?;
        // The name is the caller's and may not live as long.
        let name = std::ptr::null();
        Ok(WgpuOptimWords { name, slices: slices.as_ptr(), count: slices.len() })
    }

    /// A number of a group's rule.
    pub(crate) fn number(&self, group: usize, name: &CStr) -> Result<f64, Failure> {
        let name = utf8(name, "name")?;
        let rule = find(self.described.clock.groups(), "group", group)?;
        let unknown = || {
            let text = format!("optimizer '{}' has no number \"{name}\"", rule.name());
            Failure::new(WGPU_OPTIM_UNKNOWN, text)
        };
        rule.get(name).ok_or_else(unknown)
    }

    pub(crate) fn row_mask(&self, tensor: usize) -> Result<WgpuOptimSlice, Failure> {
        Ok(slice(&self.described.program.row_mask(tensor)?))
    }

    /// Where the counts are that want to be read; no slices where none does.
    pub(crate) fn wants_count(&self) -> WgpuOptimWords {
        let count = if self.described.clock.wants_count() { self.counted.len() } else { 0 };
        WgpuOptimWords { name: std::ptr::null(), slices: self.counted.as_ptr(), count }
    }

    /// All tensors where there is no such index.
    pub(crate) fn reset(&mut self, tensor: usize) -> Result<WgpuOptimWrites, Failure> {
        let words = self.described.reset((tensor != usize::MAX).then_some(tensor))?;
        self.writes.clear();
        for (slice, words) in words {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.writes.add(slice.buffer, slice.offset, &bytes);
        }
        Ok(self.writes.given())
    }

    pub(crate) fn progress(&mut self) -> Result<WgpuOptimText, Failure> {
        let json = serde_json::to_string(&self.described.clock.progress());
        let json = json.map_err(|error| Failure::new(WGPU_OPTIM_FAULT, error.to_string()))?;
        self.progress = ended(&json);
        Ok(WgpuOptimText { text: pointer(&self.progress), size: self.progress.as_bytes().len() })
    }

    pub(crate) fn resume(&mut self, progress: &str) -> Result<(), Failure> {
        let progress = serde_json::from_str(progress)
            .map_err(|error| Failure::new(WGPU_OPTIM_REFUSED, format!("progress: {error}")))?;
        Ok(self.described.clock.resume(&progress)?)
    }

    pub(crate) fn observe(&mut self, recorded: u64, counts: &[u32]) -> Result<(), Failure> {
        let clock = &mut self.described.clock;
        if recorded > clock.recorded() {
            let text = format!("{recorded} steps were observed, but {} are recorded", clock.recorded());
            return Err(Failure::new(WGPU_OPTIM_OUT_OF_TURN, text));
        }
        if counts.len() != self.counted.len() {
            let text = format!("{} counts were observed, but there are {}", counts.len(), self.counted.len());
            return Err(Failure::new(WGPU_OPTIM_TOO_SHORT, text));
        }
        clock.observe(recorded, counts);
        Ok(())
    }

    /// Makes the step of this number, 1 for the first.
    pub(crate) fn next_step(&mut self, step: u64) -> Result<WgpuOptimStep, Failure> {
        let recorded = self.described.clock.recorded();
        if step != recorded + 1 {
            let text = format!(
                "step {step} was asked for, but {recorded} are recorded: the next is {}",
                recorded + 1
            );
            return Err(Failure::new(WGPU_OPTIM_OUT_OF_TURN, text));
        }
        self.writes.clear();
        let next = self.described.clock.next_step()?;
        next.writes().for_each(|write| self.writes.add(write.buffer, write.offset, write.bytes));
        let record = next.record();
        let WgpuOptimWrites { writes, count } = self.writes.given();
        Ok(WgpuOptimStep { writes, count, record })
    }
}
