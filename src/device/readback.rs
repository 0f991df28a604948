//! Reading back without blocking: a copy is recorded, the host submits, the future resolves when the
//! device is polled (natively) or by itself (in a browser).

use super::snapshots::Answers;
use crate::error::Error;
use crate::program::ELEMENT;
use futures::channel::oneshot;
use std::sync::Arc;
use wgpu::{BufferUsages, CommandEncoder};

/// A recorded copy, on its way to the host.
#[derive(Debug)]
#[must_use = "submit the encoder, then await read()"]
pub struct Download {
    /// One behind the other; none for a tensor without elements, several where a ring is larger than a
    /// buffer may be.
    staging: Vec<wgpu::Buffer>,
    device: wgpu::Device,
}

impl Download {
    /// The values. Await this after the encoder was submitted; natively somebody has to poll the
    /// device meanwhile, as for any mapping.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub async fn read(self) -> Result<Vec<f32>, Error> {
        let lost = |reason: String| Error::DeviceLost { reason };
        let mut mappings = vec![];
        for staging in &self.staging {
            let (sender, receiver) = oneshot::channel();
            // A buffer of a lost device cannot be mapped: the callback says so, and the host's handler need not.
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
            staging.map_async(wgpu::MapMode::Read, .., move |result| {
                // Nobody waits any more if the future was dropped.
                let _ = sender.send(result);
            });
            drop(scope.pop());
            mappings.push(receiver);
        }
        let mut values = vec![];
        for (staging, mapping) in self.staging.iter().zip(mappings) {
            match mapping.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(lost(error.to_string())),
                Err(_) => return Err(lost("the mapping was dropped".into())),
            }
            take(staging, &mut values)?;
        }
        Ok(values)
    }

    /// Has every buffer mapped when the encoder is submitted, which `answers` then knows: nobody has to ask.
    pub(super) fn map_on_submit(&self, encoder: &mut CommandEncoder, answers: &Arc<Answers>) {
        for staging in &self.staging {
            let question = answers.question();
            encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., move |result| {
                question.answer(result.is_ok());
            });
        }
    }

    /// The values, once every buffer is mapped.
    pub(super) fn mapped(self) -> Result<Vec<f32>, Error> {
        let mut values = vec![];
        self.staging.iter().try_for_each(|staging| take(staging, &mut values))?;
        Ok(values)
    }
}

/// The values of a buffer that is mapped, which it is no more then.
fn take(staging: &wgpu::Buffer, values: &mut Vec<f32>) -> Result<(), Error> {
    let lost = |error: wgpu::MapRangeError| Error::DeviceLost { reason: error.to_string() };
    let view = staging.get_mapped_range(..).map_err(lost)?;
    values.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&view));
    drop(view);
    staging.unmap();
    Ok(())
}

/// Records copies of `(buffer, byte offset, bytes)`, one behind the other.
pub(crate) fn copy_out(
    device: &wgpu::Device,
    encoder: &mut CommandEncoder,
    parts: &[(&wgpu::Buffer, u64, u64)],
) -> Download {
    let largest = device.limits().max_buffer_size;
    let mut staging = vec![];
    let mut left = parts;
    while !left.is_empty() {
        let ends = left.iter().scan(0, |end, (_, _, bytes)| {
            *end += bytes;
            Some(*end)
        });
        // A part is never larger than the buffer that it is in.
        let count = ends.take_while(|end| *end <= largest).count().max(1);
        let (now, rest) = left.split_at(count);
        left = rest;
        let size = now.iter().map(|(_, _, bytes)| bytes).sum();
        debug_assert_eq!(size % ELEMENT, 0);
        if size == 0 {
            continue;
        }
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim: download"),
            size,
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut at = 0;
        for (from, offset, bytes) in now.iter().filter(|(_, _, bytes)| *bytes > 0) {
            encoder.copy_buffer_to_buffer(from, *offset, &buffer, at, *bytes);
            at += bytes;
        }
        staging.push(buffer);
    }
    Download { staging, device: device.clone() }
}

/// Submits what `record` records and waits for it.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn read_blocking(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    record: impl FnOnce(&mut CommandEncoder) -> Result<Download, Error>,
) -> Result<Vec<f32>, Error> {
    let label = Some("wgpu-optim: blocking read");
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label });
    let download = record(&mut encoder)?;
    queue.submit([encoder.finish()]);
    wait_for(device, download.read())
}

/// Waits for what was submitted, and for what then resolves.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn wait_for<T>(
    device: &wgpu::Device,
    read: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let poll = async {
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map(|_| ())
            .map_err(|error| Error::DeviceLost { reason: error.to_string() })
    };
    // `read` first asks for the mapping, then `poll` waits for it.
    let (values, polled) = pollster::block_on(async { futures::join!(read, poll) });
    polled.and(values)
}
