"""A small contract that breaks no rule, and a way to compile an edited copy of it."""

from pathlib import Path

from grpc_tools import protoc

from tests.contract.elements import Contract

PATH = "sensorium/v1/sample.proto"
SAMPLE = """\
// A sample.
syntax = "proto3";

package sensorium.v1;

import "google/protobuf/duration.proto";

option go_package = "sensorium/v1;sensoriumv1";
option java_multiple_files = true;

// SampleService serves samples.
service SampleService {
  // Makes one sample.
  rpc Make(MakeRequest) returns (MakeResponse);
  // Streams samples.
  rpc StreamMake(stream StreamMakeRequest) returns (stream StreamMakeResponse);
}

// ModelIdentity names a model.
message ModelIdentity {
  // Its name.
  string name = 1;
}

// Usage counts.
message Usage {
  // Tokens.
  int32 token_count = 1;
}

// Timing measures.
message Timing {
  // All of it.
  google.protobuf.Duration total_duration = 1;
}

// Color is a color.
enum Color {
  // Not set.
  COLOR_UNSPECIFIED = 0;
  // Red.
  COLOR_RED = 1;
}

// GenerationParameters choose.
message GenerationParameters {
  // Heat.
  optional float temperature = 1;
}

// MakeRequest asks.
message MakeRequest {
  // The model.
  string model = 1;
  // How many. Absent: 1.
  optional int32 sample_count = 2;
  // Rank. Default 0.
  int32 priority = 3;
  // Raw or not. Default false.
  bool raw = 4;
  // How.
  GenerationParameters parameters = 5;
  // Colors wanted.
  repeated Color colors = 6;
  // From what.
  oneof source {
    // Text.
    string text = 7;
    // Bytes.
    bytes data = 8;
  }
  // Weights.
  map<int32, float> weights = 9;
}

// MakeResponse answers.
message MakeResponse {
  // Who.
  ModelIdentity model = 1;
  // What.
  Usage usage = 2;
  // When.
  Timing timing = 3;
}

// StreamMakeRequest asks.
message StreamMakeRequest {
  // What is sent.
  oneof payload {
    // First.
    MakeRequest config = 1;
    // Then.
    bytes audio = 2;
  }
}

// Started opens.
message Started {
  // Who.
  ModelIdentity model = 1;
}

// Completed closes.
message Completed {
  // What.
  Usage usage = 1;
  // When.
  Timing timing = 2;
}

// StreamMakeResponse answers.
message StreamMakeResponse {
  // What happened.
  oneof event {
    // First.
    Started started = 1;
    // Last.
    Completed completed = 2;
  }
}
"""


def compiled(folder: Path, text: str = SAMPLE, path: str = PATH) -> Contract:
    """Writes `text` to `path` under the empty `folder` and returns the contract that protoc compiles from it."""
    source, output = folder / path, folder / "set.binpb"
    source.parent.mkdir(parents=True)
    source.write_text(text)
    google = Path(protoc.__file__).parent / "_proto"
    options = ["--include_source_info", "--include_imports", f"--descriptor_set_out={output}"]
    assert protoc.main(["protoc", f"-I{folder}", f"-I{google}", *options, path]) == 0
    return Contract.read(output)


def edited(old: str, new: str) -> str:
    """The sample with `old`, which must occur exactly once, replaced by `new`."""
    assert SAMPLE.count(old) == 1, f"{old!r} stands {SAMPLE.count(old)} times in the sample"
    return SAMPLE.replace(old, new)
