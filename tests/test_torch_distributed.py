"""fastopt.torch where a training is shared by two processes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", minversion="2.10")
pytest.importorskip("fastopt.torch")

DISTRIBUTED = """
import sys, torch, torch.distributed as dist
from torch.distributed.optim import ZeroRedundancyOptimizer
import fastopt.torch as ours
from torch.nn.parallel import DistributedDataParallel

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)

def train(make):
    torch.manual_seed(3)
    layers = torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)
    model = DistributedDataParallel(torch.nn.Sequential(*layers).double())
    opt = make(model.parameters())
    torch.manual_seed(rank)
    for step in range(5):
        opt.zero_grad()
        model(torch.randn(4, 5, dtype=torch.float64)).square().sum().backward()
        opt.step()
    return [p.detach() for p in model.parameters()]

def zero(which, **more):
    return lambda params: ZeroRedundancyOptimizer(params, optimizer_class=which, lr=0.1, **more)

expected = train(lambda params: torch.optim.Adam(params, lr=0.1))
for make in (
    lambda params: ours.Adam(params, lr=0.1),
    zero(ours.Adam),
    zero(ours.Adam, parameters_as_bucket_view=True),
):
    for mine, theirs in zip(train(make), expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
dist.destroy_process_group()
"""


def test_distributed(tmp_path: Any) -> None:
    """DistributedDataParallel and ZeroRedundancyOptimizer in two processes, with gloo."""
    if not torch.distributed.is_available():
        pytest.skip("torch was built without torch.distributed")
    command = [sys.executable, "-c", DISTRIBUTED]
    store = str(tmp_path / "store")
    runs = [
        subprocess.Popen([*command, str(rank), store], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
