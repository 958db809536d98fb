"""Labels as tables and folders write them: one name, several with a mark between them, or a Python list of names."""

import ast
import re
import unicodedata
from collections.abc import Iterable

_BLANKS = re.compile(r"\s*")
# A quoted text or bare words, then a comma or the end; no repetition in it can match what the next one does.
_ITEM = re.compile(r"""(?:('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*|([^'"\[\],]*))(?:,|\Z)""", re.DOTALL)
_NOTHING = ("nan", "none", "null")  # without quotes in a list
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def split_labels(text: str, separator: str = "") -> list[str]:
    """The names in a field, without blanks around them, in their order; empty names are left out.

    Args:
      text: "Edema", "Edema|Mass" with `separator` "|", or a list such as "['Edema', 'Mass, large']", whatever the
        separator. In a list names may be quoted or not, and nan or None without quotes is no name.
      separator: what stands between names; "" where there is but one.

    Raises:
      ValueError: a text that begins as a list and is none.
    """
    text = plain_blanks(text).strip()
    if text.startswith("["):
        names = _list_items(text)
    else:
        names = text.split(separator) if separator else [text]
    return [name for name in (name.strip() for name in names) if name]


def plain_blanks(text: str) -> str:
    """A text in which every blank is the usual one, also those that do not break a line."""
    return text if text.isascii() else re.sub(r"[^\S\n]", " ", text).replace("\u200b", "").replace("\ufeff", "")


def folded(text: str) -> str:
    """Equal for texts that differ in case, in blanks or in how Unicode writes their letters, and in nothing else."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def check_spellings(names: Iterable[str], what: str, advice: str) -> None:
    """Raises ValueError when two names differ in nothing but case and blanks, so that one class would be two."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(folded(name), name)
        if other != name:
            raise ValueError(f"{what} {other!r} and {name!r} differ in case or blanks alone; {advice}")


def decimal_point(text: str) -> str:
    """ "1,5" as "1.5", for a number that was written with a decimal comma; anything else as it is."""
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def printable(text: str) -> str:
    """A file's name as text that can be encoded: bytes that are no UTF-8 become \\xe9 and the like."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _list_items(text: str) -> list[str]:
    inside, items, position = text[1:-1], [], 0
    while text.endswith("]") and len(text) > 1:
        match = _ITEM.match(inside, _BLANKS.match(inside, position).end())
        if not match:
            break
        quoted, bare = match.groups()
        if quoted:
            try:
                items.append(ast.literal_eval(quoted))
            except (SyntaxError, ValueError):  # a wrong escape
                break
        elif bare.strip().lower() not in _NOTHING:
            items.append(bare)
        position = match.end()
        if position >= len(inside):
            return items
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    raise ValueError(f"{shown!r} is not a list such as ['a', 'b']: a bracket, comma or quotation mark is missing")
