"""The bitcoin task as tutorials set it up: the network sees and foretells prices scaled to the training part's range."""

from unrolled.tasks.bitcoin import ATTRIBUTION, FILES, LICENCE, read, read_file, split, stand_in

__all__ = ["ATTRIBUTION", "FILES", "LICENCE", "read", "read_file", "split", "stand_in"]
