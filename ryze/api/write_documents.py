"""Write all published documents into a folder: ``python -m ryze.api.write_documents schema``."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from ryze.api.application import BLUEPRINTS
from ryze.api.openapi.asyncapi import asyncapi
from ryze.api.openapi.document import openapi
from ryze.api.openapi.event_schemas import documents
from ryze.store.ddl import ddl

__all__ = ["render_documents"]


def render_documents() -> dict[str, str]:
    """Return the text of all documents by their path in the folder."""
    schemas = {f"events/{name}": _json(schema) for name, schema in documents().items()}
    return {
        "openapi.json": _json(openapi(BLUEPRINTS)),
        "asyncapi.json": _json(asyncapi()),
        **schemas,
        "database.sql": ddl(),
    }


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in render_documents().items():
        file = Path(sys.argv[1]) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
