// Softmax cross-entropy: the gradient of its mean over the batch with respect to the logits, its sum, and
// how many samples have their largest logit at their label. One workgroup; sums in a fixed order.

const WIDTH = 32u;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [samples, outputs], rows padded to quads
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> d_logits: array<f32>;     // as logits; 0 in the padding
@group(0) @binding(5) var<storage, read_write> losses: array<vec2<f32>>; // sum, number right

var<workgroup> partial: array<vec2<f32>, WIDTH>;

// Returns the loss of a sample, and 1 if it is right.
fn sample_loss(sample: u32) -> vec2<f32> {
    let row = sample * ((outputs + 3u) / 4u) * 4u;
    let label = labels[order[batch.start + sample]];
    var largest = logits[row];
    var guess = 0u;
    for (var i = 1u; i < outputs; i++) {
        if (logits[row + i] > largest) {
            largest = logits[row + i];
            guess = i;
        }
    }
    var total = 0.0;
    for (var i = 0u; i < outputs; i++) {
        total += exp(logits[row + i] - largest);
    }
    for (var i = 0u; i < outputs; i++) {
        let p = exp(logits[row + i] - largest) / total;
        d_logits[row + i] = (p - select(0.0, 1.0, i == label)) / f32(batch.count);
    }
    return vec2<f32>(log(total) + largest - logits[row + label], select(0.0, 1.0, guess == label));
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2<f32>(0.0);
    for (var sample = lane; sample < batch.count; sample += WIDTH) {
        sum += sample_loss(sample);
    }
    partial[lane] = sum;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        losses[batch.slot] = partial[0];
    }
}
