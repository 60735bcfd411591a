"""Annotation files: writers, and readers where they serve."""
