"""The messages of the Open Inference Protocol under their names on the wire: package `inference`."""

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from polserve.protos.polserve.oip.v2 import inference_pb2, model_config_pb2

PACKAGE = "inference"
FILES = {
    model_config_pb2.DESCRIPTOR.name: "model_config.proto",
    inference_pb2.DESCRIPTOR.name: "grpc_service.proto",
}
"""Our files and what they are called in public; each after those that it imports."""
_OURS = f".{inference_pb2.DESCRIPTOR.package}."


def public_files() -> list[FileDescriptorProto]:
    """Return the descriptions of the files as other servers have them, each after those that it imports."""
    files = []
    for ours in (model_config_pb2.DESCRIPTOR, inference_pb2.DESCRIPTOR):
        public = FileDescriptorProto()
        ours.CopyToProto(public)
        public.name, public.package = FILES[ours.name], PACKAGE
        imports = [FILES.get(name, name) for name in public.dependency]
        del public.dependency[:]
        public.dependency.extend(imports)
        for message in public.message_type:
            _rename_types(message)
        for service in public.service:
            for method in service.method:
                method.input_type, method.output_type = _public(method.input_type), _public(method.output_type)
        files.append(public)
    return files


def _rename_types(message: DescriptorProto) -> None:
    for field in message.field:
        if field.type_name:
            field.type_name = _public(field.type_name)
    for nested in message.nested_type:
        _rename_types(nested)


def _public(name: str) -> str:
    return f".{PACKAGE}.{name.removeprefix(_OURS)}" if name.startswith(_OURS) else name
