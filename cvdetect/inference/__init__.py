"""The way of a frame from preprocessing to detections."""
