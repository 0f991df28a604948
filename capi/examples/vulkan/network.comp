// A network that knows a picture: (x, y) -> 32 -> 32 -> red, green, blue. Three kernels of the application's own, one for each
// of BACKWARD, GATHER and PAINT. Nothing here knows an optimizer.
#version 450

layout(local_size_x = 64) in;

// All parameters, and from `grads` on all gradients, in the same order.
layout(set = 0, binding = 0) buffer Model { float model[]; };
// What a sample leaves for GATHER; at its very end the loss of the batch.
layout(set = 0, binding = 1) buffer Work { float work[]; };
layout(set = 0, binding = 2) buffer Picture { uint picture[]; };
layout(push_constant) uniform Push { uint seed; uint grads; };

const uint WIDTH = 32u;
const uint SAMPLES = 1024u;
const uint SIDE = 128u;
// Where each tensor starts in the model.
const uint W1 = 0u, B1 = 64u, W2 = 96u, B2 = 1120u, W3 = 1152u, B3 = 1248u, END = 1251u;
// Where each value of a sample starts in the work: inputs, activations, what their sums are to blame for, the loss.
const uint X = 0u, A1 = 2u, A2 = 34u, D1 = 66u, D2 = 98u, D3 = 130u, LOSS = 133u, SAMPLE = 134u;

float a1[WIDTH];
float a2[WIDTH];

vec3 forward(vec2 x) {
    for (uint i = 0u; i < WIDTH; i++)
        a1[i] = tanh(3.0 * (model[W1 + 2u * i] * x.x + model[W1 + 2u * i + 1u] * x.y) + model[B1 + i]);
    for (uint i = 0u; i < WIDTH; i++) {
        float sum = model[B2 + i];
        for (uint j = 0u; j < WIDTH; j++) sum += model[W2 + WIDTH * i + j] * a1[j];
        a2[i] = tanh(sum);
    }
    vec3 colour;
    for (uint c = 0u; c < 3u; c++) {
        float sum = model[B3 + c];
        for (uint j = 0u; j < WIDTH; j++) sum += model[W3 + WIDTH * c + j] * a2[j];
        colour[c] = sum;
    }
    return colour;
}

#ifdef BACKWARD
// A red heart on blue.
vec3 truth(vec2 x) {
    float a = dot(x, x) - 0.45;
    return a * a * a - x.x * x.x * x.y * x.y * x.y < 0.0 ? vec3(0.9, 0.1, 0.2) : vec3(0.1, 0.2, 0.4);
}

float random(uint n) {
    n = (n ^ 61u) ^ (n >> 16u);
    n *= 9u;
    n ^= n >> 4u;
    n *= 0x27d4eb2du;
    return float((n ^ (n >> 15u)) & 0xffffu) / 32768.0 - 1.0;
}

void main() {
    uint at = SAMPLE * gl_GlobalInvocationID.x;
    uint n = 2u * (SAMPLES * seed + gl_GlobalInvocationID.x);
    vec2 x = vec2(random(n), random(n + 1u));
    vec3 error = forward(x) - truth(x);
    work[at + X] = x.x;
    work[at + X + 1u] = x.y;
    work[at + LOSS] = dot(error, error);
    for (uint c = 0u; c < 3u; c++) work[at + D3 + c] = 2.0 * error[c];
    for (uint i = 0u; i < WIDTH; i++) {
        float blame = 0.0;
        for (uint c = 0u; c < 3u; c++) blame += 2.0 * error[c] * model[W3 + WIDTH * c + i];
        work[at + A1 + i] = a1[i];
        work[at + A2 + i] = a2[i];
        work[at + D2 + i] = blame * (1.0 - a2[i] * a2[i]);
    }
    for (uint j = 0u; j < WIDTH; j++) {
        float blame = 0.0;
        for (uint i = 0u; i < WIDTH; i++) blame += work[at + D2 + i] * model[W2 + WIDTH * i + j];
        work[at + D1 + j] = blame * (1.0 - a1[j] * a1[j]);
    }
}
#endif

#ifdef GATHER
// Each parameter's gradient, the mean over the samples; one invocation more has the loss.
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i > END) return;
    uint delta, input_;
    bool scaled = false, alone = false;
    if (i < B1) { delta = D1 + i / 2u; input_ = X + i % 2u; scaled = true; }
    else if (i < W2) { delta = D1 + i - B1; alone = true; }
    else if (i < B2) { delta = D2 + (i - W2) / WIDTH; input_ = A1 + (i - W2) % WIDTH; }
    else if (i < W3) { delta = D2 + i - B2; alone = true; }
    else if (i < B3) { delta = D3 + (i - W3) / WIDTH; input_ = A2 + (i - W3) % WIDTH; }
    else if (i < END) { delta = D3 + i - B3; alone = true; }
    else { delta = LOSS; alone = true; }
    float sum = 0.0;
    for (uint sample_ = 0u; sample_ < SAMPLES; sample_++) {
        float value = work[SAMPLE * sample_ + delta];
        sum += alone ? value : value * work[SAMPLE * sample_ + input_];
    }
    sum *= (scaled ? 3.0 : 1.0) / float(SAMPLES);
    if (i == END) work[SAMPLE * SAMPLES] = sum;
    else model[grads + i] = sum;
}
#endif

#ifdef PAINT
void main() {
    uint i = gl_GlobalInvocationID.x;
    vec2 x = (vec2(i % SIDE, SIDE - 1u - i / SIDE) + 0.5) * (2.0 / float(SIDE)) - 1.0;
    picture[i] = packUnorm4x8(vec4(forward(x), 1.0));
}
#endif
