"""MkDocs hook: a page that would load something from another host is an error."""

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link(?=[^>]*rel=["']?(?:stylesheet|preconnect|icon)))"""
    r"""[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)


def on_post_page(output: str, *, page: Page, **_: Any) -> str:
    """The page, as it is.

    Raises:
        PluginError: it has a script, an image, a style or a font with an address elsewhere.
    """
    found = LOADED.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri} would load from another host: {found[0]}")
    return output
