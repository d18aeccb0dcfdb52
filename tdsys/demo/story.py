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
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tdsys import runtime
from tdsys.client import CaptureClient
from tdsys.core.conversion import ImportOptions
from tdsys.core.dataset import Split
from tdsys.core.policy import Policy
from tdsys.demo import report
from tdsys.demo.result import DomainResult, Heat, Result, summary
from tdsys.embedded.stack import Stack
from tdsys.errors import TdsysError
from tdsys.reference import ReferenceGenerator
from tdsys.stages import datasets, importing, monitoring, optimizing
from tdsys.stages import policies as rules
from tdsys.wire import Task

DOMAINS = ("algebra", "fractions", "statistics")
IMPORTED_DOMAIN = "word problems"
PROBLEMS = 300
FAULT_RATE = 0.2
SEED = 1
RESULTS = Path(".tdsys") / "demo"
LOOK_EVERY = 0.15
# Nothing in the demo may take longer; what does is broken and must say so.
PATIENCE_SECONDS = 600


def run(*, lm: str | None, keep: bool, picture: Path | None, as_json: bool) -> None:
    """Run the whole loop and print what came out."""
    console = Console(stderr=as_json, record=picture is not None, width=100 if picture else None)
    home = runtime.current().settings.home if keep else Path(tempfile.mkdtemp(prefix="tdsys-demo-"))
    _environment(home, lm)
    runtime.current().check_settings()
    runtime.close()
    try:
        began = time.monotonic()
        with Stack(home, env=os.environ, report=lambda line: console.print(f"· {line}")) as stack:
            result, heat = _Story(console, stack, began).tell()
    finally:
        runtime.close()
        if not keep:
            shutil.rmtree(home, ignore_errors=True)
    report.show(console, result, heat, folder=str(RESULTS))
    if keep:
        console.print(f"the data stay in {home}; `tdsys up` goes on with them")
    if picture:
        picture.write_text(report.picture(console))
    if as_json:
        Console().print_json(json.dumps(result.document()))


def _environment(home: Path, lm: str | None) -> None:
    """Give this process and all it starts one home and one model."""
    runtime.close()
    os.environ["TDSYS_HOME"] = str(home)
    os.environ.setdefault("TDSYS_LEASE_SECONDS", "20")
    if lm:
        os.environ["TDSYS_LM"] = lm


class _Story:
    """One demo under way."""

    def __init__(self, console: Console, stack: Stack, began: float) -> None:
        self._console, self._stack = console, stack
        # Workers are still on their way: what is captured meanwhile waits for them.
        self._stages = {"start": round(time.monotonic() - began, 2)}
        self._began = began
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
        self._here.ring(Task.PLAN)
        with self._chapter("optimize"):
            self._optimize()
        return self._result()

    @contextmanager
    def _chapter(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        self._console.print(f"[bold]{name}[/bold]")
        yield
        self._stages[name] = round(time.monotonic() - began, 2)

    def _hold(self, *, held: bool) -> None:
        """Optimization waits until everything is in, so that the end state has one cause."""
        for domain in (*DOMAINS, IMPORTED_DOMAIN):
            policy = Policy(optimization="hold" if held else "automatic", settle_seconds=0)
            rules.put(
                self._here.store, domain=domain, policy=policy, author="demo", now=self._here.now()
            )

    def _capture(self) -> None:
        generator = ReferenceGenerator(seed=SEED, fault_rate=FAULT_RATE)
        with CaptureClient(self._here.redis_url) as client:
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
            total = sum(1 for _ in path.open("rb"))
            import_id, _ = importing.receive(
                self._here.store,
                path=path,
                domain=IMPORTED_DOMAIN,
                now=self._here.now(),
                options=ImportOptions(mapping={"question": "problem", "answer": "solution"}),
            )
        self._here.ring(Task.PARSE)
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
                lambda: _all(self._advance(bars, rows, name) for name in names), "the optimizations"
            )

    def _advance(self, bars: Progress, rows: dict[str, Any], domain: str) -> bool:
        (found,) = optimizing.status(self._here.store, domain=domain, clock=self._here.now)
        if found.run is None:
            return False
        total = found.run.plan.trials + 1
        done = found.run.state in {"finished", "failed", "cancelled"}
        bars.update(
            rows[domain],
            total=total,
            description=f"{domain}: trials",
            completed=total if done else int(str(found.run.progress.get("trials", 0))),
        )
        return done

    def _wait(self, what: str, total: int, count: Callable[[], int]) -> None:
        with self._bars() as bars:
            row = bars.add_task(what, total=total)

            def look() -> bool:
                done = count()
                bars.update(row, completed=done)
                return done >= total

            self._until(look, what)

    def _until(self, look: Callable[[], bool], what: str) -> None:
        """Look again and again, keeping the stack alive meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not look():
            if time.monotonic() > deadline:
                raise TdsysError(
                    f"{what}: no end after {PATIENCE_SECONDS} s",
                    remedy=f"read the logs in {self._stack.home / 'logs'}",
                )
            self._stack.tend()
            time.sleep(LOOK_EVERY)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("  {task.description:<32}"),
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
            simulated=self._here.settings.lm == "offline",
            model=self._here.settings.lm,
            seconds=round(time.monotonic() - self._began, 2),
        )
        (RESULTS / "result.json").write_text(json.dumps(result.document(), indent=1) + "\n")
        return result, [Heat(n, monitoring.cells(self._here.store, domain=n)) for n in names]

    def _domain(self, name: str) -> DomainResult:
        (found,) = optimizing.status(self._here.store, domain=name, clock=self._here.now)
        best = optimizing.best(self._here.store, domain=name)
        if best is None:
            return DomainResult(name=name, why=found.run.reason or "" if found.run else "no run")
        sizes = datasets.sizes(self._here.store, domain=name)
        score = best.comparison
        stem = name.replace(" ", "-")
        program, dataset = RESULTS / f"program-{stem}.json", RESULTS / f"dataset-{stem}.jsonl"
        program.write_text(json.dumps(best.state, indent=1, ensure_ascii=False) + "\n")
        dataset.write_text("".join(datasets.export(self._here.store, domain=name, format_="jsonl")))
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


def _all(answers: Iterable[bool]) -> bool:
    """Whether all are true; unlike `all`, it asks every one, since asking moves its bar."""
    return all(list(answers))
