"""What can be seen on the surface of an example: holes, cuts, leaks, tricks.

One rule: a check fails only on what nobody would write on purpose in a sound example; text that
merely looks like an attempt to steer a judge or a model is suspicious and goes to a person.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import filterfalse

from pydantic import JsonValue

from tdsys.core.arithmetic import numbers
from tdsys.core.example import level
from tdsys.core.rubric import Check, Outcome

NEEDED = ("problem", "solution", "answer")
PROSE_WORDS = 8
EXCERPT = 80

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\u200c\u200d]"
    # Joiners are honest inside emoji, Persian or Hindi, never beside plain Latin text. The sign
    # itself stands first, for a pattern that begins with a set is looked for at once.
    "(?:(?<![\u200c\u200d])|(?=[\x00-\x7f]|\\Z)|(?<=[\x00-\x7f][\u200c\u200d]))"
)
_MARKER_OPENS = re.compile(r"[\[［](?=[\[［]\s{0,9}[#＃]{2})")
_MARKER_CLOSES = re.compile(r"(?<=[#＃]{2})(\s{0,9})([\]］])(?=[\]］])")

_LOOKALIKES = str.maketrans("аеорсхуіјѕһԁɡ", "aeopcxyijshdg")
_DUTY = r"(?:instruction|prompt|rule|guideline|rubric|criteri|directive|context|message)"
_ROLE = r"(?:system|assistant|user|human|instructions?)"
_SEER = r"(?:judge|grader|evaluator|reviewer|scorer|verifier|assistant|language model|llm|ai)"
_MARKS = r"\b(?:score|rate|grade|mark|give|assign|award|output|return|set|report|respond|approve)\b"
_THINGS = (
    "example", "item", "entry", "record", "submission", "response", "output", "problem",
    "solution", "answer",
)  # fmt: skip
_THING = f"(?:{'|'.join(_THINGS)})"
_THIS = (
    rf"\b(?:this|your|these|each dimension|every dimension|all dimensions|accuracy|coherence"
    rf"|relevance|the (?:above|{_THING}))\b"
)
_TOP = (
    r"(?:\b(?:full|maximum|max|highest|perfect|top) (?:possible )?(?:score|rating|mark|grade"
    r"|credit)|\b1\.0\b|\b10 ?/ ?10\b|\b10 out of 10|\b100 ?/ ?100\b|\b5 ?/ ?5\b)"
)
INJECTION_SIGNS = {
    "throws instructions away": (
        rf"\b(?:ignore|disregard|forget|override|bypass|do not follow)\b[^.\n]{{0,40}}\b{_DUTY}"
        r"|\b(?:ignore|disregard|forget) (?:everything|all of|(?:all )?the (?:above|previous))\b"
        rf"|\b(?:previous|prior|above|earlier|new|updated) {_DUTY}s?\b[^.\n]{{0,20}}"
        r"(?::|\b(?:void|no longer|cancelled|invalid|replaced|follow))"
        r"|\b(?:begin|start|end) (?:override|system|prompt|instructions?)\b"
        r"|\bgrading (?:policy|rules?|rubric|criteria)\b|\bwithout (?:any )?review\b"
        r"|\bskip (?:the |all |any )?(?:checks?|checking|validation|verification|review)\b"
        r"|\bsystem prompt\b|\bjailbreak|\bdeveloper mode\b|\bdo anything now\b"
    ),
    "speaks to a judge or a model": (
        rf"\byou are (?:now |henceforth )?(?:an? |the )?{_SEER}\b|\bas (?:an?|the) {_SEER}, you\b"
        r"|\bas an? (?:ai|(?:ai |large )?language model)\b"
        rf"|\b(?:dear|note to|message to|attention|hey) (?:the |all |any |you,? )?{_SEER}s?\b"
        rf"|\b{_SEER}s?\b[^.\n]{{0,12}}(?:[:,]|\bmust\b|\bshould\b|\bplease\b)[^.\n]{{0,40}}"
        rf"{_MARKS}[^.\n]{{0,30}}(?:{_THIS}|{_TOP})"
    ),
    "asks for a mark": (
        rf"{_MARKS}[^.\n]{{0,30}}{_THIS}[^.\n]{{0,40}}{_TOP}"
        rf"|{_MARKS}[^.\n]{{0,20}}{_TOP}[^.\n]{{0,30}}{_THIS}"
        r"|\b(?:approve|accept|admit|pass|mark|rate|score|treat)\b[^.\n]{0,10}"
        rf"\bthis {_THING}\b[^.\n]{{0,30}}"
        r"\b(?:correct|valid|verified|approved|accepted|without|immediately|high)\b"
        rf"|\bthis {_THING} (?:is|was|has been|must be|should be) "
        r"(?:already |pre-?)?(?:verified|approved|accepted|admitted|rated|scored)"
        r"|\b(?:mark|rate|score|treat|accept) (?:this|it) as (?:correct|valid|approved|accepted)"
        r"|\bscore of 1\.0\b|\b(?:accuracy|coherence|relevance|verdict)\"? ?[:=] ?[\"\d{]"
        r"|\"(?:score|rating)\" ?: ?[\"\d{]"
    ),
    "imitates a conversation": (
        rf"<\|[a-z_]{{2,30}}\|>|\[/?inst\]|<</?sys>>|</?{_ROLE}>"
        rf"|(?:^|\n|[.!?] )\W{{0,4}}{_ROLE}\W{{0,3}}:|\[\[ ?## ?\w{{1,40}} ?## ?\]\]"
    ),
}
_INJECTIONS = {sign: re.compile(pattern) for sign, pattern in INJECTION_SIGNS.items()}
# No text shows a sign that has none of its cues: looking for them takes a tenth of the time.
_CUES = {
    "throws instructions away": (
        "ignore", "disregard", "forget", "override", "bypass", "do not follow", " instruction",
        " prompt", " rule", " guideline", " rubric", " criteri", " directive", " context",
        " message", " system", " review", "grading ", "skip ", "jailbreak", "developer mode",
        "do anything now",
    ),
    "speaks to a judge or a model": (
        "judge", "grader", "evaluator", "reviewer", "scorer", "verifier", "assistant",
        "language model", "llm", "<ai>",
    ),
    "asks for a mark": (
        " score", " rating", " mark", " grade", " credit", "1.0", "10 out of 10",
        *(f"{mark}{of}{mark}" for mark in (5, 10, 100) for of in ("/", " /", "/ ", " / ")),
        *(f"this {thing}" for thing in _THINGS),
        *(f"as {verdict}" for verdict in ("correct", "valid", "approved", "accepted")),
        "accuracy", "coherence", "relevance", "verdict", '"score"', '"rating"',
    ),
    "imitates a conversation": (
        "<|", "inst]", "sys>", "[[", "system", "assistant", "user", "human", "instruction",
    ),
}  # fmt: skip
_AI = re.compile(r"ai(?<!\wai)")

_FILLER = re.compile(
    r"thought process|thinking process|let(?:['’]s| us) (?:solve|think|work)(?: about)?"
    r"(?: this| it)?(?: problem)?(?: through)?|step[ -]by[ -]step"
    r"|here(?:['’]s| is)(?: the| a| my)? solution|the solution is(?: as follows)?"
    r"|solution|reasoning|explanation|answer|problem|question|sure"
    r"|certainly|of course|okay|ok|n/?a|null|tbd|todo|to be determined|placeholder"
    r"|lorem ipsum|xxx+|insert (?:problem|solution|answer)(?: here)?|see above|left as an exercise"
    r"(?: (?:to|for) the reader)?|解|解答|かいせつ|respuesta|lösung"
)
_DIGIT = re.compile(r"[0-9]")
_DECORATION = " \t\n.,:;!?*_#'\"`()[]–—-…"
_REFUSAL = re.compile(
    r"\bas an? (?:ai|(?:ai |large )?language model)\b|\bi(?:['’]m| am) (?:sorry|unable|not able)\b"
    r"[^.\n]{0,40}\b(?:can(?:no|['’])t|cannot|unable|help|assist|provide|answer|solve)"
    r"|\bi (?:cannot|can['’]t) (?:help|assist|provide|answer|solve|comply)\b|\blorem ipsum\b"
)

_CUT = re.compile(
    r"(?:[,;:(\[{=+*/×÷<−-]|(?<![\d.])[$€£]|\\[a-z]*"
    r"|\b(?:and|or|the|a|an|of|to|is|are|was|were|so|for|with|than|by|from|that|then|which|he|she"
    r"|they|their|his|because|if|when|how|what|into|per|plus|minus|equals))\s*\Z",
    re.IGNORECASE,
)
_ENDS = re.compile(r"[.?!…。？！:)\]}”\"'’$°%>\d][”\"'’)\]]{0,3}\s*\Z")
_SAYS_ANSWER = re.compile(
    r"(?:\b(?:answer|result|solution|total)\b[^.\d]{0,20}(?:\bis|\bequals|\bbe|\bto|[:=])"
    r"|\b(?:should|must|will|do|not|finally) (?:get|arrive at|obtain|reach|end up (?:at|with))"
    r"|\bbackwards? from|####)\W{0,4}\Z"
)


def screen(
    inputs: Mapping[str, JsonValue],
    outputs: Mapping[str, JsonValue],
    *,
    needed: Sequence[str] = NEEDED,
) -> list[Check]:
    """Every surface check; `needed` are the outputs that must be there."""
    fields = [*texts(inputs), *texts(outputs)]
    return [
        _structure(outputs, needed),
        _complete(outputs),
        _hint_leak(outputs),
        _boilerplate(outputs),
        _injection(fields),
        _invisible(fields),
    ]


def steers(*documents: Mapping[str, JsonValue]) -> bool:
    """Whether a text in them looks like an attempt to steer a judge or a model."""
    fields = [text for document in documents for text in texts(document)]
    return Outcome.SUSPICIOUS in {_injection(fields).outcome, _invisible(fields).outcome}


def clean_for_prompt(text: str) -> str:
    """Text without invisible characters and without anything DSPy reads as a field marker."""
    visible = text if _is_plain(text) else _INVISIBLE.sub("", text)
    if "#" not in visible and "＃" not in visible:
        return visible
    return _MARKER_CLOSES.sub(r"\1\2 ", _MARKER_OPENS.sub("[ ", visible))


def text_of(value: JsonValue) -> str:
    """A field as text: text as it is, a number written out, anything else empty."""
    if isinstance(value, bool):
        return ""
    return str(value) if isinstance(value, str | int | float) else ""


def texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    """Every text inside a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def excerpt(text: str) -> str:
    """A short piece of untrusted text, fit for a report."""
    plain = " ".join(clean_for_prompt(text).split())
    return plain if len(plain) <= EXCERPT else plain[: EXCERPT - 1] + "…"


