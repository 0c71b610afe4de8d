"""Online: the gRPC service that answers with actions, its client, and the `polserve` program."""
