"""Weights of an average of several predictions: chosen on some rows, and checked on rows that they were not chosen on.

Each choice sees one number a row and member that a weighted average mixes linearly: of forecasts the error, because
weights that sum to 1 mix errors as they mix forecasts; of probabilities that of what happened.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

BLOCKS = 5
LEAST_ROWS = 2 * BLOCKS
DIGITS = 2  # of a fitted weight: more are noise, and the last bits depend on the machine
LEAST_PROBABILITY = 1e-12  # what is less counts as this: else one row that a member rules out decides alone


@dataclass(frozen=True)
class Criterion:
    """What weights are chosen by.

    Attributes:
        name: of the loss, ``mae`` or ``nll``.
        loss: of each row (rows,), given the mixed numbers (rows,).
        fit: the weights (members,), not negative and with the sum 1, of the least mean loss, given the numbers (rows, members).
    """

    name: str
    loss: Callable[[Matrix], Matrix]
    fit: Callable[[Matrix], Matrix]


Rule = Callable[[Matrix, Criterion], Matrix]


def least_absolute(errors: Matrix) -> Matrix:
    """Return the weights (members,) of the least mean absolute error, exactly: a linear programme.

    Minimise the sum of t over weights w >= 0 with sum 1 and t, so that -t <= errors w <= t in each row (Wagner, "Linear
    programming techniques for regression analysis", 1959).

    Args:
        errors: (rows, members), forecast minus truth.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    rows, members = errors.shape
    bounds = -sparse.identity(rows)
    return np.asarray(
        linprog(
            np.concatenate([np.zeros(members), np.ones(rows)]),
            A_ub=sparse.bmat([[errors, bounds], [-errors, bounds]]),
            b_ub=np.zeros(2 * rows),
            A_eq=sparse.csr_matrix(np.concatenate([np.ones(members), np.zeros(rows)])[None]),
            b_eq=[1.0],
            method="highs",
        ).x[:members]
    )


def likeliest(probabilities: Matrix) -> Matrix:
    """Return the weights (members,) of the linear mixture under which what happened is the likeliest: a convex problem.

    Args:
        probabilities: (rows, members), of what happened.
    """
    from scipy.optimize import minimize

    members = probabilities.shape[1]

    def loss(weights: Matrix) -> float:
        return float(nats(probabilities @ weights).mean())

    def slope(weights: Matrix) -> Matrix:
        mixed = np.maximum(probabilities @ weights, LEAST_PROBABILITY)
        return np.asarray(-(probabilities / mixed[:, None]).mean(axis=0))

    # Where it stops early its weights are only worse ones, which then have to show themselves on held-out rows.
    return np.asarray(
        minimize(
            loss,
            np.full(members, 1 / members),
            jac=slope,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * members,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-12, "maxiter": 500},
        ).x
    )


def nats(probabilities: Matrix) -> Matrix:
    """Return -log of probabilities, element by element."""
    return np.asarray(-np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


ABSOLUTE_ERROR = Criterion("mae", np.abs, least_absolute)
LIKELIHOOD = Criterion("nll", nats, likeliest)


def best(values: Matrix, criterion: Criterion) -> Matrix:
    """Return all weight on the member with the least loss; values (rows, members)."""
    weights = np.zeros(values.shape[1])
    weights[criterion.loss(values).mean(axis=0).argmin()] = 1
    return weights


def equal(values: Matrix, criterion: Criterion) -> Matrix:
    """Return equal weights of the k members with the least losses, k being the number whose average has the least."""
    members = values.shape[1]
    order = criterion.loss(values).mean(axis=0).argsort(kind="stable")
    averages = np.cumsum(values[:, order], axis=1) / np.arange(1, members + 1)
    count = int(criterion.loss(averages).mean(axis=0).argmin()) + 1
    weights = np.zeros(members)
    weights[order[:count]] = 1 / count
    return weights


def fitted(values: Matrix, criterion: Criterion) -> Matrix:
    """Return the weights of the least loss, to two decimals."""
    found = np.maximum(criterion.fit(values), 0)
    weights = np.round(found / found.sum(), DIGITS)
    weights[weights.argmax()] += 1 - weights.sum()
    return np.asarray(np.round(weights, DIGITS))


@dataclass(frozen=True)
class Candidate:
    """One way to choose weights, and what came of it.

    Attributes:
        name: of the way.
        weights: (members,), chosen on all rows.
        held_out: (rows, members), for each row the weights that were chosen on the other blocks.
        loss: mean over the rows, each mixed with its ``held_out`` weights.
    """

    name: str
    weights: Matrix
    held_out: Matrix
    loss: float


def candidates(values: Matrix, models: int, criterion: Criterion) -> list[Candidate]:
    """Return what each way of choosing weights comes to, the plainest way first.

    Args:
        values: (rows, members), in the order of time where there is one; at least ``LEAST_ROWS`` rows.
        models: how many of the members, the first ones, are models; the others are baselines.
        criterion: what is minimised.
    """
    ways: list[tuple[str, Rule, int]] = [
        ("best model", best, models),
        ("equal weights over models", equal, models),
        ("fitted weights over models", fitted, models),
        ("equal weights over models and baselines", equal, values.shape[1]),
        ("fitted weights over models and baselines", fitted, values.shape[1]),
    ]
    return [_candidate(name, rule, values, members, criterion) for name, rule, members in ways]


def _candidate(name: str, rule: Rule, values: Matrix, members: int, criterion: Criterion) -> Candidate:
    def chosen(rows: Matrix) -> Matrix:
        return np.pad(rule(rows[:, :members], criterion), (0, values.shape[1] - members))

    held_out = np.empty_like(values)
    # Blocks of neighbours, not rows at random: a day beside one that was chosen on is hardly another one.
    for block in np.array_split(np.arange(len(values)), BLOCKS):
        held_out[block] = chosen(np.delete(values, block, axis=0))
    loss = float(criterion.loss(np.einsum("rm,rm->r", values, held_out)).mean())
    return Candidate(name, chosen(values), held_out, loss)
