"""The model side: loading, preprocessing, and the engines that own the model. Never imports grpc or protobuf."""
