"""The HTTP port: the routes that it answers, and the server that carries them."""
