import com.google.protobuf.Any;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;
import sensorium.v1.ChatMessage;
import sensorium.v1.ChatPrompt;
import sensorium.v1.GenerateRequest;
import sensorium.v1.GenerationParameters;
import sensorium.v1.Role;
import sensorium.v1.StreamGenerateRequest;
import sensorium.v1.StreamGenerateResponse;
import sensorium.v1.TextServiceGrpc;

public class Chat {
  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = ManagedChannelBuilder.forTarget("127.0.0.1:50050")
        .usePlaintext()
        .maxInboundMessageSize(32 << 20)
        .build();
    TextServiceGrpc.TextServiceBlockingStub text = TextServiceGrpc.newBlockingStub(channel);
    try {
      stream(text.withDeadlineAfter(30, TimeUnit.SECONDS));
      wrong(text.withDeadlineAfter(30, TimeUnit.SECONDS));
    } catch (StatusRuntimeException error) {
      explain(error);
    } finally {
      channel.shutdownNow(); // frees the model where a stream still goes on
    }
  }

  static void stream(TextServiceGrpc.TextServiceBlockingStub text) {
    ChatMessage question = ChatMessage.newBuilder().setRole(Role.ROLE_USER).setContent("What is a KV cache?").build();
    Iterator<StreamGenerateResponse> events = text.streamGenerate(StreamGenerateRequest.newBuilder()
        .setChat(ChatPrompt.newBuilder().addMessages(question))
        .setParameters(GenerationParameters.newBuilder().setMaxNewTokens(100).setTemperature(0))
        .build());
    boolean complete = false;
    while (events.hasNext()) {
      StreamGenerateResponse event = events.next();
      if (event.hasDelta()) System.out.print(event.getDelta().getText());
      complete |= event.hasCompleted();
    }
    System.out.println(complete ? "" : "\nThe stream broke: it ended before it was complete.");
  }

  static void wrong(TextServiceGrpc.TextServiceBlockingStub text) {
    text.generate(GenerateRequest.newBuilder()
        .setPrompt("")
        .setParameters(GenerationParameters.newBuilder().setTemperature(-1))
        .build());
  }

  static void explain(StatusRuntimeException error) throws Exception {
    System.err.println(error.getStatus());
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    for (Any detail : status == null ? java.util.List.<Any>of() : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) System.err.println(detail.unpack(ErrorInfo.class).getReason());
      if (detail.is(BadRequest.class)) System.err.print(detail.unpack(BadRequest.class));
    }
  }
}
