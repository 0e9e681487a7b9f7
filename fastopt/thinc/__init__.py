"""thinc's optimizer, by fastopt: for thinc and spaCy, one line of a config.

``@optimizers = "fastopt.Adam.v1"`` in place of ``"Adam.v1"`` trains to the same weights in less
time. Where fastopt is installed, thinc and spaCy find the names ``fastopt.Adam.v1``,
``fastopt.RAdam.v1`` and ``fastopt.SGD.v1`` by themselves. Tested with thinc 8.3, which spaCy 3.8
uses, and 9.1.
"""

from fastopt.thinc.optimizer import Optimizer
from fastopt.thinc.registered import SGD, Adam, RAdam

__all__ = ["SGD", "Adam", "Optimizer", "RAdam"]
