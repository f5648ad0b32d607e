"""What Slurm's commands say when they do not do as they were told. Pure."""

from __future__ import annotations

import re

# By pattern of what the command says: words that a silo's administrator understands.
REFUSALS = (
    (r"submit_?job_?limit|job submit limit", "as many jobs of this account are queued as the site allows"),
    (r"invalid partition", "there is no such partition; the site file names it"),
    (r"invalid account|account/partition combination", "the account may not be used here; the site file names it"),
    (r"invalid qos", "there is no such quality of service, or the account may not use it; the site file names it"),
    (r"generic resource|\bgres\b", "the site has no such GPUs or other generic resources"),
    (r"memory specification", "no node has as much memory as the job asks for"),
    (r"cpu count|more processors|ntasks", "no node has as many processors as the job asks for"),
    (r"node count", "the partition has fewer nodes than the job asks for"),
    (r"feature specification|constraint", "no node has the features of the site file's constraint"),
    (r"reservation", "the reservation of the site file cannot be used"),
    (r"requested node configuration", "no node can give what the job asks for"),
    (r"time limit", "the job asks for more time than the partition gives"),
    (r"invalid user|user_?id|not authorized|access/permission denied|permission", "this user may not do that here"),
)
TEMPORARY = (
    r"unable to contact|connect failure|connection refused|timed out|temporarily|try again|retry"
    r"|zero bytes|backup controller|munge|authentication|insufficient|slurmdbd|submit_?job_?limit|job submit limit"
    r"|connection reset|i/o error|database"
)
ARRIVED = r"timed out|zero bytes|connection reset|message receive|i/o error"  # said once the request was on its way
NOT_HEARD = "the scheduler does not answer"


def is_temporary(said: str) -> bool:
    return re.search(TEMPORARY, said, re.IGNORECASE) is not None


def may_have_arrived(said: str) -> bool:
    """Whether a submission that failed with these words may exist nevertheless."""
    return re.search(ARRIVED, said, re.IGNORECASE) is not None


def explained(said: str) -> str:
    """Our words first, then the command's own, on one line and of bounded length."""
    own = " / ".join(line.strip() for line in said.splitlines() if line.strip())[:400] or "it said nothing"
    for pattern, words in REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{words} ({own})"
    return f"{NOT_HEARD} ({own})" if is_temporary(said) else f"the scheduler refuses ({own})"
