//! What a device does where WGSL leaves it a choice.

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

/// An entry point of [`Probe::WGSL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProbeKernel {
    /// Its name.
    pub entry_point: &'static str,
    /// Workgroups in x and y.
    pub workgroups: [u32; 2],
    /// Whether binding 0, with the numbers, is there.
    pub reads: bool,
}

impl Probe {
    /// The kernels. Binding 0 has [`numbers`](Probe::numbers), binding 1 is for as many results: zeroes, in the middle of a
    /// buffer that has [`AROUND`](Probe::AROUND) more bytes before them and as many behind.
    pub const WGSL: &str = WGSL;

    /// Bytes of the buffer of results before and behind its binding: a multiple of any alignment that a device may ask for.
    pub const AROUND: u64 = 4096;

    /// The dispatches, each with a buffer of its own.
    pub const KERNELS: [ProbeKernel; 4] = [
        ProbeKernel { entry_point: "arithmetic", workgroups: [COUNT as u32 / 64, 1], reads: true },
        ProbeKernel { entry_point: "variables", workgroups: [COUNT as u32 / 64, 1], reads: true },
        ProbeKernel { entry_point: "large", workgroups: [65_535, 2], reads: false },
        ProbeKernel { entry_point: "outside", workgroups: [1, 1], reads: false },
    ];

    /// What the kernels read: vec4 of f32.
    pub fn numbers() -> Vec<[f32; 4]> {
        (0..COUNT).map(number).collect()
    }

    /// What the whole buffers of results say, in the order of [`KERNELS`](Probe::KERNELS).
    ///
    /// # Errors
    /// [`Error::Program`] for buffers of another size.
    pub fn of(buffers: [&[[f32; 4]]; 4]) -> Result<Self, Error> {
        let around = (Self::AROUND / 16) as usize;
        if buffers.iter().any(|buffer| buffer.len() != around + COUNT + around) {
            return Err(Error::Program { reason: "a probe's results are not complete".into() });
        }
        let numbers = Self::numbers();
        let [arithmetic, variables, large, outside] = buffers.map(|buffer| &buffer[around..around + COUNT]);
        let spilt = |buffer: &[[f32; 4]]| {
            buffer[..around].iter().chain(&buffer[around + COUNT..]).any(|x| *x != [0.0; 4])
        };
        let all = |holds: fn(&[f32; 4], &[f32; 4]) -> bool| {
            numbers.iter().zip(arithmetic).skip(SPECIAL).all(|(x, y)| holds(x, y))
        };
        let contracted = numbers.iter().zip(arithmetic).skip(SPECIAL).any(|(x, y)| {
            let twice = x[0] * x[1] + x[2];
            y[2] != twice && y[2] == x[0].mul_add(x[1], x[2])
        });
        let [nan, infinite] = [arithmetic[0], arithmetic[1]];
        Ok(Self {
            division_is_exact: all(|x, y| y[0] == x[0] / x[1]),
            square_root_is_exact: all(|x, y| y[1] == x[0].sqrt()),
            contracts_products: contracted,
            flushes_subnormals: arithmetic[2][3] == 0.0,
            passes_nan_on: nan[2].is_nan() && infinite[2] == f32::INFINITY,
            zeroes_variables: variables.iter().all(|y| y[0] == 0.0 || y[0].is_nan()),
            runs_large_dispatches: large.iter().all(|y| y[0] == 1.0),
            drops_writes_out_of_range: outside.iter().all(|y| *y == [0.0; 4]),
            keeps_writes_inside: !buffers.into_iter().any(spilt),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a device that does everything right would leave.
    fn right() -> [Vec<[f32; 4]>; 4] {
        let around = vec![[0.0; 4]; (Probe::AROUND / 16) as usize];
        let numbers = Probe::numbers();
        let arithmetic = |x: &[f32; 4]| [x[0] / x[1], x[0].sqrt(), x[0] * x[1] + x[2], x[3] * 0.5];
        let results = [
            numbers.iter().map(arithmetic).collect(),
            vec![[0.0; 4]; COUNT],
            vec![[1.0; 4]; COUNT],
            vec![[0.0; 4]; COUNT],
        ];
        results.map(|results: Vec<[f32; 4]>| [&around[..], &results, &around].concat())
    }

    fn probe(buffers: &[Vec<[f32; 4]>; 4]) -> Probe {
        Probe::of(buffers.each_ref().map(|buffer| &buffer[..])).unwrap()
    }

    #[test]
    fn each_fault_is_seen() {
        let good = probe(&right());
        assert!(good.conforms() && good.division_is_exact && good.drops_writes_out_of_range);
        assert!(!good.contracts_products && !good.flushes_subnormals && good.passes_nan_on);
        let around = (Probe::AROUND / 16) as usize;
        let fault = |kernel: usize, place: usize, value: [f32; 4]| {
            let mut buffers = right();
            buffers[kernel][place] = value;
            probe(&buffers)
        };
        assert!(!fault(0, around + 9, [0.0; 4]).division_is_exact);
        assert!(!fault(0, around, [0.0; 4]).passes_nan_on);
        assert!(fault(0, around + 2, [0.0; 4]).flushes_subnormals);
        assert!(!fault(1, around + 9, [1.0, 0.0, 0.0, 0.0]).conforms());
        assert!(!fault(2, around + COUNT - 1, [0.0; 4]).conforms());
        assert!(fault(3, around + COUNT - 1, [1.0; 4]).conforms());
        assert!(!fault(3, around + COUNT - 1, [1.0; 4]).drops_writes_out_of_range);
        for place in [0, around - 1, around + COUNT, around + COUNT + around - 1] {
            assert!(!fault(3, place, [1.0; 4]).conforms());
        }
        assert!(Probe::of([&[], &[], &[], &[]]).is_err());
    }
}