def without_final_line(solution: str) -> str:
    """A solution without GSM8K's last line `#### 18`."""
    reasoning, mark, final = solution.rpartition("####")
    return reasoning if mark and "\n" not in final.strip() else solution


def _is_plain(text: str) -> bool:
    """Whether it is one line of ASCII without invisible characters: most texts, known at once."""
    return text.isascii() and text.isprintable()


def _structure(outputs: Mapping[str, JsonValue], needed: Sequence[str]) -> Check:
    holes = [name for name in needed if not text_of(outputs.get(name)).strip()]
    if holes:
        return _check("structure", Outcome.FAILED, f"missing or empty: {', '.join(holes)}")
    return _check("structure", Outcome.PASSED)


def _complete(outputs: Mapping[str, JsonValue]) -> Check:
    solution = without_final_line(text_of(outputs.get("solution"))).rstrip()
    problem = text_of(outputs.get("problem")).rstrip()
    if _leaves_open(solution):
        return _check("complete", Outcome.FAILED, "the solution leaves a bracket open")
    for name, text in (("solution", solution), ("problem", problem)):
        if text and text[-1] not in ".?!" and _CUT.search(text[-40:]):
            return _check("complete", Outcome.FAILED, f"the {name} is cut: {excerpt(text[-40:])}")
    if (
        solution
        and not _ENDS.search(solution[-8:])
        and not _mentions(solution, text_of(outputs.get("answer")))
    ):
        return _check(
            "complete",
            Outcome.FAILED,
            f"the solution ends before the answer: {excerpt(solution[-40:])}",
        )
    if not _ENDS.search(problem[-8:]) and len(problem.split()) >= PROSE_WORDS:
        return _check(
            "complete", Outcome.SUSPICIOUS, f"the problem has no end: {excerpt(problem[-40:])}"
        )
    return _check("complete", Outcome.PASSED if problem and solution else Outcome.UNKNOWN)


