"""One service: its model, its batches and its log, from a request to an answer."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from carsclf.errors import CarsclfError
from carsclf.inference.predict import Prediction
from carsclf.machine.devices import available_cores
from carsclf.serving.answers import Answer, Pictured, Ranked
from carsclf.serving.batching import Batcher, Gate, passes_at_once
from carsclf.serving.database import Database
from carsclf.serving.deployment import Deployment, Said, Served
from carsclf.serving.evaluations import Evaluation, keep_evaluations
from carsclf.serving.log import PredictionLog
from carsclf.serving.pictures import Seen, Upload, see
from carsclf.serving.refusal import Refusal
from carsclf.serving.settings import Settings
from carsclf.serving.spool import Record
from carsclf.serving.uploads import announced, read_uploads

log = logging.getLogger(__name__)
LOGGED = 5  # classes of each prediction
FRESH = 5.0  # seconds for which an answer shows that the model answers


class Service:
    """Made from settings alone, so that replicas make their own. Raises CarsclfError.

    Decoding has a thread for each core, the network one or two, the spool one, the database one;
    the event loop does none of that work.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = PredictionLog(Database(settings.log), settings.spool, settings.photos)
        self.deployment = Deployment(settings.run, settings.device, self._note_model)
        self._gate = Gate(settings.limits)
        passes = passes_at_once(self.deployment.current.model.device)
        self._batcher = Batcher(self._gate, settings.max_batch, settings.max_delay, passes)
        self._decoders = ThreadPoolExecutor(available_cores(), "decode")
        self._scribe = ThreadPoolExecutor(1, "spool")

    def start(self) -> None:
        for part in (self.log, self.deployment, self._batcher):
            part.start()

    def stop(self) -> None:
        """When no request is left."""
        self.deployment.stop()
        self._batcher.stop()
        self._scribe.shutdown()
        self._decoders.shutdown(cancel_futures=True)
        self.log.stop()

    async def predict(self, request: Request, top: int, client: str | None) -> Answer:
        """Logged when it returns; raises Refusal."""
        began, limits = time.perf_counter(), self.settings.limits
        size = announced(request.scope, limits.request_bytes)
        with self._gate.entered(size) as place:
            uploads = await read_uploads(request, limits)
            place.take(len(uploads) - 1)
            served = self.deployment.current  # for the whole request, whatever comes meanwhile
            seen = await self._see(uploads, served)
            said = await self._say(served, [each.picture for each in seen])
            answer = _answer(served, seen, said, top, time.perf_counter() - began)
            records = self._records(answer, served, seen, said, client)
            photos = {str(r["photo"]): u.content for r, u in zip(records, uploads, strict=True)}
            await self._keep(records, photos if self.settings.keep_photos else {})
        return answer

    async def model_answers(self) -> str | None:
        """Why the model does not answer; None where it does: lately, or now, on a grey picture."""
        if time.monotonic() - self._batcher.answered < FRESH:
            return None
        served = self.deployment.current
        size = served.model.card.eval_transform["size"]
        try:
            await self._say(served, [torch.full((3, size, size), 128, dtype=torch.uint8)], FRESH)
        except Refusal as error:
            return error.reason
        return None

    async def health(self) -> tuple[int, dict[str, object]]:
        """Status and report: 503 where a prediction could not be answered."""
        problem = await self.model_answers()
        logged = await asyncio.to_thread(self.log.health)
        told: dict[str, object] = {
            "ready": problem is None and self.log.broken is None,
            "version": self.deployment.current.version,
            "problems": [p for p in (problem, self.deployment.problem, logged["problem"]) if p],
            "waiting": self._gate.pictures,
            "log": logged,
        }
        return (200 if told["ready"] else 503), told

    def evaluate(self, rows: Sequence[Evaluation]) -> list[str | None]:
        """For each row why it is refused; raises Refusal where the database cannot be reached."""
        try:
            if not self.log.flush(2.0):  # what was answered just now counts too
                raise Refusal(503, "predictions are still on their way to the log: come again")
            return keep_evaluations(self.log.database, rows)
        except SQLAlchemyError as error:
            log.warning("evaluations were not kept: %s", " ".join(str(error).split())[:300])
            raise Refusal(503, "the log's database cannot be reached: come again") from None

    async def _see(self, uploads: Sequence[Upload], served: Served) -> list[Seen]:
        loop, limits = asyncio.get_running_loop(), self.settings.limits
        jobs = [
            loop.run_in_executor(self._decoders, see, upload, served.model.transform, limits)
            for upload in uploads
        ]
        seen: list[Seen] = []
        for place, result in enumerate(await asyncio.gather(*jobs, return_exceptions=True)):
            if isinstance(result, Refusal) and len(uploads) > 1:
                raise Refusal(result.status, f"picture {place}: {result.reason}")
            if isinstance(result, BaseException):
                raise result
            seen.append(result)
        return seen

    async def _say(
        self, served: Served, pictures: list[torch.Tensor], seconds: float = math.inf
    ) -> list[Said]:
        seconds = min(seconds, self.settings.limits.seconds)
        try:
            return await asyncio.wait_for(self._batcher.predict(served, pictures), seconds)
        except TimeoutError:
            raise Refusal(503, f"the model did not answer within {seconds:g} s") from None
        except (CarsclfError, RuntimeError) as error:
            log.error("the network failed: %s", error)
            raise Refusal(503, f"the model does not answer: {error}") from None

    def _records(
        self,
        answer: Answer,
        served: Served,
        seen: Sequence[Seen],
        said: Sequence[Said],
        client: str | None,
    ) -> list[Record]:
        """Of each picture, as the table of predictions has them."""
        common = {
            "kind": "prediction",
            "request_id": answer.request_id,
            "time": time.time(),
            "version": answer.version,
            "seconds": answer.seconds,
            "client": client,
        }
        names = served.model.card.class_names
        kept = self.settings.keep_photos
        return [
            {
                **common,
                **told.model_dump(include={"image", "sha256", "predicted", "probability"}),
                "top": Prediction.of(each.probabilities, names).top(LOGGED),
                "openness": each.openness,
                "photo": f"{s.sha256[:2]}/{s.sha256}.{s.format.lower()}" if kept else None,
            }
            for told, s, each in zip(answer.images, seen, said, strict=True)
        ]

    async def _keep(self, records: list[Record], photos: dict[str, bytes]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._scribe, self.log.append, records, photos)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Refusal(503, f"the prediction cannot be logged ({reason})") from None

    def _note_model(self, served: Served) -> None:
        """A model's classes are logged before its predictions."""
        record = {
            "kind": "model",
            "version": served.version,
            "run": served.run,
            "sha256": served.sha256,
            "class_names": served.model.card.class_names,
            "time": time.time(),
        }
        try:
            self.log.append([record])
        except OSError as error:
            raise CarsclfError(
                f"the log's spool {self.settings.spool} cannot be written "
                f"({error.strerror or error}): give another place with folder=<folder>"
            ) from None


def _answer(
    served: Served, seen: Sequence[Seen], said: Sequence[Said], top: int, seconds: float
) -> Answer:
    images = []
    for place, (picture, each) in enumerate(zip(seen, said, strict=True)):
        found = Prediction.of(each.probabilities, served.model.card.class_names)
        images.append(
            Pictured(
                image=place,
                sha256=picture.sha256,
                predicted=found.predicted,
                probability=found.probability,
                top=[Ranked(name=name, probability=share) for name, share in found.top(top)],
                openness=each.openness,
            )
        )
    return Answer(
        request_id=uuid.uuid4().hex, version=served.version, seconds=seconds, images=images
    )
