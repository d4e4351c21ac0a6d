"""Whatever is done to subjects and faces, a database ends up as a plain dict would."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from knownface.errors import SubjectExists, SubjectNotFound
from knownface.store import Store
from knownface.types import Example
from stored import face, make_service, picture

# Few names, many spellings: letter case, composition, and letters that fold into two.
NAMES = st.sampled_from(
    ["Ada", "ada", "ADA", "Zo\u00e9", "Zoe\u0301", "ZOE\u0301", "Stra\u00dfe", "STRASSE", "a/b"]
)


@dataclass
class Row:
    """What the model knows of an example."""

    subject: str
    number: int
    key: int
    kept: bool


@dataclass
class Model:
    """A collection as plain dicts: spellings by folded name, rows by id, in order of arrival."""

    spellings: dict[str, str] = field(default_factory=dict)
    rows: dict[UUID, Row] = field(default_factory=dict)
    writes: int = 0

    def of(self, folded: str) -> list[UUID]:
        return [image_id for image_id, row in self.rows.items() if row.subject == folded]

    def forget(self, image_ids: list[UUID]) -> None:
        touched = {self.rows.pop(image_id).subject for image_id in image_ids}
        for folded in touched:
            if not self.of(folded):
                del self.spellings[folded]

    def example(self, image_id: UUID) -> Example:
        row = self.rows[image_id]
        return Example(row.key, image_id, self.spellings[row.subject])


def folded(name: str) -> str:
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def stored(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class Collection(RuleBasedStateMachine):
    """Each rule acts on both; the invariants compare all that can be read."""

    images: Bundle[UUID] = Bundle("images")

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.model = Model()
        self.replica: dict[int, int] = {}
        self.followed = 0

    @initialize()
    def start(self) -> None:
        self.service = make_service(self.store).id

    def teardown(self) -> None:
        if hasattr(self, "service"):
            with self.store.begin() as tx:
                tx.delete_service(self.service)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        try:
            with self.store.begin() as tx:
                assert tx.create_subject(self.service, name).name == stored(name)
        except SubjectExists:
            assert folded(name) in self.model.spellings
        else:
            assert folded(name) not in self.model.spellings
            self.model.spellings[folded(name)] = stored(name)
            self.model.writes += 1

    @rule(target=images, name=NAMES, number=st.integers(0, 99), kept=st.booleans())
    def add(self, name: str, number: int, kept: bool) -> UUID:
        with self.store.begin() as tx:
            added = tx.add_example(
                self.service, name, face(number), picture(number) if kept else None
            )
        self.model.spellings.setdefault(folded(name), stored(name))
        self.model.rows[added.image_id] = Row(folded(name), number, added.key, kept)
        self.model.writes += 1
        assert added == self.model.example(added.image_id)
        return added.image_id

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        before = self.model.spellings.get(folded(old))
        try:
            with self.store.begin() as tx:
                renamed = tx.rename_subject(self.service, old, new).updated
        except SubjectNotFound:
            assert before is None
            return
        assert before is not None
        assert renamed == (before != stored(new))
        self.model.writes += 1
        if folded(old) == folded(new) or folded(new) not in self.model.spellings:
            # The subject keeps its place in the order of creation.
            self.model.spellings = {
                (folded(new) if key == folded(old) else key): (
                    stored(new) if key == folded(old) else spelling
                )
                for key, spelling in self.model.spellings.items()
            }
        else:
            del self.model.spellings[folded(old)]
        for row in self.model.rows.values():
            if row.subject == folded(old):
                row.subject = folded(new)

    @rule(name=NAMES)
    def delete_subject(self, name: str) -> None:
        try:
            with self.store.begin() as tx:
                deleted = tx.delete_subject(self.service, name)
        except SubjectNotFound:
            assert folded(name) not in self.model.spellings
            return
        assert deleted.name == self.model.spellings[folded(name)]
        self.drop(folded(name))
        self.model.writes += 1

    @rule(name=NAMES)
    def delete_examples_of(self, name: str) -> None:
        with self.store.begin() as tx:
            deleted = tx.delete_examples_of(self.service, name)
        assert deleted == len(self.model.of(folded(name)))
        self.drop(folded(name))
        self.model.writes += 1

    def drop(self, name: str) -> None:
        for image_id in self.model.of(name):
            del self.model.rows[image_id]
        self.model.spellings.pop(name, None)

    # There is little to delete in a collection that is emptied all the time.
    @precondition(lambda self: self.model.writes % 4 == 3)
    @rule(subjects_too=st.booleans())
    def delete_all(self, subjects_too: bool) -> None:
        with self.store.begin() as tx:
            if subjects_too:
                assert tx.delete_subjects(self.service) == len(self.model.spellings)
            else:
                assert tx.delete_examples_of(self.service, None) == len(self.model.rows)
        self.model.forget(list(self.model.rows))
        if subjects_too:
            self.model.spellings.clear()
        self.model.writes += 1

    @rule(chosen=st.lists(consumes(images), max_size=4), repeat=st.booleans())
    def delete_examples(self, chosen: list[UUID], repeat: bool) -> None:
        asked = [*chosen, uuid4(), *(chosen if repeat else [])]
        expected = [
            self.model.example(image_id) for image_id in chosen if image_id in self.model.rows
        ]
        with self.store.begin() as tx:
            assert tx.delete_examples(self.service, asked) == expected
        self.model.forget([example.image_id for example in expected])
        self.model.writes += 1

    @rule(chosen=st.one_of(images, st.builds(uuid4)))
    def look_up(self, chosen: UUID) -> None:
        with self.store.snapshot() as tx:
            found = tx.embedding(self.service, chosen)
            photograph = tx.photograph(self.service, chosen)
        row = self.model.rows.get(chosen)
        if row is None:
            assert found is None
            assert photograph is None
            return
        assert found is not None
        assert found[0] == self.model.example(chosen)
        np.testing.assert_array_equal(found[1].vector, face(row.number).vector)
        assert (photograph is not None) == row.kept
        assert photograph is None or photograph.content == picture(row.number).content

    @rule(name=NAMES, page=st.integers(0, 3), size=st.integers(1, 3))
    def look_at_a_page(self, name: str, page: int, size: int) -> None:
        with self.store.snapshot() as tx:
            found = tx.examples(self.service, subject=name, page=page, size=size)
        whole = self.model.of(folded(name))
        wanted = whole[page * size : (page + 1) * size]
        assert found.total == len(whole)
        assert [example.image_id for example in found.examples] == wanted

    @invariant()
    def whoever_follows_the_changes_knows_all_examples(self) -> None:
        if self.model.writes - self.followed < 2:
            return
        with self.store.snapshot() as tx:
            changes = tx.changes(self.service, self.followed)
            assert changes is not None
            if changes.cleared:
                self.replica.clear()
            for key in changes.removed:
                self.replica.pop(key, None)
            vectors = tx.vectors_of(self.service, changes.put)
            self.replica.update(zip(vectors.keys.tolist(), vectors.subjects.tolist(), strict=True))
            self.followed = changes.revision
            whole = tx.vectors(self.service)
        assert self.replica == dict(zip(whole.keys.tolist(), whole.subjects.tolist(), strict=True))

    @invariant()
    def all_that_can_be_read_is_as_it_should_be(self) -> None:
        if not hasattr(self, "service"):
            return
        with self.store.snapshot() as tx:
            assert tx.revision(self.service) == self.model.writes
            assert tx.subject_names(self.service) == list(self.model.spellings.values())
            assert tx.counts(self.service) == (len(self.model.spellings), len(self.model.rows))
            page = tx.examples(self.service, subject=None, page=0, size=1000)
            assert list(page.examples) == [self.model.example(one) for one in self.model.rows]
            assert tx.identify(self.service, [example.key for example in page.examples]) == {
                example.key: example for example in page.examples
            }


@pytest.mark.no_cover
def test_a_collection_behaves_as_a_plain_dict(store: Store) -> None:
    run_state_machine_as_test(
        lambda: Collection(store),  # type: ignore[arg-type]  # a factory is as good as a class
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
