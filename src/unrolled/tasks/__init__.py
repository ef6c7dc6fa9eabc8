"""One module a data set: how to read its raw files, how to split them, and its stand-in."""
