#!/usr/bin/env python3
"""Records a run of torch.optim.SparseAdam, for tests/row_masks.rs: an embedding of which each step looks at some rows.

Needs torch, numpy and safetensors.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

ROWS, COLUMNS, STEPS = 77, 5, 40


def main():
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    # f32 words, so that the run begins where a GPU's does.
    init = draw(ROWS, COLUMNS).float().double()
    param = init.clone().requires_grad_()
    # SparseAdam adds eps to the root before its bias is corrected, Adam after: so small that neither matters.
    optimizer = torch.optim.SparseAdam([param], lr=1e-2, eps=1e-30)
    grads, masks, params = [], [], []
    for step in range(STEPS):
        seen = torch.rand(ROWS, generator=generator) < 0.4
        # One row comes late, one once, and one never.
        seen[3], seen[40], seen[76] = step > 20, step == 7, False
        rows = seen.nonzero().flatten()
        values = (draw(len(rows), COLUMNS) * 10.0 ** (rows.double() % 5 - 3)[:, None]).float().double()
        param.grad = torch.sparse_coo_tensor(rows[None], values, param.shape)
        optimizer.step()
        grads.append(torch.zeros_like(init).index_copy(0, rows, values).float())
        masks.append(seen.to(torch.uint8))
        params.append(param.detach().clone())
    words = {"init": init.float(), "grad": torch.stack(grads), "seen": torch.stack(masks), "param": torch.stack(params)}
    path = Path(__file__).parent / "sparse_adam.safetensors"
    save_file(words, path, {"by": f"torch {torch.__version__}, torch.optim.SparseAdam", "lr": "0.01", "eps": "1e-30"})


if __name__ == "__main__":
    main()
