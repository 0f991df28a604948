//! Reads the device's counts of steps now and then, and never waits for them.

use crate::program::{ELEMENT, Program, Slice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use wgpu::{BufferUsages, CommandEncoder, MapMode};

const IDLE: u8 = 0;
const ASKED: u8 = 1;
const ANSWERED: u8 = 2;

/// One reading at a time: asked for in an encoder, answered some time after that encoder was submitted.
#[derive(Debug)]
pub(crate) struct CountReader {
    buffer: wgpu::Buffer,
    /// Where the counts are: the one of all groups, or those of tensors.
    counts: Vec<Slice>,
    state: Arc<AtomicU8>,
    step: u64,
}

/// Given to the encoder. Where that is dropped, and so the reading never answered, another may be asked for.
struct Question(Arc<AtomicU8>);

impl Question {
    fn answer(self, answered: bool) {
        self.0.store(if answered { ANSWERED } else { IDLE }, Ordering::Release);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let _ = self.0.compare_exchange(ASKED, IDLE, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl CountReader {
    /// For a program in which something follows from the count.
    pub fn of(device: &wgpu::Device, program: &Program) -> Option<Self> {
        let counts = program.rows.counts();
        let buffer = (!counts.is_empty()).then(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(&format!("{}: counts", program.label)),
                size: counts.len() as u64 * ELEMENT,
                usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
                mapped_at_creation: false,
            })
        })?;
        Some(Self { buffer, counts, state: Arc::new(AtomicU8::new(IDLE)), step: 0 })
    }

    /// Records a copy of the counts, which are in some of these buffers, unless an answer is still awaited. `step` is the
    /// number of the step that comes next in the encoder.
    pub fn ask(&mut self, encoder: &mut CommandEncoder, buffers: &[wgpu::Buffer], step: u64) {
        if self.state.load(Ordering::Acquire) != IDLE {
            return;
        }
        for (place, count) in (0..).zip(&self.counts) {
            let from = &buffers[count.buffer as usize];
            encoder.copy_buffer_to_buffer(from, count.offset, &self.buffer, place * ELEMENT, ELEMENT);
        }
        self.state.store(ASKED, Ordering::Release);
        self.step = step;
        let question = Question(self.state.clone());
        encoder.map_buffer_on_submit(&self.buffer, MapMode::Read, .., move |result| {
            question.answer(result.is_ok());
        });
    }

    /// The number of the step before which they were read, and the words, once there is an answer.
    pub fn answer(&mut self) -> Option<(u64, Vec<u32>)> {
        if self.state.load(Ordering::Acquire) != ANSWERED {
            return None;
        }
        let words = self.buffer.get_mapped_range(..).ok().map(|view| bytemuck::pod_collect_to_vec(&view[..]));
        self.buffer.unmap();
        self.state.store(IDLE, Ordering::Release);
        Some((self.step, words?))
    }
}
