"""The site file's `slurm.relay`: where the agent listens for its own clients."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from umbel.manifest.errors import shown
from umbel.manifest.scalars import DnsName, Part, Whole

ENDPOINT = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?|\[(?P<v6>[0-9a-f:.]+)\]):(?P<port>[0-9]{1,5})\Z")
ANYWHERE = ("0.0.0.0", "[::]")


def _wrong(fault: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("umbel", "{fault}; {remedy}", {"fault": fault, "remedy": remedy})


def _endpoint(text: str) -> str:
    match = ENDPOINT.match(text)
    if match is None or int(match["port"]) > 65535 or (match["v6"] and not _is_v6(match["v6"])):
        like = "write it like 10.0.0.1:0 or [fd00::1]:0, 0 for any port that is free"
        raise _wrong(f"{shown(text)} is not HOST:PORT", like)
    return text


def _is_v6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


class Relay(Part):
    """By which clients reach their servers where the compute nodes have no route out."""

    listen: Annotated[str, Field(strict=True, max_length=260), AfterValidator(_endpoint)] = Field(
        description="HOST:PORT of the agent's machine that compute nodes reach; port 0: a free one, which is kept."
    )
    address: DnsName | None = Field(default=None, description="What compute nodes call that host. Default: as listen.")
    connections: Annotated[Whole, Field(ge=1, le=4096)] = Field(default=64, description="The most at a time.")

    @model_validator(mode="after")
    def _reached(self) -> Relay:
        if self.host in ANYWHERE and self.address is None:
            raise _wrong("listens everywhere and has no address", "give address: what compute nodes call this host")
        return self

    @property
    def host(self) -> str:
        """An IPv6 address in brackets."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])
