"""TensorFlow frozen graphs and the text graphs with which OpenCV reads them."""
