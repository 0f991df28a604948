// Gradients of a steady noise, and one that is not. Coordinate i sees the same noise in every event and under
// both momenta, so that whatever differs comes from the event. theta starts every step at 0: the next step is
// then what theta is.

struct Event {
    mean: f32,
    deviation: f32,
    kind: u32, // 0: nothing happens, 1: one gradient has this size, 2: all are so much larger from then on
    size: f32,
    control: u32, // the event without it
}

override N: u32; // coordinates of an event
override AT: u32;
override SEED: u32;

@group(0) @binding(1) var<storage, read> events: array<Event>;
@group(0) @binding(2) var<storage, read_write> theta: array<f32>;
@group(0) @binding(3) var<storage, read_write> g: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= N) {
        return;
    }
    let normal = normals(random(SEED, id.x, step.t, 0u)).x;
    let count = arrayLength(&events);
    for (var number = 0u; number < count; number++) {
        let event = events[number];
        var value = event.mean + event.deviation * normal;
        if (event.kind == 1u && step.t == AT) {
            value = select(-event.size, event.size, value >= 0.0);
        } else if (event.kind == 2u && step.t >= AT) {
            value *= event.size;
        }
        // Without momentum first, then with it.
        let place = number * N + id.x;
        g[place] = value;
        g[count * N + place] = value;
        theta[place] = 0.0;
        theta[count * N + place] = 0.0;
    }
}
