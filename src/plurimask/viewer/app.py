"""The routes of `viewer/API.md`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from plurimask.errors import InputError, is_out_of_memory
from plurimask.viewer.answers import BundleAnswer, compressed, failed, is_to_compress, told
from plurimask.viewer.bodies import SaveBody, ScoringBody, UndoBody, WhereQuery, choice_of
from plurimask.viewer.desk import Desk
from plurimask.viewer.errors import NotReady
from plurimask.viewer.guard import WENT_WRONG, App, Denied, Gate, Guard
from plurimask.viewer.page import Page
from plurimask.viewer.session import row_content, scoring_content, session_content
from plurimask.viewer.work import NOW, SOON, Cancelled, Job, TooBusy, Worker
from plurimask.viewer.worklist import MAX_PAGE, Sort
from plurimask.viewer.worklist import Query as ListQuery

READERS = 2
"""Images that are read at a time."""
SENDERS = 16
"""Bundles that are under way at a time; more wait."""
LOOK_SECONDS = 0.25
"""So often a request that waits looks whether somebody still waits for it."""

Result = TypeVar("Result")
Image = Annotated[int, Path(ge=0, le=10**9)]
RunNumber = Annotated[int, Query(ge=0, le=99)]
Search = Annotated[str, Query(max_length=200)]


class Routes:
    """The answers; all that is computed goes through the worker, all that is read through a few threads."""

    def __init__(self, desk: Desk, worker: Worker) -> None:
        self.desk, self.worker, self.page = desk, worker, Page()
        self.numbers = itertools.count()
        self.readers = CapacityLimiter(READERS)
        self.senders = asyncio.Semaphore(SENDERS)

    # ---- how answers come about ---------------------------------------------------------------------------------

    async def computed(
        self,
        request: Request,
        key: Hashable,
        action: Callable[[Job], Result],
        urgency: int = NOW,
        replaces: bool = False,
    ) -> Result:
        """What the worker makes of a job, unless the request is given up before."""
        job = self.worker.submit(key, action, urgency, replaces)
        future = asyncio.wrap_future(job.future)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            while not future.done():
                await asyncio.wait({future}, timeout=LOOK_SECONDS)
                if not future.done() and await request.is_disconnected():
                    raise Cancelled
            result: Result = future.result()
            return result
        finally:
            self.worker.leave(job)

    async def read(self, action: Callable[..., Result], *arguments: Any) -> Result:
        """What reads files, in a thread."""
        return await to_thread.run_sync(partial(action, *arguments), limiter=self.readers)

    async def sent(self, request: Request, make: Callable[[], Any]) -> Response:
        """The bundle of an awaitable that `make` gives; a bounded number are under way."""
        await self.senders.acquire()
        try:
            content = await make()
            small = is_to_compress(request, content)
            if small:
                content = await to_thread.run_sync(compressed, content)
            return BundleAnswer(content, self.senders.release, small)
        except BaseException:
            self.senders.release()
            raise

    # ---- the list -----------------------------------------------------------------------------------------------

    async def file(self, path: str) -> Response:
        answer = self.page.answer(path)
        return told({"error": "there is nothing of this name"}, 404) if answer is None else answer

    async def session(self) -> Response:
        return told(session_content(self.desk))

    async def images(
        self,
        run: RunNumber = 0,
        sort: Sort = "disagreement",
        search: Search = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 60,
    ) -> Response:
        self.desk.run(run)
        if self.desk.gallery.state == "opening":
            raise NotReady("the data are being opened: ask again")
        work_list = self.desk.work_list
        numbers = work_list.ordered(ListQuery(run, sort, search))
        page = numbers[offset : offset + limit]
        work_list.seen(run, page)
        self.worker.wake()
        content = {
            "total": len(numbers),
            "revision": work_list.revision,
            "scored": work_list.num_scored(run, numbers),
            "images": [row_content(self.desk, run, number) for number in page],
        }
        return told(content)

    async def position(
        self,
        image: Annotated[int, Query(ge=0, le=10**9)],
        run: RunNumber = 0,
        sort: Sort = "disagreement",
        search: Search = "",
    ) -> Response:
        self.desk.run(run)
        return told(self.desk.work_list.position(ListQuery(run, sort, search), image))

    async def scoring(self, body: ScoringBody) -> Response:
        self.desk.work_list.is_paused = body.paused
        self.worker.wake()
        return told(scoring_content(self.desk))

    async def jobs(self) -> Response:
        known = [(job, job.key) for job in self.worker.jobs()]
        shown = [
            {"image": key[1], "run": key[2], "phase": job.phase, "done": job.done, "total": job.total}
            for job, key in known
            if isinstance(key, tuple) and key[0] == "prediction"
        ]
        return told({"jobs": shown, "waiting": sum(not job.is_running for job, _ in known)})

    # ---- one image ----------------------------------------------------------------------------------------------

    async def thumbnail(self, image: Image, run: RunNumber = 0) -> Response:
        self.desk.run(run)
        drawn = self.desk.thumbnails.get((image, run))
        content = drawn or await self.read(self.desk.plain_thumbnail, image)
        return Response(content, media_type="image/webp", headers={"x-contours": "1" if drawn else "0"})

    async def image(self, request: Request, image: Image) -> Response:
        return await self.sent(request, partial(self.read, self.desk.image, image))

    async def prediction(self, request: Request, image: Image, run: RunNumber = 0) -> Response:
        self.desk.gallery.name(image)
        kept = self.desk.predictions.get((image, run))

        async def make() -> bytes:
            action = partial(self.desk.prediction, image, run)
            if kept is not None:
                return kept.bundle
            return (await self.computed(request, ("prediction", image, run), action, SOON)).bundle

        return await self.sent(request, make)

    async def latent(self, request: Request, image: Image, run: RunNumber = 0) -> Response:
        return told(await self.computed(request, ("latent", image, run), lambda _: self.desk.latent(image, run)))

    async def decode(self, request: Request, image: Image, where: Annotated[WhereQuery, Query()]) -> Response:
        run, choice = where.run, where.choice()

        def action(job: Job) -> bytes:
            return self.desk.decoded(image, run, choice)

        content = await self.computed(request, ("decode", image, run), action, replaces=True)
        return Response(content, media_type=BundleAnswer.media_type)

    async def preview(
        self, request: Request, image: Image, choice: Annotated[str, Query(max_length=4000)], run: RunNumber = 0
    ) -> Response:
        action = partial(self.desk.preview, image, run, choice_of(choice))
        content = await self.computed(request, ("preview", image, run), action, replaces=True)
        return Response(content, media_type=BundleAnswer.media_type)

    # ---- what changes something ---------------------------------------------------------------------------------

    async def save(self, request: Request, image: Image, body: SaveBody) -> Response:
        action = partial(self.desk.save, image, body.run, body.choice, body.overwrite)
        return told(await self.computed(request, ("save", next(self.numbers)), action), 201)

    async def undo(self, body: UndoBody) -> Response:
        return told(await self.read(self.desk.undo, body.undo))

    async def upload(self, request: Request, name: Annotated[str, Query(min_length=1, max_length=1000)]) -> Response:
        content = await request.body()
        return told(await self.read(self.desk.upload, name, content), 201)

    async def remove_upload(self, image: Image) -> Response:
        await self.read(self.desk.remove_upload, image)
        return Response(status_code=204)


def build_app(desk: Desk, worker: Worker, gate: Gate) -> App:
    """The whole server, behind its guard."""
    app = FastAPI(title="plurimask", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    routes = Routes(desk, worker)
    one = "/api/images/{image}"
    for path, action in (
        ("/api/session", routes.session),
        ("/api/images", routes.images),
        ("/api/position", routes.position),
        ("/api/jobs", routes.jobs),
        (f"{one}/thumbnail", routes.thumbnail),
        (f"{one}/image", routes.image),
        (f"{one}/prediction", routes.prediction),
        (f"{one}/latent", routes.latent),
        (f"{one}/decode", routes.decode),
        (f"{one}/preview", routes.preview),
        ("/{path:path}", routes.file),
    ):
        app.add_api_route(path, action, methods=["GET"], response_model=None)
    for path, change in (
        (f"{one}/save", routes.save),
        ("/api/undo", routes.undo),
        ("/api/scoring", routes.scoring),
        (gate.upload_path, routes.upload),
    ):
        app.add_api_route(path, change, methods=["POST"], response_model=None)
    app.add_api_route(f"{gate.upload_path}/{{image}}", routes.remove_upload, methods=["DELETE"], response_model=None)
    for kind in (InputError, Cancelled, TooBusy, Denied, MemoryError, RuntimeError):
        app.add_exception_handler(kind, _failed)
    app.add_exception_handler(RequestValidationError, _mistaken)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _wrong)
    return Guard(app, gate)


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, RuntimeError) and not is_out_of_memory(error):
        raise error
    return failed(error)


async def _mistaken(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistake = error.errors()[0]
    where = ".".join(str(part) for part in mistake["loc"][1:] if len(str(part)) < 40)
    return told({"error": f"{where}: {mistake['msg']}" if where else mistake["msg"]}, 400)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return told(
        {"error": {404: "there is nothing of this name"}.get(error.status_code, error.detail)}, error.status_code
    )


async def _wrong(request: Request, error: Exception) -> Response:
    return told({"error": WENT_WRONG}, 500)
