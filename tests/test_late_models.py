"""A model's file that comes while the program runs: on small real networks and SQLite."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import tiny_insightface
import tiny_models
from knownface.app import build
from knownface.errors import ModelUnavailable
from knownface.recognition import Options
from knownface.settings import Settings
from knownface.types import ServiceType

# How it is fed stands in its file.
LATE = """
name = "late"
task = "embedder"
family = "arcface"
file = "late.onnx"
size = [112, 112]
dimension = 512
calibration = { c0 = 1.24, c1 = 6.0 }
"""


def test_a_model_that_cannot_be_fed_until_the_next_start_is_not_ready(tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_models.write_models(models)
    (models / "late").mkdir()
    (models / "late" / "model.toml").write_text(LATE, "utf-8")
    settings = Settings(
        data=tmp_path / "data",
        models_dir=models,
        detector=tiny_models.DETECTOR,
        embedder=tiny_models.EMBEDDER,
        slots=1,
        offline=True,
    )
    with closing(build(settings)) as app:
        app.start()
        made, _ = app.accounts.create_service("default", "door", ServiceType.RECOGNITION)
        assert app.readiness().ready
        (models / "late" / "late.onnx").write_bytes(tiny_insightface.embedder())
        with app.store.begin() as tx:
            tx.connection.exec_driver_sql("UPDATE service SET embedder = 'late', model = 'late'")
            service = next(one for one in tx.services() if one.id == made.id)

        assert app.readiness().checks["models"] == "late is absent"
        with pytest.raises(ModelUnavailable, match="came after the start"):
            app.recognition.recognize(service, tiny_models.portrait(1), Options())
