"""Photos of the findings in small, by number: no request names a file."""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from carsclf.curation.page.board import Board
from carsclf.data.decoding import decode
from carsclf.data.images import MAX_BYTES, file_identity, turned
from carsclf.errors import DataError

SIDES = (320, 640, 1600)  # pixels of the longer side: beside, in the row, enlarged
TURNS = (0, 90, 180, 270)
KEEP = 2000  # in memory


class Thumbnails:
    """Knows the photos that findings show, by their numbers, and no others."""

    def __init__(self, board: Board) -> None:
        ids = dict.fromkeys(id for finding in board.findings for id in finding.photos)
        self.ids = [id for id in ids if id in board.photos]
        self.numbers = {id: number for number, id in enumerate(self.ids)}
        self._photos = board.photos

    def url(self, id: str, side: int, turn: int = 0) -> str | None:
        """Where a photo is; None for one that is none of the data set. It changes with the file."""
        if (number := self.numbers.get(id)) is None:
            return None
        seen = hash(tuple(file_identity(self._photos[id]))) & 0xFFFFFFFF
        return f"/photo/{number}?side={side}&turn={turn}&seen={seen:x}"

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.get("/photo/{number}")
        def photo(number: int, side: int = SIDES[1], turn: int = 0, seen: str = "") -> Response:
            """A JPEG of at most `side` pixels, turned; `seen` only makes the address another."""
            if not 0 <= number < len(self.ids) or side not in SIDES or turn not in TURNS:
                raise HTTPException(404, "no such photo")
            path = self._photos[self.ids[number]]
            content = _small(path, side, turn, tuple(file_identity(path)))
            if content is None:
                raise HTTPException(415, "no picture that can be read")
            kept = {"Cache-Control": "private, max-age=86400, immutable"}
            return Response(content, media_type="image/jpeg", headers=kept)

        return router


@lru_cache(KEEP)
def _small(path: Path, side: int, turn: int, identity: Sequence[int]) -> bytes | None:
    """identity: of the file, so that another one is read anew."""
    if not identity or identity[0] > MAX_BYTES:
        return None
    try:
        picture = decode(path, at_least=side)
    except (DataError, OSError, MemoryError):
        return None
    picture.thumbnail((side, side))
    out = BytesIO()
    turned(picture, turn).save(out, "JPEG", quality=88)
    return out.getvalue()
