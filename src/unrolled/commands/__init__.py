"""One module a command of ``unrolled``; its docstring is the command's help."""
