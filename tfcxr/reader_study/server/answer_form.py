"""The form of what a browser sends: fields, types and bounds of each kind of answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr

from tfcxr.reader_study.design_file import Design, Item

MAX_COMMENT = 4000  # characters
MAX_MARKS = 50
MAX_SECONDS = 1e7
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Fact = StrictBool | StrictInt | FiniteFloat | Annotated[StrictStr, Field(max_length=200)] | None
Facts = Annotated[dict[Annotated[str, Field(max_length=40)], Fact], Field(max_length=30)]


class _Form(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid")


class AnswerRequest(_Form):
    """One request of the page, see `answers.Answer` for its fields."""

    request: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    item: Annotated[StrictStr, Field(max_length=100)]
    event: Literal["change", "final", "consent", "shown", "paused", "viewed"]
    answer: dict[str, Any] = {}
    elapsed_seconds: Annotated[FiniteFloat, Field(ge=0, le=MAX_SECONDS)] | None = None
    browser_time: Annotated[StrictStr, Field(max_length=100)] = ""
    tab: Annotated[StrictStr, Field(max_length=100)] = ""
    viewport: Facts = {}


class Mark(_Form):
    """A region as shares of the image, from its upper left corner."""

    x: Share
    y: Share
    width: Share
    height: Share


class _Answer(_Form):
    comment: Annotated[StrictStr, Field(max_length=MAX_COMMENT)] = ""


class GridAnswer(_Answer):
    """Whether each image is synthetic; null where a change leaves it open."""

    synthetic: Annotated[list[StrictBool | None], Field(max_length=100)]


class PairAnswer(_Answer):
    """Which of the two images is real, 0 or 1."""

    real: Annotated[StrictInt, Field(ge=0, le=1)] | None = None


class SingleAnswer(_Answer):
    """Whether the image is synthetic, how sure the reader is, and what the reader sees."""

    synthetic: StrictBool | None = None
    confidence: Annotated[StrictInt, Field(ge=1, le=5)] | None = None
    diagnoses: Annotated[list[StrictStr], Field(max_length=100)] = []
    marks: Annotated[list[Mark], Field(max_length=MAX_MARKS)] = []


class _Note(pydantic.RootModel):
    root: Facts


ANSWERS: dict[str, type[_Answer]] = {"grid": GridAnswer, "pair": PairAnswer, "single": SingleAnswer}


def check_answer(design: Design, item: Item | None, event: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as it is stored, without fields that were left out.

    Args:
      design: of the study.
      item: that is answered; None for an event of none.
      event: of the request, see `answers.Event`.
      answer: as the browser sent it.

    Raises:
      ValueError: another form than the item's kind has, or a final answer that leaves something open.
    """
    try:
        if item is None or event not in ("change", "final"):
            return _Note.model_validate(answer).root
        checked = ANSWERS[item.kind].model_validate(answer)
    except pydantic.ValidationError as error:
        raise ValueError(sentence(error.errors())) from None
    stored = checked.model_dump(exclude_unset=True)
    if isinstance(checked, GridAnswer) and len(checked.synthetic) != len(item.images):
        raise ValueError(f"expected an answer for each of {len(item.images)} images, got {len(checked.synthetic)}")
    if unknown := [name for name in stored.get("diagnoses", ()) if name not in design.diagnoses]:
        raise ValueError(f"the study has no diagnosis {unknown[0]!r}; it has {', '.join(design.diagnoses) or 'none'}")
    if event == "final":
        _check_complete(item, stored)
    return stored


def sentence(errors: list[Any]) -> str:
    """What is wrong with a request, by pydantic's first error."""
    place = ".".join(str(part) for part in errors[0]["loc"] if part != "body") or "the request"
    return f"{place}: {errors[0]['msg'][:200]}; nothing was stored"


def _check_complete(item: Item, answer: Mapping[str, Any]) -> None:
    if item.kind == "grid":
        is_open = None in answer["synthetic"]
    elif item.kind == "pair":
        is_open = answer.get("real") is None
    else:
        asked = ("synthetic",) if item.is_staircase else ("synthetic", "confidence")
        is_open = any(answer.get(name) is None for name in asked)
    if is_open:
        raise ValueError("the final answer leaves something open; answer everything, then go on")
