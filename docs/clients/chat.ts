import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { Role } from "./gen/sensorium/v1/common_pb.js";
import { TextService } from "./gen/sensorium/v1/text_pb.js";

const transport = createGrpcTransport({ baseUrl: "http://127.0.0.1:50050" });
const text = createClient(TextService, transport);

async function stream() {
  const messages = [{ role: Role.USER, content: "What is a KV cache?" }];
  const request = {
    input: { case: "chat" as const, value: { messages } },
    parameters: { maxNewTokens: 100, temperature: 0 },
  };
  let complete = false;
  for await (const { event } of text.streamGenerate(request, { timeoutMs: 30_000 })) { // leaving it frees the model
    if (event.case === "delta") process.stdout.write(event.value.text);
    if (event.case === "completed") complete = true;
  }
  console.log(complete ? "" : "\nThe stream broke: it ended before it was complete.");
}

async function wrong() {
  const input = { case: "prompt" as const, value: "" };
  await text.generate({ input, parameters: { temperature: -1 } }, { timeoutMs: 30_000 });
}

try {
  await stream();
  await wrong();
} catch (caught) {
  const error = ConnectError.from(caught);
  console.error(Code[error.code], error.rawMessage);
  for (const info of error.findDetails(ErrorInfoSchema)) console.error(info.reason);
  for (const { fieldViolations } of error.findDetails(BadRequestSchema))
    for (const { field, description } of fieldViolations) console.error(field, description);
}
