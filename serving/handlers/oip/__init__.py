"""The Open Inference Protocol v2: a policy is a model, its observation an input, its action an output.

Its functions know no transport:

- `tensors`: datatypes, and the arrays of what a request holds (`read_tensor`);
- `models`: what a model is, as data (`describe_model`), and as the messages of ModelMetadata, ModelConfig and
  RepositoryIndex (`metadata_of`, `config_of`, `index_of`);
- `plain`: a message as what `json.dumps` takes (`as_plain`).

A request in another form than gRPC's becomes a `ModelInferRequest` in bytes, which the method ModelInfer answers with
the bytes of a `ModelInferResponse`.
"""
