"""MLflow: runs while training, policy versions after it. The only package of `training` that imports mlflow."""

from polserve.protos.shared.usage_reports import report_to_nobody

report_to_nobody()  # MLflow reads it when it is imported, as the modules of this package do
