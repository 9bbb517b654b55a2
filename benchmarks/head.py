"""How long the head of a frozen network takes: softmax regression on features, and the choice of its penalty.

    python benchmarks/head.py [--sizes N,D,K ...] [--repeats N] [--peers NAME ...] [--threads N]

A row for n labels, d features and K classes, drawn at random: classes overlap, and the spectrum of the features falls.
"solve" is the answer for the default penalty, "choose" the penalty by five folds. "to NAME" is solve's time in units of
a peer's, for the same objective: scikit-learn's LogisticRegression (lbfgs), and scipy's L-BFGS-B with the products in
torch. "gap" is by how much the peer's objective is above ours, relative: they stop by rules of their own, set to
about as exact. "MiB" is the growth of peak memory over one solve and one choose.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import measuring
import numpy as np
import torch
from torch import Tensor

from dalcli.training.penalty import DEFAULT, choose_penalty
from dalcli.training.softmax import solve
from dalcli.training.standardisation import Standardisation


@dataclass(frozen=True)
class Labeled:
    """Standardised features (n, d) float32, labels (n,), their number of classes, keys (n,) for the folds."""

    features: Tensor
    labels: Tensor
    classes: int
    keys: np.ndarray

    @classmethod
    def drawn(cls, n: int, d: int, classes: int) -> Labeled:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(classes, (n,), generator=generator)
        spectrum = torch.arange(1, d + 1) ** -0.4
        means = torch.randn(classes, d, generator=generator)
        features = (0.6 * means[labels] + torch.randn(n, d, generator=generator)) * spectrum
        keys = np.random.default_rng(0).integers(0, 2**64, n, dtype=np.uint64)
        return cls(Standardisation.of(features)(features), labels, classes, keys)

    def objective(self, whole: Tensor) -> tuple[float, Tensor]:
        """That of weights W (K, d+1), and its gradient, float64."""
        rows = torch.cat([self.features.double(), torch.ones(len(self.labels), 1, dtype=torch.float64)], 1)
        logs = (rows @ whole.T).log_softmax(1)
        every = torch.arange(len(rows))
        loss = float(-logs[every, self.labels].mean() + DEFAULT * whole.square().sum())
        residuals = logs.exp()
        residuals[every, self.labels] -= 1
        return loss, residuals.T @ rows / len(rows) + 2 * DEFAULT * whole


def scikit_learn(data: Labeled) -> Tensor:
    """W (K, d+1) by LogisticRegression, for more than two classes, all of which have labels."""
    from sklearn.linear_model import LogisticRegression

    rows = np.pad(data.features.numpy(), ((0, 0), (0, 1)), constant_values=1).astype(np.float64)
    strength = 1 / (2 * len(rows) * DEFAULT)
    model = LogisticRegression(C=strength, fit_intercept=False, tol=1e-5, max_iter=5000)
    return torch.from_numpy(model.fit(rows, data.labels.numpy()).coef_)


def scipy(data: Labeled) -> Tensor:
    """W (K, d+1) by L-BFGS-B."""
    from scipy.optimize import minimize

    shape = data.classes, data.features.shape[1] + 1

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = data.objective(torch.from_numpy(flat).view(shape))
        return loss, gradient.numpy().ravel()

    start, limits = np.zeros(shape).ravel(), {"gtol": 1e-6, "ftol": 1e-12, "maxiter": 5000, "maxfun": 10_000}
    return torch.from_numpy(minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).x).view(shape)


PEERS: dict[str, tuple[str, Callable[[Labeled], Tensor]]] = {
    "sklearn": ("sklearn", scikit_learn),
    "scipy": ("scipy", scipy),
}


def row(size: tuple[int, int, int], repeats: int, peers: Sequence[str]) -> str:
    data = Labeled.drawn(*size)
    works = {
        "solve": lambda: solve(data.features, data.labels, data.classes, DEFAULT),
        "choose": lambda: choose_penalty(data.features, data.labels, data.classes, data.keys),
    }
    able = {name: PEERS[name][1] for name in peers if find_spec(PEERS[name][0])}
    peak = measuring.growth(lambda: [work() for work in works.values()], "cpu") / measuring.MEBIBYTE
    seconds = measuring.interleaved(works, repeats) | {
        name: measuring.seconds_of(lambda peer=peer: peer(data)) for name, peer in able.items()
    }
    found = solve(data.features, data.labels, data.classes, DEFAULT)
    cells = [f"{size[0]:<7}{size[1]:>6}{data.classes:>6}{seconds['solve']:>9.3f}{seconds['choose']:>9.3f}"]
    cells.append(f"{found.iterations:>7}{peak:>7.0f}")
    for name in peers:
        gap = f"{data.objective(able[name](data))[0] / found.loss - 1:.0e}" if name in able else "-"
        cells.append(f"{measuring.ratio(seconds, 'solve', name):>12}{gap:>9}")
    return "".join(cells)


def _size(text: str) -> tuple[int, int, int]:
    n, d, classes = (int(part) for part in text.split(","))
    return n, d, classes


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = measuring.parser(__doc__)
    sizes = [(200, 1280, 10), (1000, 1280, 50), (2000, 1280, 100), (10_000, 1280, 10)]
    parser.add_argument("--sizes", nargs="+", type=_size, default=sizes, metavar="N,D,K")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="NAME")
    options = parser.parse_args(arguments)
    print(measuring.machine(options))
    heads = "".join(f"{f'to {name}':>12}{'gap':>9}" for name in options.peers)
    print(f"{'labels':<7}{'d':>6}{'K':>6}{'solve':>9}{'choose':>9}{'steps':>7}{'MiB':>7}{heads}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a peer that stops early says so in the column "gap"
        for size in options.sizes:
            print(row(size, options.repeats, options.peers), flush=True)


if __name__ == "__main__":
    main()
