"""The service's HTTP: routes, what they refuse, and the page that describes them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from carsclf import __version__
from carsclf.serving.answers import (
    PICTURES,
    Answer,
    EvaluationGiven,
    EvaluationsTold,
    ModelTold,
    Reason,
    RefusedRow,
)
from carsclf.serving.evaluations import Evaluation
from carsclf.serving.refusal import Refusal
from carsclf.serving.service import Service
from carsclf.serving.uploads import BodyLimit

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Reason, "description": said}
    for status, said in {
        400: "nothing was sent, or half of it",
        408: "the body took too long to arrive",
        413: "too many bytes, pixels or pictures",
        415: "not a picture",
        422: "a damaged picture, or a parameter that is none",
        503: "busy, or a prediction cannot be logged: come again",
    }.items()
}
Client = Annotated[str | None, Header(alias="X-Client", description="who asks; logged")]
Top = Annotated[int, Query(ge=1, description="classes of each picture, as far as there are")]


def create_app(make: Callable[[], Service], request_bytes: int) -> FastAPI:
    """The app; `make` makes its service when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await run_in_threadpool(make)
        service.start()
        app.state.service = service
        yield
        app.state.service = None
        await run_in_threadpool(service.stop)

    def running() -> Service:
        if (service := getattr(app.state, "service", None)) is None:
            raise Refusal(503, "no model is loaded yet: come again")
        return service

    app = FastAPI(title="carsclf", version=__version__, lifespan=lifespan)
    app.add_middleware(BodyLimit, most=request_bytes)
    app.exception_handler(Refusal)(_refused)
    app.exception_handler(RequestValidationError)(_wrong)

    @app.post("/predict", responses=REFUSALS, openapi_extra=PICTURES)
    async def predict(request: Request, top: Top = 5, client: Client = None) -> Answer:
        """The most probable classes of each picture; every prediction is logged."""
        return await running().predict(request, top, _tag(client))

    @app.get("/health", responses={503: {"description": "no prediction can be answered"}})
    async def health() -> JSONResponse:
        """Whether predictions are answered and logged, and what waits."""
        status, told = await running().health()
        return JSONResponse(told, status)

    @app.get("/model")
    async def model() -> ModelTold:
        """Which model answers, its classes and what a picture goes through."""
        served = running().deployment.current
        card = served.model.card
        return ModelTold(
            version=served.version,
            run=served.run,
            sha256=served.sha256,
            network=card.name,
            class_names=card.class_names,
            transform=card.eval_transform,
            crop=card.crop,
            weights=card.weights,
            weights_license=card.weights_license,
            weights_source=card.weights_source,
        )

    @app.post("/evaluations", responses={422: {"model": EvaluationsTold}, 503: {"model": Reason}})
    async def evaluations(
        rows: Annotated[list[EvaluationGiven], Body(min_length=1, max_length=10_000)],
    ) -> JSONResponse:
        """True classes of predicted pictures; what is refused is told row by row."""
        given = [Evaluation(**row.model_dump()) for row in rows]
        reasons = await run_in_threadpool(running().evaluate, given)
        refused = [RefusedRow(row=i, reason=why) for i, why in enumerate(reasons) if why]
        told = EvaluationsTold(kept=len(rows) - len(refused), refused=refused)
        return JSONResponse(told.model_dump(), 200 if told.kept else 422)

    return app


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse({"detail": error.reason}, error.status, error.headers)


async def _wrong(_: Request, error: Exception) -> JSONResponse:
    """What FastAPI says, without what was sent: NaN and half a letter are not to be sent back."""
    assert isinstance(error, RequestValidationError)
    told = [{name: each[name] for name in ("loc", "msg", "type")} for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


def _tag(client: str | None) -> str | None:
    """The client's name as one line of at most 100 printable letters."""
    text = "".join(letter for letter in client or "" if letter.isprintable()).strip()[:100]
    return text or None
