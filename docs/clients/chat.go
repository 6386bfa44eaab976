package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	pb "example.com/chat/sensorium/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func main() {
	conn, err := grpc.Dial("127.0.0.1:50050", grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	text := pb.NewTextServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel() // frees the model where a stream still goes on
	if err := stream(ctx, text); err != nil {
		explain(err)
	}
	if err := wrong(ctx, text); err != nil {
		explain(err)
	}
}

func stream(ctx context.Context, text pb.TextServiceClient) error {
	question := &pb.ChatMessage{Role: pb.Role_ROLE_USER, Content: "What is a KV cache?"}
	events, err := text.StreamGenerate(ctx, &pb.StreamGenerateRequest{
		Input:      &pb.StreamGenerateRequest_Chat{Chat: &pb.ChatPrompt{Messages: []*pb.ChatMessage{question}}},
		Parameters: &pb.GenerationParameters{MaxNewTokens: proto.Int32(100), Temperature: proto.Float32(0)},
	})
	if err != nil {
		return err
	}
	for complete := false; ; {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) && complete {
			fmt.Println()
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errors.New("the stream broke: it ended before it was complete")
		}
		if err != nil {
			return err
		}
		fmt.Print(event.GetDelta().GetText())
		complete = complete || event.GetCompleted() != nil
	}
}

func wrong(ctx context.Context, text pb.TextServiceClient) error {
	_, err := text.Generate(ctx, &pb.GenerateRequest{
		Input:      &pb.GenerateRequest_Prompt{Prompt: ""},
		Parameters: &pb.GenerationParameters{Temperature: proto.Float32(-1)},
	})
	return err
}

func explain(err error) {
	told := status.Convert(err)
	log.Println(told.Code(), told.Message())
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			log.Println(detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				log.Println(violation.Field, violation.Description)
			}
		}
	}
}
