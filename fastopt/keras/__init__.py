"""Keras' optimizers on fastopt: change one import, ``from fastopt.keras import Adam``.

They are subclasses of Keras' own, with their signatures, configs and variables. Updates are
fastopt's on Keras' PyTorch backend. Tested with Keras 3.15.
"""

from fastopt.keras.classes import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]
