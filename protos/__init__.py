"""The contract between training, serving and clients: protobuf messages and gRPC stubs."""
