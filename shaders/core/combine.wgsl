// combine.wgsl: the small dispatch between reduce and apply. For each segment (a tensor, or all of them) it
// adds the tiles' terms in an order that depends on their number alone, and stores up to four results.
// A segment of many tiles takes a workgroup; of few, an invocation. A module of its own, with now.wgsl and
// scaled.wgsl.
//
//   segments[0]       (segments that take a workgroup each, terms, the others,
//                      two bits for each term: 0 a norm, 1 a largest magnitude, 2 a plain sum)
//   segments[1]       (1 if these are the gradients, 0, 1 if steps may be skipped, 0)
//   segments[2 + i]   (first terms, tiles, where the result goes, 1 if these are all gradients)

const WIDTH: u32 = 128u;

@group(0) @binding(0) var<storage, read> segments: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> scratch: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> now: Now;

var<workgroup> tree: array<vec4<f32>, WIDTH>;

// size 2^exponent with size in [1, 2), or 0: a norm of large numbers may lie beyond f32.
struct Norm {
    size: f32,
    exponent: i32,
}

// From (big, middle, small, count) as in reduce.wgsl. What a larger part leaves of a smaller one below its
// own last bit is left out.
fn norm(sum: vec4<f32>) -> Norm {
    var square = sum.z;
    var shift = -87;
    if (sum.x > 0.0) {
        square = sum.x + scaled(sum.y, -192);
        shift = 96;
    } else if (sum.y > 0.0) {
        square = sum.y + scaled(sum.z, -174);
        shift = 0;
    }
    let root = sqrt(square);
    let exponent = i32(bitcast<u32>(root) >> 23u) - 127;
    if (root == 0.0) {
        return Norm(0.0, 0);
    }
    return Norm(scaled(root, -exponent), shift + exponent);
}

fn kind_of(term: u32) -> u32 {
    return (segments[0].w >> (2u * term)) & 3u;
}

fn join(a: vec4<f32>, b: vec4<f32>, term: u32) -> vec4<f32> {
    return select(a + b, max(a, b), kind_of(term) == 1u);
}

fn value_of(sum: vec4<f32>, term: u32) -> f32 {
    if (kind_of(term) != 0u) {
        return sum.x;
    }
    let value = norm(sum);
    return scaled(value.size, value.exponent);
}

// A term of one tile, or nothing.
fn term_at(segment: vec4<u32>, terms: u32, term: u32, tile: u32) -> vec4<f32> {
    let there = tile < segment.y;
    let sum = scratch[segment.x + select(0u, tile, there) * terms + term];
    return select(vec4<f32>(0.0), sum, there);
}

// Four sums, joined at the end: a load takes long, and the next need not wait for it. Written out, since what keeps a loop
// from running for ever keeps compilers from unrolling it.
fn sum_of(segment: vec4<u32>, terms: u32, term: u32, first: u32, stride: u32) -> vec4<f32> {
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    var c = vec4<f32>(0.0);
    var d = vec4<f32>(0.0);
    for (var tile = first; tile < segment.y; tile += 4u * stride) {
        a = join(a, term_at(segment, terms, term, tile), term);
        b = join(b, term_at(segment, terms, term, tile + stride), term);
        c = join(c, term_at(segment, terms, term, tile + 2u * stride), term);
        d = join(d, term_at(segment, terms, term, tile + 3u * stride), term);
    }
    return join(join(a, b, term), join(c, d, term), term);
}

// Whether this step is taken, and the next step's loss scale. A step that only converts weights adapts nothing.
fn control(bad: f32) {
    let count = scratch[2];
    let take = bad == 0.0;
    let good = select(0.0, count.y + 1.0, take);
    let interval = f32(now.interval);
    let grows = interval > 0.0 && good >= interval;
    let scale = scratch[1].x;
    var next = select(scale * now.backoff, scale, take);
    next = select(next, next * now.growth, grows);
    next = clamp(next, 0x1p-40, 0x1p60);
    let inverse = select(1.0 / scale, 1.0, scale == 1.0);
    if (now.trains == 0u) {
        scratch[1] = vec4<f32>(scale, inverse, select(0.0, 1.0, take), 0.0);
        return;
    }
    scratch[1] = vec4<f32>(next, inverse, select(0.0, 1.0, take), 0.0);
    scratch[2] = vec4<f32>(select(count.x + 1.0, count.x, take), select(good, 0.0, grows), 0.0, 0.0);
}

// Of gradients: (norm as the rule sees it before clipping, how many are not finite, size and exponent of the norm as the
// host gave them). Of all else the results.
fn store(segment: vec4<u32>, results: vec4<f32>, sum: vec4<f32>) {
    let gradients = segments[1];
    if (gradients.x == 0u) {
        scratch[segment.z] = results;
        return;
    }
    let given = norm(sum);
    var factor = now.average;
    if (segment.w != 0u && gradients.z != 0u) {
        control(sum.w);
        factor *= scratch[1].y;
    }
    let value = scaled(given.size * factor, given.exponent);
    scratch[segment.z] = vec4<f32>(value, sum.w, given.size, f32(given.exponent));
}

@compute @workgroup_size(WIDTH)
fn optimizer_combine(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let header = segments[0];
    let index = id.y * grid.x + id.x;
    var results = vec4<f32>(0.0);
    if (index >= header.x) {
        let small = (index - header.x) * WIDTH + lane;
        if (small < header.z) {
            let segment = segments[2u + header.x + small];
            var sum = vec4<f32>(0.0);
            for (var term = 0u; term < header.y; term++) {
                sum = sum_of(segment, header.y, term, 0u, 1u);
                results[term] = value_of(sum, term);
            }
            store(segment, results, sum);
        }
        return;
    }
    let segment = segments[2u + index];
    for (var term = 0u; term < header.y; term++) {
        tree[lane] = sum_of(segment, header.y, term, lane, WIDTH);
        workgroupBarrier();
        for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
            if (lane < half) {
                tree[lane] = join(tree[lane], tree[lane + half], term);
            }
            workgroupBarrier();
        }
        results[term] = value_of(tree[0], term);
        if (term + 1u < header.y) {
            workgroupBarrier();
        }
    }
    if (lane == 0u) {
        store(segment, results, tree[0]);
    }
}