def _leaves_open(solution: str) -> bool:
    """An annotation or a LaTeX group without its end, or a last bracket that never closes."""
    return (
        solution.count("<<") != solution.count(">>")
        or solution.count("{") != solution.count("}")
        or solution.rfind("(") > solution.rfind(")")
    )


def _mentions(solution: str, answer: str) -> bool:
    values = {number.value for number in numbers(answer)}
    said = {number.value for number in numbers(solution)}
    return level(answer) in level(solution) or (bool(values) and values <= said)


def _hint_leak(outputs: Mapping[str, JsonValue]) -> Check:
    hints = [hint for name in ("hints", "hint") for hint in _leaves(outputs.get(name))]
    answer = level(text_of(outputs.get("answer")))
    if not hints or not answer:
        return _check("hint_leak", Outcome.UNKNOWN)
    problem = level(text_of(outputs.get("problem")))
    for hint in hints:
        if _leaks(level(hint), answer, problem):
            return _check("hint_leak", Outcome.FAILED, f"a hint gives the answer: {excerpt(hint)}")
    return _check("hint_leak", Outcome.PASSED)


def _leaks(hint: str, answer: str, problem: str) -> bool:
    """A token of the hint is the answer, and the problem alone does not explain it."""
    places = _places(answer, hint)
    if not places:
        return False
    known = (answer.isalpha() and len(answer) <= len("yes")) or _places(answer, problem)
    return not known or any(
        _SAYS_ANSWER.search(hint[max(0, start - 40) : start]) for start in places
    )


