"""Learning algorithms: pure loss functions and agents; their settings are in `training.hyperparameters`."""
