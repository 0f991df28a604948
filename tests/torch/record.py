#!/usr/bin/env python3
"""Records runs that PyTorch began, for tests/torch_states.rs: `record.py` writes a state after 20 of the 40 steps of a recorded
trajectory here, through scripts/torch_state.py, and holds the way back against the rest of that trajectory.

Needs torch, numpy and safetensors.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "../../scripts"))
from torch_state import from_torch, to_torch  # noqa: E402

STEPS = 20
# Trajectory, class, what it is given beside the rate.
RUNS = [
    ("adam", "Adam", {}),
    ("adam_l2", "Adam", {"weight_decay": 0.1}),
    ("amsgrad_raw", "Adam", {"amsgrad": True}),
    ("adamw", "AdamW", {"weight_decay": 0.1}),
    ("nadam", "NAdam", {}),
    ("radam_torch", "RAdam", {}),
    ("adagrad", "Adagrad", {"lr_decay": 0.1}),
    ("adadelta", "Adadelta", {}),
    ("rmsprop", "RMSprop", {}),
    ("rmsprop_centered_momentum", "RMSprop", {"momentum": 0.9, "centered": True}),
    ("sgd", "SGD", {}),
    ("sgd_momentum_l2", "SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("sgd_nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
]


def trajectory(name):
    with safe_open(HERE / f"../golden/{name}.const.safetensors", framework="pt") as file:
        about = file.metadata()
        names = json.loads(about["tensors"])
        parts = [{n: file.get_tensor(f"{part}.{n}") for n in names} for part in ("init", "grad", "param")]
    return json.loads(about["lr"]), *parts


def go_on(optimizer, params, lr, grads, expected, steps):
    """The largest distance from what was recorded, over the largest displacement."""
    worst = 0.0
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = lr[step]
        for name, param in params.items():
            param.grad = grads[name][step].to(param.dtype)
        optimizer.step()
        for name, param in params.items():
            error = (param.detach() - expected[name][step]).abs().max().item()
            displacement = (expected[name] - expected[name][0]).abs().max().item()
            worst = max(worst, error / max(displacement, 1e-30))
    return worst


def main():
    # What optimizers count with too, such as NAdam's product of momenta.
    torch.set_default_dtype(torch.float64)
    for name, kind, options in RUNS:
        lr, init, grads, expected = trajectory(name)
        params = {n: theta.double().requires_grad_() for n, theta in init.items()}
        optimizer = getattr(torch.optim, kind)(params.values(), lr=lr[0], **options)
        optimizer.param_groups[0]["name"] = name
        first = go_on(optimizer, params, lr, grads, expected, range(STEPS))
        path = HERE / f"{name}.safetensors"
        from_torch(params, optimizer.state_dict(), kind, path, steps=STEPS)

        # Back, and on to the end.
        model, state, back = to_torch(path)
        assert back == kind or {back, kind} == {"Adam", "AdamW"}, (back, kind)
        params = {n: theta.double().requires_grad_() for n, theta in model.items()}
        optimizer = getattr(torch.optim, back)(params.values(), lr=lr[0], **options)
        optimizer.load_state_dict(state)
        rest = go_on(optimizer, params, lr, grads, expected, range(STEPS, len(lr)))
        assert first < 1e-9 and rest < 1e-5, f"{name}: {first:.1e} before, {rest:.1e} after"
        print(f"{name}: {first:.1e} before, {rest:.1e} after the state went to f32 and back")


if __name__ == "__main__":
    main()
