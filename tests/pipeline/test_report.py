"""The page is one file that needs nothing else, escapes what users named, and works without labels or pictures."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from esad.pipeline.report import report
from esad.pipeline.stage.errors import EsadError
from tests.pipeline.test_evaluate import fabricate

HOSTILE = "<script>alert(\"x\")</script> & 'b'.png"


def complete(folder, kind="radiographs", **columns):
    """A fabricated run with everything that `train` and `score` leave, overlays included for pictures."""
    run = fabricate(folder, kind, **columns)
    parts = pd.DataFrame({"item_id": ["t"], "part": ["train"], "label": [0], "semi_label": [0]})
    parts.to_parquet(run / "assignments.parquet")
    pd.DataFrame({"item_id": ["n"] * 9, "score": np.arange(9.0)}).to_parquet(run / "normals.parquet")
    provenance = {"versions": {"torch": "2.13.0"}, "seed": 0, "device": "cpu", "steps": 2}
    (run / "provenance.json").write_text(json.dumps(provenance))
    (run / "history.csv").write_text("step,phase,term,value\n0,warmup,loss,2\n20,esad,loss,1\n")
    if kind != "table":
        overlays = run / "scores/store/overlays"
        overlays.mkdir()
        for number in range(40):
            Image.new("RGB", (30, 10), (200, 0, 0)).save(overlays / f"i{number}.png")
    return run


def references(page: str) -> list[str]:
    """All that the page would load or lead to, in the embedded SVGs, too."""
    svgs = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    texts = [page, *(base64.b64decode(svg).decode() for svg in svgs)]
    return [
        target
        for text in texts
        for target in re.findall(r"(?:\bsrc|href)\s*=\s*[\"']([^\"']*)|url\(([^)]*)\)", text)
        for target in target
        if target
    ]


def test_the_page_needs_no_network(tmp_path):
    run = complete(tmp_path)
    outcome = report([run])
    page = (run / "scores/store/report.html").read_text()
    assert outcome.out == run / "scores/store/report.html"
    loaded = references(page)
    assert sum(target.startswith("data:image/svg") for target in loaded) == 3
    assert sum(target.startswith("data:image/") for target in loaded) >= 9
    assert all(target.startswith(("data:image/", "#")) for target in loaded)
    assert not re.search(r"<(link|iframe|object|embed|form)\b|@import", page)


def test_one_script_and_one_style_are_allowed_by_their_hashes_and_nothing_else(tmp_path):
    page = report([complete(tmp_path)]).out.read_text()
    policy = html.unescape(
        re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)[0]
    )
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["img-src"] == "data:"
    for name in ("script", "style"):
        texts = re.findall(rf"<{name}[^>]*>(.*?)</{name}>", page, re.DOTALL)
        assert len(texts) == 1
        digest = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        assert allowed[f"{name}-src"] == f"'sha256-{digest}'"
    assert page.index("Content-Security-Policy") < page.index("<style")
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page)  # which the policy would block


def test_what_users_named_is_escaped_everywhere(tmp_path):
    run = complete(tmp_path, source=HOSTILE, view=HOSTILE, group=HOSTILE)
    page = report([run], note=f"note {HOSTILE}").out.read_text()
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;") >= 3


def test_where_it_looks_is_said_in_numbers(tmp_path):
    region = {"region_x": 4.0, "region_y": 4.0, "region_width": 8.0, "region_height": 8.0}
    hot = {"hot_x": [8.0] * 20 + [1.0] * 20, "hot_y": 8.0, "error_x": 1.0, "error_y": 8.0}
    page = report([complete(tmp_path, **region, **hot)]).out.read_text()
    assert "for 50 % of 40 anomalies (chance: 25 %; the largest reconstruction error: 0 %)" in page
    slides = complete(
        tmp_path / "b", "tiles", source=["a"] * 20 + ["b"] * 20, tumour_fraction=[0.0] * 39 + [1.0]
    )
    page = report([slides]).out.read_text()
    assert "in them for 100 % of 1 slides" in page
    assert "AUC of whole slides: max" in page
    assert page.count("built-in") == 0


def test_one_table_over_all_runs(tmp_path):
    runs = [complete(tmp_path / name) for name in ("a", "b")]
    runs[1] = runs[1].rename(tmp_path / "b" / "another")
    marker = runs[1] / "scores/store/scores.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "run": str(runs[1])}))
    outcome = report(runs, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    first_table = page.split("</table>")[0]
    assert ">run</a>" in first_table
    assert ">another</a>" in first_table
    assert first_table.count("1.000") >= 4
    assert outcome.out == tmp_path / "both.html"


def test_a_table_has_a_page_without_pictures_of_items(tmp_path):
    page = report([complete(tmp_path, "table")]).out.read_text()
    assert "data:image/png" not in page
    assert page.count("data:image/svg") == 3


def test_without_labels_there_is_still_a_page(tmp_path):
    run = complete(tmp_path, label=pd.array([None] * 40, dtype="Int8"), part=[None] * 40)
    page = report([run]).out.read_text()
    assert "n/a" in page
    assert "i39" in page


def test_missing_scores_name_the_command(tmp_path):
    run = complete(tmp_path)
    (run / "scores/store/scores.json").unlink()
    with pytest.raises(EsadError, match=f"Run: esad score {run}"):
        report([run])


class Outline(HTMLParser):
    """Headings in order, header cells without scope, tables without caption, pictures without a description."""

    def __init__(self, text):
        super().__init__()
        self.levels, self.faults, self.ids, self.pointed = [], [], [], []
        self.captions = self.tables = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "th" and given.get("scope") not in {"col", "row"}:
            self.faults.append(tag)
        if tag == "img" and len(given.get("alt") or "") < 20:
            self.faults.append(given)
        if tag == "html":
            assert given["lang"] == "en"
        self.tables += tag == "table"
        self.captions += tag == "caption"
        self.ids += [given["id"]] if "id" in given else []
        self.pointed += [given["aria-labelledby"]] if "aria-labelledby" in given else []
        self.pointed += [given["href"][1:]] if "href" in given else []


def test_headings_tables_and_pictures_are_described(tmp_path):
    runs = [complete(tmp_path / kind, kind) for kind in ("radiographs", "table")]
    slides = complete(
        tmp_path / "c", "tiles", source=["a"] * 20 + ["b"] * 20, tumour_fraction=[0.0] * 39 + [1.0]
    )
    found = Outline(report([*runs, slides], tmp_path / "all.html").out.read_text())
    assert found.faults == []
    assert found.levels.count(1) == 1
    assert found.levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(found.levels))
    assert found.tables == found.captions >= 10
    assert len(found.ids) == len(set(found.ids))
    assert set(found.pointed) <= set(found.ids)


def test_several_runs_are_compared_and_one_is_not(tmp_path):
    one, two = complete(tmp_path / "a"), complete(tmp_path / "b")
    assert "Side by side" not in report([one]).out.read_text()
    page = report([one, two], tmp_path / "both.html").out.read_text()
    table = page.split('id="compared-table"')[1].split("</table>")[0]
    assert re.findall(r'<td class="words">(.*?)</td>', table) == ["the first", "yes"]
    assert "Not measured on the same items" not in page
    assert page.count("False alarms promised") >= 1
    other = complete(tmp_path / "c", part=["test"] * 30 + [None] * 10)
    page = report([one, other], tmp_path / "other.html").out.read_text()
    assert "Not measured on the same items as run on store (1): run on store (2)." in page
    assert "no: 30 of 30 items are also among the first run&#39;s 40" in page


def test_a_store_that_is_gone_is_said(tmp_path):
    page = report([complete(tmp_path)]).out.read_text()
    assert "The store store is not where it was when it was scored" in page


def test_the_methods_are_on_the_page(tmp_path):
    page = report([complete(tmp_path)]).out.read_text()
    methods = page.split("Methods, for a manuscript")[1]
    assert (
        "Anomalies were detected by ESAD [1], as implemented in esad with PyTorch 2.13.0."
        in html.unescape(methods)
    )
    assert "arXiv:2012.04905" in methods
