// MaxVA, equation 11: the gradient of one of 11 component functions, drawn for every run and step, and what
// is measured of the step before.
//
//   l_i(theta) =  5.5 theta^2   (i = 1)  or  -theta^2 / 2      where |theta| <= 1, and linear beyond
//   f(theta)   =  mean of l_i = theta^2 / 22
//
// Far from 1 the problem has no scale: theta and g may be multiplied by a power of two, as long as g stays too
// small to change what the optimizer remembers of larger ones. So |theta| is kept in [2^-80, 2^-50] once it is
// there, and log2 |theta| goes on where f32 would end.

override count: u32 = 1u;
override runs: u32 = 1u;  // element i is run i % runs: the same draws at every rate and start
override last: u32 = 1u;  // step
override measures: bool = false;
override sums: u32 = 0u; // where they start in `records`
override rescales: bool = false;
// Where the second moment is: slot a, corrected, plus (where there is one) slot b squared.
override a_start: u32 = 0u;
override b_start: u32 = 0u;
override has_b: bool = false;

@group(0) @binding(1) var<storage, read_write> theta: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
// Theta is so many powers of two smaller.
@group(0) @binding(3) var<storage, read_write> shifts: array<i32>;
// For each step: the record to write after it and one more, or 0; 1 / bc2.
@group(0) @binding(4) var<storage, read> script: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> draws: array<u32>;
@group(0) @binding(6) var<storage, read> slot_a: array<f32>;
@group(0) @binding(7) var<storage, read> slot_b: array<f32>;
// What was recorded; behind it, where something is measured, S1, S2 and 1/sqrt(v) of each run so far.
@group(0) @binding(8) var<storage, read_write> records: array<f32>;

/// Of the step that was taken, `t`.
fn measure(i: u32, t: u32, shift: i32) {
    var v = slot_a[a_start + i] * bitcast<f32>(script[t].y);
    if (has_b) {
        let u = slot_b[b_start + i];
        v += u * u;
    }
    let scale = 1.0 / sqrt(v);
    // What is below 2^-50 adds nothing to a sum that began near 1.
    if (shift == 0) {
        let update = g[i] * scale;
        records[sums + i] += update * update;
    }
    // Rounding alone is no change.
    let change = abs(scale - records[sums + 2u * count + i]);
    if (t > 1u && change > 0x1p-21 * scale) {
        records[sums + count + i] += change;
    }
    records[sums + 2u * count + i] = scale;
}

fn record(i: u32, number: u32, x: f32, shift: i32) {
    let log_theta = select(log2(abs(x)) - f32(shift), -3e38, x == 0.0);
    if (!measures) {
        records[number * count + i] = log_theta;
        return;
    }
    let at = 4u * number * count + i;
    records[at] = log_theta;
    for (var k = 0u; k < 3u; k++) {
        records[at + (k + 1u) * count] = records[sums + k * count + i];
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = (group.x + group.y * 65535u) * 64u + local;
    if (i >= count) {
        return;
    }
    let t = step.t; // to come
    var x = theta[i];
    var shift = 0;
    if (rescales) {
        shift = shifts[i];
    }
    if (t > 1u) {
        if (measures) {
            measure(i, t - 1u, shift);
        }
        let number = script[t - 1u].x;
        if (number > 0u) {
            record(i, number - 1u, x, shift);
        }
    }
    if (t > last) {
        return;
    }
    let small = abs(x) < 0x1p-80 && x != 0.0;
    if (rescales && (small || (shift > 0 && abs(x) > 0x1p-50))) {
        for (; abs(x) < 0x1p-80; shift += 20) {
            x *= 0x1p20;
        }
        for (; abs(x) > 0x1p-50 && shift > 0; shift -= 20) {
            x *= 0x1p-20;
        }
        shifts[i] = shift;
        theta[i] = x;
    }
    let bit = i % runs;
    let first = (draws[(t - 1u) * (runs / 32u) + bit / 32u] >> (bit % 32u)) & 1u;
    let slope = select(x, sign(x), abs(x) > 1.0);
    g[i] = slope * select(-1.0, 11.0, first != 0u);
}
