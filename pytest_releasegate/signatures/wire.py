"""The wire format of SSH (RFC 4251, section 5), read strictly."""

from __future__ import annotations

__all__ = ["Reader", "SignatureProblem", "text"]

_HIGH_BIT = 0x80


class SignatureProblem(Exception):
    """A signature or key that is malformed, unsupported or wrong; its text is one sentence that says why."""


class Reader:
    """Reads values from bytes one after the other; whatever is cut short raises `SignatureProblem`."""

    def __init__(self, body: bytes, what: str) -> None:
        self._rest = body
        self._what = what

    def take(self, count: int) -> bytes:
        """The next so many bytes."""
        if count > len(self._rest):
            raise SignatureProblem(f"the {self._what} is cut short or its lengths are wrong")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def number(self) -> int:
        """An unsigned number of 32 bits (`uint32`)."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Bytes with their length before them (`string`)."""
        return self.take(self.number())

    def big(self) -> int:
        """A positive number of any size in its shortest form (`mpint`)."""
        body = self.string()
        padded = body[:1] == b"\0"
        if not body or body[0] & _HIGH_BIT or (padded and (len(body) == 1 or not body[1] & _HIGH_BIT)):
            raise SignatureProblem(f"the {self._what} holds a number that is not positive or not in its shortest form")
        return int.from_bytes(body, "big")

    def end(self) -> None:
        """Nothing may follow."""
        if self._rest:
            raise SignatureProblem(f"{len(self._rest)} bytes follow the end of the {self._what}")


def text(body: bytes) -> str:
    """Bytes as people read them in one line, whatever they are."""
    read = body.decode("utf-8", "backslashreplace")
    return read if read.isprintable() else read.encode("unicode_escape").decode("ascii")
