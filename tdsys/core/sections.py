"""Sections of a policy that say which examples a domain wants, keeps, and is alarmed about."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tdsys.core.example import LONGEST_NAME, Cell, Source, level
from tdsys.core.mistakes import Unfit


def _label(text: str) -> str:
    """A topic or difficulty as examples are labelled: letter case and white space levelled."""
    levelled = level(text)
    if not 0 < len(levelled) <= LONGEST_NAME:
        raise Unfit(
            f"a label has 1 to {LONGEST_NAME} characters", remedy='use a text such as "fractions"'
        )
    return levelled


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if twice := {one for one in labels if labels.count(one) > 1}:
        raise Unfit(
            f"twice, letter case and blanks aside: {', '.join(sorted(twice))}",
            remedy="name each once",
        )
    return labels


Label = Annotated[str, AfterValidator(_label)]
Labels = Annotated[tuple[Label, ...], AfterValidator(_distinct)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Bounds(_Section):
    """How many examples; no bound where there is none."""

    min: int = Field(0, ge=0, description="admitted, before the first version")
    max: int | None = Field(None, ge=1, description="in one version", examples=[40])
    synthetic_share: float = Field(
        1.0, ge=0, le=1, description="greatest share of synthetic examples of it in one version"
    )

    @model_validator(mode="after")
    def _not_upside_down(self) -> _Bounds:
        if self.max is not None and self.min > self.max:
            raise Unfit(
                f"min, {self.min}, is above max, {self.max}",
                remedy=f"use a min of {self.max} or less, or a max of {self.min} or more",
            )
        return self


class CellException(_Bounds):
    """Other bounds for one cell."""

    topic: Label
    difficulty: Label

    @property
    def cell(self) -> Cell:
        """The cell they are for."""
        return Cell(self.topic, self.difficulty)


class Cells(_Bounds):
    """The bounds of every cell, but for those of the exceptions."""

    exceptions: tuple[CellException, ...] = Field(
        (),
        description="single cells with bounds of their own: topic, difficulty, min, max, "
        "synthetic_share",
    )

    @model_validator(mode="after")
    def _each_cell_once(self) -> Cells:
        named = [one.cell for one in self.exceptions]
        if twice := {f"{c.topic}, {c.difficulty}" for c in named if named.count(c) > 1}:
            raise Unfit(
                f"exceptions name a cell twice: {'; '.join(sorted(twice))}",
                remedy="use one exception for each topic and difficulty",
            )
        return self

    def least(self, cell: Cell) -> int:
        """How many it must have."""
        return self._of(cell).min

    def most(self, cell: Cell) -> int | None:
        """How many of it a version may have; None: any number."""
        return self._of(cell).max

    def synthetic_share_of(self, cell: Cell) -> float:
        """The greatest share of it that may be synthetic in a version."""
        return self._of(cell).synthetic_share

    @property
    def limit_synthetic(self) -> bool:
        """Whether any cell has such a share below 1."""
        return any(one.synthetic_share < 1 for one in (self, *self.exceptions))

    def _of(self, cell: Cell) -> _Bounds:
        return next((one for one in self.exceptions if one.cell == cell), self)


class Embedding(_Section):
    """Who embeds a domain's problems, and when two are near-duplicates by that."""

    model: str = Field(
        min_length=1,
        max_length=LONGEST_NAME,
        description="PROVIDER/MODEL that answers as OpenAI's do, or an installed embedder of "
        "`tdsys.embedders`",
        examples=["openai/text-embedding-3-small"],
    )
    likeness: float = Field(
        0.95, gt=0, lt=1, description="from this cosine on two problems are near-duplicates"
    )


Prompt = Literal["v2", "v2_doubting"]


class Member(_Section):
    """One member of a panel."""

    model: str | None = Field(
        None, description="left out: TDSYS_JUDGE_LM", examples=["openai/gpt-5-mini"]
    )
    prompt: Prompt = Field("v2", description="which wording of the question")


