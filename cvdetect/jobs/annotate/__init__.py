"""Whole folders: the walk, the manifest, resume, the exports and the review page."""
