"""PyTorch's optimizers on fastopt: change one import, ``from fastopt.torch import Adam``.

They are subclasses of torch's own, with their signatures, defaults, ``param_groups`` and
``state_dict``. Tested with torch 2.10 to 2.13.
"""

from fastopt.torch.classes import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]
