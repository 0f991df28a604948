#!/usr/bin/env python3
"""AdamW of PyTorch, for `bench --peers`: fused, foreach, and fused in a replayed CUDA graph; on the CPU where there is no
CUDA, without the graph.

    python3 torch_adamw.py --json torch.json
    bench --peers torch.json

GPU time is by CUDA events around many steps, wall time that of a step which is waited for; medians of seven."""

import argparse
import json
import statistics
import sys
import time

import torch

ROUNDS = 7


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(device, step):
    """Median seconds of a step, on the GPU and by the wall."""
    step()
    synchronize(device)

    def wall():
        start = time.perf_counter()
        step()
        synchronize(device)
        return time.perf_counter() - start

    walls = [wall() for _ in range(ROUNDS)]
    if device != "cuda":
        return None, statistics.median(walls)

    def gpu(count):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / count

    # So many steps that they take about 20 ms.
    count = max(3, min(400, int(0.02 / max(gpu(3), 1e-6))))
    return statistics.median(gpu(count) for _ in range(ROUNDS)), statistics.median(walls)


def optimizer(device, parameters, tensors, groups, **options):
    """AdamW over equal tensors that are dealt to groups in turn, each with a rate of its own."""
    dealt = []
    for i in range(tensors):
        length = parameters * (i + 1) // tensors - parameters * i // tensors
        tensor = torch.nn.Parameter(torch.rand(length, device=device))
        tensor.grad = torch.rand_like(tensor)
        dealt.append(tensor)
    of_groups = [{"params": dealt[i::groups], "lr": 1e-4 * (i + 1)} for i in range(groups)]
    return torch.optim.AdamW(of_groups, **options)


def replayed(device, *load):
    """A step as a CUDA graph."""
    adamw = optimizer(device, *load, fused=True, capturable=True)
    for _ in range(3):
        adamw.step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        adamw.step()
    # The graph works on the optimizer's memory.
    graph.optimizer = adamw
    return graph.replay


def cases(device, quick):
    """Variant and load: parameters, tensors, groups."""
    one = [(n, 1, 1) for n in (1_000_000, 8_388_608, 10_000_000, 100_000_000)]
    many = [(n, t, g) for n in (1_000_000, 100_000_000) for t, g in ((148, 2), (1000, 16), (10_000, 465))]
    many += [(8_388_608, 148, 1), (8_388_608, 1000, 1)]
    for load in one + many:
        parameters, tensors, _ = load
        if device == "cpu" and (parameters > 10_000_000 or tensors > 1000):
            continue
        if quick and (parameters == 8_388_608 or tensors == 10_000):
            continue
        yield "fused", load
        if device == "cuda" and tensors == 1:
            yield "fused, graph", load
        if tensors < 10_000 and tensors > 1:
            yield "foreach", load


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True, help="the file to write")
    parser.add_argument("--quick", action="store_true", help="fewer cases")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    rows = []

    def keep():
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "rows": rows}, file, indent=1)

    # A file that cannot be written is known before anything takes time.
    keep()
    for variant, load in cases(device, arguments.quick):
        try:
            if variant == "fused, graph":
                step = replayed(device, *load)
            else:
                step = optimizer(device, *load, **{variant: True}).step
            gpu_s, wall_s = measure(device, step)
        except (RuntimeError, MemoryError) as error:
            print(f"{variant} {load}: {error}", file=sys.stderr)
            continue
        parameters, tensors, groups = load
        rows.append(
            {
                "library": f"pytorch {torch.__version__}",
                "variant": variant,
                "optimizer": "adamw",
                "device": name,
                "parameters": parameters,
                "tensors": tensors,
                "groups": groups,
                "gpu_s": gpu_s,
                "wall_s": wall_s,
            }
        )
        keep()
        shown = "" if gpu_s is None else f"gpu {gpu_s * 1e6:10.1f} us  "
        print(f"{variant:14} {parameters:>11} in {tensors:>6} tensors  {shown}wall {wall_s * 1e6:10.1f} us", flush=True)
        del step
        if device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
