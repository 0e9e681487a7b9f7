"""fastopt.torch in Lightning, transformers and accelerate: to the weights of torch's classes."""

from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")

# These libraries warn of their own code and of each other's.
pytestmark = pytest.mark.filterwarnings("ignore")


def data() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 6, generator=generator, dtype=torch.float64)
    return x, x[:, :2].sum(1, keepdim=True)


def network() -> Any:
    torch.manual_seed(1)
    layers = torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    return torch.nn.Sequential(*layers).double()


def check_equal(mine: Any, theirs: Any, **tolerances: float) -> None:
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, **{"rtol": 1e-12, "atol": 1e-12} | tolerances)


def test_lightning(tmp_path: Any) -> None:
    """With a scheduler and clipping; a checkpoint is taken and gone on from."""
    lightning = pytest.importorskip("lightning")

    def train(kind: Any) -> Any:
        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.network = network()

            def training_step(self, batch: Any, _index: int) -> Any:
                x, y = batch
                return ((self.network(x) - y) ** 2).mean()

            def configure_optimizers(self) -> Any:
                opt = kind(self.parameters(), lr=0.01, weight_decay=0.1)
                return [opt], [torch.optim.lr_scheduler.CosineAnnealingLR(opt, 4)]

        batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), 8)
        options = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "gradient_clip_val": 0.5,
            "default_root_dir": tmp_path,
        }
        trainer = lightning.Trainer(max_epochs=2, **options)
        trainer.fit(Module(), batches)
        path = tmp_path / f"{kind.__module__}.ckpt"
        trainer.save_checkpoint(path)
        module = Module()
        trainer = lightning.Trainer(max_epochs=4, **options)
        trainer.fit(module, batches, ckpt_path=path, weights_only=False)
        assert trainer.global_step == 16
        return module

    check_equal(train(ours.AdamW), train(torch.optim.AdamW))


def test_trainer_of_transformers(tmp_path: Any) -> None:
    """With a scheduler and clipping; a checkpoint is gone on from."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: Any, y: Any) -> dict[str, Any]:
            found = self.network(x)
            return {"loss": ((found - y) ** 2).mean(), "logits": found}

    rows = [{"x": x, "y": y} for x, y in zip(*data(), strict=True)]

    def train(kind: Any, steps: int, resume: Any = None) -> Any:
        model = Model()
        opt = kind(model.parameters(), lr=0.01, weight_decay=0.1)
        scheduler = torch.optim.lr_scheduler.LinearLR(opt, total_iters=8)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / kind.__module__),
            max_steps=steps,
            per_device_train_batch_size=8,
            save_steps=4,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["y"],
            dataloader_pin_memory=False,
        )
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=rows, optimizers=(opt, scheduler)
        )
        trainer.train(resume_from_checkpoint=resume)
        return model

    trained = []
    for kind in (ours.AdamW, torch.optim.AdamW):
        train(kind, 4)
        trained.append(train(kind, 8, str(tmp_path / kind.__module__ / "checkpoint-4")))
    check_equal(*trained)


def test_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")

    def train(kind: Any) -> Any:
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = network()
        opt = kind(model.parameters(), lr=0.01)
        model, opt = accelerator.prepare(model, opt)
        x, y = data()
        for part in range(8):
            rows = slice(4 * part, 4 * part + 4)
            with accelerator.accumulate(model):
                accelerator.backward(((model(x[rows]) - y[rows]) ** 2).mean())
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
                opt.step()
                opt.zero_grad()
        return model

    check_equal(train(ours.Adam), train(torch.optim.Adam))
