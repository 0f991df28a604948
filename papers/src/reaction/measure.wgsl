// One workgroup an event and momentum, after step step.t. Without momentum theta is -lr g psi with lr = 1:
// sums of log psi less the control's, of its square, of log psi, of its square. With momentum: of |theta| less the
// control's, of its square, of |theta|, of its square; and each coordinate's way since the event, less the
// control's, in the direction that the event's gradient asks for.

struct Event {
    mean: f32,
    deviation: f32,
    kind: u32,
    size: f32,
    control: u32,
}

override N: u32;
override AT: u32;
override WAY: u32; // steps of the way

@group(0) @binding(1) var<storage, read> events: array<Event>;
@group(0) @binding(2) var<storage, read> theta: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read_write> ways: array<vec2<f32>>; // the way; the direction
@group(0) @binding(5) var<storage, read_write> traces: array<vec4<f32>>;

var<workgroup> partial: array<vec4<f32>, 64>;

fn value(place: u32, with_momentum: bool) -> f32 {
    return select(log(abs(theta[place] / g[place])), abs(theta[place]), with_momentum);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let count = arrayLength(&events);
    let number = group.x % count;
    let with_momentum = group.x >= count;
    let first = group.x * N;
    let control = (group.x - number + events[number].control) * N;
    var sum = vec4<f32>();
    for (var i = lane; i < N; i += 64u) {
        let own = value(first + i, with_momentum);
        let difference = own - value(control + i, with_momentum);
        sum += vec4(difference, difference * difference, own, own * own);
        if (with_momentum && step.t >= AT && step.t < AT + WAY) {
            let place = number * N + i;
            if (step.t == AT) {
                ways[place].y = -sign(g[first + i]);
            }
            ways[place].x += ways[place].y * (theta[first + i] - theta[control + i]);
        }
    }
    partial[lane] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    if (lane == 0u) {
        traces[step.t * 2u * count + group.x] = partial[0];
    }
}
