// What crosses between a page and the core.

/** A place in one of the page's own buffers. */
export interface Place {
  /** With usage STORAGE; with COPY_SRC and COPY_DST too where `read` and `write` are to work. */
  buffer: GPUBuffer;
  /** First byte, a multiple of 4 (of 16 for the faster access by vec4). Default 0. */
  offset?: number;
}

/** A tensor of the model. */
export interface TensorDescription {
  /** Unique among the tensors. */
  name: string;
  /** Numbers of rows, columns, …; empty for a scalar. */
  shape: readonly number[];
  /** Name of its parameter group. Default: the first. */
  group?: string;
  /** Where its parameters are, f32. Left out, the optimizer makes a place for them. */
  param?: Place;
  /** Where its gradients are, f32; together with `param`. */
  grad?: Place;
}

/** Options of a rule, by the names that PyTorch has: `lr`, `beta1`, `weight_decay`, … */
export type RuleOptions = { [option: string]: number | boolean | string | null | undefined };

/** A parameter group: options of the rule that differ from those at the top. */
export type GroupDescription = { name: string } & RuleOptions;

/** What may stand around any rule; see the Rust type `Wrappers` for each. */
export interface Wrappers {
  lookahead?: { k?: number; alpha?: number };
  ema?: number;
  max_grad_norm?: number;
  max_tensor_norm?: number;
  max_grad_value?: number;
  grad_accumulation_steps?: number;
  zero_grad?: boolean;
  non_finite?: "propagate" | "skip";
  loss_scale?: { initial?: number; growth?: number; backoff?: number; interval?: number };
  cautious?: boolean;
}

/** What `createOptimizer` takes, beside the rule's own options at the top. */
export interface Description extends Wrappers {
  /** `adamw`, `lamb`, … ; `names()` has all. */
  optimizer: string;
  tensors: readonly TensorDescription[];
  /** Default: one, called `all`. */
  groups?: readonly GroupDescription[];
  /** How tensors lie in the optimizer's own buffers. Default `bindable`: each can be bound by itself. */
  packing?: "bindable" | "tight";
  /** Begins the label of every object. */
  label?: string;
  /** Steps that the page wants to record before a submit, each with other settings. */
  steps_ahead?: number;
  /** Each tensor counts its own steps, so that it may be left out of some (`skip`) and start anew (`reset`). */
  own_steps?: boolean;
  /** Rows of tensors may rest (`rowMask`), and the others take the step of the tensor's count, or of their own. */
  row_masks?: "tensor_steps" | "row_steps";
  [option: string]: unknown;
}

/** Bytes of a buffer. */
export interface Range {
  buffer: GPUBuffer;
  offset: number;
  size: number;
}

/** Indices and bytes, as the core gives them. */
export interface Slice {
  buffer: number;
  offset: number;
  size: number;
}

/** What the core wants on the device. */
export interface Plan {
  optimizer: string;
  label: string;
  groups: string[];
  buffers: { label: string; size: number; usage: "given" | "storage" | "uniform"; filled: boolean }[];
  arenas: boolean[];
  layouts: ("read_only" | "read_write" | "record")[][];
  modules: { label: string; wgsl: string; entry_point: string; invocations: number; layout: number }[];
  bindings: { layout: number; slices: Slice[] }[];
  passes: { module: number; bindings: number; workgroups: [number, number] }[];
  counts: Slice[];
  rowMasks: Slice[] | null;
  tensors: {
    name: string;
    shape: number[];
    group: number;
    len: number;
    param: { buffer: number; offset: number };
    grad: { buffer: number; offset: number };
    slots: Record<string, Slice[]>;
  }[];
  readings: { name: string; slices: Slice[] }[];
  stateBytes: number;
  overheadBytes: number;
  bytesPerParameter: number;
}
