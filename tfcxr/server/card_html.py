"""A model card in Markdown -> HTML for the page: headings, paragraphs, tables, lists, quotes and code, nothing else.

All text is escaped before anything is marked, so HTML in a card is shown letter by letter.
"""

import html
import re
from collections.abc import Callable, Sequence

FENCE = "```"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
HEADING = re.compile(r"(#{1,4}) +(.*)")
LIST_ITEM = re.compile(r"[-*] +(.*)")
CELL_END = re.compile(r"(?<!\\)\|")
RULE_CELL = re.compile(r":?-+:?")  # of the line between a table's header and its rows
CODE = re.compile(r"`([^`]+)`")
STRONG = re.compile(r"\*\*(.+?)\*\*")
FIRST_LEVEL = 3  # a card's title stands below two headings of the page


def card_html(markdown: str) -> str:
    """HTML of a model card."""
    text, blocks = COMMENT.sub("", markdown), []
    sections = re.split(rf"^{FENCE}.*$", text, flags=re.MULTILINE)  # prose and code, in turn
    for index, part in enumerate(sections):
        if index % 2:
            blocks.append(f'<pre tabindex="0"><code>{_escaped(part.strip(chr(10)))}</code></pre>')
        else:
            blocks += [_block(block.splitlines()) for block in re.split(r"\n\s*\n", part) if block.strip()]
    return "\n".join(blocks)


def _block(lines: Sequence[str]) -> str:
    """HTML of lines without an empty one between."""
    lines = [line.rstrip() for line in lines if line.strip()]
    if heading := HEADING.fullmatch(lines[0]):
        level = FIRST_LEVEL + len(heading[1]) - 1
        rest = _block(lines[1:]) if lines[1:] else ""
        return f"<h{level}>{_marked(heading[2])}</h{level}>{rest}"
    if lines[0].startswith("|"):
        return _table([line for line in lines if line.startswith("|")])
    if lines[0].startswith(">"):
        return f"<blockquote><p>{_marked(' '.join(line.lstrip('> ') for line in lines))}</p></blockquote>"
    for index, line in enumerate(lines):
        if LIST_ITEM.match(line):
            return (f"<p>{_marked(' '.join(lines[:index]))}</p>" if index else "") + _list(lines[index:])
    return f"<p>{_marked(' '.join(lines))}</p>"


def _list(lines: Sequence[str]) -> str:
    items: list[str] = []
    for line in lines:
        if item := LIST_ITEM.match(line):
            items.append(item[1])
        else:  # goes on with the item above
            items[-1] += f" {line.strip()}"
    return f"<ul>{''.join(f'<li>{_marked(item)}</li>' for item in items)}</ul>"


def _table(lines: Sequence[str]) -> str:
    rows = [[cell.strip() for cell in CELL_END.split(line.strip())[1:-1]] for line in lines]
    header, *body = [row for row in rows if not all(RULE_CELL.fullmatch(cell) for cell in row)]
    head = f"<thead>{_row(header, 'th')}</thead>" if any(header) else ""
    rows_html = "".join(_row(row, "td") for row in body)
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{rows_html}</tbody></table></div>'


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_marked(cell)}</{tag}>' for cell in cells)}</tr>"


def _marked(text: str) -> str:
    """One line with code and strong words marked; code is left as it stands."""
    strong: Callable[[str], str] = lambda part: STRONG.sub(r"<strong>\1</strong>", part)  # noqa: E731
    parts = CODE.split(_escaped(text.replace(r"\|", "|")))  # text and code, in turn
    return "".join(f"<code>{part}</code>" if index % 2 else strong(part) for index, part in enumerate(parts))


def _escaped(text: str) -> str:
    """Escaped once, also where a card has escaped it already."""
    return html.escape(html.unescape(text))
