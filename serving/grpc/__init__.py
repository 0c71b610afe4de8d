"""The gRPC edge: messages in, messages out, errors as statuses."""
