"""What a page says, read as a browser does."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Every tag, attribute and text of a page; style is no text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._styled = False
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102
        self.tags.append((tag, dict(attrs)))
        self._styled = tag == "style"

    def handle_endtag(self, tag: str) -> None:  # noqa: D102
        self._styled = False

    def handle_data(self, data: str) -> None:  # noqa: D102
        self.text += "" if self._styled else data
