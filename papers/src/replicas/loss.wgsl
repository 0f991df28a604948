// Softmax cross-entropy of every replica: the gradient of its mean over the batch with respect to the logits,
// and sums of losses and right answers, gathered over the steps of a record. A workgroup has a replica, an
// invocation a sample.

const CLASSES = 10u;
const ROW = 12u; // logits of a sample, the last two of no class

@group(0) @binding(2) var<storage, read> batch_labels: array<u32>; // [seed, sample]
@group(0) @binding(3) var<storage, read> logits: array<f32>; // [replica, sample, class]
@group(0) @binding(4) var<storage, read_write> deltas: array<f32>; // as logits; 0 in the last two
@group(0) @binding(5) var<storage, read_write> records: array<vec2<f32>>; // [record, replica]

var<workgroup> partial: array<vec2<f32>, BATCH>;

// Returns the loss of a sample, and 1 if it is right.
fn sample_loss(row: u32, label: u32) -> vec2<f32> {
    var largest = logits[row];
    var guess = 0u;
    for (var i = 1u; i < CLASSES; i++) {
        if (logits[row + i] > largest) {
            largest = logits[row + i];
            guess = i;
        }
    }
    var total = 0.0;
    for (var i = 0u; i < CLASSES; i++) {
        total += exp(logits[row + i] - largest);
    }
    for (var i = 0u; i < CLASSES; i++) {
        let p = exp(logits[row + i] - largest) / total;
        deltas[row + i] = (p - select(0.0, 1.0, i == label)) / f32(BATCH);
    }
    return vec2<f32>(log(total) + largest - logits[row + label], select(0.0, 1.0, guess == label));
}

@compute @workgroup_size(BATCH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let replica = group.x;
    let label = batch_labels[replica % shape.seeds * BATCH + lane];
    let own = sample_loss((replica * BATCH + lane) * ROW, label);
    // Batches of a test are steps of its record; the last one may have samples that do not count.
    let t = select(step.t - 1u, step.t, shape.test == 1u);
    let counts = shape.test == 0u || (t % shape.every) * BATCH + lane < shape.held_out;
    partial[lane] = select(vec2<f32>(0.0), own, counts);
    for (var half = BATCH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        records[t / shape.every * shape.replicas + replica] += partial[0];
    }
}
