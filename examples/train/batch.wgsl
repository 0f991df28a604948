// Stands before each kernel of the network. A matrix has one row a sample, or a unit, and is stored row by
// row as vec4 ("quads"). Each invocation makes a block of 4 x 4 elements: loads are what costs.

struct Batch {
    start: u32, // place in `order` of the first sample
    count: u32, // samples
    slot: u32,  // place of the loss in `losses`
}

@group(0) @binding(0) var<uniform> batch: Batch;

override inputs: u32 = 4u;  // of the layer, a multiple of four
override outputs: u32 = 1u; // of the layer; rows of outputs are padded to quads
