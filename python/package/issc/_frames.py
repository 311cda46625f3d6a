"""Events as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def data_frame(events: Iterable[dict[str, Any]], kind: str | None = None) -> Any:
    """Events as a pandas DataFrame, a row each; columns are their keys and carry their units.

    kind: sent, received, detections, plan or picture alone. Needs pandas.
    """
    import pandas

    rows = [event for event in events if kind is None or event["event"] == kind]
    return pandas.DataFrame(rows)
