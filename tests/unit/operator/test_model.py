"""`umbel model get`: which volume, and a job that is Complete before its server has let go of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from umbel.cli.errors import CliError
from umbel_operator import names
from umbel_operator.cli import model, volumes

from .api_fake import Api

UID = "0f3c2a9e"
MODEL = {names.MODEL: json.dumps({"round": 7, "digest": "sha256:0", "path": "job/model"})}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api()
    for module in ("time", "asyncio"):
        monkeypatch.setattr(model, module, made.clock)
    labels = {names.COMPONENT: "model", names.JOB: "digits", names.JOB_UID: UID}
    made.put("PersistentVolumeClaim", "digits-model", "default", labels=labels)
    return made


def job(api: Api, type_: str, uid: str = UID) -> None:
    status = {"conditions": [{"type": type_, "status": "True", "reason": type_}]}
    api.put("FederatedJob", "digits", "default", meta={"uid": uid}, status=status)


def annotate(api: Api) -> None:
    api.one("PersistentVolumeClaim", "digits-model")["metadata"]["annotations"] = MODEL


async def finished(api: Any) -> volumes.Volume:
    return await model.finished(api, "default", "digits", None)


async def test_the_model_of_a_job_that_is_gone(api: Api) -> None:
    annotate(api)
    assert (await finished(api)).round == 7


async def test_one_that_is_complete_is_waited_for(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    job(api, "Complete")
    began = api.clock.now
    api.clock.meanwhile = lambda: annotate(api) if api.clock.now > began + 30 else None
    assert (await finished(api)).round == 7
    said = capsys.readouterr().err
    assert said == "digits: is Complete; waiting until its server has given the model to the silos\n"


@pytest.mark.parametrize(("type_", "uid"), [("Failed", UID), ("Progressing", UID), ("Complete", "another")])
async def test_one_that_will_have_none_soon_is_not(api: Api, type_: str, uid: str) -> None:
    job(api, type_, uid)
    with pytest.raises(CliError, match="has no final model yet; `kubectl get fj digits -n default`"):
        await finished(api)


async def test_nor_for_ever(api: Api) -> None:
    job(api, "Complete")
    with pytest.raises(CliError, match="has no final model yet"):
        await finished(api)
    assert api.clock.now == pytest.approx(1000 + model.RELEASE_SECONDS, abs=1)
