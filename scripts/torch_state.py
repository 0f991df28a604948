#!/usr/bin/env python3
"""Runs that change between wgpu-optim and PyTorch: parameters, moments, counts of steps and options.

    torch_state.py to-torch RUN.safetensors OUT.pt
    torch_state.py from-torch IN.pt RUN.safetensors --optimizer AdamW

A .pt file holds {"model": state_dict of the parameters, in the optimizer's order, "optimizer": its state_dict}. RUN.safetensors is
what `OptimizerState::save` writes and `open` reads. PyTorch's state_dict does not name its class, so that is an argument.

Needs torch, numpy and safetensors. The rules: Adam (amsgrad too), AdamW, NAdam, RAdam, Adagrad, Adadelta, RMSprop, SGD.
"""

import argparse
import json
from dataclasses import dataclass, field

import numpy
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

ABOUT = "wgpu-optim"


@dataclass
class Rule:
    """A rule of both: names of options that are numbers, of slots, and what else there is."""

    name: str
    numbers: dict = field(default_factory=dict)  # ours: PyTorch's; "betas.0" is an item of a tuple
    slots: dict = field(default_factory=dict)  # ours: PyTorch's
    options: dict = field(default_factory=dict)  # ours that PyTorch has one value of
    flags: dict = field(default_factory=dict)  # ours: PyTorch's, true or false in both
    decay: str = "l2"  # what PyTorch's weight_decay is
    undecayed: str = "l2"  # our default, where nothing decays

    @property
    def all_numbers(self):
        return {"lr": "lr", **self.numbers, "weight_decay": "weight_decay"}


BETAS = {"beta1": "betas.0", "beta2": "betas.1", "eps": "eps"}
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
RULES = {
    "Adam": Rule("adam", BETAS, {**MOMENTS, "v_max": "max_exp_avg_sq"}),
    "AdamW": Rule("adam", BETAS, {**MOMENTS, "v_max": "max_exp_avg_sq"}, decay="decoupled"),
    "NAdam": Rule("nadam", {**BETAS, "momentum_decay": "momentum_decay"}, MOMENTS),
    "RAdam": Rule(
        "radam",
        BETAS,
        MOMENTS,
        options={"threshold": 5.0, "fallback": "sgd", "eps_form": "raw"},
        undecayed="decoupled",
    ),
    "Adagrad": Rule(
        "adagrad",
        {"lr_decay": "lr_decay", "initial_accumulator": "initial_accumulator_value", "eps": "eps"},
        {"v": "sum"},
    ),
    "Adadelta": Rule("adadelta", {"rho": "rho", "eps": "eps"}, {"v": "square_avg", "x": "acc_delta"}),
    "RMSprop": Rule(
        "rmsprop",
        {"alpha": "alpha", "eps": "eps", "momentum": "momentum"},
        {"v": "square_avg", "a": "grad_avg", "b": "momentum_buffer"},
        flags={"centered": "centered"},
    ),
    "SGD": Rule(
        "sgd",
        {"momentum": "momentum", "dampening": "dampening"},
        {"b": "momentum_buffer"},
        flags={"nesterov": "nesterov"},
    ),
}


def number(group, name):
    name, _, index = name.partition(".")
    value = group[name][int(index)] if index else group[name]
    return float(value)


def options_of(rule, group):
    """Our options of one of PyTorch's parameter groups."""
    options = {"optimizer": rule.name}
    options |= {ours: number(group, theirs) for ours, theirs in rule.all_numbers.items()}
    options |= {ours: bool(group[theirs]) for ours, theirs in rule.flags.items()}
    options |= rule.options
    if rule.name == "adam":
        options["amsgrad"] = "raw" if group["amsgrad"] else "none"
    decoupled = rule.decay == "decoupled" or group.get("decoupled_weight_decay", False)
    mode = "decoupled" if decoupled else "l2"
    options["weight_decay_mode"] = mode if options["weight_decay"] else rule.undecayed
    return options


