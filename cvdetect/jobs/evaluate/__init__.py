"""How good detections are: COCO AP, VOC AP, precision, recall and what is mistaken for what, against ground truth."""
