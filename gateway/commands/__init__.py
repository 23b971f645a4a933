"""The command line's commands that are no server."""
