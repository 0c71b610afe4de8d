"""MLflow: runs while training, policy versions after it. The only package of `training` that imports mlflow."""
