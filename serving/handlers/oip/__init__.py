"""The Open Inference Protocol v2: a policy is a model, its observation an input, its action an output.

What gRPC and HTTP share are functions without a transport:

- `tensors`: datatypes, arrays of what a request holds (`read_tensor`), bytes of what JSON holds (`pack_values`), and
  arrays of a response (`output_arrays`);
- `models`: what a model is, as data (`describe_model`), and as the messages of ModelMetadata, ModelConfig and
  RepositoryIndex (`metadata_of`, `config_of`, `index_of`);
- `plain`: a message as what `json.dumps` takes (`as_plain`).

A request in another form than gRPC's becomes a `ModelInferRequest` in bytes, which the method ModelInfer answers with
the bytes of a `ModelInferResponse`.
"""
