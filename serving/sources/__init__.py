"""Where the service learns what should be live: a folder, or an MLflow registry."""
