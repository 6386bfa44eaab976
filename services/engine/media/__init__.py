"""Images in and out: decoding within limits, masks, depth maps. Knows no model, no torch and no protobuf."""
