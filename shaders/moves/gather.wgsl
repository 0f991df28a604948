// gather.wgsl: rows of a tensor's words to their places in a tensor that takes over from it: pruned, cloned, put in another
// order. One workgroup moves one chunk. Not part of a step; see src/state/moves. Concatenated with gather_vec4.wgsl or, where
// a buffer of the host's does not fit that, gather_single.wgsl.

// A row whose slots stay as they start; its parameters and gradients are taken.
const FRESH: u32 = 0x80000000u;
// Of a chunk's width: the words are those of a slot.
const OF_SLOT: u32 = 0x80000000u;
const LANES: u32 = 64u;

struct Chunk {
    // First word among the new ones, first element in the tensor, elements.
    to: u32,
    first: u32,
    count: u32,
    // Elements of a row, and OF_SLOT.
    width: u32,
    // First word among the old ones, first element of these in the tensor that they are of, elements.
    start: u32,
    old_first: u32,
    old_count: u32,
    // Rows of the old tensor.
    rows: u32,
}

@group(0) @binding(0) var<storage, read> chunks: array<Chunk>;
@group(0) @binding(1) var<storage, read> list: array<u32>;

// The element of the old tensor that the first one of a new row takes over, counted from those that are bound. Far behind
// them where there is none: a list that the device wrote may name rows that are not there, and NONE is one of these.
fn taken_from(chunk: Chunk, row: u32) -> u32 {
    let named = list[row];
    let kept = named & ~FRESH;
    let stays = kept >= chunk.rows || (chunk.width >= OF_SLOT && named >= FRESH);
    return select(kept * (chunk.width & ~OF_SLOT) - chunk.old_first, 0x80000000u, stays);
}
