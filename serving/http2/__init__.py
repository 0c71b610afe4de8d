"""gRPC's rules over HTTP/2, without I/O: for the service's front and for the client."""
