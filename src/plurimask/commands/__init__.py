"""The command line: `main` finds the command, each command is one file with `main(arguments) -> exit code`.

Thin: a command reads options, calls the rooms below and says what was done.
"""
