"""A process that is killed while it writes: from outside, or by itself after so many statements.

Usage: store_writer.py URL SERVICE write | change STATEMENTS | open STATEMENTS
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from sqlalchemy import Engine, event

from knownface.store import Store
from stored import face, picture

GROUP = 3
PHOTOGRAPH = 20_000


def write(store: Store, service: int, first: int) -> None:
    """Commit group after group, saying the number of each once it is committed, until killed."""
    for group in count(first):
        with store.begin() as tx:
            for number in range(group * GROUP, (group + 1) * GROUP):
                tx.add_example(service, f"Group {group}", face(number), picture(number, PHOTOGRAPH))
        sys.stdout.write(f"{group}\n")
        sys.stdout.flush()


def change(store: Store, service: int) -> None:
    """Do in one transaction what touches every table."""
    with store.begin() as tx:
        tx.add_example(service, "Grace", face(10), picture(10))
        tx.rename_subject(service, "Ada", "Grace")
        page = tx.examples(service, subject="Grace", page=0, size=2)
        tx.delete_examples(service, [example.image_id for example in page.examples])
        tx.delete_subject(service, "Mia")


def die_after(statements: int) -> None:
    """Let the kernel end this process, as if the power had failed, after so many statements."""
    executed = count(1)

    @event.listens_for(Engine, "after_cursor_execute")
    def maybe_die(*_: object) -> None:
        if next(executed) == statements:
            os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, service: str, what: str, number: str) -> None:
    if what == "open":
        die_after(int(number))
    store = Store.open(url)
    if what == "write":
        write(store, int(service), int(number))
    elif what == "change":
        die_after(int(number))
        change(store, int(service))


if __name__ == "__main__":
    main(*sys.argv[1:])
