"""Programs of docs/recipes.md end at the parameters of each library's own optimizer: frameworks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recipes import STEPS, arrays, assert_close, needs_page, recipe

import fastopt

pytestmark = needs_page


# Flower


class TwoNodes:
    """As much of Flower's grid as strategies ask for."""

    def get_node_ids(self) -> list[int]:
        return [1, 2]


def federated(strategy: Any, start: dict[str, Any], rounds: int = STEPS) -> dict[str, Any]:
    """Return the arrays after some rounds, in which each node moves its arrays by a bit."""
    app = pytest.importorskip("flwr.app")

    def record_of(named: dict[str, Any]) -> Any:
        return app.ArrayRecord({name: app.Array(np.asarray(a)) for name, a in named.items()})

    record = record_of(start)
    for number in range(1, rounds + 1):
        replies = []
        for message in strategy.configure_train(number, record, app.ConfigRecord(), TwoNodes()):
            node = message.metadata.dst_node_id
            rng = np.random.default_rng(10 * number + node)
            moved = {name: array.numpy() for name, array in record.items()}
            for name, array in moved.items():
                moved[name] = array + np.asarray(rng.normal(size=array.shape), array.dtype)
            metrics = app.MetricRecord({"num-examples": node})
            content = app.RecordDict({"arrays": record_of(moved), "metrics": metrics})
            replies.append(app.Message(content, dst_node_id=node, message_type="train"))
        record, _ = strategy.aggregate_train(number, replies)
    return {name: array.numpy() for name, array in record.items()}


def from_flower(test: Any) -> Any:
    """Mark a test that imports Flower."""
    ignored = "ignore:.*will be removed in Click 9:DeprecationWarning"  # as Flower is imported
    return pytest.mark.usefixtures("in_a_run")(pytest.mark.filterwarnings(ignored)(test))


CONDITIONS = {"min_available_nodes": 2}


@pytest.fixture
def in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's messages belong to a run, which its server starts."""
    identity = pytest.importorskip("flwr.supercore.task_identity").TaskIdentity
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(identity, name, 1)


@from_flower
@pytest.mark.parametrize("kind", ["FedAdam", "FedAvgM"])
def test_flower(kind: str) -> None:
    theirs = pytest.importorskip("flwr.serverapp.strategy")
    flower = recipe("Flower")
    make, options = {
        "FedAdam": (flower.fed_adam, {}),
        "FedAvgM": (flower.fed_avg_m, {"server_momentum": 0.9}),
    }[kind]
    expected = federated(getattr(theirs, kind)(**CONDITIONS, **options), arrays(0))
    found = federated(flower.ServerOptimizer(make, **CONDITIONS), arrays(0))
    assert list(found) == list(expected)
    assert_close(found, expected)
    assert isinstance(flower.strategy, theirs.FedAvg)


@from_flower
def test_flower_keeps_float32_and_averages_integers() -> None:
    theirs = pytest.importorskip("flwr.serverapp.strategy")
    flower = recipe("Flower")
    start = arrays(0, np.float32)
    of_flower = federated(theirs.FedAdam(**CONDITIONS), start)
    found = federated(flower.ServerOptimizer(flower.fed_adam, **CONDITIONS), start)
    assert {array.dtype for array in of_flower.values()} == {np.dtype(np.float64)}
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert_close(found, of_flower, 2e-6)  # differences of sums of float32
    start = {"layer.weight": start["layer.weight"], "count": np.array([3]), "scale": start["scale"]}
    mixed = federated(flower.ServerOptimizer(flower.fed_adam, **CONDITIONS), start)
    averaged = federated(theirs.FedAvg(**CONDITIONS), start)
    assert list(mixed) == list(start)
    np.testing.assert_array_equal(mixed["count"], averaged["count"])


@from_flower
def test_flower_goes_on_after_a_round_without_replies() -> None:
    pytest.importorskip("flwr.serverapp.strategy")
    flower = recipe("Flower")
    strategy = flower.ServerOptimizer(flower.fed_avg_m, **CONDITIONS)
    federated(strategy, arrays(0), 1)
    assert strategy.aggregate_train(2, []) == (None, None)
    federated(strategy, arrays(1), 1)
    assert strategy.optimizer.step_count == 2


