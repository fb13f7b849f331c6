"""The journal of a namespace."""

from typing import TYPE_CHECKING, Unpack

from ._errors import VerificationError
from ._http import duration
from ._types import Duration, Filters, Json, Page

if TYPE_CHECKING:
    from ._namespace import Namespace


class Journal:
    """What was sent to a namespace, and what became of it: an entry for each request."""

    def __init__(self, namespace: "Namespace") -> None:
        self._namespace = namespace

    def page(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        wait: Duration | None = None,
        count: int | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """A part of the journal: those entries after the cursor `after`, oldest first."""
        waiting = None if wait is None else duration(wait)
        query = {"after": after, "limit": limit, "wait": waiting, "count": count, **filters}
        page: Page = self._namespace.call("GET", "/journal", query=query)
        return page

    def entries(self, *, after: str | None = None, **filters: Unpack[Filters]) -> list[Json]:
        """The entries that the filters name, oldest first."""
        entries: list[Json] = []
        while True:
            page = self.page(after=after, **filters)
            entries += page["entries"]
            if not page["entries"] or page["next"] == after:
                return entries
            after = page["next"]

    def wait_for(
        self, *, count: int = 1, within: Duration = 10, after: str | None = None, **filters: Unpack[Filters]
    ) -> list[Json]:
        """Waits until there are `count` entries, and returns them. Raises VerificationError if they do not come."""
        page = self.page(after=after, wait=within, count=count, **filters)
        if page["timed_out"]:
            wanted = ", ".join(f"{name}={value}" for name, value in filters.items()) or "any request"
            found = len(page["entries"])
            raise VerificationError(f"Waited {duration(within)} for {count} of {wanted}; there are {found}.")
        return page["entries"]

    def entry(self, id: int) -> Json:
        """One entry."""
        entry: Json = self._namespace.call("GET", f"/journal/{id}")
        return entry

    def frames(self, id: int) -> list[Json]:
        """The events of the stream of an entry."""
        frames: list[Json] = self._namespace.call("GET", f"/journal/{id}/frames")
        return frames

    def clear(self) -> None:
        """Removes all entries."""
        self._namespace.call("DELETE", "/journal")
