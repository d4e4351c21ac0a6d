"""Clients that each enrol one face of their own, at random, and know what must be stored of it.

Whatever a server answers while they are at work can be checked: an owner notes each change before
it asks for it and again when it is told that it is done. An answer to a question that was asked and
answered between two moments may speak of any state of those moments, and of no other.
"""

from __future__ import annotations

import base64
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

import tiny_models
from sending import FACES, RECOGNIZE, SUBJECTS

# The one subject that every owner adds its face to; no two write its name alike.
SHARED: Final = "crowd"
# An example whose id the owner has not been told.
UNTOLD: Final = "?"
MOST_NAMES: Final = 4
MOST_EXAMPLES: Final = 8
_TAG: Final = 16


@dataclass(frozen=True)
class State:
    """What is stored of one identity: the subject of each example, and subjects without any."""

    examples: Mapping[str, str] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()

    @property
    def names(self) -> set[str]:
        """The subjects that the identity has to be recognized as."""
        return set(self.examples.values())

    @property
    def own_names(self) -> set[str]:
        """The subjects that are listed because of this identity alone."""
        return (self.names | self.empty) - {SHARED}

    def added(self, name: str, image_id: str = UNTOLD) -> State:
        return State({**self.examples, image_id: name}, self.empty - {name})

    def told(self, image_id: str) -> State:
        return State(
            {image_id if i == UNTOLD else i: n for i, n in self.examples.items()}, self.empty
        )

    def without(self, image_ids: Sequence[str]) -> State:
        return State({i: n for i, n in self.examples.items() if i not in image_ids}, self.empty)

    def renamed(self, old: str, new: str) -> State:
        examples = {i: new if n == old else n for i, n in self.examples.items()}
        moved = {new} if old in self.empty and new not in examples.values() else set()
        return State(examples, self.empty - {old, *examples.values()} | moved)


