"""Process settings: read once from the environment and the address file, passed on as values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from tdsys.errors import ConfigurationError

ADDRESS_FILE = "addresses.json"


def default_home() -> Path:
    """The folder for data when TDSYS_HOME is unset: `tdsys` in the XDG data folder.

    For root it is /var/lib: the servers then run as nobody, who may not enter /root.
    """
    usual = "/var/lib" if os.geteuid() == 0 else str(Path.home() / ".local" / "share")
    return Path(os.environ.get("XDG_DATA_HOME") or usual) / "tdsys"


JSON_SETTINGS = ("models", "alert_channels")
# Of a call's tokens those of the prompt, more or less; what is spent is counted exactly.
READ_SHARE = 2 / 3


class ModelTerms(BaseModel):
    """What is known of one model: limits of all workers together, dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls_per_minute: float | None = Field(None, gt=0)
    in_flight: int | None = Field(None, ge=1)
    optimization_share: float = Field(0.5, gt=0, le=1)
    price_in: float | None = Field(None, ge=0)
    price_out: float | None = Field(None, ge=0)

    @property
    def prices(self) -> tuple[float, float] | None:
        """For tokens read and written; None where one of them is not known."""
        if self.price_in is None or self.price_out is None:
            return None
        return self.price_in, self.price_out

    @property
    def price(self) -> float | None:
        """Dollars for a million tokens read and written together; None: not known."""
        if self.prices is None:
            return None
        return READ_SHARE * self.prices[0] + (1 - READ_SHARE) * self.prices[1]


class Settings(BaseSettings):
    """Everything a process takes from its environment; each field is `TDSYS_` + its name."""

    model_config = SettingsConfigDict(
        env_prefix="TDSYS_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    home: Path = default_home()
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    program_key: SecretStr | None = None
    lm: str = "offline"
    lm_api_base: str | None = None
    lm_seed: int = 7
    judge_lm: str | None = None
    judge_lm_api_base: str | None = None
    embedder_api_base: str | None = None
    models: dict[str, ModelTerms] = Field(default_factory=dict)
    call_tokens: int = Field(8000, ge=2500)
    lm_threads: int = Field(16, ge=1)
    scoring_block: int = Field(50, ge=1)
    lease_seconds: int = Field(120, ge=5)
    max_attempts: int = Field(5, ge=1)
    max_admitted: int | None = Field(None, ge=1)
    max_megabytes: float | None = Field(None, gt=0)
    web_host: str = "127.0.0.1"
    web_port: int = Field(8080, ge=1, le=65535)
    web_origin: str | None = Field(None, pattern=r"^https?://[^/?#]+$")
    web_proxy: str | None = None
    alert_channels: dict[str, SecretStr] = {}
    alert_level: Literal["info", "warning", "critical"] = "info"
    alert_secret: SecretStr | None = None
    alert_from: str | None = None
    smtp_url: SecretStr | None = None
    web_pace: float = Field(1.0, ge=0)
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_name: str | None = None
    oidc_scopes: str = "openid profile email"
    oidc_first: Literal["refused", "viewer", "mapped"] = "refused"
    oidc_claim: str = "groups"
    oidc_roles: str = ""


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
        name, *within = map(str, first["loc"])
        place = f" ({': '.join(within)})" if within else ""
        raise _unusable(name, f"{first['msg']}{place}") from bad
    except SettingsError as bad:  # its words name the setting and may hold what it says
        named = next((n for n in JSON_SETTINGS if f'"{n}"' in str(bad)), JSON_SETTINGS[0])
        raise _unusable(named, "it is no JSON") from None
    known = addresses(settings.home)
    found: dict[str, SecretStr] = {
        name: SecretStr(known[name])
        for name in ("database_url", "redis_url")
        if getattr(settings, name) is None and name in known
    }
    return settings.model_copy(update={**found})


def _unusable(name: str, told: str) -> ConfigurationError:
    return ConfigurationError(
        f"TDSYS_{name.upper()} is not usable: {told}",
        remedy="see the settings table in the README",
    )
