"""What every room stands on: boxes, detections, frames, labels, files, progress, errors."""
