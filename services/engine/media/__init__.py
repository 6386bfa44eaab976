"""Media in and out, within limits: images, masks, depth maps, recordings. Knows no model, no torch and no protobuf."""
