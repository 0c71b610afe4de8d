"""What should be live: from a folder, or from an MLflow registry."""