# ONNX Runtime training


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_onnx_runtime(weight_decay: float, tmp_path: Path) -> None:
    for module in ("onnx", "torch", "onnxruntime.training"):
        pytest.importorskip(module)
    import onnx  # noqa: PLC0415
    from onnxruntime.training import api, artifacts, onnxblock  # noqa: PLC0415

    tensor, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    start = arrays(0, np.float32)
    graph = onnx.helper.make_graph(
        [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["z"])],
        "linear",
        [tensor("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [tensor("z", onnx.TensorProto.FLOAT, ["n", 4])],
        [
            onnx.numpy_helper.from_array(start["layer.weight"], "w"),
            onnx.numpy_helper.from_array(np.zeros(4, np.float32), "b"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "model.onnx")
    artifacts.generate_artifacts(
        model,
        requires_grad=["w", "b"],
        loss=artifacts.LossType.MSELoss,
        optimizer=onnxblock.optim.AdamW(weight_decay=weight_decay),
        artifact_directory=tmp_path,
    )
    paths = {name: str(tmp_path / f"{name}_model.onnx") for name in ("training", "optimizer")}

    trainer = recipe("ONNX Runtime training").adamw_trainer(
        str(tmp_path / "model.onnx"),
        paths["training"],
        {"w", "b"},
        lr=0.01,
        weight_decay=weight_decay,
    )
    state = api.CheckpointState.load_checkpoint(str(tmp_path / "checkpoint"))
    module = api.Module(paths["training"], state)
    optimizer = api.Optimizer(paths["optimizer"], module)
    optimizer.set_learning_rate(0.01)
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        x, target = (rng.normal(size=(5, n)).astype(np.float32) for n in (3, 4))
        loss = trainer.step(x=x, target=target)
        assert loss == pytest.approx(float(module(x, target)), rel=1e-5)
        optimizer.step()
        module.lazy_reset_grad()
    for name, array in trainer.optimizer.params.items():
        # Adam divides gradients by their size: their last bits count where it is small.
        np.testing.assert_allclose(array, state.parameters[name].data, 1e-5, 1e-6)


# JAX


def test_jax(capsys: pytest.CaptureFixture[str]) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")

    def loss(params: Any, batch: Any) -> Any:
        z = params["layer.weight"] @ batch + params["layer.bias"]
        return (z**2).sum() * params["scale"] ** 2

    batches = [arrays(step + 1)["layer.weight"][0] for step in range(STEPS)]
    params, theirs = arrays(0), arrays(0)
    with jax.enable_x64(True):
        recipe("JAX").fit(loss, params, batches, partial(fastopt.Adam, lr=0.1))
        adam = optax.adam(0.1)
        state = adam.init(theirs)
        for batch in batches:
            updates, state = adam.update(jax.grad(loss)(theirs, batch), state)
            theirs = optax.apply_updates(theirs, updates)
    assert_close(params, theirs)
    assert capsys.readouterr().out.count("loss") == STEPS
    with pytest.raises(TypeError, match="float32"):
        recipe("JAX").fit(loss, arrays(0), batches)


# Parameters and states in host memory


def networks(torch: Any, dtype: Any) -> list[Any]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).to(
        dtype
    )
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).to(
        dtype
    )
    other.load_state_dict(model.state_dict())
    return [model, other]


def test_offloading() -> None:
    torch = pytest.importorskip("torch")
    offloaded_ = recipe("Parameters and states in host memory").Offloaded
    model, other = networks(torch, torch.float64)
    offloaded = offloaded_(model, partial(fastopt.Adam, lr=0.01), torch.float64)
    theirs = torch.optim.Adam(other.parameters(), lr=0.01)
    for step in range(STEPS):
        x = torch.tensor(arrays(step + 1)["layer.weight"].T)[:, :3]
        for network, optimizer in ((model, offloaded), (other, theirs)):
            network.zero_grad()
            (network(x) ** 2).sum().backward()
            if step % 3 == 1:
                network[0].bias.grad = None
            optimizer.step()
    for ours, p in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), p.detach().numpy(), 1e-12)
    assert offloaded.optimizer.groups[0].state.step == (8, 5, 8, 8)


def test_offloading_in_half_precision() -> None:
    """Small steps add up in the copy in float32, where bfloat16 would round them away."""
    torch = pytest.importorskip("torch")
    offloaded_ = recipe("Parameters and states in host memory").Offloaded
    model, _ = networks(torch, torch.bfloat16)
    start = [p.detach().float().numpy() for p in model.parameters()]
    expected = [array.copy() for array in start]
    offloaded = offloaded_(model, partial(fastopt.SGD, lr=2.0**-12))
    for _ in range(64):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        offloaded.step()
        fastopt.sgd_step(expected, [np.ones_like(array) for array in expected], lr=2.0**-12)
    for p, array, before in zip(model.parameters(), expected, start, strict=True):
        assert p.dtype == torch.bfloat16
        rounded = torch.tensor(array).bfloat16()
        assert torch.equal(p, rounded)
        assert not np.array_equal(p.detach().float().numpy(), before)
