"""Settings of the review-router."""

from __future__ import annotations

from andon_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Environment variables with the prefix ANDON_.

    Attributes:
        deadline_sweep_s: Seconds between two looks for passed deadlines.
        deadline_quiet_s: Seconds after a start or a pause in which no deadline is enforced, so that results
            which wait on the bus are read first.
    """

    service: str = "review-router"
    deadline_sweep_s: float = 0.5
    deadline_quiet_s: float = 10.0
