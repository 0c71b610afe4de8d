"""The names by which promotions and rollouts are on record in a registry."""

PROMOTIONS_EXPERIMENT = "polserve-promotions"
"""The experiment of decisions, apart from training's, whose runs have other parameters and curves."""
DECISION_TAG = "polserve.promotion"
"""Tag of a registry version: the latest decision on it, as "KIND MOMENT REASON"."""
DECISION_RUN_TAG = "polserve.promotion.run"
"""Tag of a registry version: the MLflow run with the evidence of that decision."""
COMPARISON_FILE = "comparison.json"
"""File of a decision's run: the returns of both sides and their comparison."""
ROLLOUT_TAG = "polserve.rollout."
"""Tag of a registry version, with the name of a service after it: how its rollout there ended, as
"OUTCOME MOMENT REASON"."""
WITHDRAWN_TAG = "polserve.withdrawn."
"""Tag of a registry version, with the name of a service after it: the text of `ROLLOUT_TAG` as that service withdrew
the version for what it did. Where both tags say the same, it is still withdrawn."""
