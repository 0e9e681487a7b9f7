"""PyTorch's optimizers on fastopt: change one import, ``from fastopt.torch import Adam``.

They are subclasses of torch's own, with their signatures, defaults, ``param_groups`` and
``state_dict``; Lion, LAMB, AdEMAMix, ADOPT and AdaBelief, which torch has not, have the names of
lion-pytorch, timm and their papers' own code.
Tested with torch 2.13; it needs 2.10 at least.
"""

from fastopt.torch.adadelta import Adadelta
from fastopt.torch.adagrad import Adafactor, Adagrad
from fastopt.torch.adam import Adam, AdamW
from fastopt.torch.adamax import Adamax
from fastopt.torch.lamb import LAMB
from fastopt.torch.lion import Lion
from fastopt.torch.nadam import NAdam
from fastopt.torch.others import ADOPT, AdaBelief, AdEMAMix
from fastopt.torch.radam import RAdam
from fastopt.torch.rmsprop import RMSprop
from fastopt.torch.sgd import SGD

__all__ = [
    "ADOPT",
    "LAMB",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
]
