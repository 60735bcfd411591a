"""The model zoo: which models there are (`registry`), and how their files come onto this machine (`fetch`)."""
