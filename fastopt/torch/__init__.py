"""PyTorch's optimizers on fastopt: change one import, ``from fastopt.torch import Adam``.

They are subclasses of torch's own, with their signatures, defaults, ``param_groups`` and
``state_dict``; Lion, LAMB, LARS, AdEMAMix, ADOPT, AdaBelief, Signum, SophiaG, Yogi, Adan, FTRL,
Prodigy, RowWiseAdagrad and Schedule-Free SGD and AdamW, which torch has not, have the names of
lion-pytorch, timm, torchrec and their papers' own code.
Tested with torch 2.13; it needs 2.10 at least.
"""

from fastopt.torch.classes.adadelta import Adadelta
from fastopt.torch.classes.adagrad import Adafactor, Adagrad, RowWiseAdagrad
from fastopt.torch.classes.adam import Adam, Adamax, AdamW
from fastopt.torch.classes.asgd import ASGD
from fastopt.torch.classes.lamb import LAMB, LARS
from fastopt.torch.classes.lion import Lion, SophiaG
from fastopt.torch.classes.muon import Muon
from fastopt.torch.classes.nadam import NAdam
from fastopt.torch.classes.others import ADOPT, FTRL, AdaBelief, Adan, AdEMAMix, Signum, Yogi
from fastopt.torch.classes.prodigy import Prodigy
from fastopt.torch.classes.radam import RAdam
from fastopt.torch.classes.rmsprop import RMSprop
from fastopt.torch.classes.rprop import Rprop
from fastopt.torch.classes.schedulefree import ScheduleFreeAdamW, ScheduleFreeSGD
from fastopt.torch.classes.sgd import SGD

__all__ = [
    "ADOPT",
    "ASGD",
    "FTRL",
    "LAMB",
    "LARS",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "Lion",
    "Muon",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "RowWiseAdagrad",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "SophiaG",
    "Yogi",
]
