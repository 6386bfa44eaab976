const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const files = ["sensorium/v1/text.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"];
const includeDirs = ["protos", "node_modules/google-proto-files"];
const options = { keepCase: true, defaults: true, oneofs: true, enums: String, longs: String };
const { sensorium, google } = grpc.loadPackageDefinition(loadSync(files, { includeDirs, ...options }));
const text = new sensorium.v1.TextService("127.0.0.1:50050", grpc.credentials.createInsecure());

function explain(error) {
  console.error(error.code, error.details);
  for (const status of error.metadata.get("grpc-status-details-bin"))
    for (const { type_url, value } of google.rpc.Status.deserialize(status).details) {
      const kind = type_url.split(".").pop(); // ErrorInfo, BadRequest, RetryInfo, QuotaFailure
      console.error(kind, JSON.stringify(google.rpc[kind].deserialize(value)));
    }
}

function wrong() {
  const request = { prompt: "", parameters: { temperature: -1 } };
  text.Generate(request, { deadline: Date.now() + 30_000 }, (error, answer) =>
    error ? explain(error) : console.log(answer.candidates[0].text));
}

const messages = [{ role: "ROLE_USER", content: "What is a KV cache?" }];
const request = { chat: { messages }, parameters: { max_new_tokens: 100, temperature: 0 } };
const stream = text.StreamGenerate(request, { deadline: Date.now() + 30_000 }); // stream.cancel() frees the model
let complete = false;
stream.on("data", ({ event, ...told }) => {
  if (event === "delta") process.stdout.write(told.delta.text);
  if (event === "completed") complete = true;
});
stream.on("error", explain);
stream.on("status", ({ code }) => {
  console.log(code === grpc.status.OK && !complete ? "\nThe stream broke: it ended before it was complete." : "");
  wrong();
});
