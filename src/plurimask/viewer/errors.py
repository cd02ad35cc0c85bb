"""What a request may be answered instead of what it asked for: a status and a sentence."""

from __future__ import annotations

from typing import Any, ClassVar

from plurimask.errors import InputError


class Answer(InputError):
    """Ends a request with a sentence for people."""

    status: ClassVar[int] = 400
    more: dict[str, Any]
    """Said beside the sentence."""

    def __init__(self, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.more = more


class Refused(Answer):
    """Nobody may have it."""

    status = 403


class NotFound(Answer):
    """There is no such image, run or sample."""

    status = 404


class Exists(Answer):
    """A file is there already, or is no more as it was."""

    status = 409


class TooLarge(Answer):
    """More bytes or pixels than are taken."""

    status = 413


class NotReady(Answer):
    """To be asked again."""

    status = 503
