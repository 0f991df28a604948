// measure.wgsl: the dispatch that adds up, one partial sum for each tile and measured quantity, in an order
// that depends on the tile alone: no float atomics, no subgroups, the same bits every time.
//
// A sum of squares is (big, middle, small, count): quads of four whose largest magnitude is at least 2^40 are
// scaled by 2^-96 before they are squared, those below 2^-40 by 2^64, so that no square overflows or is lost
// wherever the norm itself is a number; what is not finite is only counted.
// Source: Blue, "A Portable Fortran Program to Find the Euclidean Norm of a Vector", 1978.
// A plain sum is (sum, 0, 0, count), a largest magnitude (largest, 0, 0, -).

fn add_squares(sum: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
    let bad = vec4<u32>(0x7f800000u) <= bits;
    let clean = select(bits, vec4<u32>(0u), bad);
    let top = max(max(clean.x, clean.y), max(clean.z, clean.w));
    let big = top >= 0x53800000u;
    let small = top < 0x2b800000u;
    let scale = select(select(1.0, 0x1p64, small), 0x1p-96, big);
    let y = bitcast<vec4<f32>>(clean) * scale;
    let square = dot(y, y);
    let count = dot(select(vec4<f32>(0.0), vec4<f32>(1.0), bad), vec4<f32>(1.0));
    let kind = vec3<bool>(big, !big && !small, small);
    return sum + vec4<f32>(select(vec3<f32>(0.0), vec3<f32>(square), kind), count);
}

fn finite_part(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(0.0), not_finite(x));
}

fn add_plain(sum: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    let count = dot(select(vec4<f32>(0.0), vec4<f32>(1.0), not_finite(x)), vec4<f32>(1.0));
    return sum + vec4<f32>(dot(finite_part(x), vec4<f32>(1.0)), 0.0, 0.0, count);
}

fn add_largest(sum: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
    let y = abs(finite_part(x));
    return vec4<f32>(max(max(max(sum.x, y.x), max(y.y, y.z)), y.w), 0.0, 0.0, 0.0);
}

// Bit i of LARGEST_OF, which is generated, says that quantity i is a largest magnitude.
fn join(a: vec4<f32>, b: vec4<f32>, quantity: u32) -> vec4<f32> {
    return select(a + b, max(a, b), ((LARGEST_OF >> quantity) & 1u) != 0u);
}

var<workgroup> tree: array<vec4<f32>, WORKGROUP>;

fn sum_over_workgroup(value: vec4<f32>, quantity: u32, lane: u32) -> vec4<f32> {
    tree[lane] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            tree[lane] = join(tree[lane], tree[lane + half], quantity);
        }
        workgroupBarrier();
    }
    let total = tree[0];
    workgroupBarrier();
    return total;
}

@compute @workgroup_size(WORKGROUP)
fn optimizer_measure(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = find_tile(id, grid);
    var sums: array<vec4<f32>, MEASURED>;
    if (tile.count > 0u) {
        let row = load_row(tile);
        for (var i = lane; 4u * i < tile.count; i += WORKGROUP) {
            measure_quad(tile, i, min(tile.count - 4u * i, 4u), row, &sums);
        }
    }
    let partial = table[1].x + (table[1].y + tile.index) * MEASURED;
    for (var quantity = 0u; quantity < MEASURED; quantity++) {
        let total = sum_over_workgroup(sums[quantity], quantity, lane);
        if (lane == 0u && tile.count > 0u) {
            scratch[partial + quantity] = total;
        }
    }
}
