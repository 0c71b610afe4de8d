"""Every message of Triton's client as JSON: its fields by name, with number and type."""

import json

from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc import model_config_pb2, service_pb2

TYPES = {number: name for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")}


def describe(message):
    fields = {one.name: [one.number, TYPES[one.type], one.is_repeated] for one in message.fields}
    found = {message.full_name: fields}
    for nested in message.nested_types:
        found.update(describe(nested))
    return found


messages = {}
for file in (model_config_pb2.DESCRIPTOR, service_pb2.DESCRIPTOR):
    for message in file.message_types_by_name.values():
        messages.update(describe(message))
service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
methods = [one.name for one in service.methods]
print(json.dumps({"messages": messages, "methods": methods, "enum": dict(model_config_pb2.DataType.items())}))
