"""Policy versions: the exported graph, its spec, and where it came from."""
