"""The page's server: this machine only, photos by number, a view for each tab."""

import warnings

from fastapi import FastAPI
from nicegui import ui

from carsclf.curation.page.board import Board
from carsclf.curation.page.guard import Guard
from carsclf.curation.page.review import Review
from carsclf.curation.page.thumbnails import Thumbnails
from carsclf.curation.page.view import View
from carsclf.machine.listening import answer, bound

HOST = "127.0.0.1"
GRACE = 3  # seconds: every decision is on the disk already


def make_app(board: Board, who: str) -> FastAPI:
    """One in a process, since NiceGUI's pages are its own."""
    thumbs = Thumbnails(board)
    app = FastAPI(openapi_url=None)
    app.include_router(thumbs.router())

    def page() -> None:
        View(Review(board, who), thumbs)

    ui.run_with(app, root=page, title=f"carsclf: {board.manner.title.lower()}", tailwind=False,
                show_welcome_message=False)  # fmt: skip
    app.add_middleware(Guard)
    return app


def serve_page(board: Board, who: str, port: int) -> None:
    """Answers until Ctrl-C."""
    warnings.filterwarnings("ignore", module="nicegui")  # of torch, which it looks through
    listening = bound(HOST, port)
    here = f"http://{HOST}:{listening.getsockname()[1]}"
    said = f"{len(board.findings)} findings on {here} (Ctrl-C ends it), decisions: {board.path}"
    answer(make_app(board, who), listening, said, grace=GRACE)
