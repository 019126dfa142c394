"""What a swarm will have cost in the end, if it goes on as it does. Pure; nothing here decides about money.

Costs of tasks have heavy tails, and those that end first are the cheap ones. So a log-normal is fitted to
what ended tasks cost and to what running ones have cost at least (a censored fit), held back towards what
tasks usually look like while few have ended, and balanced with the plain mean, which needs no shape. The
interval is that of a sum of such tasks, widened for what so few tasks can tell.
"""

import math
from collections.abc import Sequence

import msgspec

ENDED_MIN = 3
"""Fewer ended tasks than this say nothing about the rest."""
COVERAGE = 0.80
"""How often the interval holds the true total, at least."""
_Z = 1.75
"""Half-width in standard deviations: of 0.80 with room for tails that are heavier than fitted."""
_PRIOR_SIGMA, _PRIOR_TASKS = 0.8, 4.0
"""What tasks usually look like, and how many tasks' worth of evidence that is."""
_SIGMA_MAX = 2.0
_ROUNDS = 40


class Tasks(msgspec.Struct, frozen=True):
    """What a swarm's tasks have cost so far, in nano-dollars."""

    ended: Sequence[int]
    """One figure an ended task."""
    running: Sequence[int]
    """What each running task has cost up to now."""
    left: int
    """Tasks that have not begun."""
    other: int = 0
    """Spent on nothing of these."""


class Projection(msgspec.Struct, frozen=True):
    """The total when all tasks have ended, and where it lies with probability COVERAGE; nano-dollars."""

    total: int
    low: int
    high: int
    each: int
    """What a task that has not begun is expected to cost."""


class _Fit(msgspec.Struct, frozen=True):
    mu: float
    sigma: float

    @property
    def mean(self) -> float:
        return math.exp(self.mu + self.sigma**2 / 2)

    @property
    def variance(self) -> float:
        return self.mean**2 * math.expm1(self.sigma**2)

    def rest(self, age: float) -> tuple[float, float]:
        """Mean and variance of what a running task that has cost `age` will cost yet."""
        if age <= 0:
            return self.mean, self.variance
        z = (math.log(age) - self.mu) / self.sigma
        survival = max(1e-12, 1 - _below(z))
        first = self.mean * (1 - _below(z - self.sigma)) / survival
        second = self.mean**2 * math.exp(self.sigma**2) * (1 - _below(z - 2 * self.sigma)) / survival
        return max(0.0, first - age), max(0.0, second - first**2)


def project(tasks: Tasks) -> Projection | None:
    """The projected total; None while too few tasks have ended to tell, or what ended cost nothing."""
    spent = sum(tasks.ended) + sum(tasks.running) + tasks.other
    if not tasks.running and not tasks.left:
        return Projection(spent, spent, spent, 0) if tasks.ended else None
    paid = [cost for cost in tasks.ended if cost > 0]
    if len(paid) < ENDED_MIN:
        return None
    share = len(paid) / len(tasks.ended)
    fit = _fitted(paid, tasks.running)
    balance = _plain_mean(paid, tasks.running) / fit.mean
    scale = balance ** _weight_of_plain(len(paid))
    rests = [fit.rest(cost / scale) for cost in tasks.running]
    still = len(tasks.running) + tasks.left
    mean = scale * (sum(rest for rest, _ in rests) + share * tasks.left * fit.mean)
    own = sum(variance for _, variance in rests) + share * tasks.left * fit.variance
    # What is not known of the mean is the same for all that is left, so it grows with its square.
    unknown = (share * still) ** 2 * fit.variance / len(paid) * (1 + fit.sigma**2 / 2)
    # A few dear tasks among many cheap ones: then the plain variance is the truer one.
    heavier = max(1.0, _variance(paid) / fit.variance)
    deviation = scale * math.sqrt(heavier * (own + unknown))
    low, high = _interval(mean, deviation, len(paid))
    each = int(scale * share * fit.mean)
    return Projection(spent + int(mean), spent + int(low), spent + math.ceil(high), each)


def _fitted(ended: Sequence[int], running: Sequence[int]) -> _Fit:
    """A log-normal, by expectation and maximization; a running task counts as what it may become."""
    logs = [math.log(cost) for cost in ended]
    begun = [math.log(cost) for cost in running if cost > 0]
    count = len(logs) + len(begun)
    mu = math.fsum(logs) / len(logs)
    sigma = max(0.1, math.sqrt(math.fsum((log - mu) ** 2 for log in logs) / len(logs)))
    for _ in range(_ROUNDS if begun else 1):
        guesses = [_beyond(log, mu, sigma) for log in begun]
        new_mu = (math.fsum(logs) + math.fsum(first for first, _ in guesses)) / count
        squares = math.fsum((log - new_mu) ** 2 for log in logs)
        squares += math.fsum(second - 2 * new_mu * first + new_mu**2 for first, second in guesses)
        variance = (squares + _PRIOR_TASKS * _PRIOR_SIGMA**2) / (count - 1 + _PRIOR_TASKS)
        moved = abs(new_mu - mu)
        mu, sigma = new_mu, min(_SIGMA_MAX, math.sqrt(max(variance, 1e-4)))
        if moved < 1e-6:
            break
    return _Fit(mu, sigma)


def _beyond(log: float, mu: float, sigma: float) -> tuple[float, float]:
    """First and second moment of a normal, given that it is above `log`."""
    z = (log - mu) / sigma
    survival = 1 - _below(z)
    if survival < 1e-9:
        return log, log * log
    hazard = _density(z) / survival
    return mu + sigma * hazard, mu * mu + sigma * sigma + sigma * hazard * (log + mu)


# Three lines instead of `statistics`, which would stay in the daemon's memory with fractions behind it.
def _below(z: float) -> float:
    """The share of a standard normal below `z`."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _density(z: float) -> float:
    """That of a standard normal at `z`."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _variance(values: Sequence[int]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def _plain_mean(ended: Sequence[int], running: Sequence[int]) -> float:
    """All that was spent over all that ended: it needs no shape, and running tasks do not bias it."""
    return (sum(ended) + sum(running)) / (len(ended) + len(running) / 2)


def _weight_of_plain(ended: int) -> float:
    """How much the plain mean counts against the fit: little while there are few."""
    return ended / (ended + 20)


def _interval(mean: float, deviation: float, ended: int) -> tuple[float, float]:
    """Quantiles of a log-normal with these moments, wider where few tasks have ended."""
    if mean <= 0:
        return 0.0, 0.0
    spread = math.sqrt(math.log1p((deviation / mean) ** 2))
    reach = _Z * (1 + 2 / ended) * spread
    middle = mean * math.exp(-(spread**2) / 2)
    return middle * math.exp(-reach), middle * math.exp(reach)
