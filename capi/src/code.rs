//! A module in a language, in C's shape.

use crate::types::WgpuOptimCode;
use std::ffi::CString;
use wgpu_optim::export::Code;

/// What a [`WgpuOptimCode`] points to.
pub(crate) struct Kept {
    words: Box<[u32]>,
    size: usize,
    entry_point: CString,
    lengths: Box<[u32]>,
    lengths_at: u32,
    workgroups_at: u32,
}

impl Kept {
    pub fn new(code: Code) -> Self {
        // A zero behind a text.
        let mut words = vec![0u32; code.bytes.len() / 4 + 1];
        for (word, bytes) in words.iter_mut().zip(code.bytes.chunks(4)) {
            let mut four = [0; 4];
            four[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_ne_bytes(four);
        }
        let (lengths_at, lengths) = code.lengths.unwrap_or_default();
        Self {
            words: words.into(),
            size: code.bytes.len(),
            entry_point: crate::optimizer::ended(&code.entry_point),
            lengths: lengths.into(),
            lengths_at,
            workgroups_at: code.workgroups.unwrap_or(0),
        }
    }

    /// For C, as long as this lives.
    pub fn given(&self) -> WgpuOptimCode {
        WgpuOptimCode {
            bytes: self.words.as_ptr().cast(),
            size: self.size,
            entry_point: self.entry_point.as_ptr(),
            lengths: self.lengths.as_ptr(),
            length_count: self.lengths.len(),
            lengths_at: self.lengths_at,
            workgroups_at: self.workgroups_at,
        }
    }
}
