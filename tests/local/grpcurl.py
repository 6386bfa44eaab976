"""A minimal grpcurl, with what docs/examples.md uses of it. Like the real one, it uses gRPC reflection.

`grpcurl -plaintext [-d JSON] HOST:PORT METHOD|list`
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def printed(arguments: Sequence[str]) -> Iterator[str]:
    """Yields what it prints for these arguments: the names of services, or each response as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-d", default="{}")
    parser.add_argument("target")
    parser.add_argument("method")
    given = parser.parse_args(arguments)
    with grpc.insecure_channel(given.target) as channel:
        known = ProtoReflectionDescriptorDatabase(channel)
        if given.method == "list":
            yield "\n".join(known.get_services())
            return
        service, _, name = given.method.partition("/")
        method: Any = DescriptorPool(known).FindServiceByName(service).FindMethodByName(name)
        request = json_format.Parse(given.d, message_factory.GetMessageClass(method.input_type)())
        call = channel.unary_stream(
            f"/{given.method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        for answer in call(request, timeout=600):
            yield json_format.MessageToJson(answer)
