"""How long a search takes, beside what the memory allows and what others need, in one run.

Each ratio is the median over pairs of measurements that were taken one after the other, so that
whatever else the machine does slows both sides. The faces are synthetic and the same in every run.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from bench.results import Results
from knownface.index import cosines
from knownface.index.crew import cores
from knownface.index.exact import ExactIndex
from knownface.index.graph import Graph
from knownface.index.hnsw import HnswIndex
from knownface.types import F32, I64

MILLION = 1_000_000
PER_PERSON = 4
BLOCK = 20_000
SEED = 11
QUERIES, GROUP = 500, 250  # compared at a time; rows of which the best cosine is kept
NEAR = 1e-5
SETTLE = 0.15  # seconds


# What the default embedder makes of Labeled Faces in the Wild, measured with 3,112 pictures: the
# parts of a vector's length that are everybody's, a person's and a picture's own; how much the
# latter varies; the variances of the strongest and the weakest direction, beside the mean of all.
COMMON, PERSON, PICTURE = 0.315, 0.755, 0.574
VARIES = 0.3
STRONGEST, WEAKEST = 2.0, 0.25
PEOPLE = 5000  # made at a time


@dataclass(frozen=True)
class Faces:
    """Synthetic embeddings that are alike and different as those of real faces are.

    Two pictures of one person have a cosine of 0.66 (half of them between 0.58 and 0.73), two of
    different people one of 0.10 ± 0.09: so a few in a hundred pictures resemble a stranger most.
    """

    count: int
    dimension: int

    def blocks(self) -> Iterator[tuple[I64, I64, F32]]:
        """Yield keys [N], subjects [N] and unit vectors [N, D]."""
        for start in range(0, self.count, BLOCK):
            keys = np.arange(start, min(start + BLOCK, self.count))
            yield keys, keys // PER_PERSON, self._pictures(keys // PER_PERSON, start)

    def matrix(self) -> F32:
        """Return all vectors, [N, D]."""
        matrix = np.empty((self.count, self.dimension), np.float32)
        for keys, _, vectors in self.blocks():
            matrix[keys[0] : keys[-1] + 1] = vectors
        return matrix

    def probes(self, count: int, seed: int = 1) -> tuple[I64, F32]:
        """Return further pictures, [N, D], of people who are stored, and who they are, [N]."""
        subjects = np.random.default_rng([SEED, seed]).integers(0, self.count // PER_PERSON, count)
        return subjects, self._pictures(subjects, self.count + seed)

    def strangers(self, count: int) -> F32:
        """Return pictures, [N, D], of people who are not stored."""
        return self._pictures(np.arange(count) + self.count, self.count + 2)

    def _pictures(self, subjects: I64, seed: int) -> F32:
        random = np.random.default_rng([SEED, 2, seed])
        rows: F32 = random.standard_normal((len(subjects), self.dimension), np.float32)
        rows *= PICTURE * self.dimension**-0.5
        rows *= np.exp(VARIES * random.standard_normal((len(rows), 1), np.float32))
        rows += COMMON * self.dimension**-0.5
        groups = subjects // PEOPLE
        for group in np.unique(groups).tolist():
            theirs = np.flatnonzero(groups == group)
            rows[theirs] += self._people(group)[subjects[theirs] % PEOPLE]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def _people(self, group: int) -> F32:
        random = np.random.default_rng([SEED, 3, group])
        variances = np.linspace(STRONGEST, WEAKEST, self.dimension)
        weights = PERSON * np.sqrt(variances / variances.sum())
        people: F32 = random.standard_normal((PEOPLE, self.dimension), np.float32)
        people *= weights.astype(np.float32)
        return people


@dataclass(frozen=True)
class Paired:
    """Two things timed in turn: the ratios of the first to the second, and milliseconds."""

    ratios: list[float]
    first: float
    second: float

    @classmethod
    def of(
        cls, first: Callable[[int], object], second: Callable[[int], object], rounds: int
    ) -> Paired:
        """Time both for the number of each round; they are asked for further numbers, too."""
        times = [(seconds(first, n), seconds(second, n)) for n in range(rounds)]
        ones, others = zip(*times, strict=True)
        return cls(
            [one / other for one, other in times],
            1000 * statistics.median(ones),
            1000 * statistics.median(others),
        )


def seconds(action: Callable[[int], object], number: int) -> float:
    """Time an action after others of its kind, by when the machine has settled to them.

    OpenBLAS lets its threads spin for a tenth of a second after a product, on cores that the next
    action would have; and a virtual machine that has slept needs a while until it runs two threads
    at a time. A server that searches has just run its networks.
    """
    settled, other = time.perf_counter() + SETTLE, number
    while time.perf_counter() < settled:
        other += 1
        action(other)
    began = time.perf_counter()
    action(number)
    return time.perf_counter() - began


def anonymous_bytes() -> int:
    """Return how much memory of its own the process has: files that it maps are not counted."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this system does not tell")