def _places(answer: str, text: str) -> list[int]:
    """Where a text has the number that an answer holds, or the answer itself as a token."""
    found = {number.value for number in numbers(answer)}
    if len(found) == 1:
        return [number.span[0] for number in numbers(text) if number.value in found]
    token = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    return [match.start() for match in token.finditer(text)]


def _leaves(value: JsonValue) -> list[str]:
    return list(texts(value)) if isinstance(value, str | list) else []


def _boilerplate(outputs: Mapping[str, JsonValue]) -> Check:
    for name in NEEDED:
        text = text_of(outputs.get(name)).casefold()
        if text and (_REFUSAL.search(text) or _is_filler(text)):
            return _check(
                "boilerplate", Outcome.FAILED, f"the {name} says nothing: {excerpt(text)}"
            )
    return _check("boilerplate", Outcome.PASSED)


def _is_filler(text: str) -> bool:
    # No filler has a digit in it, and nearly every other text has one.
    return not (_DIGIT.search(text) or _FILLER.sub("", text).strip(_DECORATION))


def _injection(fields: Iterable[str]) -> Check:
    unmasked = [_unmasked(text) for text in fields]
    possible = _possible("\n".join(unmasked))
    for plain in unmasked if possible else ():
        for sign in possible:
            if found := _INJECTIONS[sign].search(plain):
                return _check("injection", Outcome.SUSPICIOUS, f"{sign}: {excerpt(found[0])}")
    return _check("injection", Outcome.PASSED)


def _possible(plain: str) -> list[str]:
    """The signs that a text has a cue of; `ai` is in too many words to be one inside of them."""
    marked = _AI.sub("<ai>", plain)
    return [sign for sign, cues in _CUES.items() if any(cue in marked for cue in cues)]


def _unmasked(text: str) -> str:
    """Text as a reader sees it: no invisible signs, accents, look-alike letters or odd blanks."""
    if text.isascii():
        return text.casefold()
    decomposed = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)).casefold()
    bare = "".join(filterfalse(unicodedata.combining, decomposed))
    return bare.translate(_LOOKALIKES)


def _invisible(fields: Iterable[str]) -> Check:
    for text in fields:
        if not _is_plain(text) and (found := _INVISIBLE.search(text)):
            near = excerpt(text[max(0, found.start() - 20) :])
            return _check("invisible", Outcome.SUSPICIOUS, f"U+{ord(found[0]):04X} near: {near}")
    return _check("invisible", Outcome.PASSED)


def _check(name: str, outcome: Outcome, evidence: str = "") -> Check:
    return Check(name=name, outcome=outcome, evidence=evidence)
