"""The composition root: constructs what a process needs, lazily, and decides nothing.

Nothing with a socket exists before first use, so a forked child makes its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from tdsys import quarantine
from tdsys import settings as settings_module
from tdsys.broker import connect, parsed
from tdsys.core.identity import First, Terms, grants_of
from tdsys.core.pruning import MEGABYTE, Limit
from tdsys.core.throttling import Allowance
from tdsys.core.tombs import forms
from tdsys.errors import ConfigurationError, InvalidInput
from tdsys.llm.naming import OFFLINE, check_name, gauge
from tdsys.llm.readiness import require_optuna
from tdsys.settings import ModelTerms, Settings

if TYPE_CHECKING:
    from redis import Redis

    from tdsys.bells import Bells
    from tdsys.core.attribution import Prober
    from tdsys.core.canaries import Canary
    from tdsys.core.embedding import Embedder
    from tdsys.core.notices import Channel
    from tdsys.core.policy import Policy
    from tdsys.core.program import Optimizer
    from tdsys.core.resolving import Solver
    from tdsys.core.rubric import Judge
    from tdsys.inbox import Inbox
    from tdsys.intake import GuardedIntake
    from tdsys.limiter import SharedLimiter
    from tdsys.llm.embedding import ModelEmbedder
    from tdsys.llm.gateway import Gateway
    from tdsys.llm.session import Model
    from tdsys.llm.workshop import ModelWorkshop
    from tdsys.oidc import Provider
    from tdsys.shelf import Shelf
    from tdsys.stages.passwords import Passwords
    from tdsys.stages.scoring import Limits
    from tdsys.store import Store
    from tdsys.verify import EvidenceVerifier
    from tdsys.verify.calculating import GuardedCalculator

# A batch takes a tenth of a second; what takes this long is handed out again, harmlessly.
INGEST_LEASE = timedelta(seconds=10)
# A call of a model waits for the limiter, so the limiter must not wait for Redis.
LIMITER_SECONDS = 1.0
Made = TypeVar("Made")
NOT_RUNNING = "start the embedded servers with `tdsys up`, or set {name}"


class _Asking(Generic[Made]):
    """What asks models and has their answers cached, made once.

    Whoever takes it begins new work, and so before he claims any.

    Answers about what was forgotten meanwhile are dropped then, and none to work that began before
    is kept: nobody has to think of that.
    """

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    @overload
    def __get__(self, here: None, owner: object) -> Self: ...
    @overload
    def __get__(self, here: Runtime, owner: object) -> Made: ...
    def __get__(self, here: Runtime | None, owner: object) -> Self | Made:
        if here is None:
            return self
        here.evict_answers()
        return self.of(here)

    def of(self, here: Runtime) -> Made:
        """The same without any work."""
        name = self._make.__name__
        made: Made = here.asking.get(name) or here.asking.setdefault(name, self._make(here))
        return made


class Runtime:
    """One process's objects."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lease = timedelta(seconds=settings.lease_seconds)
        self.asking: dict[str, Any] = {}

    @property
    def redis_url(self) -> str:
        """The broker's address; ConfigurationError for one that nobody understands."""
        url = _needed(self.settings, "redis_url")
        try:
            parsed(url)
        except ValueError as bad:
            raise ConfigurationError(
                f"TDSYS_REDIS_URL is not usable: {bad}",
                remedy="use redis://:PASSWORD@HOST:PORT/0, or see docs/broker.md",
            ) from None
        return url

    @cached_property
    def store(self) -> Store:
        """Postgres."""
        # A third of a start, which `up`, `status` and `down` have no use for.
        from tdsys.store import Store  # noqa: PLC0415

        return Store(_needed(self.settings, "database_url"))

    @cached_property
    def broker(self) -> Redis:
        """Redis or Valkey, for bells and for captures on their way."""
        return connect(self.redis_url)

    @cached_property
    def bells(self) -> Bells:
        """How workers are told that there is work."""
        # redis-py takes a fifth of a command's start, and most commands ring nowhere
        from tdsys.bells import Bells  # noqa: PLC0415

        return Bells(self.broker)

    @cached_property
    def limiter(self) -> SharedLimiter:
        """How often models may be asked, by all workers together."""
        from tdsys.limiter import SharedLimiter  # noqa: PLC0415  # see `bells`

        return SharedLimiter(
            connect(self.redis_url, socket_timeout=LIMITER_SECONDS, connect_timeout=LIMITER_SECONDS)
        )

    @cached_property
    def gateway(self) -> Gateway | None:
        """The one way to a provider; None where no broker is: each process is on its own."""
        from tdsys.llm.gateway import Gateway  # noqa: PLC0415  # dspy takes seconds to import

        return Gateway(self.limiter, self.allowance) if self.settings.redis_url else None

    @cached_property
    def sparing_gateway(self) -> Gateway | None:
        """The way of optimizations: it leaves some of what may be in flight to all others."""
        from tdsys.llm.gateway import Gateway  # noqa: PLC0415  # dspy takes seconds to import

        return Gateway(self.limiter, self.sparing_allowance) if self.settings.redis_url else None

    def terms(self, model: str) -> ModelTerms:
        """What TDSYS_MODELS says of a model."""
        if model == OFFLINE:
            return ModelTerms(price_in=0.0, price_out=0.0)
        return self.settings.models.get(model, ModelTerms())

    def allowance(self, model: str) -> Allowance:
        """How often a model may be asked."""
        terms = self.terms(model)
        return Allowance(terms.calls_per_minute, terms.in_flight)

    def sparing_allowance(self, model: str) -> Allowance:
        """How often an optimization may ask it: no more than its share are in flight then."""
        terms = self.terms(model)
        most = terms.in_flight and max(1, int(terms.in_flight * terms.optimization_share))
        return Allowance(terms.calls_per_minute, most)

    def named(self) -> tuple[str, str]:
        """The names of the program's model and the judge's."""
        return self.settings.lm, self._judge_named()[1]

    def models(self) -> dict[str, list[str]]:
        """Every model that is configured, with its roles, or was asked in the last day."""
        judge = self._judge_named()[1]
        roles = {gauge(self.settings.lm, self.settings.lm_api_base): ["program"]}
        roles.setdefault(gauge(judge, self._judge_address()), []).append("judge")
        return roles | {name: [] for name in self.limiter.models() if name not in roles}

    @cached_property
    def inbox(self) -> Inbox:
        """Where captures wait."""
        from tdsys.inbox import Inbox  # noqa: PLC0415  # see `bells`

        return Inbox(self.broker, lease=INGEST_LEASE)

    @property
    def shelf(self) -> Shelf:
        """Where generators find the active programs."""
        from tdsys.shelf import Shelf  # noqa: PLC0415  # see `bells`

        secret = self.settings.program_key
        return Shelf(self.broker, secret=secret.get_secret_value() if secret else "")

    @cached_property
    def passwords(self) -> Passwords:
        """Hashes and compares passwords."""
        from tdsys.stages.passwords import Passwords  # noqa: PLC0415  # only the web and `user`

        return Passwords()

    @cached_property
    def provider(self) -> Provider | None:
        """Who else vouches for people, if anybody; ConfigurationError without what it takes."""
        given = self.settings
        if not given.oidc_issuer:
            return None
        if not given.web_origin:
            raise ConfigurationError(
                "TDSYS_OIDC_ISSUER needs TDSYS_WEB_ORIGIN",
                remedy="set it to the address of browsers: the provider sends them back there",
            )
        try:
            from tdsys.oidc import Provider, Registration  # noqa: PLC0415  # an extra
        except ModuleNotFoundError as lacks:
            raise ConfigurationError(
                f"TDSYS_OIDC_ISSUER needs {lacks.name}, which is not installed",
                remedy="pip install 'tdsys[oidc]', or leave TDSYS_OIDC_ISSUER out",
            ) from lacks
        secret = given.oidc_client_secret
        registration = Registration(
            issuer=given.oidc_issuer,
            client_id=given.oidc_client_id or "",
            secret=secret.get_secret_value() if secret else "",
            scopes=given.oidc_scopes,
            title=given.oidc_name or "",
        )
        return Provider(registration, clock=self.now)

    @cached_property
    def provider_terms(self) -> Terms:
        """What a first sign-in by the provider makes of somebody."""
        given = self.settings
        try:
            grants = grants_of(given.oidc_roles)
        except InvalidInput as bad:
            raise ConfigurationError(
                f"TDSYS_OIDC_ROLES is not usable: {bad.message}", remedy=bad.remedy
            ) from bad
        first = First(given.oidc_first)
        if first is First.MAPPED and not grants:
            raise ConfigurationError(
                "TDSYS_OIDC_FIRST=mapped needs TDSYS_OIDC_ROLES",
                remedy='set it to {"GROUP": "ROLE"}, see docs/web.md',
            )
        return Terms(first, given.oidc_claim, grants)

    @cached_property
    def verifier(self) -> EvidenceVerifier:
        """Checks by evidence, with its guarded child."""
        from tdsys.verify import EvidenceVerifier  # noqa: PLC0415  # only workers need it

        return EvidenceVerifier()

    @cached_property
    def calculator(self) -> GuardedCalculator:
        """Works out what models calculate, with its guarded child."""
        from tdsys.verify.calculating import GuardedCalculator  # noqa: PLC0415  # as above

        return GuardedCalculator()

    @cached_property
    def intake(self) -> GuardedIntake:
        """The reader of files, with its guarded child."""
        from tdsys.intake import GuardedIntake  # noqa: PLC0415  # only imports need it

        return GuardedIntake()

    @cached_property
    def judge(self) -> Judge:
        """The judge model with its rubric."""
        from tdsys.llm.judge import ModelJudge  # noqa: PLC0415  # dspy takes seconds to import

        return ModelJudge(self.judge_model, width=self.settings.lm_threads, named=self._panel_model)

    def embedder(self) -> Embedder:
        """Whoever embeds problems where a policy says so; a model or what is installed."""
        return self._embedder

    @cached_property
    def _embedder(self) -> ModelEmbedder:
        from tdsys.llm.embedding import ModelEmbedder  # noqa: PLC0415  # dspy takes seconds

        return ModelEmbedder(self.gateway, api_base=self.settings.embedder_api_base)

    def check_embedder(self, policy: Policy) -> None:
        """Refuse a policy's embedder that nothing can come of; asks nobody."""
        if policy.embedder is not None:
            self._embedder.check(policy.embedder.model)

    @cached_property
    def canaries(self) -> tuple[Canary, ...]:
        """Examples whose worth is known."""
        from tdsys.llm.canaries import shipped  # noqa: PLC0415  # only workers need it

        return shipped()

    @_Asking
    def optimizer(self) -> Optimizer:
        """The optimizers, on the configured model."""
        from tdsys.llm.optimizer import DspyOptimizer  # noqa: PLC0415

        return DspyOptimizer(self._sparing_model, threads=self.settings.lm_threads)

    @_Asking
    def prober(self) -> Prober:
        """Prompts with given demos on the configured model."""
        from tdsys.llm.probing import ModelProber  # noqa: PLC0415

        return ModelProber(self._sparing_model, threads=self.settings.lm_threads)

    @cached_property
    def workshop(self) -> ModelWorkshop:
        """Everything that can make an example; who has it made takes `solver` as well.

        Offering is no work, and whoever only offers, as the web does, needs no cache of answers.
        """
        from tdsys.llm.workshop import ModelWorkshop  # noqa: PLC0415

        return ModelWorkshop(
            lambda: self.program_model,
            threads=self.settings.lm_threads,
            calculator=self.calculator,
            prices=lambda name: self.terms(name).prices,
        )

    @_Asking
    def solver(self) -> Solver:
        """Solves synthetic problems once more: the judge's model, so that it can be another."""
        from tdsys.llm.synthesis import ModelSolver  # noqa: PLC0415

        return ModelSolver(self.judge_model, threads=self.settings.lm_threads)

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """Where alerts go."""
        from tdsys.notify import Mail, channels  # noqa: PLC0415  # only workers need it

        secret = self.settings.alert_secret
        url = self.settings.smtp_url
        return channels(
            {name: one.get_secret_value() for name, one in self.settings.alert_channels.items()},
            mail=Mail(url.get_secret_value() if url else None, self.settings.alert_from),
            secret=secret.get_secret_value() if secret else None,
        )

    @property
    def alerts_page(self) -> str:
        """Where a person looks at alerts; empty when the web application has no known address."""
        return f"{self.settings.web_origin}/alerts" if self.settings.web_origin else ""

    @property
    def program_model(self) -> Model:
        """The model the program runs on."""
        return self._model("TDSYS_LM", self.settings.lm, self.settings.lm_api_base)

    @property
    def _sparing_model(self) -> Model:
        """The same for what has time and makes many calls."""
        return replace(self.program_model, gateway=self.sparing_gateway)

    @property
    def program_price(self) -> float | None:
        """US dollars for a million tokens of the model the program runs on; None: not known."""
        return self.terms(self.settings.lm).price

    @property
    def judge_model(self) -> Model:
        """The model that judges; another model never gets the address meant for TDSYS_LM."""
        setting, name = self._judge_named()
        return self._model(setting, name, self._judge_address())

    def _judge_address(self) -> str | None:
        same = self._judge_named()[1] == self.settings.lm
        return self.settings.judge_lm_api_base or (self.settings.lm_api_base if same else None)

    def _panel_model(self, name: str) -> Model:
        """A model that a policy names for its panel."""
        known = {self.settings.lm: self.program_model, self._judge_named()[1]: self.judge_model}
        return known.get(name) or self._model("judges.panel", name, None)

    def _judge_named(self) -> tuple[str, str]:
        """The setting that names the judge's model, and the name."""
        if self.settings.judge_lm:
            return "TDSYS_JUDGE_LM", self.settings.judge_lm
        return "TDSYS_LM", self.settings.lm

    def _model(self, setting: str, name: str, address: str | None) -> Model:
        from tdsys.llm.session import Model  # noqa: PLC0415

        check_name(name, setting=setting)
        return Model(
            name=name,
            api_base=address,
            seed=self.settings.lm_seed,
            gateway=self.gateway,
            prices=self.terms(name).prices,
        )

    @property
    def simulated(self) -> tuple[str, ...]:
        """Which roles the offline model plays: `program`, `judge`, both or none."""
        played = zip(("program", "judge"), self.named(), strict=True)
        return tuple(role for role, name in played if name == OFFLINE)

    def check_settings(self) -> None:
        """Refuse what can never work, before anything is started; opens no connection."""
        check_name(self.settings.lm)
        setting, name = self._judge_named()
        check_name(name, setting=setting)
        _ = self.channels
        require_optuna(load=False)
        if self.settings.database_url:
            _ = self.store
        if self.settings.redis_url:
            _ = self.broker
        self.check_provider()

    def check_provider(self) -> None:
        """Refuse settings by which nobody could sign in; asks nobody."""
        _ = self.provider, self.provider_terms

    def check_models(self) -> None:
        """Import DSPy and refuse a model that cannot work; no call is made."""
        require_optuna()
        _ = self.judge, [one.of(self) for one in (Runtime.optimizer, Runtime.solver)]

    @property
    def scoring_limits(self) -> Limits:
        """How much one scoring bell may do."""
        from tdsys.stages.scoring import Limits  # noqa: PLC0415  # see `store`

        given = self.settings
        return Limits(block=given.scoring_block, lease=self.lease, max_attempts=given.max_attempts)

    @property
    def storage_limits(self) -> tuple[Limit, ...]:
        """What the admitted examples of all domains together may come to."""
        number, size = self.settings.max_admitted, self.settings.max_megabytes
        return (
            *([] if number is None else [Limit("TDSYS_MAX_ADMITTED", number=number)]),
            *([] if size is None else [Limit("TDSYS_MAX_MEGABYTES", size=round(size * MEGABYTE))]),
        )

    def now(self) -> datetime:
        """The present, aware, UTC."""
        return datetime.now(UTC)

    def drop_quarantined(self, texts: Collection[str]) -> int:
        """Take messages out of the broker's quarantine that quote one of these; how many."""
        pieces = [form.encode() for text in texts for form in forms(text)]
        return quarantine.drop(self.broker, pieces)

    def evict_answers(self) -> int:
        """Drop models' answers about what was forgotten from this machine's cache; how many."""
        from tdsys.llm.session import evict  # noqa: PLC0415  # dspy takes seconds to import
        from tdsys.stages import forgetting  # noqa: PLC0415  # see `store`

        return evict(lambda done: forgetting.evictions(self.store, done=done))

    def close(self) -> None:
        """End what this process opened."""
        self.__dict__.pop("bells", None)  # they hold the broker
        for name in ("verifier", "calculator", "store", "broker", "provider"):
            if (held := self.__dict__.pop(name, None)) is not None:
                held.close()


_runtimes: dict[int, Runtime] = {}


def current() -> Runtime:
    """Return this process's runtime; a forked child gets its own."""
    pid = os.getpid()
    if pid not in _runtimes:
        _runtimes.clear()
        _runtimes[pid] = Runtime(settings_module.load())
    return _runtimes[pid]


def close() -> None:
    """End this process's runtime, if it has one."""
    if found := _runtimes.pop(os.getpid(), None):
        found.close()


def _needed(settings: Settings, name: str) -> str:
    secret = getattr(settings, name)
    if secret is None:
        variable = f"TDSYS_{name.upper()}"
        raise ConfigurationError(
            f"{variable} is not set and no embedded stack is running",
            remedy=NOT_RUNNING.format(name=variable),
        )
    return str(secret.get_secret_value())
