#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>

#include "sensorium/v1/text.grpc.pb.h"

namespace v1 = sensorium::v1;

void Limit(grpc::ClientContext& call) { call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30)); }

void Explain(const grpc::Status& error) {
  std::cerr << error.error_code() << " " << error.error_message() << "\n";
  google::rpc::Status status;
  status.ParseFromString(error.error_details());
  for (const auto& detail : status.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&info)) std::cerr << info.reason() << "\n";
    if (detail.UnpackTo(&bad)) std::cerr << bad.DebugString();
  }
}

int main() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(32 << 20);
  auto channel = grpc::CreateCustomChannel("127.0.0.1:50050", grpc::InsecureChannelCredentials(), arguments);
  auto text = v1::TextService::NewStub(channel);

  grpc::ClientContext call;  // call.TryCancel() frees the model
  Limit(call);
  v1::StreamGenerateRequest request;
  auto* question = request.mutable_chat()->add_messages();
  question->set_role(v1::ROLE_USER);
  question->set_content("What is a KV cache?");
  request.mutable_parameters()->set_max_new_tokens(100);
  request.mutable_parameters()->set_temperature(0);
  auto stream = text->StreamGenerate(&call, request);
  v1::StreamGenerateResponse event;
  bool complete = false;
  while (stream->Read(&event)) {
    if (event.has_delta()) std::cout << event.delta().text() << std::flush;
    complete |= event.has_completed();
  }
  grpc::Status status = stream->Finish();
  if (!status.ok()) Explain(status);
  std::cout << (status.ok() && !complete ? "\nThe stream broke: it ended before it was complete.\n" : "\n");

  grpc::ClientContext second;
  Limit(second);
  v1::GenerateRequest wrong;
  wrong.set_prompt("");
  wrong.mutable_parameters()->set_temperature(-1);
  v1::GenerateResponse answer;
  status = text->Generate(&second, wrong, &answer);
  if (!status.ok()) Explain(status);
}
