//! Bytes that the caller is to write, in C's shape.

use crate::types::{WgpuOptimWrite, WgpuOptimWrites};

/// What was asked for last.
#[derive(Default)]
pub(crate) struct Writes {
    bytes: Vec<u8>,
    writes: Vec<WgpuOptimWrite>,
}

impl Writes {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.writes.clear();
    }

    pub fn add(&mut self, buffer: u32, offset: u64, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let write =
            WgpuOptimWrite { buffer: buffer as usize, offset, bytes: std::ptr::null(), size: bytes.len() };
        self.writes.push(write);
    }

    /// For C, until something is added or cleared.
    pub fn given(&mut self) -> WgpuOptimWrites {
        let mut rest = &self.bytes[..];
        for write in &mut self.writes {
            write.bytes = rest.as_ptr();
            rest = &rest[write.size..];
        }
        WgpuOptimWrites { writes: self.writes.as_ptr(), count: self.writes.len() }
    }
}
