"""A protoc plugin that writes `*_pb2_grpc.py`, for buf.

grpcio-tools carries the generator inside its own protoc only, not as the separate program that buf
calls, so this hands buf's request to that protoc and its files back.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def main() -> int:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        generated = Path(folder, "generated")
        generated.mkdir()
        failed = protoc.main(
            [
                "protoc",
                f"--descriptor_set_in={descriptors}",
                f"--grpc_python_out={generated}",
                *request.file_to_generate,
            ]
        )
        if failed:
            response.error = "grpc_tools.protoc failed; its message stands above"
        for path in sorted(generated.rglob("*.py")):
            response.file.add(
                name=str(path.relative_to(generated)), content=path.read_text(encoding="utf-8")
            )
    sys.stdout.buffer.write(response.SerializeToString())
    return 0


if __name__ == "__main__":
    sys.exit(main())
