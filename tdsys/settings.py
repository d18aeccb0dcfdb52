"""Process settings: read once from the environment and the address file, passed on as values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tdsys.errors import ConfigurationError

ADDRESS_FILE = "addresses.json"


def default_home() -> Path:
    """The folder for data when TDSYS_HOME is unset: `tdsys` in the XDG data folder.

    For root it is /var/lib: the servers then run as nobody, who may not enter /root.
    """
    usual = "/var/lib" if os.geteuid() == 0 else str(Path.home() / ".local" / "share")
    return Path(os.environ.get("XDG_DATA_HOME") or usual) / "tdsys"


class Settings(BaseSettings):
    """Everything a process takes from its environment; each field is `TDSYS_` + its name."""

    model_config = SettingsConfigDict(
        env_prefix="TDSYS_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    home: Path = default_home()
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    lm: str = "offline"
    lm_api_base: str | None = None
    lm_seed: int = 7
    judge_lm: str | None = None
    judge_lm_api_base: str | None = None
    lm_price: float | None = Field(None, ge=0)
    lm_threads: int = Field(16, ge=1)
    scoring_block: int = Field(50, ge=1)
    lease_seconds: int = Field(120, ge=5)
    max_attempts: int = Field(5, ge=1)
    web_host: str = "127.0.0.1"
    web_port: int = Field(8080, ge=1, le=65535)
    web_origin: str | None = Field(None, pattern=r"^https?://[^/?#]+$")
    web_proxy: str | None = None
    alert_channels: dict[str, SecretStr] = {}
    alert_level: Literal["info", "warning", "critical"] = "info"
    alert_secret: SecretStr | None = None
    alert_from: str | None = None
    smtp_url: SecretStr | None = None


def addresses(home: Path) -> dict[str, str]:
    """What the embedded stack wrote about itself: database_url, redis_url, flower_url, ...

    ConfigurationError where they belong to another user.
    """
    try:
        found = json.loads((home / ADDRESS_FILE).read_text())
    except PermissionError as bad:
        raise ConfigurationError(
            f"{bad.filename} may not be read by this user",
            remedy="be the user who started tdsys there, or set TDSYS_HOME to a folder of yours",
        ) from bad
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def load() -> Settings:
    """Read the environment; addresses of the embedded stack fill in what it leaves open."""
    try:
        settings = Settings()
    except ValidationError as bad:
        first = bad.errors()[0]
        name = "TDSYS_" + str(first["loc"][0]).upper()
        raise ConfigurationError(
            f"{name} is not usable: {first['msg']}",
            remedy="see the settings table in the README",
        ) from bad
    known = addresses(settings.home)
    found: dict[str, SecretStr] = {
        name: SecretStr(known[name])
        for name in ("database_url", "redis_url")
        if getattr(settings, name) is None and name in known
    }
    return settings.model_copy(update={**found})