class Judges(_Section):
    """Who scores, and what happens when they disagree."""

    panel: tuple[Member, ...] = Field(
        (Member(),), min_length=1, max_length=9, description="each is asked about each example"
    )
    agreement: Literal["unanimous", "mean"] = Field(
        "unanimous", description="whether each member alone, or their mean, must be content"
    )
    disagreement: float = Field(
        0.4, gt=0, le=1, description="further apart in any dimension: to a person"
    )
    canaries: int = Field(
        1, ge=0, le=20,
        description="known examples among each block of candidates, at first all of them; "
        "a bad one that passes stops automatic admission; 0: none",
    )  # fmt: skip

    @model_validator(mode="after")
    def _each_member_once(self) -> Judges:
        if len(set(self.panel)) < len(self.panel):
            raise Unfit(
                "a member is in the panel twice",
                remedy="use members that differ in their model or their prompt",
            )
        return self


Days = Annotated[int, Field(ge=1)]


class Purges(_Section):
    """After how many days what is not used any more is deleted; nothing by itself."""

    retired: Days | None = Field(None, description="retired so long ago")
    rejected: Days | None = Field(None, description="rejected so long ago")
    parked: Days | None = Field(None, description="parked so long ago")


class Lifecycle(_Section):
    """When examples are retired, and deleted, without a person."""

    retire_after_days: Days | None = Field(
        None, description="admitted, and stored longer ago: retired", examples=[365]
    )
    retire_sources: dict[Source, Days] | None = Field(
        None, description="the same for single sources", examples=[{"synthetic": 180}]
    )
    max_admitted: int | None = Field(
        None, ge=1, description="above it the fullest cell gives its worst", examples=[20_000]
    )
    max_megabytes: float | None = Field(
        None, gt=0, description="the same by what they hold, in millions of bytes", examples=[100]
    )
    max_alike: int | None = Field(
        None, ge=1, description="of more near-duplicates of each other the worst are retired",
        examples=[20],
    )  # fmt: skip
    purge_after_days: Purges | None = Field(
        None, description="after how many days what is not used any more is deleted",
        examples=[Purges(retired=90, rejected=180, parked=180)],
    )  # fmt: skip

    @property
    def retires(self) -> bool:
        """Whether anything is ever retired by it."""
        return bool(
            self.retire_after_days or self.retire_sources or self.max_admitted
            or self.max_megabytes or self.max_alike
        )  # fmt: skip

    def days_of(self, source: Source) -> int | None:
        """After how many days an admitted example of this source is too old."""
        return (self.retire_sources or {}).get(source, self.retire_after_days)


def _zone(name: str) -> str:
    """A time zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Unfit("no time zone", remedy="use for example UTC or Europe/Berlin") from None
    return name


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise Unfit("no time of day", remedy="use hours and minutes, 00:00 to 23:59, as in 06:30")
    return text


ClockTime = Annotated[str, AfterValidator(_time_of_day)]


class QuietHours(_Section):
    """From when to when no run begins, each day."""

    starts: ClockTime = Field(description="from then on, as in 22:00")
    ends: ClockTime = Field(description="until then; before `starts` it is the next morning")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="by the clocks of that place, also when they are put forward or back"
    )

    @model_validator(mode="after")
    def _takes_some_time(self) -> QuietHours:
        if self.starts == self.ends:
            raise Unfit(
                "it ends when it starts",
                remedy="use two different times, or `optimization: hold` for never",
            )
        return self


class Conversion(_Section):
    """How fields of examples become the program's where they are not; content stays as stored."""

    rename: dict[str, str] = Field(
        {}, description="their field to the program's, where that is not there",
        examples=[{"theme": "topic"}],
    )  # fmt: skip
    write_out: bool = Field(
        default=False, description="a number becomes text, one text a list of one"
    )
    defaults: dict[str, str | list[str]] = Field(
        {}, description="what a field says where it lacks", examples=[{"context": "any"}]
    )

    @model_validator(mode="after")
    def _one_source_for_each(self) -> Conversion:
        ours = list(self.rename.values())
        if twice := {name for name in ours if ours.count(name) > 1}:
            raise Unfit(
                f"two fields would become {', '.join(sorted(twice))}",
                remedy="rename one field to each name",
            )
        return self


