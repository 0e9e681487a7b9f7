"""fastopt.torch in the hands of those who write no loop: Lightning, transformers, accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", minversion="2.10")
ours: Any = pytest.importorskip("fastopt.torch")

STEPS = 6
OPTIONS: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library writes unasked goes here, and nothing is looked for elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def check(model: Any, expected: Any, exactly: bool = False) -> None:
    assert all(p.dtype == torch.float64 for p in model.parameters())
    tolerance = {"rtol": 0.0, "atol": 0.0 if exactly else 1e-12}
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), **tolerance)


def network() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def batches(number: int) -> Any:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(number * 4, 5, generator=generator, dtype=torch.float64)
    data = torch.utils.data.TensorDataset(x, x.prod(1, keepdim=True))
    return torch.utils.data.DataLoader(data, batch_size=4)


def schedule(opt: Any) -> Any:
    """Momentum is scheduled as well: both betas and lr change in each step."""
    return torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=STEPS)


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
    "ignore:The 'train_dataloader' does not have many workers",  # where there are many processors
)
@pytest.mark.parametrize("automatic", [True, False], ids=["automatic", "manual"])
def test_lightning(tmp_path: Path, automatic: bool) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self, make: Any) -> None:
            super().__init__()
            self.make, self.net, self.automatic_optimization = make, network(), automatic

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            loss = ((self.net(x) - y) ** 2).mean()
            if not automatic:
                opt = self.optimizers()
                self.manual_backward(loss / 2)
                if index % 2:
                    self.clip_gradients(opt, 0.2, "norm")
                    opt.step()
                    opt.zero_grad()
                    self.lr_schedulers().step()
            return loss

        def configure_optimizers(self) -> Any:
            opt = self.make(self.parameters(), **OPTIONS)
            return [opt], [{"scheduler": schedule(opt), "interval": "step"}]

    def fit(make: Any, epochs: int, resumed: Path | None = None) -> Any:
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing"), False)
        own = {"gradient_clip_val": 0.2, "accumulate_grad_batches": 2} if automatic else {}
        numbers = {"accelerator": "cpu", "precision": "64-true", "max_epochs": epochs}
        trainer = lightning.Trainer(**numbers, **own, **quiet, enable_model_summary=False)
        trainer.fit(module := Module(make), batches(2), ckpt_path=resumed)
        assert trainer.global_step == epochs
        trainer.save_checkpoint(tmp_path / make.__module__ / f"{epochs}.ckpt")
        return module.net

    whole = fit(ours.AdamW, STEPS)
    check(whole, fit(torch.optim.AdamW, STEPS))
    for make in (ours.AdamW, torch.optim.AdamW):
        fit(make, 3)
        resumed = fit(ours.AdamW, STEPS, tmp_path / make.__module__ / "3.ckpt")
        check(resumed, whole, exactly=make is ours.AdamW)


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
    config = transformers.BertConfig(vocab_size=32, num_attention_heads=2, **sizes)
    ids = torch.randint(0, 32, (STEPS * 8, 7), generator=torch.Generator().manual_seed(1))
    data = [{"input_ids": row, "labels": row.sum() % 2} for row in ids]

    def train(make: Any, name: str, resumed: Path | None = None) -> Any:
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config).double()
        opt = make(model.parameters(), **OPTIONS)
        linear = transformers.get_linear_schedule_with_warmup(opt, 2, STEPS)
        args = transformers.TrainingArguments(
            output_dir=str(tmp_path / name), use_cpu=True, max_steps=STEPS, save_steps=3,
            per_device_train_batch_size=4, gradient_accumulation_steps=2, max_grad_norm=0.2,
            report_to=[], disable_tqdm=True, dataloader_pin_memory=False, logging_strategy="no",
        )  # fmt: skip
        trainer = transformers.Trainer(model, args, train_dataset=data, optimizers=(opt, linear))
        trainer.train(resume_from_checkpoint=resumed and str(resumed / "checkpoint-3"))
        return model

    whole = train(ours.AdamW, "o")
    check(whole, train(torch.optim.AdamW, "t"))
    check(train(ours.AdamW, "resumed", tmp_path / "o"), whole, exactly=True)
    check(train(ours.AdamW, "taken over", tmp_path / "t"), whole)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_accelerate(tmp_path: Path, name: str) -> None:
    accelerate = pytest.importorskip("accelerate")

    def train(module: Any, resumed: bool = False) -> Any:
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        net = network()
        opt = getattr(module, name)(net.parameters(), **OPTIONS)
        net, opt, data, scheduler = accelerator.prepare(net, opt, batches(2 * STEPS), schedule(opt))
        if resumed:
            accelerator.load_state(tmp_path / module.__name__)
            data = accelerator.skip_first_batches(data, STEPS)
        for number, (x, y) in enumerate(data):
            if number <= STEPS and not resumed:
                accelerator.save_state(tmp_path / module.__name__)
            with accelerator.accumulate(net):
                accelerator.backward(((net(x) - y) ** 2).mean())
                accelerator.clip_grad_norm_(net.parameters(), 0.2)  # also amid an accumulation
                opt.step()
                scheduler.step()
                opt.zero_grad()
        return accelerator.unwrap_model(net)

    check(whole := train(ours), train(torch.optim))
    check(train(ours, resumed=True), whole, exactly=True)
