// reduce.wgsl: the dispatch that reduces: each tile leaves one term for each result, added up in an order
// that depends on the tile alone: no float atomics, no subgroups, the same bits every time.
//
// A sum of squares is (big, middle, small, count): vec4 whose largest magnitude is at least 2^40 are
// scaled by 2^-96 before they are squared, those below 2^-40 by 2^87, so that no square overflows or is lost, not even
// that of the smallest subnormal number; what is larger than `largest`, or not a number, is only counted. An invocation first takes all its
// vec4 for middle ones, and only looks again if its largest magnitude says otherwise.
// Source: Blue, "A Portable Fortran Program to Find the Euclidean Norm of a Vector", 1978.
// A plain sum is (sum, 0, 0, count), a largest magnitude (largest, 0, 0, -).

struct Sum {
    parts: vec4<f32>,
    // Bits of the largest magnitude.
    top: u32,
}

// Vec4 that are added up before they join the others: rounding grows with the longest way, not with the tile.
const PART: u32 = 8u;
const BIG: u32 = 0x53800000u;
const SMALL: u32 = 0x2b800000u;

// The largest finite number.
const LARGEST: u32 = 0x7f7fffffu;

fn add_squares(into: Sum, x: vec4<f32>, careful: bool, largest: u32) -> Sum {
    let bits = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
    if (!careful) {
        let top = max(max(bits.x, bits.y), max(bits.z, bits.w));
        return Sum(into.parts + vec4<f32>(0.0, dot(x, x), 0.0, 0.0), max(into.top, top));
    }
    let bad = vec4<u32>(largest) < bits;
    let clean = select(bits, vec4<u32>(0u), bad);
    let top = max(max(clean.x, clean.y), max(clean.z, clean.w));
    let big = top >= BIG;
    let small = top < SMALL;
    // As in scaled.wgsl, where neither the largest nor the smallest normal number is near.
    let down = select(clean - vec4<u32>(96u << 23u), vec4<u32>(0u), clean < vec4<u32>(97u << 23u));
    let moved = select(select(clean, clean + vec4<u32>(87u << 23u), small), down, big);
    // A subnormal number is an integer times 2^-149.
    let subnormal = vec4<bool>(small) & (clean < vec4<u32>(0x00800000u));
    let y = select(bitcast<vec4<f32>>(moved), vec4<f32>(clean) * 0x1p-62, subnormal);
    let square = dot(y, y);
    let count = dot(select(vec4<f32>(0.0), vec4<f32>(1.0), bad), vec4<f32>(1.0));
    let kind = vec3<bool>(big, !big && !small, small);
    return Sum(into.parts + vec4<f32>(select(vec3<f32>(0.0), vec3<f32>(square), kind), count), 0u);
}

fn finite_part(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4<f32>(0.0), not_finite(x));
}

fn add_plain(into: Sum, x: vec4<f32>, careful: bool) -> Sum {
    let count = dot(select(vec4<f32>(0.0), vec4<f32>(1.0), not_finite(x)), vec4<f32>(1.0));
    return Sum(into.parts + vec4<f32>(dot(finite_part(x), vec4<f32>(1.0)), 0.0, 0.0, count), 0u);
}

fn add_largest(into: Sum, x: vec4<f32>, careful: bool) -> Sum {
    let y = abs(finite_part(x));
    let largest = max(max(max(into.parts.x, y.x), max(y.y, y.z)), y.w);
    return Sum(vec4<f32>(largest, 0.0, 0.0, 0.0), 0u);
}

// Bit i of LARGEST_OF, which is generated, says that term i is a largest magnitude. Generated too: `join_part` and
// `put_sums`, a line for each term. Compilers do not unroll loops that are kept from running for ever, as all are, and
// leave in memory what a loop looks up.
fn join(a: vec4<f32>, b: vec4<f32>, term: u32) -> vec4<f32> {
    return select(a + b, max(a, b), ((LARGEST_OF >> term) & 1u) != 0u);
}

// Adds up what an invocation has of a tile; whether it was right to take all vec4 for middle ones.
fn reduce_tile(tile: Tile, row: Row, careful: bool, sums: ptr<function, array<Sum, TERMS>>) -> bool {
    var middle = true;
    for (var first = tile.lane; 4u * first < tile.count; first += PART * tile.lanes) {
        // With its initialiser: some compilers do not make a variable of a loop zero again in each round.
        var part = array<Sum, TERMS>();
        let end = min(first + PART * tile.lanes, (tile.count + 3u) / 4u);
        for (var i = first; i < end; i += tile.lanes) {
            reduce_vec4(tile, i, min(tile.count - 4u * i, 4u), row, careful, &part);
        }
        middle &= join_part(sums, &part);
    }
    return middle;
}

// Whether it was right to take all of a part for middle ones.
fn is_middle(part: Sum) -> bool {
    return part.top == 0u || (part.top >= SMALL && part.top < BIG);
}

// Invocations whose sums join first: those of a small tile.
const WIDTH: u32 = WORKGROUP / PACKED;

var<workgroup> tree: array<vec4<f32>, WORKGROUP * TERMS>;

@compute @workgroup_size(WORKGROUP)
fn optimizer_reduce(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = find_tile(id, grid, lane);
    var sums = array<Sum, TERMS>();
    // What rests counts for nothing.
    if (tile.count > 0u && !tile.rests) {
        let row = load_row(tile);
        if (!reduce_tile(tile, row, false, &sums)) {
            sums = array<Sum, TERMS>();
            _ = reduce_tile(tile, row, true, &sums);
        }
    }
    put_sums(lane, &sums);
    workgroupBarrier();
    // Neighbours by eight: all there is of a small tile. Then, of a large one, the eight sums of eight: barriers
    // are what a tile costs, so there are few.
    let leads = lane % WIDTH == 0u && tile.count > 0u;
    let place = table[1].x + (table[1].y + tile.index) * TERMS;
    for (var term = 0u; term < TERMS; term++) {
        if (leads) {
            let at = term * WORKGROUP + lane;
            var sum = tree[at];
            for (var other = 1u; other < WIDTH; other++) {
                sum = join(sum, tree[at + other], term);
            }
            tree[at] = sum;
            if (tile.lanes == WIDTH) {
                scratch[place + term] = sum;
            }
        }
    }
    workgroupBarrier();
    if (lane < TERMS && tile.count > 0u && tile.lanes == WORKGROUP) {
        var sum = tree[lane * WORKGROUP];
        for (var other = WIDTH; other < WORKGROUP; other += WIDTH) {
            sum = join(sum, tree[lane * WORKGROUP + other], lane);
        }
        scratch[place + lane] = sum;
    }
}
