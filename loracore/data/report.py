"""What `loracore check` finds in a run's pictures: everything that is wrong, and everything worth knowing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loracore.data.bucket_table import BucketRow, bucket_table
from loracore.data.captions.texts import tag_frequency
from loracore.data.index import Index
from loracore.data.pictures.same_file import real_paths
from loracore.data.proving import Proof, broken_pictures, prove, same_files
from loracore.data.reading import Reading
from loracore.data.scan_messages import be, counted, nothing_left, some
from loracore.data.scanning import survey_of
from loracore.data.visits import Draws, Visit
from loracore.errors import Problem

if TYPE_CHECKING:
    from loracore.config.dataset_spec import DatasetSpec
    from loracore.data.sources import Source

#: Pictures with the same bytes: each its source and its row there.
_Group = Sequence[tuple["Source", int]]

_TINY = 2  # times by which a picture is enlarged, from which on it teaches blur
_LEAST_LEFT = 0.5  # share of a picture's pixels that a bucket should show
_MOST_GROUPS = 20  # of equal pictures that a warning names; a copied folder has thousands


@dataclass(frozen=True, eq=False, slots=True)
class Report:
    """The pictures that can be trained on, and what is wrong with the others."""

    index: Index
    validation: Index
    buckets: tuple[BucketRow, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    tags: Mapping[str, int]  # the most frequent first; each counted once a picture
    duplicates: tuple[tuple[str, ...], ...]  # paths of files with the same bytes

    @property
    def batches(self) -> int:
        """The number of batches of an epoch of one process."""
        return sum(row.batches for row in self.buckets)

    def pictures(self, draws: Draws) -> Iterator[tuple[int, Mapping[str, object]]]:
        """Give each picture's data set, and its path, sizes (width, height) and the caption of its first visit."""
        for row in range(len(self.index)):
            picture = self.index.picture(row)
            framing = picture.framing
            yield (
                picture.dataset,
                {
                    "path": str(picture.path),
                    "size": framing.original,
                    "bucket": framing.size,
                    "resized": framing.resized,
                    "caption": draws.caption(picture, Visit(0, 0, 0)),
                },
            )


def make_report(datasets: Sequence[DatasetSpec], reading: Reading, *, show: bool) -> Report:
    """Scan the data sets, decode every picture, and return what came of it; nothing is raised.

    Pictures that cannot be used are problems, with ``skip_bad`` warnings: a run leaves them out then.
    """
    survey = survey_of(datasets, reading)
    every, held = survey.scanned.training, survey.scanned.validation
    proof = prove([every, held], reading.keep, show=show)
    training, validation = _whole(every, proof), _whole(held, proof)
    bad = [*survey.bad, *broken_pictures(every, proof), *broken_pictures(held, proof)]
    problems = [*survey.problems, *(() if reading.skip_bad else bad)]
    if not problems and not len(training):
        problems.append(nothing_left(len(validation)))
    left_out = [f"left out: {problem}" for problem in bad] if reading.skip_bad else []
    groups = [sorted(group, key=_path) for group in same_files(proof, every.sources, reading.keep)]
    leaks = _leaks(groups, training, validation)
    captions = (training.caption(row) for row in range(len(training)))
    return Report(
        index=training,
        validation=validation,
        buckets=bucket_table(training, [dataset.batch_size for dataset in datasets]),
        problems=tuple(dict.fromkeys(problems)),  # a folder in two data sets has its troubles once
        warnings=tuple(dict.fromkeys((*every.warnings, *left_out, *leaks, *_of_sizes(training), *_doubles(groups)))),
        tags=dict(Counter(tag_frequency(captions)).most_common()),
        duplicates=tuple(tuple(map(_path, group)) for group in groups),
    )


def _whole(index: Index, proof: Proof) -> Index:
    """Return an index without the pictures that cannot be decoded."""
    whole = np.ones(len(index), dtype=np.bool_)
    whole[list(proof.broken_rows(index))] = False
    return index.take(whole)


def _of_sizes(index: Index) -> Iterator[str]:
    yield from _tiny(index)
    yield from _far_cut(index)


def _tiny(index: Index) -> Iterator[str]:
    """Give what is said of pictures that are enlarged a lot."""
    framings = index.framings
    grown = np.asarray((framings.resized >= _TINY * framings.originals).any(axis=1))[index.framing_rows]
    rows = np.flatnonzero(grown).tolist()
    if rows:
        shown = [f"{index.path(row).name} ({_by(index.framing(row).original)})" for row in rows]
        are = f"{counted(len(rows), 'picture')} {be(len(rows))}"
        yield f"{are} tiny: enlarged {_TINY} times or more, which teaches blur: {some(list(dict.fromkeys(shown)))}"


def _far_cut(index: Index) -> Iterator[str]:
    """Give what is said of pictures so far from every bucket's shape that most of them is cut off."""
    framings = index.framings
    left = framings.sizes.prod(axis=1) / np.maximum(framings.resized.prod(axis=1), 1)
    rows = np.flatnonzero((left < _LEAST_LEFT)[index.framing_rows]).tolist()
    if rows:
        shares = (left[index.framing_rows[row]] for row in rows)
        shown = [f"{index.path(row).name} ({_by(index.framing(row).original)})" for row in rows]
        loses = f"{counted(len(rows), 'picture')} {'loses' if len(rows) == 1 else 'lose'}"
        yield f"{loses} more than half, up to {1 - min(shares):.0%}, by cutting: {some(list(dict.fromkeys(shown)))}"


def _leaks(groups: Sequence[_Group], training: Index, validation: Index) -> Iterator[str]:
    """Give what is said of pictures that are held out and that are trained on as another file of the same bytes."""
    if not groups or not len(validation):
        return
    real = real_paths()
    held, trained = ({real(index.path(row)) for row in range(len(index))} for index in (validation, training))
    pairs = []
    for group in groups:
        out, seen = ([path for path in map(_path, group) if real(path) in paths] for paths in (held, trained))
        pairs += [f"{out[0]} as {seen[0]}"] if out and seen else []
    if pairs:
        are = f"{counted(len(pairs), 'picture')} {be(len(pairs))}"
        yield f"{are} held out and trained on in another file of the same bytes: {some(pairs)}"


def _doubles(groups: Sequence[_Group]) -> Iterator[str]:
    """Give what is said of pictures that are the same, byte for byte; those that captions tell apart first."""
    captioned = [(group, len({source.caption(row) for source, row in group}) > 1) for group in groups]
    for group, differ in sorted(captioned, key=lambda pair: not pair[1])[:_MOST_GROUPS]:
        aside = ", with different captions" if differ else ""
        yield f"{len(group)} pictures are the same, byte for byte{aside}: {some(list(map(_path, group)))}"
    rest = len(groups) - _MOST_GROUPS
    if rest > 0:
        yield f"{counted(rest, 'more group')} of pictures that are the same, byte for byte"


def _path(one: tuple[Source, int]) -> str:
    source, row = one
    return str(source.path(row))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
