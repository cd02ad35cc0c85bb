"""What requests may say: checked before anything is done."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from plurimask.errors import first_mistake
from plurimask.viewer.errors import Answer
from plurimask.viewer.saving import Choice, LatentChoice, ScalesChoice

_CHOICES: TypeAdapter[Choice] = TypeAdapter(Choice)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SaveBody(_Body):
    run: int = Field(0, ge=0, le=99)
    choice: Choice
    overwrite: bool = False


class UndoBody(_Body):
    undo: int | None = None


class ScoringBody(_Body):
    paused: bool


class WhereQuery(_Body):
    """Which latents to decode: a point of the plane, or a draw of each scale."""

    run: int = Field(0, ge=0, le=99)
    x: float | None = None
    y: float | None = None
    base: int | None = None
    levels: str | None = Field(None, max_length=200)

    def choice(self) -> LatentChoice | ScalesChoice:
        """The same as a mask that can be saved; `Answer` where a number is missing or out of range."""
        try:
            if self.levels is not None:
                words = self.levels.split(",")
                return ScalesChoice(kind="scales", levels=tuple(None if word == "m" else word for word in words))
            return LatentChoice(kind="latent", x=self.x, y=self.y, base=self.base)
        except ValidationError as error:
            raise Answer(first_mistake(error)) from error


def choice_of(text: str) -> Choice:
    """A choice in JSON; `Answer` where it is none."""
    try:
        return _CHOICES.validate_json(text)
    except ValidationError as error:
        raise Answer(first_mistake(error)) from error
