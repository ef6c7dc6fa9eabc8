"""A raw file as its publisher offers it: where from, and what its content must be."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RawFile:
    """One file of a data set.

    Attributes:
        name: file name on disk, unpacked.
        sha256: of the unpacked content; whatever the address, this is what counts.
        addresses: publishers' addresses, tried in order.
        mirror_path: path below a mirror, packed if the addresses' files are.
        max_bytes: most that a download may have.
        max_unpacked_bytes: most that the content may have.
        packed: how addresses and mirrors pack it.
    """

    name: str
    sha256: str
    addresses: tuple[str, ...]
    mirror_path: str
    max_bytes: int
    max_unpacked_bytes: int
    packed: Literal["gzip"] | None = None
