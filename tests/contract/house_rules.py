"""The contract's own rules, beyond those of `buf lint`. A rule yields one sentence per offence."""

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from tests.contract.elements import Contract, Element, is_in_oneof, is_repeated
from tests.contract.lint_rules import Rule

UNSIGNED = {
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_FIXED32,
    FieldDescriptorProto.TYPE_FIXED64,
}
INTEGERS = {FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_INT64}
NUMBERS = {*INTEGERS, FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_DOUBLE}
BOOL = FieldDescriptorProto.TYPE_BOOL
IDENTITY = ".sensorium.v1.ModelIdentity"
USAGE = ".sensorium.v1.Usage"
TIMING = ".sensorium.v1.Timing"
TELLS_OF_MODELS = "ModelService"


def every_request_begins_with_the_model(contract: Contract) -> Iterator[str]:
    for rpc in contract.of("rpc"):
        message = contract.message(rpc.descriptor.input_type)
        if rpc.descriptor.client_streaming:
            config = _field(message, 1)
            message = contract.message(config.type_name) if config and config.name == "config" else None
        model = _field(message, 1)
        if model is None or model.name != "model" or model.type != FieldDescriptorProto.TYPE_STRING:
            yield f"the request of {rpc.name} does not have `string model = 1`"
        elif is_repeated(model) or model.HasField("oneof_index"):
            yield f"the model of {rpc.name} is not one plain string"


def every_result_tells_model_usage_and_timing(contract: Contract) -> Iterator[str]:
    for rpc in _inference(contract):
        response = contract.message(rpc.descriptor.output_type)
        if rpc.descriptor.server_streaming:
            first, last = _type(contract, response, "started"), _type(contract, response, "completed")
        else:
            first = last = response
        found = (_type_name(first, "model"), _type_name(last, "usage"), _type_name(last, "timing"))
        if found != (IDENTITY, USAGE, TIMING):
            yield f"the result of {rpc.name} lacks model, usage or timing"


def every_stream_is_events_from_started_to_completed(contract: Contract) -> Iterator[str]:
    for rpc in contract.of("rpc"):
        response = contract.message(rpc.descriptor.output_type)
        if not rpc.descriptor.server_streaming or response is None:
            continue
        names = [field.name for field in response.field]
        if [oneof.name for oneof in response.oneof_decl] != ["event"] or not all(map(is_in_oneof, response.field)):
            yield f"the stream of {rpc.name} is not one oneof named event"
        elif names[0] != "started" or names[-1] != "completed" or _error_like(names):
            yield f"the stream of {rpc.name} does not go from started to completed"


def no_number_is_unsigned(contract: Contract) -> Iterator[str]:
    for field in contract.of("field"):
        if field.descriptor.type in UNSIGNED:
            yield f"field {field.name} is unsigned"


def sampling_scalars_are_optional(contract: Contract) -> Iterator[str]:
    for field in contract.of("field"):
        samples = field.owner.endswith(".GenerationParameters") and field.descriptor.type in {*NUMBERS, BOOL}
        if samples and not is_repeated(field.descriptor) and not field.descriptor.proto3_optional:
            yield f"field {field.name} cannot tell 0 from absent"


def plain_numbers_of_requests_default_to_zero_or_are_required(contract: Contract) -> Iterator[str]:
    for field in _plain_scalars_of_requests(contract):
        if field.descriptor.type in NUMBERS and not re.search(r"\b(Default 0|Required)\b", field.comment):
            yield f"field {field.name} is neither optional, nor required, nor 0 by default"


def plain_bools_of_requests_default_to_false(contract: Contract) -> Iterator[str]:
    for field in _plain_scalars_of_requests(contract):
        if field.descriptor.type == BOOL and "Default false." not in field.comment:
            yield f"field {field.name} is a plain bool without `Default false.`"


def optional_fields_of_requests_tell_their_default(contract: Contract) -> Iterator[str]:
    for field in contract.fields_of_requests():
        explained = re.search(r"\b(Absent|Default)\b", field.comment) or field.owner.endswith(".GenerationParameters")
        if field.descriptor.proto3_optional and not explained:
            yield f"field {field.name} does not say what happens if it is absent"


def counts_are_signed_integers_named_count(contract: Contract) -> Iterator[str]:
    for field in contract.of("field"):
        if re.match(r"(num|n)_", field.short_name):
            yield f"field {field.name} is a count under another name"
        elif field.short_name.endswith("_count") and field.descriptor.type not in INTEGERS:
            yield f"field {field.name} is a count but not int32 or int64"


def spans_of_time_are_durations(contract: Contract) -> Iterator[str]:
    for field in contract.of("field"):
        if re.search(r"_(ns|us|ms|nanos|micros|millis|secs?|seconds|milliseconds)$", field.short_name):
            yield f"field {field.name} has its unit in its name; spans of time are Durations"
        elif field.short_name.endswith("duration") and field.descriptor.type_name != ".google.protobuf.Duration":
            yield f"field {field.name} is not a Duration"


def comments_are_sentences_in_third_person(contract: Contract) -> Iterator[str]:
    for element in contract.elements:
        if not element.comment:
            continue
        if not re.search(r"\.`?$", element.comment):
            yield f"the comment of {element.name} does not end with a full stop"
        first = element.comment.split()[0]
        if element.kind in ("message", "enum", "service") and first != element.short_name:
            yield f"the comment of {element.name} does not begin with its name"
        if element.kind == "rpc" and not re.fullmatch(r"[A-Z][a-z]+s", first):
            yield f"the comment of {element.name} does not begin with a verb in third person"


def _inference(contract: Contract) -> list[Element]:
    return [rpc for rpc in contract.of("rpc") if not rpc.owner.endswith(f".{TELLS_OF_MODELS}")]


def _plain_scalars_of_requests(contract: Contract) -> list[Element]:
    """Scalar fields without presence: unset looks the same as 0 or false."""
    fields = contract.fields_of_requests()
    return [f for f in fields if not is_repeated(f.descriptor) and not f.descriptor.HasField("oneof_index")]


def _error_like(names: list[str]) -> bool:
    return any("error" in name or "fail" in name for name in names)


def _field(message: DescriptorProto | None, key: int | str) -> FieldDescriptorProto | None:
    fields = message.field if message else ()
    return next((field for field in fields if key in (field.number, field.name)), None)


def _type_name(message: DescriptorProto | None, field_name: str) -> str:
    field = _field(message, field_name)
    return field.type_name if field else ""


def _type(contract: Contract, message: DescriptorProto | None, field_name: str) -> DescriptorProto | None:
    return contract.message(_type_name(message, field_name))


RULES: tuple[Rule, ...] = (
    every_request_begins_with_the_model,
    every_result_tells_model_usage_and_timing,
    every_stream_is_events_from_started_to_completed,
    no_number_is_unsigned,
    sampling_scalars_are_optional,
    plain_numbers_of_requests_default_to_zero_or_are_required,
    plain_bools_of_requests_default_to_false,
    optional_fields_of_requests_tell_their_default,
    counts_are_signed_integers_named_count,
    spans_of_time_are_durations,
    comments_are_sentences_in_third_person,
)
