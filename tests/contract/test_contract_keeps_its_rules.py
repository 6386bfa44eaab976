"""The contract and a correct sample pass every rule, and each rule catches a sample that breaks it."""

from pathlib import Path

import pytest

from tests.contract import house_rules, lint_rules
from tests.contract.elements import Contract
from tests.contract.lint_rules import Rule
from tests.contract.sample import PATH, compiled, edited

RULES = (*lint_rules.RULES, *house_rules.RULES)

BROKEN: list[tuple[Rule, str, str]] = [
    (lint_rules.package_ends_in_a_version, "package sensorium.v1;", "package sensorium;"),
    (lint_rules.package_is_the_folder, "package sensorium.v1;", "package sensorium.v2;"),
    (lint_rules.files_name_their_package_in_go_and_java, 'go_package = "sensorium/v1', 'go_package = "elsewhere/v1'),
    (lint_rules.files_name_their_package_in_go_and_java, "option java_multiple_files = true;", ""),
    (lint_rules.files_name_their_package_in_go_and_java, "// SampleService", "option optimize_for = SPEED;\n// Sample"),
    (lint_rules.imports_are_used, "// SampleService", 'import "google/protobuf/empty.proto";\n// SampleService'),
    (lint_rules.imports_are_used, "google.protobuf.Duration total_duration", "string total"),
    (lint_rules.imports_are_not_public, 'import "google', 'import public "google'),
    (lint_rules.names_have_their_case, "string name = 1", "string theName = 1"),
    (lint_rules.names_have_their_case, "oneof source", "oneof Source"),
    (lint_rules.names_have_their_case, "COLOR_RED", "COLOR_Red"),
    (lint_rules.names_have_their_case, "rpc Make(", "rpc make("),
    (lint_rules.names_have_their_case, "service SampleService", "service sample_Service"),
    (lint_rules.names_have_their_case, "message Started {", "message started_ {}\nmessage Started {"),
    (lint_rules.values_begin_with_their_enum, "COLOR_RED", "RED"),
    (lint_rules.value_zero_is_unspecified, "COLOR_UNSPECIFIED", "COLOR_NONE"),
    (lint_rules.enums_have_no_aliases, "COLOR_RED = 1;", "COLOR_RED = 1; COLOR_ROUGE = 1; option allow_alias = true;"),
    (lint_rules.services_end_in_service, "service SampleService", "service Samples"),
    (lint_rules.requests_and_responses_have_standard_names, "rpc Make(", "rpc Produce("),
    (lint_rules.requests_and_responses_are_unique, "returns (MakeResponse)", "returns (MakeRequest)"),
    (lint_rules.everything_has_a_comment, "// A sample.\n", ""),
    (lint_rules.everything_has_a_comment, "// SampleService serves samples.\n", ""),
    (lint_rules.everything_has_a_comment, "  // Makes one sample.\n", ""),
    (lint_rules.everything_has_a_comment, "// Color is a color.\n", ""),
    (lint_rules.everything_has_a_comment, "  // Red.\n", ""),
    (lint_rules.everything_has_a_comment, "// Started opens.\n", ""),
    (lint_rules.everything_has_a_comment, "  // From what.\n", ""),
    (lint_rules.everything_has_a_comment, "    // Text.\n", ""),
    (lint_rules.everything_has_a_comment, "  // Rank. Default 0.\n", ""),
    (house_rules.every_request_begins_with_the_model, "string model = 1;", "bytes model = 1;"),
    (house_rules.every_request_begins_with_the_model, "string model = 1;", "string model = 10;"),
    (house_rules.every_request_begins_with_the_model, "string model = 1;", "repeated string model = 1;"),
    (house_rules.every_request_begins_with_the_model, "string model = 1;", "optional string model = 1;"),
    (house_rules.every_request_begins_with_the_model, "MakeRequest config = 1", "MakeRequest config = 3"),
    (house_rules.every_result_tells_model_usage_and_timing, "  // What.\n  Usage usage = 2;", ""),
    (house_rules.every_result_tells_model_usage_and_timing, "Timing timing = 3", "string timing = 3"),
    (house_rules.every_result_tells_model_usage_and_timing, "Started opens.\nmessage Started {", "X\nmessage Started {"
     " reserved 1; }\nmessage Other {"),
    (house_rules.every_result_tells_model_usage_and_timing, "  // When.\n  Timing timing = 2;", ""),
    (house_rules.every_stream_is_events_from_started_to_completed, "Started started = 1", "Started begun = 1"),
    (house_rules.every_stream_is_events_from_started_to_completed, "oneof event", "oneof happening"),
    (house_rules.every_stream_is_events_from_started_to_completed, "Completed completed = 2;\n  }",
     "Completed completed = 2;\n  }\n  string note = 3;"),
    (house_rules.every_stream_is_events_from_started_to_completed, "Completed completed = 2;",
     "string error = 3; Completed completed = 2;"),
    (house_rules.no_number_is_unsigned, "int32 token_count", "uint32 token_count"),
    (house_rules.sampling_scalars_are_optional, "optional float temperature", "float temperature"),
    (house_rules.plain_numbers_of_requests_default_to_zero_or_are_required, "Rank. Default 0.", "Rank."),
    (house_rules.plain_numbers_of_requests_default_to_zero_or_are_required, "optional float temperature",
     "float temperature"),
    (house_rules.plain_bools_of_requests_default_to_false, "Default false.", "Default true."),
    (house_rules.optional_fields_of_requests_tell_their_default, "How many. Absent: 1.", "How many."),
    (house_rules.counts_are_signed_integers_named_count, "int32 token_count", "float token_count"),
    (house_rules.counts_are_signed_integers_named_count, "int32 token_count", "int32 num_tokens"),
    (house_rules.spans_of_time_are_durations, "int32 token_count", "int64 wait_ms"),
    (house_rules.spans_of_time_are_durations, "int32 token_count", "double wait_duration"),
    (house_rules.comments_are_sentences_in_third_person, "// Its name.", "// Its name"),
    (house_rules.comments_are_sentences_in_third_person, "// Timing measures.", "// Measures."),
    (house_rules.comments_are_sentences_in_third_person, "// Makes one", "// Make one"),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_contract_keeps_the_rule(rule: Rule, contract: Contract) -> None:
    assert list(rule(contract)) == []


def test_contract_was_read_whole(contract: Contract) -> None:
    assert {service.short_name for service in contract.of("service")} == {
        "ModelService",
        "TextService",
        "VisionService",
        "SpeechService",
        "MultimodalService",
    }


def test_clean_sample_breaks_no_rule(tmp_path: Path) -> None:
    sample = compiled(tmp_path)
    assert [offence for rule in RULES for offence in rule(sample)] == []


@pytest.mark.parametrize(("rule", "old", "new"), BROKEN, ids=[f"{b[0].__name__}-{i}" for i, b in enumerate(BROKEN)])
def test_rule_catches_the_contract_that_breaks_it(rule: Rule, old: str, new: str, tmp_path: Path) -> None:
    assert list(rule(compiled(tmp_path, edited(old, new)))) != []


def test_rule_catches_another_syntax(tmp_path: Path) -> None:
    text = 'syntax = "proto2";\npackage sensorium.v1;\nmessage Sample {}\n'
    assert list(lint_rules.syntax_is_proto3(compiled(tmp_path, text))) != []


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (lint_rules.package_is_the_folder, "elsewhere/v1/sample.proto"),
        (lint_rules.names_have_their_case, PATH.replace("sample", "aSample")),
    ],
)
def test_rule_catches_the_file_in_the_wrong_place(rule: Rule, path: str, tmp_path: Path) -> None:
    assert list(rule(compiled(tmp_path, path=path))) != []


def test_every_rule_is_shown_to_catch_something() -> None:
    shown = {rule for rule, _, _ in BROKEN} | {lint_rules.syntax_is_proto3}
    assert set(RULES) == shown
