"""The demo's plot: start, capture, import, judge, optimize, show, stop."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from tdsys import runtime
from tdsys.client import CaptureClient
from tdsys.core.budget import evaluations
from tdsys.core.conversion import ImportOptions
from tdsys.core.dataset import Split
from tdsys.core.patience import Patience
from tdsys.core.policy import Policy
from tdsys.core.printable import printable
from tdsys.demo import report
from tdsys.demo.result import DomainResult, Heat, Result, summary
from tdsys.embedded.stack import Stack
from tdsys.embedded.supervisor import TELL_AFTER
from tdsys.errors import NotReady, TdsysError
from tdsys.reference import ReferenceGenerator
from tdsys.stages import (
    datasets,
    exporting,
    importing,
    monitoring,
    optimizing,
    planning,
    uploading,
)
from tdsys.stages import policies as rules
from tdsys.store import Store
from tdsys.wire import Task

DOMAINS = ("algebra", "fractions", "statistics")
IMPORTED_DOMAIN = "word problems"
PROBLEMS = 300
FAULT_RATE = 0.2
SEED = 1
RESULTS = Path(".tdsys") / "demo"
LOOK_EVERY = 0.15
# A real model may take long over all; what shows no progress for this long is broken.
PATIENCE_SECONDS = 600
OWN_SERVERS = ("TDSYS_DATABASE_URL", "TDSYS_REDIS_URL")


def run(*, lm: str | None, keep: bool, picture: Path | None, as_json: bool) -> None:
    """Run the whole loop and print what came out."""
    console = _console(stderr=as_json, recorded=picture is not None)
    _environment(console, lm, keep=keep)
    runtime.current().check_settings()
    with _home(console, keep=keep) as home:
        began = time.monotonic()
        with Stack(home, env=os.environ, report=lambda line: _tell(console, f"· {line}")) as stack:
            if keep:
                refuse_used(runtime.current().store)
            result, heat = _Story(console, stack, began).tell()
    report.show(console, result, heat, folder=str(RESULTS))
    if keep:
        _tell(console, f"the data stay in {home}; `tdsys up` goes on with them")
    if picture:
        picture.write_text(report.picture(console), encoding="utf-8")
    if as_json:
        Console().print_json(json.dumps(result.document()))


def _console(*, stderr: bool, recorded: bool) -> Console:
    if not recorded:
        return Console(stderr=stderr)
    # as if there were no terminal: a recording would hold every state of every bar
    return Console(stderr=stderr, record=True, width=100, force_terminal=False)


def refuse_used(store: Store) -> None:
    """NotReady when the store holds examples: the demo writes 500 more and sets policies."""
    held = sum(monitoring.funnel(store).states.values())
    if held:
        raise NotReady(
            f"the store already holds {held} examples, which the demo would mix with its own",
            remedy="leave --keep out, or set TDSYS_HOME to an empty folder and unset "
            + " and ".join(OWN_SERVERS),
        )


def _environment(console: Console, lm: str | None, *, keep: bool) -> None:
    """Give this process and all it starts one model, and servers of its own unless kept."""
    runtime.close()
    given = [name for name in OWN_SERVERS if os.environ.get(name)]
    if given and not keep:
        _tell(console, f"{' and '.join(given)} set aside: the demo runs on servers of its own")
        for name in given:
            del os.environ[name]
    os.environ.setdefault("TDSYS_LEASE_SECONDS", "20")
    if lm:
        os.environ["TDSYS_LM"] = lm


@contextmanager
def _home(console: Console, *, keep: bool) -> Iterator[Path]:
    """Where the demo lives: TDSYS_HOME, or a new folder that stays only when the demo fails."""
    kept = runtime.current().settings.home
    home = kept if keep else Path(tempfile.mkdtemp(prefix="tdsys-demo-"))
    os.environ["TDSYS_HOME"] = str(home)
    runtime.close()
    try:
        yield home
    except Exception as failed:
        _point_to(home, failed)
        raise
    except BaseException:
        _leave(console, home, keep=keep)
        raise
    else:
        _leave(console, home, keep=keep)
    finally:
        runtime.close()


def _point_to(home: Path, failed: Exception) -> None:
    """Say in the error where what it left behind is."""
    where = f"data and logs stay in {home}"
    if isinstance(failed, TdsysError):
        failed.remedy = f"{failed.remedy}; {where}" if failed.remedy else where
    else:
        failed.add_note(where)


def _leave(console: Console, home: Path, *, keep: bool) -> None:
    if not keep:
        _tell(console, "· removing the data of its servers")
        shutil.rmtree(home, ignore_errors=True)


def _tell(console: Console, line: str, style: str = "") -> None:
    console.print(Text(printable(line), style=style), soft_wrap=True)


class _Seen(NamedTuple):
    """One look at what is waited for; as long as `mark` changes there is progress."""

    done: bool
    mark: object


class _Story:
    """One demo under way."""

    def __init__(self, console: Console, stack: Stack, began: float) -> None:
        self._console, self._stack = console, stack
        # Workers are still on their way: what is captured meanwhile waits for them.
        self._stages = {"start": round(time.monotonic() - began, 2)}
        self._began = self._told = began
        self._here = runtime.current()

    def tell(self) -> tuple[Result, list[Heat]]:
        """Every chapter in order; the result and the heat maps."""
        self._hold(held=True)
        with self._chapter("capture"):
            self._capture()
        with self._chapter("import"):
            self._import()
        with self._chapter("verify and judge"):
            self._judge()
        self._hold(held=False)
        self._here.bells.ring(Task.PLAN)
        with self._chapter("optimize"):
            self._optimize()
        return self._result()

    @contextmanager
    def _chapter(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        _tell(self._console, name, "bold")
        self._told = began
        yield
        self._stages[name] = round(time.monotonic() - began, 2)

    def _hold(self, *, held: bool) -> None:
        """Optimization waits until everything is in, so that the end state has one cause.

        Nobody is there to decide what an audit would draw.
        """
        for domain in (*DOMAINS, IMPORTED_DOMAIN):
            policy = Policy(
                optimization="hold" if held else "automatic", settle_seconds=0, audit_share=0
            )
            # Workers start meanwhile: on a busy machine each of these may take a second.
            _tell(self._console, f"· policy of {domain}: optimization {policy.optimization}")
            rules.put(
                self._here.store, domain=domain, policy=policy, author="demo", now=self._here.now()
            )

    def _capture(self) -> None:
        generator = ReferenceGenerator(seed=SEED, fault_rate=FAULT_RATE)
        spool = self._stack.home / "spool"
        with CaptureClient(self._here.redis_url, spool_dir=spool) as client:
            for problem in generator.stream(DOMAINS, PROBLEMS):
                client.capture(
                    domain=problem.domain,
                    inputs={**problem.inputs},
                    outputs={**problem.outputs},
                    metadata={"generator": "reference", "fault": problem.fault},
                )
            self._wait("captured and committed", PROBLEMS, lambda: client.stats().committed)
            if dropped := client.stats().dropped:
                raise TdsysError(f"the client dropped captures: {dropped}")

    def _import(self) -> None:
        source = files("tdsys.reference") / "gsm8k" / "problems.jsonl"
        with as_file(source) as path:
            content = path.read_bytes()
        total = len(content.splitlines())
        import_id = uploading.receive(
            self._here.store,
            pieces=[content],
            filename="problems.jsonl",
            domain=IMPORTED_DOMAIN,
            actor="demo",
            clock=self._here.now,
            options=ImportOptions(
                mapping={"question": "problem", "answer": "solution"},
                license="MIT",
                attribution="GSM8K, OpenAI",
            ),
        ).import_id
        self._here.bells.ring(Task.PARSE)
        self._wait(
            "imported", total, lambda: importing.status(self._here.store, import_id=import_id).read
        )

    def _judge(self) -> None:
        counted = monitoring.funnel(self._here.store)
        total = sum(counted.states.values())
        self._wait(
            "verified, judged and decided",
            total,
            lambda: total - monitoring.funnel(self._here.store).states.get("candidate", 0),
        )

    def _optimize(self) -> None:
        names = (*DOMAINS, IMPORTED_DOMAIN)
        with self._bars() as bars:
            rows = {name: bars.add_task(name, total=1) for name in names}
            self._until(
                lambda: _all(self._advance(bars, rows, name) for name in names),
                "the optimizations",
                bars,
            )

    def _advance(self, bars: Progress, rows: dict[str, Any], domain: str) -> _Seen:
        (found,) = planning.status(self._here.store, domain=domain, clock=self._here.now)
        if found.run is None:
            return _Seen(done=False, mark=found.because)
        total = evaluations(found.run.plan)
        done = found.run.state in {"finished", "failed", "cancelled"}
        bars.update(
            rows[domain],
            total=total,
            description=f"{domain}: trials",
            completed=total if done else int(str(found.run.progress.get("trials", 0))),
        )
        return _Seen(done, (found.run.state, found.run.attempts, found.run.progress))

    def _wait(self, what: str, total: int, count: Callable[[], int]) -> None:
        with self._bars() as bars:
            row = bars.add_task(what, total=total)

            def look() -> _Seen:
                done = count()
                bars.update(row, completed=done)
                return _Seen(done >= total, done)

            self._until(look, what, bars)

    def _until(self, look: Callable[[], _Seen], what: str, bars: Progress) -> None:
        """Look again and again, keeping the stack alive meanwhile."""
        patience = Patience(PATIENCE_SECONDS)
        while not (seen := look()).done:
            if patience.is_out(seen.mark, now=time.monotonic()):
                raise TdsysError(
                    f"{what}: no progress for {PATIENCE_SECONDS // 60} minutes",
                    remedy=f"read the logs in {self._stack.home / 'logs'}",
                )
            self._stack.tend()
            time.sleep(LOOK_EVERY)
            self._tell_progress(bars)

    def _tell_progress(self, bars: Progress) -> None:
        """Where there is no terminal, rich shows its bars only when all is over."""
        if not self._console.is_terminal and time.monotonic() - self._told > TELL_AFTER:
            self._told = time.monotonic()
            parts = (f"{t.description} {t.completed:.0f} of {t.total:.0f}" for t in bars.tasks)
            # past the console: no part of what is recorded
            print(printable(f"  {', '.join(parts)}"), file=self._console.file, flush=True)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("  {task.description:<32}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )

    def _result(self) -> tuple[Result, list[Heat]]:
        names = (*DOMAINS, IMPORTED_DOMAIN)
        RESULTS.mkdir(parents=True, exist_ok=True)
        domains = [self._domain(name) for name in names]
        result = summary(
            monitoring.funnel(self._here.store),
            domains,
            stages=self._stages,
            simulated=self._here.simulated,
            model=self._here.settings.lm,
            judge=self._here.settings.judge_lm or self._here.settings.lm,
            seconds=round(time.monotonic() - self._began, 2),
        )
        (RESULTS / "result.json").write_text(
            json.dumps(result.document(), indent=1) + "\n", encoding="utf-8"
        )
        return result, [Heat(n, monitoring.cells(self._here.store, domain=n)) for n in names]

    def _domain(self, name: str) -> DomainResult:
        (found,) = planning.status(self._here.store, domain=name, clock=self._here.now)
        best = optimizing.best(self._here.store, domain=name)
        if best is None:
            return DomainResult(name=name, why=found.run.reason or "" if found.run else "no run")
        sizes = datasets.sizes(self._here.store, domain=name)
        score = best.comparison
        stem = name.replace(" ", "-")
        program, dataset = RESULTS / f"program-{stem}.json", RESULTS / f"dataset-{stem}.jsonl"
        frozen = datasets.found(self._here.store, domain=name, version=None)
        whole = exporting.described(self._here.store, version=frozen)
        dataset.write_bytes(b"".join(exporting.pieces(whole, form="jsonl")))
        state = json.dumps(best.state, indent=1, ensure_ascii=False) + "\n"
        program.write_text(state, encoding="utf-8")
        return DomainResult(
            name=name,
            train=sizes[Split.TRAIN],
            val=sizes[Split.VAL],
            test=sizes[Split.TEST],
            before=score.before,
            after=score.after,
            ci_low=score.after_low,
            ci_high=score.after_high,
            gain_low=score.gain_low,
            gain_high=score.gain_high,
            active=best.active,
            program=str(program),
            dataset=str(dataset),
            why=found.run.reason or "" if found.run else "",
        )


def _all(looks: Iterable[_Seen]) -> _Seen:
    """Whether all are done; it asks every one, since asking moves its bar."""
    seen = list(looks)
    return _Seen(all(one.done for one in seen), [one.mark for one in seen])
