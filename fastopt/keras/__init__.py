"""Keras' optimizers on fastopt: change one import, ``from fastopt.keras import Adam``.

They are subclasses of Keras' own, with their signatures, configs and variables. Updates are
fastopt's on Keras' PyTorch backend. Tested with Keras 3.15.
"""

from fastopt.keras.classes import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lamb,
    Lion,
    Nadam,
    RMSprop,
)

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lamb",
    "Lion",
    "Nadam",
    "RMSprop",
]
