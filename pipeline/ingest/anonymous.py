"""`--anonymous`: names of files and sites become keyed hashes in everything that an ingest stage writes and says.

What is kept of a source is then its hash (`source`, and with it `item_id` and a slide's group); groups of a person's labels
are hashed as patients are. A site may name a hospital, so it is hashed, too, wherever it comes from: `--site`, the labels, or a
column (`preprocessing.tables.items`). The names of files, and of sites from `--site` and the labels, stand beside the key, never
in the store (`esad.preprocessing.privacy.names_file`). Other columns of tables and the folder names that are classes of pictures
are data, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from esad.pipeline.stage.errors import EsadError
from esad.preprocessing.privacy import file_hash, group_hash, key_name, read_key, remember_names, site_hash

if TYPE_CHECKING:
    import pandas as pd

    from esad.pipeline.ingest.job import Job

WITHHELD = "(name withheld)"


@contextmanager
def names_withheld(job: Job) -> Iterator[None]:
    """Errors for people that leave the block call the sources by their hashes."""
    try:
        yield
    except EsadError as error:
        told = str(error)
        for name, source in job.paths.items():
            told = told.replace(source, name)
        raise type(error)(told) from None


def anonymous_job(job: Job, key_file: Path | None) -> Job:
    """`job` whose sources are called by their hashes; the list of names is written first, so that none is lost."""
    key = read_key(key_file)
    hashed = {source: file_hash(key, source) for source in job.sources}
    remember_names(key_file, hashed)
    return replace(
        job,
        sources=sorted(hashed.values()),
        paths={name: source for source, name in hashed.items()},
        settings={**job.settings, "anonymous": key_name(key)},
        fingerprints={hashed[source]: value for source, value in job.fingerprints.items()},
    )


def anonymous_labels(labels: pd.DataFrame, job: Job, key_file: Path | None) -> pd.DataFrame:
    """A person's labels with hashes for sources (whole paths, or file names that only one source has) and groups."""
    labels = labels.copy()
    if "source" in labels:
        names = {source: name for name, source in job.paths.items()}
        bare: dict[str, list[str]] = {}
        for source in names:
            bare.setdefault(Path(source).name, []).append(source)
        names = {word: names[of[0]] for word, of in bare.items() if len(of) == 1} | names
        labels["source"] = [names.get(source, WITHHELD) for source in labels["source"]]
        labels = labels.drop_duplicates("source")
    if "group" in labels:
        key = read_key(key_file)
        labels["group"] = labels["group"].map(lambda group: group_hash(key, group), na_action="ignore")
    if "site" in labels:
        known = {str(name): anonymous_site(str(name), key_file) for name in labels["site"].dropna().unique()}
        labels["site"] = labels["site"].map(known, na_action="ignore")
    return labels


def anonymous_site(name: str, key_file: Path | None) -> str:
    """The hash that stands for a site, whose name is kept beside the key."""
    hashed = site_hash(read_key(key_file), name)
    remember_names(key_file, {name: hashed})
    return hashed
