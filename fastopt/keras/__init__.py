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
    Ftrl,
    Lamb,
    Lion,
    Nadam,
    RMSprop,
)
from fastopt.keras.muon import Muon
from fastopt.keras.schedulefree import ScheduleFreeAdamW

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "ScheduleFreeAdamW",
]
