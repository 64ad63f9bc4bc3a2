"""What a record leaves out when it is written it can do without when it is read."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import get_args

import recert.records
from recert.records.record import Part


def parts() -> Iterator[type[Part]]:
    """Every class of records, and of parts of them."""
    for module in pkgutil.walk_packages(recert.records.__path__, "recert.records."):
        importlib.import_module(module.name)
    found = [Part]
    while found:
        one = found.pop()
        found += one.__subclasses__()
        yield one


def test_a_field_that_may_be_none_may_be_missing() -> None:
    """
    Fields that are None are not written, so a record that needs one could not be read back.

    Reports of a model at an endpoint were such: they have no manifest.
    """
    needed = [
        f"{one.__name__}.{name}"
        for one in parts()
        for name, field in one.model_fields.items()
        if field.is_required() and type(None) in get_args(field.annotation)
    ]

    assert needed == []
