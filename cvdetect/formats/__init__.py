"""Model files as bytes and text: what they say, whether they fit together, and how to open their thresholds."""
