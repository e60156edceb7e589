"""The block structure of a document, as CommonMark with tables reads it: what stands in what, on which lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

    from pytest_releasegate.checklist.markdown.lines import Source

__all__ = ["Block", "parse"]

DEEPEST = 40
"""How many lists and quotes may stand in each other."""

_KINDS = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "list_item_open": "item",
    "blockquote_open": "quote",
    "table_open": "table",
    "thead_open": "group",
    "tbody_open": "group",
    "tr_open": "row",
    "th_open": "cell",
    "td_open": "cell",
    "fence": "code",
    "code_block": "code",
    "html_block": "html",
    "hr": "rule",
}


@dataclass(slots=True)
class Block:
    """One block: its kind, its lines from `first` up to `last` (counted from 0, `last` not included), what it holds."""

    kind: str
    first: int = 0
    last: int = 0
    text: str = ""
    """The raw text of a heading, paragraph or cell, line breaks kept; the content of code."""
    level: int = 0
    """Of a heading: 1 to 6."""
    number: str = ""
    """Of an item in a numbered list."""
    children: list[Block] = field(default_factory=list)

    def inside(self) -> Iterator[Block]:
        """The block and all in it."""
        stack = [self]
        while stack:
            block = stack.pop()
            yield block
            stack += reversed(block.children)

    def rows(self) -> list[tuple[int, list[str]]]:
        """Of a table: its rows, the head first, each with its line."""
        found = [block for block in self.inside() if block.kind == "row"]
        return [(row.first, [cell.text for cell in row.children]) for row in found]


def parse(source: Source) -> Block:
    """The document; raises `BrokenPlan` where lists stand in lists beyond all reason."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"maxNesting": 2 * DEEPEST}).enable("table").disable(["inline", "reference"])
    tokens = parser.parse(source.text)
    deepest = max(tokens, key=lambda token: token.level, default=None)
    if deepest and deepest.level >= 2 * DEEPEST - 2:
        line = deepest.map[0] if deepest.map else 0
        raise source.problem(line, f"more than {DEEPEST - 2} levels of lists in each other", "put it less deep")
    return _tree(tokens, len(source.lines))


def _tree(tokens: list[Token], lines: int) -> Block:
    stack = [Block("document", 0, lines)]
    for token in tokens:
        if token.nesting < 0:
            if token.type.replace("_close", "_open") in _KINDS:
                stack.pop()
        elif token.type == "inline":
            stack[-1].text = token.content
        elif token.type in _KINDS:
            block = _block(token, stack[-1])
            stack[-1].children.append(block)
            stack += [block] if token.nesting else []
    return stack[0]


def _block(token: Token, around: Block) -> Block:
    first, last = token.map or (around.first, around.last)
    kind = _KINDS[token.type]
    return Block(
        kind,
        first,
        last,
        text=token.content,
        level=int(token.tag[1:]) if kind == "heading" else 0,
        number=token.info if kind == "item" else "",
    )
