"""Where frames come from: context managers that are iterated."""
