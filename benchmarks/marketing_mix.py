"""Fits of PyMC-Marketing for benchmarks.response_rival, in an interpreter that has it, and not polserve.

Each line of standard input names a history's file and the spends of each channel to look at; each line of standard
output has what steady spends of them sell a day: low end, middle and high end of the 90 % interval.
"""

import json
import sys
import time
from typing import Any

import arviz as az
import numpy as np
import pandas as pd
from pymc_extras.prior import Prior
from pymc_marketing.mmm import GeometricAdstock, MichaelisMentenSaturation
from pymc_marketing.mmm.multidimensional import MMM

CARRIED_DAYS = 28
"""Days after which adstock is cut off: 5 % of the slowest that is simulated is left then."""
WAVES = 2
"""Of the year, as in the tool's example."""
TUNE, DRAWS, CHAINS = 500, 500, 2
QUANTILES = (0.05, 0.5, 0.95)
POINTS = 200


def fit(path: str, spends: dict[str, list[float]]) -> dict[str, Any]:
    """Fit a history with trend, season and weekdays; interpolate the curves that the tool samples."""
    days = pd.read_csv(path, parse_dates=["date"])
    channels = list(spends)
    days["trend"] = np.linspace(0, 1, len(days))
    weekdays = [f"weekday_{day}" for day in range(1, 7)]
    for day, name in enumerate(weekdays, 1):
        days[name] = (days["date"].dt.weekday == day).astype(float)
    total = days[channels].sum()
    sigma = (len(channels) * total / total.sum()).to_numpy()  # of the tool's example: by what a channel was spent
    started = time.process_time()
    model = MMM(
        date_column="date",
        channel_columns=channels,
        target_column="sales",
        adstock=GeometricAdstock(l_max=CARRIED_DAYS),
        saturation=MichaelisMentenSaturation(),
        control_columns=["trend", *weekdays],
        yearly_seasonality=WAVES,
        model_config={"saturation_alpha": Prior("HalfNormal", sigma=sigma, dims="channel")},
    )
    sampling = {"tune": TUNE, "draws": DRAWS, "chains": CHAINS, "cores": 1, "random_seed": 0, "progressbar": False}
    posterior = model.fit(days.drop(columns="sales"), days["sales"], nuts_sampler="nutpie", **sampling)
    cpu_s = time.process_time() - started
    most = days[channels].max()
    furthest = max(max(at) / most[name] for name, at in spends.items())
    curves = model.sample_saturation_curve(max_value=furthest, num_points=POINTS, num_samples=None).squeeze(drop=True)
    intervals = {}
    for name, at in spends.items():
        drawn = curves.sel(channel=name).transpose("sample", "x").to_numpy()
        sold = [np.interp(np.array(at) / most[name], curves["x"].to_numpy(), each) for each in drawn]
        intervals[name] = np.quantile(sold, QUANTILES, axis=0).T.tolist()
    r_hat = float(az.rhat(posterior).max().to_array().max())
    return {"intervals": intervals, "cpu_s": cpu_s, "r_hat": r_hat}


def main() -> None:
    """Answer each line."""
    answers, sys.stdout = sys.stdout, sys.stderr  # the libraries print
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(fit(asked["path"], asked["spends"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
