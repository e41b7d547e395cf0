"""What the values of a label column, or the names of class folders, mean: normal, anomaly, no label, or classes.

Decided over a whole store, since one file may hold one value only. What is not understood is asked about, and what was
understood is told in a line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, NoReturn

import pandas as pd

from esad.preprocessing.errors import UsageError
from esad.preprocessing.splits.no_label import MISSING, is_sign, may_be_negative, without_label

# fmt: off
NORMAL_WORDS = frozenset({
    "normal", "good", "ok", "okay", "healthy", "inlier", "nominal", "negative", "neg", "benign", "regular", "clean", "control",
    "intact", "pass", "passed",
})
ANOMALY_WORDS = frozenset({
    "anomaly", "anomalous", "abnormal", "outlier", "bad", "defect", "defective", "faulty", "disease", "diseased", "sick", "ill",
    "positive", "pos", "malignant", "tumor", "tumour", "cancer", "pathological", "fraud", "attack", "fault", "fail", "failed",
    "broken", "damaged", "nok", "ng",
})
# fmt: on
CLASS_WORDS = NORMAL_WORDS | ANOMALY_WORDS
"""Values, and names of folders, that say what is in them, be they alone."""
YES, NO = frozenset({"yes", "y", "true", "t"}), frozenset({"no", "n", "false", "f"})
PAIRS = (frozenset({"yes", "y", "no", "n"}), frozenset({"true", "t", "false", "f"}))
"""Words that belong together: `N` beside `F` is no and no false, but may be normal and faulty."""
NORMAL_COLUMN_WORDS = NORMAL_WORDS | {
    "valid", "passing", "genuine", "legit", "legitimate", "accept", "accepted", "acceptable", "unaffected", "survived", "alive", "success",
}  # fmt: skip
"""Words in the name of a label column in which 1 or yes would say that a row is normal: `Is Normal`, `healthy?`."""
TURNING_WORDS = frozenset({"not", "non", "un", "ab"})
"""Beside such a word they turn it round: `not_ok`."""
HARMED_WORDS = frozenset({
    "infected", "affected", "harmed", "injured", "spoiled", "contaminated", "compromised", "altered", "impaired",
})  # fmt: skip
"""Besides ANOMALY_WORDS, what may stand behind `un` in the name of a column in which 1 says that a row is normal: `uninfected`."""
ANOMALY_NOUNS = frozenset({
    "anomalies", "malignancy", "malignancies", "abnormality", "abnormalities", "lesion", "metastasis", "metastases", "metastatic",
    "relapse", "recurrence", "pathology", "pathologies", "death", "died", "dead", "deceased", "mortality", "infection", "sepsis",
    "stroke", "seizure", "fracture", "hemorrhage", "haemorrhage", "bleeding", "complication", "injury", "readmitted", "readmission",
    "failure", "breakdown", "damage", "crack", "scratch", "leak", "leakage", "intrusion", "malware", "phishing", "spam", "churn", "churned",
})  # fmt: skip
"""Names of label columns that say, as ANOMALY_WORDS and HARMED_WORDS do, what 1 is. As values they may be one class of several."""
OF_NO_MEANING = frozenset({"y", "label", "labels", "y_true", "ground_truth", "gt"})
"""Names of label columns in which 1 is an anomaly by custom, be it the rarer value or not; in others it is asked about then."""
DENYING_WORDS = frozenset({"no", "not", "non", "without", "free", "sans", "ohne"})
"""Beside any other word these may say that something is not there: `No Finding`, `tumor_free`, `non-malignant`."""
# fmt: off
DOUBTFUL_WORDS = frozenset({
    "uncertain", "unclear", "indeterminate", "pending", "maybe", "possible", "probable", "suspect", "equivocal", "borderline",
    "questionable", "other", "others", "rest", "misc", "mixed", "ignore", "ignored", "exclude", "excluded", "invalid", "blank", "empty",
    "todo", "review", "unlabeled", "unlabelled", "unsorted", "mask", "masks", "gt", "annotations", "labels", "inconclusive", "unreadable",
    "artifact", "artefact", "undetermined", "undefined", "undecided", "ungradable", "ungradeable", "missing", "insufficient", "inadequate",
    "nondiagnostic", "unusable", "unclassified", "unmarked", "unverified", "awaiting", "skipped", "deferred",
})
# fmt: on
"""Beside one normal value these are no anomalies."""
NOT_DETERMINED = "nd"
"""As DOUBTFUL_WORDS, where it stands alone: `2nd` is none."""
GRADES_OF_POSITIVE = re.compile(r"[1-9]?\++")
"""`+`, `++` and `3+`, the positive values of a laboratory."""
REST = "*"
"""In `--class`: all other values."""
MOST_NAMED = 12
Meaning = Literal["normal", "anomaly"]


@dataclass(frozen=True)
class Stated:
    """What a person said of values, compared without regard to case: value -> meaning, REST for all others."""

    meanings: Mapping[str, Meaning] = field(default_factory=dict)

    @classmethod
    def of(
        cls, normal: Sequence[str], anomaly: Sequence[str], classes: Mapping[str, Meaning] | None = None
    ) -> Stated:
        """From `--normal-value`, `--anomaly-value` and `--class`; UsageError for a value of both meanings."""
        pairs: list[tuple[str, Meaning]] = [(word, "normal") for word in normal]
        pairs += [(word, "anomaly") for word in anomaly]
        pairs += list((classes or {}).items())
        found: dict[str, Meaning] = {}
        for word, meaning in pairs:
            folded = fold(word)
            if found.setdefault(folded, meaning) != meaning:
                raise UsageError(f"{word!r} is said to be normal and an anomaly: give it one meaning.")
        return cls(found)


@dataclass(frozen=True)
class Reading:
    """`labels` Int8, null where there is none; `classes` whether the values stay classes; `told` one line for the person."""

    labels: pd.Series
    classes: bool
    told: str
    names: pd.Series
    """Each value as the first of its spelling was written; null where it says that there is no label."""


def fold(word: str) -> str:
    """How values are compared: without case, spaces at the ends, a plus sign, or the point of a whole number."""
    text = str(word).strip().casefold()
    number = text.removeprefix("+")
    if re.fullmatch(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)", number):
        value = float(number)
        return str(int(value)) if value == int(value) else number
    return text


def class_key(name: str) -> str:
    """How names of classes are compared: as values are (`fold`), but single letters are classes of their own, as in EMNIST."""
    folded = fold(name)
    return str(name).strip() if len(folded) == 1 and folded.isalpha() else folded


def _nothing(values: pd.Series, stated: Stated, column: str | None) -> set[str]:
    """Which of the `values`, folded, say that there is no label, but for what is `stated` by name."""
    words = {fold(name) for name in values.dropna().unique()}
    return without_label(words, column is not None) - (set(stated.meanings) - {REST})


def one_spelling(values: pd.Series, stated: Stated = Stated(), column: str | None = None) -> pd.Series:
    """The names of classes, each as the first of its spelling was written; null for what says that there is no label and is not `stated`.
    They are values of a label `column`, or names of folders."""
    names = values.astype("string")
    none = _nothing(names, stated, column)
    firsts: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for name in names.dropna().unique():  # in the order in which they stand
        key = class_key(name)
        if key.casefold() not in none:
            spelling[name] = firsts.setdefault(key, name.strip())
    return names.map(spelling).astype("string")


def read_values(
    values: pd.Series, column: str | None, stated: Stated, classes: str = "class folders"
) -> Reading:
    """The meaning of `values`, text with nulls, of the label `column`, or (None) of the names of `classes`.

    Without a word from the person: 0 and 1 (1 an anomaly; asked where it is not the rarer one and the column's name says nothing of it);
    1 and -1 by scikit-learn's signs (-1 an anomaly); yes and no; of exactly two values one of NORMAL_WORDS, then the other is an anomaly;
    one value that is a word for either. Three or more values stay classes, and so do two folders that are not understood. Raises
    UsageError, naming values and options, for what else there is, for what can be read either way, and for a
    stated value that is not there while others have no meaning.
    """
    where = classes if column is None else f"labels in column '{column}'"
    written = values.astype("string")
    folded = written.map({name: fold(name) for name in written.dropna().unique()}).astype("string")
    none = _nothing(written, stated, column)
    nothing = written[folded.isin(none)].str.strip()
    left = {str(word): int(count) for word, count in folded[folded.isin(none)].value_counts().items()}
    folded = folded.mask(folded.isin(none))
    counts = {str(word): int(count) for word, count in folded.value_counts().sort_index().items()}
    names = {
        word: str(values[folded == word].iloc[0]).strip() for word in counts
    }  # as the person wrote them first
    told = stated.meanings
    meanings = _as_stated(counts, names, where, stated) if told else _understood(counts, names, where, column)
    if not told:
        _check_left_out(counts, left, names, where, column, meanings)
    if meanings is None:
        labels = pd.Series(pd.NA, index=values.index, dtype="Int8")
        kept = one_spelling(values, stated, column)
        counts = {str(name): int(count) for name, count in kept.value_counts().sort_index().items()}
        return Reading(labels, True, _told_classes(counts, where, nothing, len(values)), kept)
    labels = folded.map({word: int(meaning == "anomaly") for word, meaning in meanings.items()}).astype(
        "Int8"
    )
    said = _told(counts, names, meanings, where, nothing, len(values))
    if REST in told and len(nothing):
        said += (
            f" '{REST}' does not mean {_list(left, {word: word for word in left})}: if one is a class, name it, as in "
            f"--class {next(iter(left))}=anomaly."
        )
    said += "" if told else _warned(counts, names, where, column, sum(left.values()))
    return Reading(labels, False, said, one_spelling(values, stated, column))


def _check_left_out(
    counts: Mapping[str, int],
    left: Mapping[str, int],
    names: Mapping[str, str],
    where: str,
    column: str | None,
    meanings: Mapping[str, Meaning] | None,
) -> None:
    """UsageError where a value of `left`, which say that there is no label, may be one as those of `counts` are (None: classes).

    A sign may be the negative value where no other is there but one that is no word for normal, or where there are more signs than
    labels; `missing` may be a defect where other values are classes by names of their own.
    """
    if (
        MISSING in left
        and column is not None
        and len(counts) > 1
        and any(not re.fullmatch(r"-?[\d.]+", word) for word in set(counts) - CLASS_WORDS - YES - NO)
    ):
        raise UsageError(
            f"{where} holds {_list(counts, names, counts)}, and {MISSING} ({left[MISSING]}): that may be a class, such as of parts that "
            f"are missing, or say that there is no label. If it is a class, say --class {MISSING}=anomaly, and what the others are "
            f"('{REST}' for all others); if it says that there is no label, empty these cells, or say what the others are alone."
        )
    lone = len(counts) == 1 and not set(counts) & NORMAL_WORDS
    more = sum(count for word, count in left.items() if is_sign(word)) > sum(counts.values())
    doubted = [word for word in left if (lone and may_be_negative(word)) or (more and is_sign(word))]
    if not doubted or not counts or meanings is None:
        return
    others = " ".join(f"--{side}-value={shlex.quote(names[word])}" for word, side in meanings.items())
    word, other_side = doubted[0], "normal" if "anomaly" in meanings.values() else "anomaly"
    raise UsageError(
        f"{where} holds {_list(counts, names, counts)}, and {word} ({left[word]}): that may say that there is no label, or be one. If it "
        f"says that there is none, say what the others are ({others}); else say what it is "
        f"(for example --{other_side}-value={shlex.quote(word)})."
    )


def _as_stated(
    counts: Mapping[str, int], names: Mapping[str, str], where: str, stated: Stated
) -> dict[str, Meaning]:
    """Meanings by what the person said; with one side said the only other value is the other side."""
    found = {word: stated.meanings[word] for word in counts if word in stated.meanings}
    others = [word for word in counts if word not in found]
    absent = [word for word in stated.meanings if word not in counts and word != REST]
    if REST in stated.meanings:
        _check_spelling(absent, others, names, where)
        return found | dict.fromkeys(others, stated.meanings[REST])
    sides = set(stated.meanings.values())
    if others and absent and (not found or len(sides) > 1):
        raise UsageError(f"{where} has no value {absent[0]!r}; it has {_list(others, names)}.")
    if others and len(sides) == 1:
        if len(others) > 1:
            raise UsageError(
                f"{where}: {_list(others, names)} are not said to be normal or anomalies; say what each is with "
                "--normal-value and --anomaly-value (or --class NAME=normal|anomaly, '*' for all others)."
            )
        found[others[0]] = "normal" if sides == {"anomaly"} else "anomaly"
    return found


def _check_spelling(
    absent: Sequence[str], others: Sequence[str], names: Mapping[str, str], where: str
) -> None:
    """UsageError where a value that a person stated is not there, and one that is nearly called so would count among all others."""
    for word in absent:
        meant = get_close_matches(word, others, 1)
        if meant:
            raise UsageError(
                f"{where} has no value {word!r}; did you mean {names[meant[0]]!r}? It has {_list(others, names)}."
            )


def _understood(
    counts: Mapping[str, int], names: Mapping[str, str], where: str, column: str | None
) -> dict[str, Meaning] | None:
    """Meanings that need no word from the person; None where the values stay classes."""
    words = set(counts)
    if words <= {"0", "1"} or _yes_and_no(words):
        if words and column is not None and _means_normal(column):
            _ask(counts, names, where, "by its name the higher value may mean normal")
        if len(words) > 1 and _may_be_turned(counts, column):
            _ask(counts, names, where, "the higher value would be an anomaly, and it is not the rarer one")
        return {word: "anomaly" if word in YES | {"1"} else "normal" for word in words}
    if words <= {"-1", "0", "1"} and "-1" in words:
        return _signs(counts, names, where)
    one_tells = len(words) == 1 and words <= CLASS_WORDS
    of_two_one_is_normal = (
        len(words) == 2
        and len(words & NORMAL_WORDS) == 1
        and not any(_is_doubtful(word) for word in words - NORMAL_WORDS)
    )
    if one_tells or of_two_one_is_normal:
        return {word: "normal" if word in NORMAL_WORDS else "anomaly" for word in words}
    if column is not None and len(words) <= 2:
        doubtful = [
            names[word]
            for word in sorted(words - NORMAL_WORDS)
            if words & NORMAL_WORDS and _is_doubtful(word)
        ]
        hint = f"; if {doubtful[0]!r} says that there is no label, empty these cells" if doubtful else ""
        _ask(counts, names, where, f"which of them is normal is not known{hint}")
    return None


def _mostly_anomalies(counts: Mapping[str, int], left_out: int = 0) -> bool:
    """Whether more values are 1 or yes than 0 or no, or, where there is no 0, than those that were `left_out`; False where there are
    others."""
    ones = sum(count for word, count in counts.items() if word in YES | {"1"})
    zeros = sum(count for word, count in counts.items() if word in NO | {"0"})
    return ones > (zeros or left_out) and ones + zeros == sum(counts.values())


def _may_be_turned(counts: Mapping[str, int], column: str | None) -> bool:
    """Whether 1 or yes is the more frequent value in a column whose name does not say what it means: it may be the normal one, as in the
    `target` of scikit-learn's breast cancer, where 1 is benign."""
    if column is None or not _mostly_anomalies(counts):
        return False
    return not says_anomaly(column) and column.strip().casefold() not in OF_NO_MEANING


def _warned(
    counts: Mapping[str, int], names: Mapping[str, str], where: str, column: str | None, left_out: int
) -> str:
    """What is added where 1 or yes is an anomaly by custom alone, and the more frequent value."""
    if column is None or says_anomaly(column) or not _mostly_anomalies(counts, left_out):
        return ""
    higher = names[max(counts, key=lambda word: word in YES | {"1"})]
    return (
        f" WARNING: most {where} are anomalies, since {higher} is read as one. If it is the normal value, say "
        f"--normal-value={higher}."
    )


def _yes_and_no(words: Set[str]) -> bool:
    """Whether they are yes and no, or true and false, in one spelling or several; a lone letter may be anything's."""
    lone_letter = len(words) == 1 and all(len(word) == 1 for word in words)
    return not lone_letter and any(words <= pair for pair in PAIRS)


def _means_normal(column: str) -> bool:
    """Whether the name of a label column says, or may say, what is normal rather than what is not."""
    words = {_bare(word.casefold()) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)}
    if words & NORMAL_COLUMN_WORDS:
        return not words & TURNING_WORDS
    return bool(words & DENYING_WORDS) or _turned_by_non(words)


