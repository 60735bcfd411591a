"""What the commands do, one module or folder a command, callable without the command line."""
