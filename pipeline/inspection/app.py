"""The server's addresses: what the page asks for, as JSON and pictures. Only marks are ever written."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from esad.pipeline.inspection import archive as files
from esad.pipeline.inspection.archive import Archive
from esad.pipeline.inspection.details import about, item_details, slide_details
from esad.pipeline.inspection.layers import NAMES, Layers, thumbnail_path
from esad.pipeline.inspection.listing import Listing, Query
from esad.pipeline.inspection.marks import Conflict, Marks
from esad.pipeline.inspection.panels import PANELS, Panels, heat_picture
from esad.pipeline.inspection.pyramid import png
from esad.pipeline.inspection.security import file_inside
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.store.contents import MADE_FROM, made_from
from esad.preprocessing.store.csv_cells import csv_text

STATIC = Path(__file__).resolve().parent / "static"
MOST_IN_A_SHEET, LARGEST_SIDE = 128, 256
KEEP = {"Cache-Control": "private, max-age=3600", "Vary": "Cookie"}
"""Pictures that stay the same while the server runs; the address of what changes with marks has their version in it.

The cookie is another one with each start: a browser shows nothing of another run that was served under the same address.
"""


class Missing(Exception):
    """There is no such item, slide, run or picture."""


def _answering(
    endpoint: Callable[[Viewer, Request], Response],
) -> Callable[[Viewer, Request], Response]:
    """What goes wrong is an object with `error` in words, under a fitting status."""

    @wraps(endpoint)
    def answer(self: Viewer, request: Request) -> Response:
        try:
            return endpoint(self, request)
        except Missing as error:
            return JSONResponse({"error": str(error)}, 404)
        except Conflict as error:
            now = error.entry.as_json() if error.entry else None
            return JSONResponse({"error": str(error), "now": now}, 409)
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except EsadError as error:
            return JSONResponse({"error": str(error)}, 410)

    return answer


class Viewer:
    """All that one page is served of."""

    def __init__(
        self, subject: Subject, marks: Marks, archive: Archive, annotations: Path | None = None
    ) -> None:
        self.subject, self.marks, self.archive = subject, marks, archive
        self.listing = Listing(subject, marks)
        self.layers = Layers(subject, self.listing, annotations)
        self.panels = tuple(Panels(subject, run) for run in subject.runs)

    def application(self) -> Starlette:
        """The addresses, unguarded: `security.Guard` goes around them."""
        routes = [
            Route("/", self._index),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/about", self.about),
            Route("/api/list", self.list),
            Route("/api/around/{row:int}", self.around),
            Route("/api/item/{row:int}", self.item),
            Route("/api/slide/{slide:int}", self.slide),
            Route("/api/slide/{slide:int}/at", self.at),
            Route("/api/full/{row:int}", self.full_known),
            Route("/api/panels/{run:int}/{row:int}", self.panels_known),
            Route("/api/version", self.version),
            Route("/api/marks", self._post(self._mark), methods=["POST"]),
            Route("/api/undo", self._post(self._undo), methods=["POST"]),
            Route("/marks/{name}", self.export),
            Route("/picture/sheet.png", self.sheet),
            Route("/picture/item/{row:int}.png", self.stored),
            Route("/picture/full/{row:int}.png", self.full),
            Route("/picture/overlay/{run:int}/{row:int}.png", self.overlay),
            Route("/picture/panel/{run:int}/{row:int}/{name}.png", self.panel),
            Route("/picture/slide/{slide:int}.png", self.overview),
            Route("/slide/{slide:int}/picture/{level:int}/{column:int}_{line:int}.jpg", self.slide_tile),
            Route("/slide/{slide:int}/{layer}/{level:int}/{column:int}_{line:int}.png", self.layer_tile),
        ]
        return Starlette(routes=routes)

    def _index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", media_type="text/html")

    @_answering
    def about(self, request: Request) -> Response:
        """Kind, runs, columns, choices of the filters, colours."""
        return JSONResponse(about(self.subject, self.layers, self.marks))

    @_answering
    def list(self, request: Request) -> Response:
        """A page of items or slides; of slides `overview`: whether there is a picture of them."""
        stated = request.query_params
        query = Query.read(stated)
        page = self.listing.page(query, int(stated.get("offset", 0)), int(stated.get("limit", 50)))
        if query.of == "slide":
            for record in page["rows"]:
                record["overview"] = thumbnail_path(self.subject, record["row"]) is not None
        return JSONResponse({**page, "version": self.marks.version()})

    @_answering
    def around(self, request: Request) -> Response:
        """What comes before and after a row."""
        return JSONResponse(self.listing.around(Query.read(request.query_params), request.path_params["row"]))

    @_answering
    def item(self, request: Request) -> Response:
        """All about one item."""
        row = self._row(request)
        return JSONResponse(item_details(self.subject, self.listing, self.marks, row))

    @_answering
    def slide(self, request: Request) -> Response:
        """All about one slide."""
        slide = self._slide(request)
        return JSONResponse(
            slide_details(self.subject, self.listing, self.layers, self.archive, self.marks, slide)
        )

    @_answering
    def at(self, request: Request) -> Response:
        """The item at a place of a slide, in level-0 pixels: of several the one with the highest score; null for none."""
        slide, run = self._slide(request), self._run(int(request.query_params.get("run", 0)))
        x, y = (float(request.query_params[name]) for name in "xy")
        boxes, rows = self.subject.boxes(slide), self.subject.rows_of_slide(slide)
        here = rows[
            (boxes[:, 0] <= x)
            & (x < boxes[:, 0] + boxes[:, 2])
            & (boxes[:, 1] <= y)
            & (y < boxes[:, 1] + boxes[:, 3])
        ]
        scores = self.subject.runs[run].figures["score"].to_numpy()[here]
        best = int(here[np.nan_to_num(scores, nan=-np.inf).argmax()]) if len(here) else None
        return JSONResponse({"row": best})

    @_answering
    def version(self, request: Request) -> Response:
        """Changes whenever a mark does, so that a second tab sees it."""
        return JSONResponse({"version": self.marks.version()})

    @_answering
    def export(self, request: Request) -> Response:
        """Marks as the CSV that --labels takes."""
        of = {"items.csv": "item", "slides.csv": "slide"}.get(request.path_params["name"])
        if of is None:
            raise Missing("expected items.csv or slides.csv")
        headers = {"Content-Disposition": f'attachment; filename="marks-{request.path_params["name"]}"'}
        return Response(csv_text(self.marks.table(of)), media_type="text/csv; charset=utf-8", headers=headers)

    @_answering
    def sheet(self, request: Request) -> Response:
        """Pictures of several items in one."""
        rows = np.array([int(text) for text in request.query_params["rows"].split(",")])
        if not 0 < len(rows) <= MOST_IN_A_SHEET or rows.min() < 0 or rows.max() >= len(self.subject):
            raise Missing(f"a sheet has 1 to {MOST_IN_A_SHEET} items that there are")
        side = min(max(int(request.query_params.get("side", 128)), 16), LARGEST_SIDE)
        return Response(files.sheet(self.subject, rows, side), media_type="image/png", headers=KEEP)

    @_answering
    def stored(self, request: Request) -> Response:
        """An item's stored pixels, unchanged."""
        pixels = files.stored_picture(self.subject, self._row(request))
        if pixels.ndim != 3:
            raise Missing("a table's row is no picture")
        return Response(png(files.as_image(pixels)), media_type="image/png", headers=KEEP)

    @_answering
    def full(self, request: Request) -> Response:
        """The full-size picture that an item was made of."""
        picture, _ = self.archive.picture(self._row(request))
        return Response(png(picture), media_type="image/png", headers=KEEP)

    @_answering
    def full_known(self, request: Request) -> Response:
        """Whether there is a full-size picture, `away` why not, `square` what of it the item shows: x, y, width, height."""
        try:
            _, square = self.archive.picture(self._row(request))
        except EsadError as error:
            return JSONResponse({"away": str(error), "square": None})
        return JSONResponse({"away": "", "square": square})

    @_answering
    def panels_known(self, request: Request) -> Response:
        """Names of an item's panels, which are computed now, `away` why there are none, `frame` what of the stored item they show."""
        run, row = self._run(request.path_params["run"]), self._row(request)
        try:
            found = self.panels[run].of(row)
            frame = self.panels[run].frame()
        except EsadError as error:
            return JSONResponse({"panels": [], "away": str(error), "frame": None})
        return JSONResponse(
            {"panels": [name for name in PANELS if name in found], "away": "", "frame": frame}
        )

    @_answering
    def overlay(self, request: Request) -> Response:
        """The strip that `esad score` drew."""
        run, row = self._run(request.path_params["run"]), self._row(request)
        name = str(self.subject.items["item_id"].iloc[row])
        path = file_inside(self.subject.runs[run].root / "overlays", f"{name}.png")
        if path is None:
            raise Missing("no overlay was drawn of this item")
        return FileResponse(path, media_type="image/png", headers=KEEP)

    @_answering
    def panel(self, request: Request) -> Response:
        """A panel of an item, computed now: heat over the grey picture, or with `over` alone, to be laid over another one."""
        run, row, name = (
            self._run(request.path_params["run"]),
            self._row(request),
            request.path_params["name"],
        )
        if name not in PANELS:
            raise Missing(f"panel {name[:40]!r}: expected one of {', '.join(PANELS)}")
        found = self.panels[run].of(row)
        if name not in found:
            raise Missing(f"this run's method has no {name}")
        values, below = found[name], None if request.query_params.get("over") else found["input"]
        picture = png(files.as_image(values)) if values.ndim == 3 else png(heat_picture(values, below))
        return Response(picture, media_type="image/png", headers=KEEP)

    @_answering
    def overview(self, request: Request) -> Response:
        """A slide's overview."""
        side = min(max(int(request.query_params.get("side", 256)), 16), 1024)
        picture = files.overview(self.subject, self._slide(request), side)
        if picture is None:
            raise Missing("the store has no overview of this slide")
        return Response(picture, media_type="image/png", headers=KEEP)

    @_answering
    def slide_tile(self, request: Request) -> Response:
        """A tile of a slide's deep zoom."""
        known = request.path_params
        pyramid, _ = self.archive.pyramid(self._slide(request))
        found = pyramid.tile(known["level"], known["column"], known["line"])
        if found is None:
            raise Missing("no such tile")
        return Response(found, media_type="image/jpeg", headers=KEEP)

    @_answering
    def layer_tile(self, request: Request) -> Response:
        """A tile of a layer over a slide."""
        known, stated = request.path_params, request.query_params
        if known["layer"] not in NAMES:
            raise Missing(f"layer {known['layer'][:40]!r}: expected one of {', '.join(NAMES)}")
        run, least = self._run(int(stated.get("run", 0))), stated.get("least")
        found = self.layers.tile(
            self._slide(request), known["layer"], run, None if not least else float(least),
            known["level"], known["column"], known["line"],
        )  # fmt: skip
        if found is None:
            raise Missing("no such tile")
        return Response(found, media_type="image/png", headers=KEEP)

    def _post(
        self, write: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                stated = json.loads(await request.body())
            except ValueError:
                return JSONResponse({"error": "expected JSON"}, 400)
            if not isinstance(stated, dict):
                return JSONResponse({"error": "expected an object"}, 400)

            @_answering
            def answer(_: Viewer, __: Request) -> Response:
                return JSONResponse({**write(stated), "version": self.marks.version()})

            return await run_in_threadpool(answer, self, request)

        return endpoint

    def _mark(self, stated: dict[str, Any]) -> dict[str, Any]:
        of, row, mark, seen = (stated.get(name) for name in ("of", "row", "mark", "seen"))
        table = {"item": self.subject.items, "slide": self.subject.slides}.get(str(of))
        if table is None or type(row) is not int or not 0 <= row < len(table):
            raise Missing(f"{of!r} {row!r}: expected the row of an item or the number of a slide")
        if seen is not None and type(seen) is not int:
            raise ValueError("seen: expected a number")
        name = str(table["item_id" if of == "item" else "source"].iloc[row])
        entry = self.marks.put(
            str(of), name, None if mark is None else str(mark), str(stated.get("comment") or ""),
            str(stated.get("reader") or ""), seen,
        )  # fmt: skip
        store = self.subject.store
        if of == "item" and store is not None:
            item = store.manifest.iloc[[row]]
            self.marks.remember(f"{MADE_FROM} {name}", made_from(item, store.sources, store.shard)[0])
        return {"entry": entry.as_json()}

    def _undo(self, stated: dict[str, Any]) -> dict[str, Any]:
        entry = self.marks.undo(str(stated.get("reader") or ""))
        if entry is None:
            return {"entry": None, "row": None}
        if entry.of == "item":
            row = self.subject.row_of(entry.name)
        else:
            row = int(np.argmax((self.subject.slides["source"] == entry.name).to_numpy()))
        return {"entry": entry.as_json(), "row": None if row < 0 else row}

    def _row(self, request: Request) -> int:
        row = int(request.path_params["row"])
        if row >= len(self.subject):
            raise Missing(f"item {row}: there are {len(self.subject)}")
        return row

    def _slide(self, request: Request) -> int:
        slide = int(request.path_params["slide"])
        if slide >= len(self.subject.slides):
            raise Missing(f"slide {slide}: there are {len(self.subject.slides)}")
        return slide

    def _run(self, run: int) -> int:
        if not 0 <= run < len(self.subject.runs):
            raise Missing(f"run {run}: there are {len(self.subject.runs)}")
        return run