class Trigger(_Section):
    """What starts a run beside growth, and what keeps it waiting."""

    min_per_split: int = Field(5, ge=5, description="examples in train, val and test each")
    new_examples: int | None = Field(
        None, ge=1, description="so many new ones are enough, whatever growth says", examples=[200]
    )
    demos: bool = Field(
        default=True, description="a demo of the active program was edited, left or is forgotten"
    )
    model: bool = Field(default=True, description="TDSYS_LM is another than for the last run")
    judge: bool = Field(default=True, description="another judge scores than before the last run")
    drift: bool = Field(default=True, description="the alert that the judge drifts is newer")
    cooldown_minutes: float = Field(0, ge=0, description="between the end of a run and the next")
    quiet_hours: QuietHours | None = Field(
        None,
        description="when no run begins; one that runs goes on",
        examples=[QuietHours(starts="22:00", ends="06:00", timezone="Europe/Berlin")],
    )
    max_cost: float | None = Field(
        None, gt=0, description="US dollars; a dearer run is not queued", examples=[5.0]
    )
    max_daily_cost: float | None = Field(
        None, gt=0, description="US dollars; runs of 24 hours above it wait", examples=[20.0]
    )


class Activation(_Section):
    """When a new program replaces the active one, and who tries it before."""

    by: Literal["run", "person"] = Field(
        "run", description="run: a better program at once; person: only by somebody's word"
    )
    margin: float = Field(
        0.0, ge=0, lt=1, description="the whole 95 % interval of the gain lies above it"
    )
    challenger_share: float = Field(
        0.0, ge=0, le=0.5, description="of calls with a key, by its hash, try the challenger"
    )


class AlertRules(_Section):
    """What is amiss in a domain; a rule that is null is off."""

    no_capture_hours: float | None = Field(
        None, gt=0, description="nothing captured for so long", examples=[24]
    )
    rejected_share: float | None = Field(
        0.5, gt=0, lt=1, description="more than this share rejected among the newest decided"
    )
    rejected_of: int = Field(200, ge=1, description="so many newest decided are looked at")
    parked: int | None = Field(100, ge=0, description="more than so many parked")
    backlog: int | None = Field(1000, ge=0, description="more than so many wait for a person")
    backlog_days: float | None = Field(
        14, gt=0, description="one waits for a person longer than so many days"
    )
    failed_run: bool = Field(default=True, description="the newest run failed")
    regression: bool = Field(
        default=True, description="the active program is worse than the one before, or than it was"
    )
    harmful_demos: bool = Field(
        default=True, description="a demo of the active program does harm, by a fresh attribution"
    )
    short_cell: bool = Field(
        default=True, description="a cell has fewer than its minimum after the first version"
    )
    stale_days: float | None = Field(
        30, gt=0, description="nothing was admitted for so long, after the first version"
    )
    stale_program_days: float | None = Field(
        7, gt=0, description="the data of the active program changed, and it is so old"
    )
    quality_drop: float | None = Field(
        0.05, gt=0, lt=1, description="a dimension's mean score fell by so much within two weeks"
    )
    imbalance: float | None = Field(
        0.5, gt=0, lt=1, description="the wanted cells are less even than this, of 0 to 1"
    )
    budget_share: float | None = Field(
        0.9, gt=0, le=1, description="so much of max_daily_calls is planned for 24 hours"
    )
    rejected_import: float | None = Field(
        0.5, gt=0, lt=1, description="the newest import failed, or rejected more than this share"
    )
    storage_gb: float | None = Field(
        None, gt=0, description="the whole database takes more", examples=[100]
    )
