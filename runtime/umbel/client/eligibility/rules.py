"""The rules of a silo for when it can take part, as its site file has them under ``eligibility``."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from umbel.manifest.errors import shown
from umbel.manifest.scalars import Flag, Part, Real, Whole

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
DAYS: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTES_OF_A_DAY = 24 * 60


def _wrong(fault: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("umbel", "{fault}; {remedy}", {"fault": fault, "remedy": remedy})


def minutes(text: str) -> int:
    """Since midnight; ``24:00`` is the end of the day. Raises ValueError."""
    if text == "24:00":
        return MINUTES_OF_A_DAY
    if len(text) != 5:
        raise ValueError(text)
    time = datetime.datetime.strptime(text, "%H:%M")
    return time.hour * 60 + time.minute


def _time(text: str) -> str:
    try:
        minutes(text)
    except ValueError:
        raise _wrong(f"{shown(text)} is not a time of day", 'write it like "22:00", up to "24:00"') from None
    return text


def _zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong(f"{shown(text)} is not a time zone that this machine knows", "write it like Europe/Berlin") from (
            None
        )
    return text


def _pattern(text: str) -> str:
    if not text or any(ord(c) <= 32 or ord(c) == 127 for c in text):
        raise _wrong(f"{shown(text)} is not a pattern", "write the name of a network interface, or a pattern like en*")
    return text


Time = Annotated[str, Field(strict=True, max_length=16), AfterValidator(_time)]
Zone = Annotated[str, Field(strict=True, min_length=1, max_length=64), AfterValidator(_zone)]
Interface = Annotated[str, Field(strict=True, max_length=64), AfterValidator(_pattern)]


class Window(Part):
    """From ``opens`` until just before ``closes``, past midnight if that is earlier. It belongs to the day on which it
    opens."""

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1, max_length=7, description="Days on which it opens.")
    opens: Time = Field(description="Time of day like 22:00.")
    closes: Time = Field(description="Time of day like 06:00.")

    @model_validator(mode="after")
    def _lasts(self) -> Window:
        if minutes(self.opens) % MINUTES_OF_A_DAY == minutes(self.closes):
            raise _wrong("opens and closes at the same time", 'write 00:00 and "24:00" for the whole day')
        return self


class Rules(Part):
    """All that are given have to be met. Without any a silo can always take part."""

    on_loss: Literal["SendPartial", "Decline"] = Field(
        default="SendPartial", description="What becomes of a task that is under way when a rule is not met any more."
    )
    time_zone: Zone = Field(default="UTC", description="Of the windows.")
    windows: tuple[Window, ...] = Field(default=(), max_length=64, description="One of them has to be open.")
    max_load: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        default=None, description="Share of the machine's CPU time that others may use, over about a minute."
    )
    idle_seconds: Annotated[Whole, Field(ge=1, le=604_800)] | None = Field(
        default=None, description="For so long nobody must have typed at a terminal of the machine."
    )
    charging: Flag = Field(default=False, description="The machine has to be on mains power.")
    unmetered_interfaces: tuple[Interface, ...] = Field(
        default=(), max_length=32, description="Patterns of the network interfaces that traffic may take."
    )
