"""The operator's one configuration file as frozen models; ``runtime.config`` reads it and says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from job_contracts.experiments import problems
from runtime.settings.console import Console
from runtime.settings.experiments import Experiment
from runtime.settings.routing import Project, Provider, Route
from runtime.settings.services import Edge, LedgerSettings, Nats, Scheduling, Workers
from runtime.settings.telemetry import TelemetrySettings
from runtime.settings.written import Section, Token


class Config(Section):
    """Everything an operator may say."""

    providers: Annotated[dict[Token, Provider], Field(min_length=1)]
    """By name; the name is also that of the pool."""
    routes: Annotated[dict[str, Route], Field(min_length=1)]
    """By the model name that producers ask for."""
    projects: dict[Token, Project] = Field(default={"default": Project()})
    """By name; a producer speaks for one of them."""
    experiments: dict[Token, Experiment] = Field(default={})
    """By name: two or more routes tried side by side. The scheduler reads this section anew while it runs."""
    catalogue: Path | None = None
    """Folder with TOML files of your own, one a provider, that add to the catalogue or change it. A relative path
    begins at the configuration's folder."""
    nats: Nats = Nats()
    """The broker."""
    scheduler: Scheduling = Scheduling()
    """The scheduler's own pace."""
    workers: Workers = Workers()
    """How every worker process works."""
    gateway: Edge = Edge()
    """The HTTP edge."""
    console: Console = Console()
    """What operators see."""
    ledger: LedgerSettings = LedgerSettings()
    """The ledger."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """What the processes tell of themselves beside metrics and logs."""

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for name, route in self.routes.items():
            for deployment in route.deployments:
                provider = deployment.partition("/")[0]
                if provider not in self.providers:
                    known = f"there is no provider {provider!r} (there are: {', '.join(sorted(self.providers))})"
                    message = f"routes.{name}.deployments: {deployment!r}: {known}"
                    raise ValueError(message)
            for where, other in route.others():
                if other not in self.routes or other == name:
                    known = ", ".join(sorted(set(self.routes) - {name}))
                    message = f"routes.{name}.{where}: there is no other route {other!r} (there are: {known})"
                    raise ValueError(message)
            for where, other in route.others() if route.verifier is not None else ():
                both = set(route.deployments) & set(self.routes[other].deployments)
                if both and where != "shadow.to":
                    own = f"{', '.join(sorted(both))}: a draft's own deployment cannot verify it"
                    message = f"routes.{name}.{where}: {own}"
                    raise ValueError(message)
        for name, project in self.projects.items():
            for asked in project.routes or ():
                if asked not in self.routes:
                    known = ", ".join(sorted(self.routes))
                    message = f"projects.{name}.routes: there is no route {asked!r} (there are: {known})"
                    raise ValueError(message)
        for message in problems(self.experiments, self.routes)[:1]:
            raise ValueError(message)
        return self
