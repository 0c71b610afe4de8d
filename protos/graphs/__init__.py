"""What an ONNX graph may be: checked before ONNX Runtime sees it, by whoever exports, imports or serves a version."""
