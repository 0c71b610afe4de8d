"""Learning algorithms: pure loss functions and agents; their settings are in `learning.hyperparameters`."""