def _turned_by_non(words: Set[str]) -> bool:
    """Whether one of them is a word for an anomaly behind non or un: `nonmalignant`, `undamaged`."""
    bare = {
        word.removeprefix(prefix) for word in words for prefix in ("non", "un") if word.startswith(prefix)
    }
    return bool(bare & (ANOMALY_WORDS | HARMED_WORDS | ANOMALY_NOUNS))


def _bare(word: str) -> str:
    """A word without `is` before it and the s of many, where what is left says something: `isgood`, `inliers`."""
    forms = (word, word.removeprefix("is"), word.removesuffix("s"), word.removeprefix("is").removesuffix("s"))
    return next((form for form in forms if form in NORMAL_COLUMN_WORDS | ANOMALY_WORDS | ANOMALY_NOUNS), word)


def says_anomaly(name: str) -> bool:
    """Whether the name of a folder or a column is made of a word for an anomaly, and of none that turns it round: `defects`, `is_fraud`."""
    words = {_bare(word.casefold()) for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    return (
        bool(words & (ANOMALY_WORDS | HARMED_WORDS | ANOMALY_NOUNS))
        and not words & (DENYING_WORDS | NORMAL_COLUMN_WORDS)
        and not _turned_by_non(words)
    )


def _is_doubtful(value: str) -> bool:
    """Whether a value beside a normal one may be something else than an anomaly: `pending`, `no_anomaly`, `normal_`, `2`."""
    if GRADES_OF_POSITIVE.fullmatch(value):
        return False
    words = {_bare(word) for word in re.findall("[^\\W\\d_]+", value)}
    if not words or words & DOUBTFUL_WORDS or value == NOT_DETERMINED:
        return True
    denied, normal = bool(words & DENYING_WORDS), bool(words & NORMAL_WORDS)
    if denied != normal:
        return denied or not words & ANOMALY_WORDS
    return _turned_by_non(words)


def _signs(counts: Mapping[str, int], names: Mapping[str, str], where: str) -> dict[str, Meaning]:
    """1 normal and -1 anomaly, as scikit-learn's detectors and this one write them; asked where that is not plain."""
    if "0" in counts:
        _ask(counts, names, where, "1, 0 and -1 may be semi-labels, where 0 is unlabelled")
    if counts["-1"] >= counts.get("1", 0):
        _ask(counts, names, where, "by scikit-learn's signs -1 is an anomaly, and it is not the rarer value")
    return {"1": "normal", "-1": "anomaly"}


def _ask(counts: Mapping[str, int], names: Mapping[str, str], where: str, why: str) -> NoReturn:
    rarer = min(counts, key=lambda word: counts[word])
    raise UsageError(
        f"{where} holds {_list(counts, names, counts)}: {why}. Say which is which with --normal-value and --anomaly-value "
        f"(for example --anomaly-value={names[rarer]})."
    )


def _list(
    words: Sequence[str] | Mapping[str, int],
    names: Mapping[str, str],
    counts: Mapping[str, int] | None = None,
) -> str:
    shown = [names[word] + (f" ({counts[word]})" if counts else "") for word in words]
    more = f" and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else ""
    return ", ".join(shown[:MOST_NAMED]) + more


def _told(
    counts: Mapping[str, int],
    names: Mapping[str, str],
    meanings: Mapping[str, Meaning],
    where: str,
    nothing: pd.Series,
    items: int,
) -> str:
    """What is said of labels; `nothing` are the values that say that there is none."""
    parts = []
    for meaning, phrase in (("normal", "normal"), ("anomaly", "anomaly")):
        words = [word for word in counts if meanings.get(word) == meaning]
        if words:
            parts.append(f"{_list(words, names, counts)} as {phrase}")
    silent = {str(word): int(count) for word, count in nothing.value_counts().items()}
    without = {names[word]: counts[word] for word in counts if word not in meanings} | silent
    if without:
        parts.append(f"{_list(without, {name: name for name in without}, without)} without label")
    empty = items - sum(counts.values()) - len(nothing)
    if empty:
        parts.append(f"{empty} without a value")
    return f"{where}: {', '.join(parts)}." if parts else f"{where}: no label."


def _told_classes(counts: Mapping[str, int], where: str, nothing: pd.Series, items: int) -> str:
    """What is said of classes; `nothing` are the values that say that there is none."""
    normal = next((name for name in counts if fold(name) in NORMAL_WORDS), "NAME")
    doubtful = normal != "NAME" and any(_is_doubtful(fold(name)) for name in counts if name != normal)
    others = "NAME=anomaly" if doubtful else "'*=anomaly'"
    silent = {str(word): int(count) for word, count in nothing.value_counts().items()}
    more = f", {_list(silent, {word: word for word in silent}, silent)} without one" if silent else ""
    empty = items - sum(counts.values()) - len(nothing)
    more += f", {empty} without a value" if empty else ""
    shown = _list(counts, {name: name for name in counts}, counts)
    return (
        f"{where}: {len(counts)} classes ({shown}){more}. Say which are normal with --class {normal}=normal --class {others} "
        "here, or with --set data.normal_classes=[NAME] when training."
    )
