"""The Prometheus metrics: of the processes that answer, and of the service as a whole."""