def from_torch(model, state, optimizer, path, steps=1):
    """Writes a run of ours that goes on where PyTorch's is. `steps` counts where PyTorch does not (SGD)."""
    rule = RULES[optimizer]
    names = list(model)
    words = {f"param/{name}": tensor for name, tensor in model.items()}
    groups, tensors, taken = [], {}, set()
    for index, group in enumerate(state["param_groups"]):
        options = options_of(rule, group)
        groups.append({"name": group.get("name", str(index)), "options": options})
        memory = 0.0
        for param in group["params"]:
            name, own = names[param], state["state"].get(param, {})
            tensors[param] = {"name": name, "shape": list(model[name].shape), "group": index}
            if "step" in own:
                taken.add(int(own["step"]))
            else:
                # SGD: without momentum it keeps nothing, however many steps it has taken.
                taken.add(steps if own or not group.get("momentum") and optimizer == "SGD" else 0)
            memory = float(own.get("mu_product", 0.0))
            for ours, theirs in rule.slots.items():
                if own.get(theirs) is not None:
                    words[f"{ours}/{name}"] = own[theirs]
            if options.get("centered") and own:
                # Ours is the variance itself.
                words[f"v/{name}"] = own["square_avg"] - own["grad_avg"] ** 2
        groups[-1]["memory"] = memory
    if len(taken) != 1:
        raise SystemExit(f"its tensors have taken {sorted(taken)} steps, and ours all take the same")
    (taken,) = taken
    count = len(groups)
    about = {
        "version": 1,
        "library": f"torch {torch.__version__}",
        "optimizer": rule.name,
        "program": "",
        "wrappers": {},
        "groups": [{"name": group["name"], "options": group["options"]} for group in groups],
        "tensors": [tensors[param] for param in sorted(tensors)],
        "progress": {
            **dict.fromkeys(["recorded", "made", "known", "known_at"], taken),
            "memory": [[group["memory"], 0.0, 0.0, 0.0] for group in groups],
            "evaluated": [False] * count,
        },
        "row": 0,
    }
    arrays = {name: tensor.detach().cpu().float().contiguous().numpy() for name, tensor in words.items()}
    arrays["steps/0"] = numpy.array([taken], dtype=numpy.uint32)
    save_file(arrays, path, metadata={ABOUT: json.dumps(about)})


def to_torch(path):
    """The parameters by name and a state_dict of PyTorch's optimizer, and the name of that."""
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()[ABOUT])
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    name = about["optimizer"]
    decay = {group["options"]["weight_decay_mode"] for group in about["groups"] if group["options"]["weight_decay"]}
    known = [
        (theirs, rule)
        for theirs, rule in RULES.items()
        if rule.name == name and decay <= {rule.decay} | ({"decoupled"} if name in ("nadam", "radam") else set())
    ]
    if not known:
        raise SystemExit(f"PyTorch has no '{name}' whose weight decay is {' and '.join(sorted(decay))}")
    if wrapped := [wrapper for wrapper, value in about["wrappers"].items() if value not in (None, False, "propagate")]:
        raise SystemExit(f"PyTorch's optimizer has nothing of {', '.join(wrapped)}")
    theirs, rule = known[0]
    taken = int(arrays["steps/0"].flat[0]) & 0x7FFFFFFF
    model, state, groups = {}, {}, []
    for group in about["groups"]:
        options, own = group["options"], {"params": [], "name": group["name"]}
        for option, expected in rule.options.items():
            if options[option] != expected:
                raise SystemExit(f"PyTorch's {theirs} has {option} = {expected}, not {options[option]}")
        for ours, place in rule.all_numbers.items():
            place, _, index = place.partition(".")
            if index:
                own.setdefault(place, [0.0, 0.0])[int(index)] = options[ours]
            else:
                own[place] = options[ours]
        if "betas" in own:
            own["betas"] = tuple(own["betas"])
        own |= {place: options[ours] for ours, place in rule.flags.items()}
        if name == "adam":
            if options["amsgrad"] not in ("none", "raw"):
                raise SystemExit(f"PyTorch's amsgrad is 'raw', not '{options['amsgrad']}'")
            own["amsgrad"] = options["amsgrad"] == "raw"
        if name in ("nadam", "radam") and decay == {"decoupled"}:
            own["decoupled_weight_decay"] = True
        groups.append(own)
    for index, tensor in enumerate(about["tensors"]):
        label, group = tensor["name"], tensor["group"]
        options = about["groups"][group]["options"]
        model[label] = torch.from_numpy(arrays[f"param/{label}"])
        slots = {
            place: torch.from_numpy(arrays[f"{ours}/{label}"])
            for ours, place in rule.slots.items()
            if f"{ours}/{label}" in arrays
        }
        if options.get("centered"):
            slots["square_avg"] = slots["square_avg"] + slots["grad_avg"] ** 2
        if name != "sgd":
            slots["step"] = torch.tensor(float(taken))
        if name == "nadam":
            slots["mu_product"] = torch.tensor(about["progress"]["memory"][group][0])
        if taken and slots:
            state[index] = slots
        groups[group]["params"].append(index)
    return model, {"state": state, "param_groups": groups}, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    out = commands.add_parser("to-torch")
    out.add_argument("run")
    out.add_argument("out")
    into = commands.add_parser("from-torch")
    into.add_argument("file")
    into.add_argument("run")
    into.add_argument("--optimizer", required=True, choices=RULES)
    into.add_argument("--steps", type=int, default=1, help="steps taken, where PyTorch does not count them (SGD)")
    arguments = parser.parse_args()
    if arguments.command == "to-torch":
        model, state, optimizer = to_torch(arguments.run)
        torch.save({"model": model, "optimizer": state}, arguments.out)
        print(f"torch.optim.{optimizer}, {len(model)} tensors: load_state_dict takes both")
    else:
        saved = torch.load(arguments.file, map_location="cpu")
        from_torch(saved["model"], saved["optimizer"], arguments.optimizer, arguments.run, arguments.steps)


if __name__ == "__main__":
    main()