class Bench:
    """Measures collections of one size, a tenth of a million in a quick run."""

    def __init__(self, results: Results) -> None:
        scale = 0.1 if results.quick else 1.0
        self.results = results
        self.count = int(MILLION * scale)
        self.rounds = max(7, int(40 * scale))
        self.probes = int(10_000 * scale)

    def note(
        self, name: str, pair: Paired, meaning: str, goal: str = "", *, faster: bool = False
    ) -> None:
        """Keep a ratio, turned over where it says how many times faster the first is."""
        ratios = [1 / ratio for ratio in pair.ratios] if faster else pair.ratios
        milliseconds = f"{pair.first:.2f} ms beside {pair.second:.2f} ms"
        self.results.ratio(name, ratios, f"{meaning}; {milliseconds}", goal)

    def exact(self, dimension: int) -> None:
        """Measure the scan: beside the memory, NumPy and others, and for ten faces."""
        faces = Faces(self.count, dimension)
        small = ExactIndex(dimension)  # so that what the process needs once is there before
        for keys, subjects, vectors in Faces(BLOCK, dimension).blocks():
            small.add(keys, subjects, vectors)
        small.search(vectors[:1], 1, vectors.__getitem__)
        del small, vectors
        before = anonymous_bytes()
        index = ExactIndex(dimension)
        for keys, subjects, vectors in faces.blocks():
            index.add(keys, subjects, vectors)
        del keys, subjects, vectors
        self.results.figure(
            f"ram_bytes_per_face_{dimension}",
            [(anonymous_bytes() - before) / self.count],
            f"memory of its own that an index of {self.count:,} faces takes, a face",
            "≤ 200" if dimension == 128 else "",
        )
        matrix = faces.matrix()
        queries = faces.probes(512)[1]
        reader = Reader(index)
        name = f"1m_{dimension}"

        def some(number: int, count: int) -> F32:
            start = number * count % 500
            return queries[start : start + count]

        def search(number: int) -> object:
            return index.search(some(number, 1), 1, matrix.__getitem__)

        def product(number: int) -> object:
            scores = matrix @ some(number, 1)[0]
            best = np.argpartition(scores, -10)[-10:]
            return best[np.argsort(-scores[best])] // PER_PERSON

        def ten(number: int) -> object:
            return index.search(some(number, 10), 1, matrix.__getitem__)

        size = f"{self.count:,} × {dimension}"
        self.note(
            f"scan_over_bandwidth_{name}",
            Paired.of(search, lambda _: reader.read(), self.rounds),
            f"a whole search over one read of the codes with as many threads, {size}",
            "≤ 2",
        )
        self.note(
            f"scan_vs_numpy_{name}",
            Paired.of(search, product, self.rounds),
            f"how many times faster than NumPy's float32 product and argpartition, {size}",
            "≥ 4",
            faster=True,
        )
        self.note(
            "ten_faces_over_one" if dimension == 128 else f"ten_faces_over_one_{name}",
            Paired.of(ten, search, self.rounds),
            f"a search for ten faces over one for one, {size}",
            "< 6",
        )
        if dimension == 128:
            self.peers(matrix, queries, search)
        self.same_answers(index, matrix, faces)

    def same_answers(self, index: ExactIndex, matrix: F32, faces: Faces) -> None:
        """Compare the first subject with that of a comparison of all float32 vectors."""
        half = self.probes // 2
        queries = np.concatenate([faces.probes(half, seed=5)[1], faces.strangers(half)])
        wanted = nearest(matrix, queries) // PER_PERSON
        answers = index.search(queries, 1, matrix.__getitem__)
        same = int(np.count_nonzero(np.array([hits[0].subject for hits in answers]) == wanted))
        self.results.ratio(
            f"same_first_subject_1m_{index.dimension}",
            [same / len(queries)],
            f"first subject as in exact float32, {same:,} of {len(queries):,} queries, half of "
            "them of people who are not stored",
            "1",
        )

    def peers(self, matrix: F32, queries: F32, search: Callable[[int], object]) -> None:
        """Time what else searches float32 vectors exactly."""
        Graph(matrix.shape[1])  # loads what has to be loaded before usearch
        from usearch.index import search as usearch_search

        def usearch_exact(number: int) -> object:
            return usearch_search(matrix, queries[number % 500], 10, metric="ip", exact=True)

        flat = faiss.IndexFlatIP(matrix.shape[1])
        flat.add(matrix)

        def faiss_flat(number: int) -> object:
            return flat.search(queries[number % 500 :][:1], 10)

        for name, peer in (("usearch_exact", usearch_exact), ("faiss_flat", faiss_flat)):
            pair = Paired.of(search, peer, self.rounds)
            meaning = f"how many times faster than {name.replace('_', ' ')}"
            self.note(f"scan_vs_{name}_1m_128", pair, meaning, faster=True)

    def graph(self) -> None:
        """Measure the graph: how often it finds the first subject, and how much faster."""
        faces = Faces(self.count, 128)
        exact, graph, matrix = ExactIndex(128), HnswIndex(128), faces.matrix()
        for keys, subjects, vectors in faces.blocks():
            exact.add(keys, subjects, vectors)
            graph.add(keys, subjects, vectors)
        began = time.perf_counter()
        graph.wait()
        took = time.perf_counter() - began
        self.results.figure(
            "hnsw_build_seconds_1m_128", [took], f"to build the graph of {self.count:,} faces"
        )
        queries = faces.probes(self.probes)[1]
        wanted = [hits[0].subject for hits in exact.search(queries, 1, matrix.__getitem__)]
        found = [hits[0].subject for hits in graph.search(queries, 1, matrix.__getitem__)]
        recall = float(np.mean(np.array(wanted) == np.array(found)))
        self.results.ratio(
            "hnsw_recall_1m_128",
            [recall],
            f"first subject with the graph as in the exact search, {len(queries):,} new pictures "
            "of people who are stored",
            "≥ 0.999",
        )
        pair = Paired.of(
            lambda n: graph.search(queries[n : n + 1], 1, matrix.__getitem__),
            lambda n: exact.search(queries[n : n + 1], 1, matrix.__getitem__),
            4 * self.rounds,
        )
        meaning = "how many times faster the graph is than the scan"
        self.note("hnsw_vs_scan_1m_128", pair, meaning, "≥ 4", faster=True)


