"""The commands of the offline side; each imports torch and mlflow only when it is called."""
