"""The final model in an object store that asks who is there: the server's credentials are those of the job's Secret."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from umbel_cluster.processes import until

from .federation import Federation, Job

pytestmark = pytest.mark.cluster

PORT, BUCKET, SECRET = 5443, "models", "object-store"
PREPARE = """
import boto3, json, sys
known = dict(endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any")
iam, s3 = boto3.client("iam", **known), boto3.client("s3", **known)
allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.create_user(UserName="umbel")
iam.put_user_policy(UserName="umbel", PolicyName="models", PolicyDocument=json.dumps(allowed))
key = iam.create_access_key(UserName="umbel")["AccessKey"]
s3.create_bucket(Bucket=sys.argv[2])
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))
"""
OPEN_CALLS = 4  # those of PREPARE; from then on the store checks signatures
FETCH = """
import boto3, sys
endpoint, bucket, name, key, secret = sys.argv[1:]
known = dict(endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)
sys.stdout.buffer.write(boto3.client("s3", **known).get_object(Bucket=bucket, Key=name)["Body"].read())
"""


@dataclass(frozen=True)
class Store:
    """In the network of the hub's cluster, as the server's pod reaches it."""

    federation: Federation
    endpoint: str
    key: str
    secret: str

    def fetch(self, name: str) -> bytes:
        command = [sys.executable, "-c", FETCH, self.endpoint, BUCKET, name, self.key, self.secret]
        return subprocess.run(self.federation.hub.inside(command), check=True, stdout=subprocess.PIPE).stdout

    @contextmanager
    def secret_of_a_job(self, secret: str) -> Iterator[None]:
        hub = self.federation.hub
        values = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": values}
        hub.kubectl("apply", "-f", "-", input=json.dumps(body))
        try:
            yield
        finally:
            hub.kubectl("delete", "secret", SECRET)


@pytest.fixture(scope="module")
def store(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with serving(federation, tmp_path_factory.mktemp("store")) as started:
        yield started


@contextmanager
def serving(federation: Federation, folder: Path) -> Iterator[Store]:
    hub = federation.hub
    endpoint = f"http://{hub.node_ip}:{PORT}"
    command = [sys.executable, "-m", "moto.server", "-H", hub.node_ip, "-p", str(PORT)]
    checking = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(OPEN_CALLS)}
    with (folder / "store.log").open("wb") as log:
        process = hub.popen(command, env=checking, stdout=log, stderr=log)
    try:
        until(lambda: b"Running on" in (folder / "store.log").read_bytes(), "the object store", 60)
        prepare = hub.inside([sys.executable, "-c", PREPARE, endpoint, BUCKET])
        key, secret = json.loads(subprocess.run(prepare, check=True, stdout=subprocess.PIPE).stdout)
        yield Store(federation, endpoint, key, secret)
    finally:
        process.kill()
        process.wait()


def test_the_model_lands_in_the_object_store(federation: Federation, troubled: str, store: Store) -> None:
    with store.secret_of_a_job(store.secret), job(federation, "stored", troubled) as stored:
        stored.until_complete()
        told = stored.condition("OutputWritten")
        assert (told["status"], told["reason"]) == ("True", "Written")
        model = stored.status["model"]
        assert model["uri"] == f"s3://{BUCKET}/stored.safetensors"
        assert model["digest"] == f"sha256:{hashlib.sha256(store.fetch('stored.safetensors')).hexdigest()}"


def test_a_store_that_refuses_does_not_fail_the_job(federation: Federation, troubled: str, store: Store) -> None:
    with store.secret_of_a_job("not-the-key"), job(federation, "unstored", troubled) as unstored:
        unstored.until_complete()
        told = unstored.condition("OutputWritten")
        assert (told["status"], told["reason"]) == ("False", "OutputFailed")
        assert "spec.model.output.uri" in told["message"]
        assert "not-the-key" not in json.dumps(unstored.get())
        assert "uri" not in unstored.status["model"]


@contextmanager
def job(federation: Federation, name: str, image: str) -> Iterator[Job]:
    app = {"image": image, "client": "client:app"}
    model = {"output": {"uri": f"s3://{BUCKET}/{name}.safetensors"}, "credentialsSecret": SECRET}
    with federation.job(name, app=app, model=model, rounds={"total": 2}) as started:
        yield started
