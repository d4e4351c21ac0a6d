"""Applications, services, keys and numbers, as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from knownface.administration import Listing
from knownface.api.admin.wire import moment
from knownface.api.wire import Json
from knownface.people import Member
from knownface.status import System
from knownface.store.overview import ApplicationInfo, ServiceInfo
from knownface.types import ApiKey, Copying
from knownface.usage import Span, Statistics

T = TypeVar("T")


def listing(name: str, found: Listing[T], one: Callable[[T], Json]) -> Json:
    """Return a page of a list, under the name of what it lists."""
    return {
        name: [one(item) for item in found.items],
        "page": found.page,
        "size": found.size,
        "total": found.total,
    }


def application(info: ApplicationInfo) -> Json:
    return {
        "id": info.id,
        "name": info.name,
        "role": info.role and info.role.name,
        "owner": info.owner and asdict(info.owner),
        "services": info.services,
        "members": info.members,
        "created_at": moment(info.created_at),
    }


def member(one: Member) -> Json:
    return {
        "id": one.user.id,
        "email": one.user.email,
        "first_name": one.user.first_name,
        "last_name": one.user.last_name,
        "role": one.role.name,
    }


def service(info: ServiceInfo) -> Json:
    one = info.service
    return {
        "id": one.id,
        "application_id": info.application_id,
        "name": one.name,
        "type": one.type.name,
        "similarity_threshold": one.threshold and one.threshold.similarity,
        "max_fmr": one.threshold and one.threshold.max_fmr,
        "save_images": one.save_images,
        "embedder": one.embedder,
        "subjects": info.subjects,
        "examples": info.examples,
        "created_at": moment(info.created_at),
        "copy": info.copy and copy(info.copy),
    }


def copy(job: Copying) -> Json:
    return {
        "state": job.state.value,
        "done": job.done,
        "total": job.total,
        "failure": job.failure,
    }


def key(one: ApiKey) -> Json:
    return {
        "id": one.id,
        "name": one.name,
        "hint": one.hint,
        "created_at": moment(one.created_at),
        "expires_at": moment(one.expires_at),
        "last_used_at": moment(one.last_used_at),
    }


def statistics(told: Statistics) -> Json:
    return {
        "days": [{"date": day.isoformat(), **_span(span)} for day, span in told.days.items()],
        "months": [
            {"month": month.isoformat()[:7], **_span(span)} for month, span in told.months.items()
        ],
        "total": _span(told.total),
    }


def system(now: System) -> Json:
    return {
        "version": now.version,
        "started_at": moment(now.started_at),
        "machine": asdict(now.machine),
        "database": {"kind": now.database, "bytes": now.database_bytes},
        "disk": {"free_bytes": now.disk_free_bytes},
        "models": [asdict(model) for model in now.models],
        "indexes": [asdict(index) for index in now.indexes],
        "queue": dict(now.queue),
        "checks": dict(now.checks),
        "ready": now.ready,
    }


def _span(span: Span) -> Json:
    return {
        "requests": span.requests,
        "errors": span.errors,
        "client_errors": span.client_errors,
        "mean_ms": _tenths(span.mean_ms),
        "p95_ms": _tenths(span.p95_ms),
    }


def _tenths(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
