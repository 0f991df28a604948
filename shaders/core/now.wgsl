// now.wgsl: what the host says of one recorded step beside the groups' host scalars: where the rows of these are, and
// the numbers of everything around the rule. A buffer holds a ring of such records; each recorded step binds its own,
// by a dynamic offset, so that a step finds its own numbers in whatever order encoders are submitted.

struct Now {
    // Vec4 from the table's first row to the rows of this step.
    rows: u32,
    // 0 where the step only converts weights, for evaluation or back.
    trains: u32,
    // Steps between Lookahead's synchronisations.
    k: u32,
    // Steps without an overflow before the loss scale grows; 0 without loss scaling.
    interval: u32,
    alpha: f32,
    one_minus_decay: f32,
    max_norm: f32,
    max_value: f32,
    max_tensor_norm: f32,
    average: f32,
    growth: f32,
    backoff: f32,
}