class History:
    """The states of one identity, each with the time in which it may have been in effect."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: list[tuple[State, float, float]] = [(State(), 0.0, float("inf"))]

    @property
    def last(self) -> State:
        return self._states[-1][0]

    @property
    def ends(self) -> list[State]:
        """The states that may be in effect now: two, if a change was asked for and not answered."""
        return [state for state, _, until in self._states if until == float("inf")]

    def begin(self, state: State) -> None:
        with self._lock:
            self._states.append((state, time.monotonic(), float("inf")))

    def settle(self, state: State) -> None:
        """Say that the change that began last is done, and what came of it."""
        with self._lock:
            _, since, until = self._states.pop()
            before, began, _ = self._states.pop()
            self._states += [(before, began, time.monotonic()), (state, since, until)]

    def adopt(self, state: State) -> None:
        """Say what turned out to be stored."""
        with self._lock:
            self._states = [(state, 0.0, float("inf"))]

    def between(self, since: float, until: float) -> list[State]:
        with self._lock:
            return [s for s, began, ended in self._states if began <= until and ended >= since]


class Owner:
    """Changes what is stored of one identity, one request after the other.

    Each request goes through any of the clients: they may be of several servers on one database.
    """

    def __init__(self, clients: Sequence[httpx.Client], identity: int) -> None:
        self.clients = clients
        self.identity = identity
        self.history = History()
        self.photographs: dict[str, bytes] = {}
        self.sent: bytes = b""  # the photograph of the addition under way
        self.answered: list[tuple[str, float]] = []  # kind of request, seconds
        self._random = random.Random(identity)
        self._names = 0

    @property
    def prefix(self) -> str:
        """The beginning of every name of its own; a path has to quote it."""
        return f"Zoë/{self.identity}; "

    def act(self) -> None:
        """Make one change, and check what the server says of it."""
        state = self.history.last
        names = sorted(state.own_names)
        choices = [self._add] * 3 if len(state.examples) < MOST_EXAMPLES else []
        if len(names) < MOST_NAMES:
            choices += [self._create]
        if names:
            choices += [self._rename, self._delete_subject, self._delete_examples_of]
        if state.examples:
            choices += [self._delete, self._delete_several]
        self._random.choice(choices)()

    def ask(self, kind: str, method: str, path: str, expected: int = 200, **options: Any) -> Any:
        client = self._random.choice(self.clients)
        began = time.perf_counter()
        answer = client.request(method, path, **options)
        assert answer.status_code == expected, f"{kind}: {answer.status_code} {answer.text}"
        self.answered.append((kind, time.perf_counter() - began))
        return answer

    @contextmanager
    def _changing(self, state: State) -> Iterator[None]:
        """Note a change; it stays open when the server was killed before it answered."""
        self.history.begin(state)
        yield
        self.history.settle(self.history.last)

    def _add(self) -> None:
        state = self.history.last
        known = sorted(state.own_names)
        wishes = (
            [*known, SHARED] if len(known) >= MOST_NAMES else [*known, SHARED, self._new_name()]
        )
        name = self._random.choice(wishes)
        # What stands behind the picture's end is no part of the picture, but of the file.
        self.sent = tiny_models.portrait(self.identity) + self._random.randbytes(_TAG)
        typed = self._spelled(name)
        self.history.begin(state.added(name))
        if self._random.random() < 0.5:
            body: dict[str, Any] = {"files": {"file": self.sent}}
        else:
            body = {"json": {"file": base64.b64encode(self.sent).decode()}}
        added = self.ask("add", "POST", FACES, 201, params={"subject": typed}, **body).json()
        self.photographs[added["image_id"]] = self.sent
        self.history.settle(state.added(name, added["image_id"]))
        assert canonical(added["subject"]) == name

    def _create(self) -> None:
        name = self._new_name()
        state = self.history.last
        with self._changing(State(state.examples, state.empty | {name})):
            answer = self.ask("create", "POST", SUBJECTS, 201, json={"subject": name})
        assert answer.json() == {"subject": name}

    def _rename(self) -> None:
        state = self.history.last
        old = self._random.choice(sorted(state.own_names))
        others = sorted(state.own_names - {old})
        # A subject without examples must not become the shared one, or that would lose nobody.
        shared = [] if old in state.empty else [SHARED]
        new = self._random.choice([self._new_name(), *others, *shared])
        with self._changing(state.renamed(old, new)):
            answer = self.ask(
                "rename", "PUT", self._path(old), json={"subject": self._spelled(new)}
            )
        assert answer.json() == {"updated": True}

    def _delete_subject(self) -> None:
        name = self._random.choice(sorted(self.history.last.own_names))
        with self._changing(self._without_subject(name)):
            answer = self.ask("delete subject", "DELETE", self._path(name))
        assert answer.json() == {"subject": name}

    def _delete_examples_of(self) -> None:
        name = self._random.choice(sorted(self.history.last.own_names))
        count = list(self.history.last.examples.values()).count(name)
        with self._changing(self._without_subject(name)):
            answer = self.ask("delete by name", "DELETE", FACES, params={"subject": name})
        assert answer.json() == {"deleted": count}

    def _delete(self) -> None:
        state = self.history.last
        image_id = self._random.choice(sorted(state.examples))
        with self._changing(state.without([image_id])):
            answer = self.ask("delete by id", "DELETE", f"{FACES}/{image_id}").json()
        assert (answer["image_id"], canonical(answer["subject"])) == (
            image_id,
            state.examples[image_id],
        )

    def _delete_several(self) -> None:
        state = self.history.last
        known = sorted(state.examples)
        image_ids = self._random.sample(known, self._random.randint(1, len(known)))
        with self._changing(state.without(image_ids)):
            answer = self.ask("delete several", "POST", f"{FACES}/delete", json=image_ids)
        deleted = [(one["image_id"], canonical(one["subject"])) for one in answer.json()]
        assert deleted == [(image_id, state.examples[image_id]) for image_id in image_ids]

    def _without_subject(self, name: str) -> State:
        state = self.history.last
        left = {i: n for i, n in state.examples.items() if n != name}
        return State(left, state.empty - {name})

    def _new_name(self) -> str:
        self._names += 1
        return f"{self.prefix}{self._names}"

    def _spelled(self, name: str) -> str:
        if name != SHARED:
            return name
        return "".join(self._random.choice([c.upper(), c]) for c in name)

    def _path(self, name: str) -> str:
        return f"{SUBJECTS}/{quote(name, safe='')}"


def canonical(name: str) -> str:
    """Return a stored name; of the shared subject, who came first decides upon its spelling."""
    return SHARED if name.casefold() == SHARED else name


def listed(client: httpx.Client) -> dict[str, str]:
    """Return the subject of every stored example, by its id, read page by page."""
    found: dict[str, str] = {}
    page = 0
    while True:
        answer = client.get(FACES, params={"page": page, "size": 50}).raise_for_status().json()
        found.update((one["image_id"], canonical(one["subject"])) for one in answer["faces"])
        page += 1
        if page >= answer["total_pages"]:
            assert len(found) == answer["total_elements"]
            return found


def recognized(answer: httpx.Response) -> list[set[str]]:
    """Return the names of each face, the largest first, that are more than a resemblance."""
    faces = []
    for face in answer.raise_for_status().json()["result"]:
        names = [canonical(s["subject"]) for s in face["subjects"] if s["similarity"] > 0.5]
        assert len(names) == len(set(names)), names
        faces.append(set(names))
    return faces


def assert_stored(client: httpx.Client, owners: Sequence[Owner]) -> None:
    """Ask in every way there is whether what the owners know, and nothing else, is stored."""
    states = [owner.history.last for owner in owners]
    assert listed(client) == {i: n for state in states for i, n in state.examples.items()}
    subjects = [canonical(n) for n in client.get(SUBJECTS).raise_for_status().json()["subjects"]]
    assert sorted(subjects) == sorted(set().union(*(s.names | s.empty for s in states)))
    params = {"prediction_count": MOST_NAMES + 2}
    for owner, state in zip(owners, states, strict=True):
        picture = {"file": tiny_models.portrait(owner.identity)}
        assert recognized(client.post(RECOGNIZE, params=params, files=picture)) == [state.names]
        for image_id, photograph in owner.photographs.items():
            content = client.get(f"{FACES}/{image_id}/img").raise_for_status().content
            assert content == (photograph if image_id in state.examples else b"")


def assert_erased(folder: Path, owners: Sequence[Owner]) -> None:
    """Look for the end of every photograph, which no other has, in all files of a folder."""
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for owner in owners:
        for image_id, photograph in owner.photographs.items():
            stored = image_id in owner.history.last.examples
            assert (photograph[-_TAG:] in content) == stored, (image_id, stored)
