"""The optimizers of torch: fused, and foreach, its default."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from fastopt.bench.measure import Contender
from fastopt.bench.peers.opponent import Array, Opponent
from fastopt.bench.rules import Rule

# Under which name torch has a rule, and the names of its hyper-parameters other than ours.
_OPTIMIZERS: dict[str, tuple[str, dict[str, str]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": "momentum"}),
    "adam": ("Adam", {"eps": "eps"}),
    "rmsprop": ("RMSprop", {"rho": "alpha", "eps": "eps"}),
    "recipe": ("AdamW", {"eps": "eps", "weight_decay": "weight_decay"}),
}
FUSED_RULES = frozenset({"sgd", "momentum", "adam", "recipe"})
FOREACH_RULES = frozenset(_OPTIMIZERS)


def start(kind: str, rule: Rule, params: list[Array], grads: list[Array], threads: int) -> Opponent:
    """Start the optimizer of torch that is of this `kind`: ``fused`` or ``foreach``."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in params]
    clips = "clip_norm" in rule.options
    for tensor, grad in zip(tensors, grads, strict=True):
        # clip_grad_norm_ changes the gradients in place.
        tensor.grad = torch.from_numpy(grad.copy() if clips else grad)

    hyperparameters = rule.hyperparameters
    name, names = _OPTIMIZERS[rule.name]
    arguments = {theirs: hyperparameters[ours] for ours, theirs in names.items()}
    if rule.optimizer == "adam":
        arguments["betas"] = (hyperparameters["beta1"], hyperparameters["beta2"])
    optimizer = getattr(torch.optim, name)(
        tensors, lr=hyperparameters["lr"], **arguments, **{kind: True}
    )
    step = _recipe(torch, optimizer, tensors, rule.options) if clips else optimizer.step
    return Opponent(Contender(step), lambda: [tensor.detach().numpy() for tensor in tensors])


def _recipe(torch: Any, optimizer: Any, tensors: list[Any], options: Mapping[str, float]) -> Any:
    averages = [tensor.detach().clone() for tensor in tensors]
    values = [tensor.detach() for tensor in tensors]

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(tensors, options["clip_norm"])
        optimizer.step()
        torch._foreach_lerp_(averages, values, 1 - options["ema_decay"])

    return step
