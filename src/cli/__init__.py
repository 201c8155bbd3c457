"""The command line: `root` has the flags and the list of commands, each command its own module."""
