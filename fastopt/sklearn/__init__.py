"""scikit-learn's multilayer perceptrons, trained by fastopt: change one import.

``from fastopt.sklearn import MLPClassifier`` in place of ``from sklearn.neural_network import
MLPClassifier`` trains to the same weights in less time, and takes any optimizer of fastopt. Tested
with scikit-learn 1.7 to 1.9. `SGDClassifier` and `SGDRegressor` make their updates inside of
their own compiled loop: nothing can be put in place of that.
"""

from fastopt.sklearn.networks import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
