"""The best plans of S-shaped curves, within a stated gap: bounded by pricing, and climbed to from priced plans."""

from collections.abc import Sequence

import numpy as np

from polserve.training.tasks.adbudget.contexts import Context, alike
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.plans.ascent import Slopes, climb
from polserve.training.tasks.adbudget.plans.pricing import CELLS, FEWEST, PRICE_RANGE, PRICES, Pricing

COINS = 200
"""Parts of a budget in which it is split between the channels' priced plans."""
COARSE = 12
"""Prices whose plans differ enough to be mixed."""
PARTS = 6
"""Of a horizon: a channel may be used in some of them only."""
TOGETHER = 10
"""Contexts that are priced together: the tables of more leave a processor's cache, and take twice the time."""
ROUNDS, KICKS = 4, 10
"""How often the best plan is changed in places, in how many ways, and climbed from again."""


def search(contexts: Sequence[Context], cells: int = CELLS) -> list[tuple[Floats, float]]:
    """Find, for each context, spends (days, channels) and a bound on the worth of any plan from its first spend on."""
    found: dict[int, tuple[Floats, float]] = {}
    for group in alike(contexts):
        spends, bounds = _search_together([contexts[index] for index in group], cells)
        found |= zip(group, zip(spends, bounds.tolist(), strict=True), strict=True)
    return [found[index] for index in range(len(contexts))]


def improve(contexts: Sequence[Context], plans: Sequence[Floats], rng: np.random.Generator) -> list[Floats]:
    """Change each plan (days, channels) in places, and climb: at least as good a plan for its context."""
    found: dict[int, Floats] = {}
    for group in alike(contexts):
        same = [contexts[index] for index in group]
        start = np.stack([plans[index] for index in group])
        found |= zip(group, _best_of(same, _kicked(start, Slopes(same).caps, rng)), strict=True)
    return [found[index] for index in range(len(contexts))]


def _search_together(contexts: Sequence[Context], cells: int) -> tuple[Floats, Floats]:
    slopes = Slopes(contexts)
    parts = [_options(contexts[first : first + TOGETHER], cells) for first in range(0, len(contexts), TOGETHER)]
    options = [np.concatenate(each) for each in zip(*(spends for spends, _ in parts), strict=True)]
    bound = np.concatenate([bound for _, bound in parts])
    mix = _best_mix(_with_parts(options[:COARSE] + options[-2:]), slopes)
    starts = [mix, options[-1].swapaxes(1, 2)]
    best = _best_of(contexts, np.stack(starts, axis=1))
    rng = np.random.default_rng(0)  # the same plan for the same context
    for _ in range(ROUNDS):
        best = _best_of(contexts, _kicked(best, slopes.caps, rng))
    return best, bound


def _options(contexts: Sequence[Context], cells: int) -> tuple[list[Floats], Floats]:
    """Spends (n, channels, days) of no money and at each price that is tried; the least bound (n,) of all of these."""
    pricing = Pricing(contexts, cells)
    low, high = (np.log(pricing.scale * factor) for factor in PRICE_RANGE)
    free = pricing.at(np.zeros(pricing.n))
    options, bound = [np.zeros_like(free.spends), free.spends], free.bound
    for _ in range(PRICES):
        middle = (low + high) / 2
        priced = pricing.at(np.exp(middle))
        bound = np.minimum(bound, priced.bound)
        options.append(priced.spends)
        is_dear = priced.spends.sum(axis=(1, 2)) <= pricing.budget
        low, high = np.where(is_dear, low, middle), np.where(is_dear, middle, high)
    return options, bound


def _best_of(contexts: Sequence[Context], starts: Floats) -> Floats:
    """Climb from all starts (n, k, days, channels), and return the best plan (n, days, channels) of each context."""
    n, k = starts.shape[:2]
    slopes = Slopes([context for context in contexts for _ in range(k)])
    plans = climb(slopes, starts.reshape(n * k, *starts.shape[2:]))
    best = slopes.worth(plans).reshape(n, k).argmax(axis=1)
    return np.asarray(plans.reshape(starts.shape)[np.arange(n), best])


def _kicked(plans: Floats, caps: Floats, rng: np.random.Generator) -> Floats:
    """Plans (n, days, channels) with `KICKS` variants of each: a channel emptied for some days, and one filled."""
    n, days, channels = plans.shape
    kicked = np.repeat(plans[:, None], KICKS + 1, axis=1)
    for level in (np.zeros_like(caps), caps):
        begin, length = rng.integers(-days // 2, days, (n, KICKS, 1)), rng.integers(1, days + 1, (n, KICKS, 1))
        is_within = (np.arange(days) >= begin) & (np.arange(days) < begin + length)
        is_chosen = np.arange(channels) == rng.integers(0, channels, (n, KICKS, 1))
        is_left_out = rng.random((n, KICKS, 1, 1)) < 1 / 3
        is_set = is_within[..., None] & is_chosen[:, :, None] & ~is_left_out
        kicked[:, 1:] = np.where(is_set, level[:, None], kicked[:, 1:])
    return kicked


def _with_parts(options: Sequence[Floats]) -> Floats:
    """Options (n, channels, options, days): those given (n, channels, days), and the beginnings and ends of each."""
    days = options[0].shape[2]
    day, cuts = np.arange(days), sorted({round(days * part / PARTS) for part in range(1, PARTS)} - {0, days})
    masks = [day >= 0, *(day < cut for cut in cuts), *(day >= cut for cut in cuts)]
    return np.stack([option * mask for option in options for mask in masks], axis=2)


def _best_mix(offered: Floats, slopes: Slopes) -> Floats:
    """Choose one of the options (n, channels, options, days) of each channel: the best together within the budget."""
    n, channels, count, days = offered.shape
    coin = np.maximum(slopes.budget, FEWEST) / COINS
    price = np.ceil(offered.sum(axis=3) / coin[:, None, None] * (1 - 1e-9)).astype(np.int64)
    alone = np.zeros((n, days, channels))
    nothing = slopes.worth(alone)
    value, chosen = np.zeros((n, COINS + 1)), []
    coins = np.arange(COINS + 1)
    for channel in range(channels):
        best, choice = np.full((n, COINS + 1), -np.inf), np.zeros((n, COINS + 1), np.int64)
        for option in range(count):
            alone[:, :, channel] = offered[:, channel, option]
            gain = slopes.worth(alone) - nothing
            left = coins - price[:, channel, option, None]
            reached = np.take_along_axis(value, np.maximum(left, 0), axis=1) + gain[:, None]
            reached = np.where(left >= 0, reached, -np.inf)
            choice = np.where(reached > best, option, choice)
            best = np.maximum(best, reached)
        alone[:, :, channel] = 0.0
        value = best
        chosen.append(choice)
    mix, left, rows = np.zeros((n, days, channels)), np.full(n, COINS), np.arange(n)
    for channel in reversed(range(channels)):
        option = chosen[channel][rows, left]
        mix[:, :, channel] = offered[rows, channel, option]
        left = left - price[rows, channel, option]
    return mix
