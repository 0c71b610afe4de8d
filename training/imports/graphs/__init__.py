"""ONNX graphs of any origin: read, mapped by a spec that a person writes, and made a policy's graph."""
