// combine.wgsl: the small dispatch between measure and apply. For each segment (a tensor, or all of them) it
// adds the tiles' partial sums in an order that depends on their number alone, and stores up to four norms.
// A segment of many tiles takes a workgroup; of few, an invocation. A module of its own.
//
//   segments[0]       (segments that take a workgroup each, quantities, the others, 0)
//   segments[1 + i]   (first partial sum, tiles, where the result goes, 0)

const WIDTH: u32 = 256u;

@group(0) @binding(0) var<storage, read> segments: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> scratch: array<vec4<f32>>;

var<workgroup> tree: array<vec4<f32>, WIDTH>;

// From (big, middle, small, count) as in measure.wgsl. What a larger part leaves of a smaller one below its
// own last bit is left out.
fn norm(sum: vec4<f32>) -> f32 {
    if (sum.x > 0.0) {
        return sqrt(sum.x + sum.y * 0x1p-96 * 0x1p-96) * 0x1p96;
    }
    if (sum.y > 0.0) {
        return sqrt(sum.y + sum.z * 0x1p-64 * 0x1p-64);
    }
    return sqrt(sum.z) * 0x1p-64;
}

fn sum_of(segment: vec4<u32>, quantities: u32, quantity: u32, first: u32, stride: u32) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var tile = first; tile < segment.y; tile += stride) {
        sum += scratch[segment.x + tile * quantities + quantity];
    }
    return sum;
}

// The gradients' norm is measured alone and carries the count of what was not finite.
fn store(segment: vec4<u32>, quantities: u32, norms: vec4<f32>, count: f32) {
    scratch[segment.z] = select(norms, vec4<f32>(norms.x, count, 0.0, 0.0), quantities == 1u);
}

@compute @workgroup_size(WIDTH)
fn optimizer_combine(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let header = segments[0];
    let index = id.y * grid.x + id.x;
    var norms = vec4<f32>(0.0);
    if (index >= header.x) {
        let small = (index - header.x) * WIDTH + lane;
        if (small < header.z) {
            let segment = segments[1u + header.x + small];
            var count = 0.0;
            for (var quantity = 0u; quantity < header.y; quantity++) {
                let sum = sum_of(segment, header.y, quantity, 0u, 1u);
                norms[quantity] = norm(sum);
                count = sum.w;
            }
            store(segment, header.y, norms, count);
        }
        return;
    }
    let segment = segments[1u + index];
    for (var quantity = 0u; quantity < header.y; quantity++) {
        tree[lane] = sum_of(segment, header.y, quantity, lane, WIDTH);
        workgroupBarrier();
        for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
            if (lane < half) {
                tree[lane] += tree[lane + half];
            }
            workgroupBarrier();
        }
        norms[quantity] = norm(tree[0]);
        if (quantity + 1u < header.y) {
            workgroupBarrier();
        }
    }
    if (lane == 0u) {
        store(segment, header.y, norms, tree[0].w);
    }
}
