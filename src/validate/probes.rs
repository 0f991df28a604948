//! What a device does where WGSL leaves it a choice.

use super::kernels::{Kernels, LARGE, OUTSIDE};
use crate::error::Error;
use serde::Serialize;

/// What a device does where WGSL leaves it a choice, and three things where it does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// Whether a quotient was the nearest number, of 4 096.
    pub division_is_exact: bool,
    /// Whether a square root was the nearest number, of 4 096.
    pub square_root_is_exact: bool,
    /// Whether a product and a sum became one operation that rounds once.
    pub contracts_products: bool,
    /// Whether subnormal results are replaced by zero.
    pub flushes_subnormals: bool,
    /// Whether NaN and infinity come out of arithmetic as they should.
    pub passes_nan_on: bool,
    /// Whether a variable without initialiser is zero each time that a loop comes to it, as it must be.
    pub zeroes_variables: bool,
    /// Whether a dispatch of 65 535 workgroups in two rows ran whole, as it must.
    pub runs_large_dispatches: bool,
    /// Whether a write behind the end of a binding is dropped; else it lands on an element inside.
    pub drops_writes_out_of_range: bool,
    /// Whether no such write comes to what lies around the binding in its buffer, as it must not.
    pub keeps_writes_inside: bool,
}

impl Probe {
    /// Whether what WGSL does not leave open is so.
    pub fn conforms(&self) -> bool {
        self.zeroes_variables && self.runs_large_dispatches && self.keeps_writes_inside
    }
}

const COUNT: usize = 4096;

const WGSL: &str = "
@group(0) @binding(0) var<storage, read> numbers: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(64)
fn arithmetic(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = numbers[id.x];
    results[id.x] = vec4<f32>(x.x / x.y, sqrt(x.x), x.x * x.y + x.z, x.w * 0.5);
}

@compute @workgroup_size(64)
fn variables(@builtin(global_invocation_id) id: vec3<u32>) {
    var seen = 0.0;
    for (var round = 0u; round < 4u; round++) {
        var fresh: f32;
        seen = max(seen, fresh);
        fresh += numbers[id.x].x;
        results[id.x].y = fresh;
    }
    results[id.x].x = seen;
}

@compute @workgroup_size(1)
fn large(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = id.y * grid.x + id.x;
    if (i % 32u == 0u && i / 32u < 4096u) {
        results[i / 32u] = vec4<f32>(1.0);
    }
}

// Right behind the end, far behind it, where 32 bits no longer hold the byte, and where the index itself comes to its end.
@compute @workgroup_size(64)
fn outside(@builtin(global_invocation_id) id: vec3<u32>) {
    let count = arrayLength(&results);
    results[count + id.x] = vec4<f32>(1.0);
    results[count * (id.x + 2u)] = vec4<f32>(1.0);
    results[0x10000000u + id.x] = vec4<f32>(1.0);
    results[0xffffffffu - id.x] = vec4<f32>(1.0);
}
";

/// Probes a device. Await it while somebody polls the device; see [`probe_blocking`].
///
/// # Errors
/// [`Error::Refused`], [`Error::OutOfMemory`], [`Error::DeviceLost`].
pub async fn probe(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Probe, Error> {
    let kernels = Kernels::new(device, queue, WGSL, ["arithmetic", "variables", LARGE, OUTSIDE])?;
    let numbers: Vec<[f32; 4]> = (0..COUNT).map(number).collect();
    let arithmetic = kernels.run("arithmetic", &numbers, (COUNT as u32 / 64, 1)).await?.results;
    let variables = kernels.run("variables", &numbers, (COUNT as u32 / 64, 1)).await?.results;
    let large = kernels.run(LARGE, &numbers, (65_535, 2)).await?.results;
    let outside = kernels.run(OUTSIDE, &numbers, (1, 1)).await?;
    let all = |holds: fn(&[f32; 4], &[f32; 4]) -> bool| {
        numbers.iter().zip(&arithmetic).skip(SPECIAL).all(|(x, y)| holds(x, y))
    };
    let contracted = numbers.iter().zip(&arithmetic).skip(SPECIAL).any(|(x, y)| {
        let twice = x[0] * x[1] + x[2];
        y[2] != twice && y[2] == x[0].mul_add(x[1], x[2])
    });
    let [nan, infinite] = [arithmetic[0], arithmetic[1]];
    Ok(Probe {
        division_is_exact: all(|x, y| y[0] == x[0] / x[1]),
        square_root_is_exact: all(|x, y| y[1] == x[0].sqrt()),
        contracts_products: contracted,
        flushes_subnormals: arithmetic[2][3] == 0.0,
        passes_nan_on: nan[2].is_nan() && infinite[2] == f32::INFINITY,
        zeroes_variables: variables.iter().all(|y| y[0] == 0.0 || y[0].is_nan()),
        runs_large_dispatches: large.iter().all(|y| y[0] == 1.0),
        drops_writes_out_of_range: outside.results.iter().all(|y| *y == [0.0; 4]),
        keeps_writes_inside: !outside.spilt,
    })
}

/// Numbers before the ordinary ones.
const SPECIAL: usize = 3;

fn number(i: usize) -> [f32; 4] {
    match i {
        0 => [f32::NAN, 1.0, 1.0, 1.0],
        1 => [f32::INFINITY, 1.0, 1.0, 1.0],
        2 => [1.0, 1.0, 1.0, f32::MIN_POSITIVE],
        i => {
            let x = |k: usize| 1.0 + ((i * k) % 8191) as f32 / 8192.0;
            [x(17), x(29), -x(17) * x(29) + x(3) * 1e-7, 1.0]
        }
    }
}

/// As [`probe`], and polls the device meanwhile. **Submits and blocks**: for tools and tests.
///
/// # Errors
/// As [`probe`].
#[cfg(not(target_arch = "wasm32"))]
pub fn probe_blocking(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Probe, Error> {
    block_on(device, probe(device, queue))
}

/// Awaits what downloads, and polls the device until it is there.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn block_on<T>(
    device: &wgpu::Device,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    pollster::block_on(std::future::poll_fn(|context| {
        let lost = |error: wgpu::PollError| Error::DeviceLost { reason: error.to_string() };
        match work.as_mut().poll(context) {
            std::task::Poll::Ready(done) => std::task::Poll::Ready(done),
            std::task::Poll::Pending => match device.poll(wgpu::PollType::wait_indefinitely()) {
                Ok(_) => {
                    context.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
                Err(error) => std::task::Poll::Ready(Err(lost(error))),
            },
        }
    }))
}
