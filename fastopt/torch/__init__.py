"""PyTorch's optimizers on fastopt: change one import, ``from fastopt.torch import Adam``.

They are subclasses of torch's own, with their signatures, defaults, ``param_groups`` and
``state_dict``. Tested with torch 2.13; it needs 2.10 at least.
"""

from fastopt.torch.classes import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]
