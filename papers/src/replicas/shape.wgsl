// Stands before every kernel of the replicas' network.

const BATCH = 32u; // samples of a step

// Sizes; what a kernel does not use is 0.
struct Shape {
    replicas: u32,   // [setting, seed]
    seeds: u32,
    first_seed: u32,
    stride: u32,     // vec4 from a replica's parameters to the next one's
    // A layer.
    inputs: u32,     // a multiple of 8
    outputs: u32,
    weights_at: u32, // in a replica's parameters
    biases_at: u32,
    first: u32,      // 1: reads the images, which are the same for all replicas of a seed
    hidden: u32,     // 1: y = max(x w^T + b, 0)
    // Batches.
    samples: u32,    // to train on
    held_out: u32,   // to test, behind the others
    test: u32,       // 1: batch number t of the tests
    every: u32,      // batches of a record; with `test` of a test
}

@group(0) @binding(1) var<storage, read> shape: Shape;