def nearest(matrix: F32, queries: F32) -> I64:
    """Return which row of a matrix, [N, D], is nearest to each query, [Q, D], by its exact cosine.

    A product's last bits depend on its shape: a group of rows that comes near the best is compared
    again. N is a multiple of a group.
    """
    tops = np.empty((len(matrix) // GROUP, len(queries)), np.float32)
    for first in range(0, len(matrix), BLOCK):
        rows = matrix[first : first + BLOCK]
        for start in range(0, len(queries), QUERIES):
            some = slice(start, start + QUERIES)
            scores = (rows @ queries[some].T).reshape(len(rows) // GROUP, GROUP, -1)
            scores.max(axis=1, out=tops[first // GROUP : (first + len(rows)) // GROUP, some])
    found = np.full(len(queries), -1, np.int64)
    best = np.full(len(queries), -2.0, np.float32)
    for group, number in np.argwhere(tops >= tops.max(axis=0) - NEAR).tolist():
        near = cosines(queries[number], matrix[group * GROUP : (group + 1) * GROUP])
        if near.max() > best[number]:
            best[number], found[number] = near.max(), group * GROUP + near.argmax()
    return found


class Reader:
    """Reads the codes of an index once, with as many threads as a search: what memory allows."""

    def __init__(self, index: ExactIndex) -> None:
        self._parts = [codes.view(np.int64).ravel() for codes in index.codes()]

    def read(self) -> None:
        waiting = deque(self._parts)

        def work() -> None:
            while waiting:
                try:
                    part = waiting.popleft()
                except IndexError:
                    return
                np.bitwise_or.reduce(part)

        helpers = [threading.Thread(target=work) for _ in range(cores() - 1)]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()


def measure(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure the scan."""
    del models, portraits, quick  # vectors are all it needs, and the results know the rest
    bench = Bench(results)
    for dimension in (128, 512):
        bench.exact(dimension)


def measure_graph(results: Results, *, models: Path, portraits: Path, quick: bool) -> None:
    """Measure the graph, which takes long to build."""
    del models, portraits, quick
    Bench(results).graph()
