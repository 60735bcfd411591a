"""The command line: options → frozen dataclasses → one library call. One file a command."""
