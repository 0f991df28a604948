// The surfaces that particles run down: a formula, its gradient by hand, and the part of the plane that is shown.

export interface Surface {
  name: string;
  about: string;
  /** The middle and half the width of what is shown. */
  middle: [number, number];
  half: number;
  /** WGSL: the value, and its gradient, of `p`; `t` is the step. */
  value: string;
  gradient: string;
  /** Noise that belongs to it, in units of the gradient; `heavy` has no variance. */
  noise: number;
  heavy?: boolean;
}

export const surfaces: Record<string, Surface> = {
  rosenbrock: {
    name: "Rosenbrock",
    about: "A curved valley: down is easy, along is not. Minimum at (1, 1).",
    middle: [0, 1],
    half: 2,
    value: "let a = 1.0 - p.x; let b = p.y - p.x * p.x; return a * a + 100.0 * b * b;",
    gradient: "let b = p.y - p.x * p.x; return vec2f(-2.0 * (1.0 - p.x) - 400.0 * p.x * b, 200.0 * b);",
    noise: 0,
  },
  beale: {
    name: "Beale",
    about: "Flat far away, steep at the corners. Minimum at (3, 0.5).",
    middle: [1, 0],
    half: 3.5,
    value: `let a = 1.5 - p.x + p.x * p.y; let b = 2.25 - p.x + p.x * p.y * p.y; let c = 2.625 - p.x + p.x * p.y * p.y * p.y;
      return a * a + b * b + c * c;`,
    gradient: `let y2 = p.y * p.y; let y3 = y2 * p.y;
      let a = 1.5 - p.x + p.x * p.y; let b = 2.25 - p.x + p.x * y2; let c = 2.625 - p.x + p.x * y3;
      return 2.0 * vec2f(a * (p.y - 1.0) + b * (y2 - 1.0) + c * (y3 - 1.0), p.x * (a + 2.0 * b * p.y + 3.0 * c * y2));`,
    noise: 0,
  },
  himmelblau: {
    name: "Himmelblau",
    about: "Four minima of the same depth.",
    middle: [0, 0],
    half: 5.5,
    value: "let a = p.x * p.x + p.y - 11.0; let b = p.x + p.y * p.y - 7.0; return a * a + b * b;",
    gradient: `let a = p.x * p.x + p.y - 11.0; let b = p.x + p.y * p.y - 7.0;
      return vec2f(4.0 * p.x * a + 2.0 * b, 2.0 * a + 4.0 * p.y * b);`,
    noise: 0,
  },
  saddle: {
    name: "A saddle",
    about: "x² - y² + y⁴/4: no slope in the middle, minima above and below.",
    middle: [0, 0],
    half: 2.2,
    value: "return p.x * p.x - p.y * p.y + 0.25 * p.y * p.y * p.y * p.y + 1.0;",
    gradient: "return vec2f(2.0 * p.x, -2.0 * p.y + p.y * p.y * p.y);",
    noise: 0.1,
  },
  quadratic: {
    name: "Noisy quadratic",
    about: "MaxVA's model of a network near its minimum: curvatures 1 and 30, and noise in every gradient.",
    middle: [0, 0],
    half: 2,
    value: "return 0.5 * (p.x * p.x + 30.0 * p.y * p.y);",
    gradient: "return vec2f(p.x, 30.0 * p.y);",
    noise: 2,
  },
  amsgrad: {
    name: "AMSGrad's example",
    about: "One large gradient to the left, then small ones to the right: minimum at the left and lower walls. Adam with a small beta2 goes the wrong way.",
    middle: [0, 0],
    half: 1.3,
    // The mean over three steps, and walls where the paper projects.
    value: "let out = max(abs(p) - vec2f(1.0), vec2f(0.0)); return (p.x + p.y + 2.0) / 3.0 + 10.0 * dot(out, out);",
    gradient: `let out = sign(p) * max(abs(p) - vec2f(1.0), vec2f(0.0));
      return vec2f(select(-1.0, 3.0, t % 3u == 1u)) + 20.0 * out;`,
    noise: 0,
  },
  heavy: {
    name: "Heavy-tailed noise",
    about: "A round bowl whose gradients have noise without a variance, as attention's do: clipping helps.",
    middle: [0, 0],
    half: 2.5,
    value: "return 0.5 * dot(p, p);",
    gradient: "return p;",
    noise: 0.5,
    heavy: true,
  },
};

/** Functions of a surface, and random numbers. */
export function wgsl({ value, gradient, heavy }: Surface): string {
  return /* wgsl */ `
    struct Frame {
      middle: vec2f,
      half: vec2f,
      color: vec4f,
      noise: f32,
      radius: f32,
      step: u32,
      seed: u32,
      count: u32,
    }
    fn value(p: vec2f) -> f32 { ${value} }
    fn gradient(p: vec2f, t: u32) -> vec2f { ${gradient} }
    // PCG, M. O'Neill, 2014: the output permutation of one word.
    fn mix(x: u32) -> u32 {
      let state = x * 747796405u + 2891336453u;
      let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
      return (word >> 22u) ^ word;
    }
    fn uniform_of(x: u32) -> f32 { return (f32(x >> 8u) + 0.5) / 16777216.0; }
    // Two normal numbers, or two of Cauchy's.
    fn noise(index: u32, step: u32, seed: u32) -> vec2f {
      let a = mix(index ^ mix(step ^ mix(seed)));
      let u = vec2f(uniform_of(a), uniform_of(mix(a)));
      ${heavy ? "return clamp(tan(3.14159265 * (u - 0.5)), vec2f(-1e4), vec2f(1e4));" : "return sqrt(-2.0 * log(u.x)) * vec2f(cos(6.2831853 * u.y), sin(6.2831853 * u.y));"}
    }`;
}
