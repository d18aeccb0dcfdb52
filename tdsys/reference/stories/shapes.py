"""Geometry: perimeter, area, volume."""

from __future__ import annotations

from tdsys.reference.steps import Number, total
from tdsys.reference.tale import Kind, Outcome, Tale
from tdsys.reference.topic import Topic

DOMAIN = "geometry"

PERIMETER = Topic(
    DOMAIN,
    "perimeter",
    ("perimeter",),
    (
        "The perimeter is the length of the way once around a shape.",
        "Opposite sides of a rectangle are equally long.",
        "Add all sides of the shape.",
        "If a side is missing, take the known sides away from the perimeter.",
    ),
)

METRES = ("metres", "metre")
SQUARE_METRES = ("square metres", "square metre")


@PERIMETER.story(steps=1)
def _around_rectangle(t: Tale) -> Outcome:
    c, w, long = t.c, t.whole(4, 18), t.whole(19, 45)
    t.tell(
        f"The {c.plot} {c.at} is a rectangle, {long} metres long and {w} metres wide. {t.who} "
        f"puts a "
        f"{c.strip} along its perimeter.",
        f"{t.friend} walks along the whole perimeter of a rectangular area {c.at} that measures "
        f"{long} metres by {w} metres.",
        f"A rectangle with sides of {w} metres and {long} metres is marked out {c.at}; its "
        f"perimeter "
        f"is taped.",
        f"How long is a {c.strip} around a rectangular {c.plot} {c.at}, when its sides are "
        f"{long} and "
        f"{w} metres? This perimeter is needed by {t.third}.",
    )
    around = t.step("The perimeter is # metres.", 2 * (long + w))
    t.prove(around, sum((long.n, w.n, long.n, w.n)))
    asks = ("What is the perimeter in metres?", "How many metres is the perimeter?")
    return Outcome(Kind.MEASURE, around, asks, *METRES, what="the perimeter")


@PERIMETER.story(steps=1)
def _polygon(t: Tale) -> Outcome:
    c, n, s = t.c, t.whole(5, 12), t.whole(13, 30)
    t.tell(
        f"A pavilion {c.at} has the shape of a polygon with {n} equal sides of {s} metres. "
        f"{t.who} decorates the perimeter.",
        f"All {n} sides of the {c.plot} {c.at} have the same length, {s} metres. {t.friend} "
        f"measures the perimeter.",
    )
    around = t.step("The perimeter is # metres.", n * s)
    t.prove(around, sum((s.n,) * n.n))
    asks = ("What is the perimeter in metres?", "How many metres is the perimeter?")
    return Outcome(Kind.MEASURE, around, asks, *METRES, what="the perimeter")


@PERIMETER.story(steps=1)
def _triangle(t: Tale) -> Outcome:
    c, a, b = t.c, t.whole(12, 30), t.whole(12, 30)
    third = t.whole(abs(a.n - b.n) + 3, a.n + b.n - 3)
    t.tell(
        f"A triangular corner {c.at} has sides of {a}, {b} and {third} metres, and {t.who} needs "
        f"its perimeter.",
        f"{t.third} runs along the perimeter of a triangle {c.at}: {a} metres to the door, {b} "
        f"metres to the window, {third} metres back.",
    )
    around = t.step("The perimeter is # metres.", total(a, b, third))
    t.prove(around, sum((third.n, b.n, a.n)))
    asks = ("What is the perimeter in metres?", "How many metres is the perimeter?")
    return Outcome(Kind.MEASURE, around, asks, *METRES, what="the perimeter")


@PERIMETER.story(steps=2)
def _longer_by(t: Tale) -> Outcome:
    c, w, d = t.c, t.whole(9, 30), t.whole(3, 20)
    t.tell(
        f"The rectangular {c.plot} {c.at} is {w} metres wide, and its length is {d} metres more "
        f"than its width. {t.who} measures the perimeter.",
        f"{t.friend} draws the plan of a rectangle for {c.place}. A side of {w} metres meets a "
        f"side that is {d} metres longer; the perimeter is written below.",
    )
    length = t.step("The length is # metres.", w + d)
    around = t.step("The perimeter is # metres.", 2 * (length + w))
    t.prove(around, 4 * w.n + 2 * d.n)
    asks = ("What is the perimeter in metres?", "How many metres is the perimeter?")
    return Outcome(Kind.MEASURE, around, asks, *METRES, what="the perimeter")


@PERIMETER.story(steps=2)
def _missing_side(t: Tale) -> Outcome:
    c, long = t.c, t.whole(15, 40)
    around = t.given(2 * (long.n + t.rng.randint(5, 30)))
    t.tell(
        f"The perimeter of the rectangular {c.plot} {c.at} is {around} metres. {t.who} knows that "
        f"it is {long} metres long and asks for the width.",
        f"With a {c.strip} of {around} metres, {t.friend} encloses a rectangle {c.at} exactly, so "
        f"this is its perimeter. A side takes {long} metres; the side next to it is wanted.",
    )
    sides = t.step("Neighbouring sides together are # metres.", around / 2)
    width = t.step("The width is # metres.", sides - long)
    t.prove(around, 2 * long.n + 2 * width.n)
    asks = ("How many metres is the missing side?", "What is the width in metres?")
    return Outcome(Kind.MEASURE, width, asks, *METRES, what="the width")


AREA = Topic(
    DOMAIN,
    "area",
    ("area",),
    (
        "The area of a rectangle is its length times its width.",
        "Cut a composed shape into rectangles and add their areas.",
        "A triangle is half of a rectangle with the same base and height.",
        "Take holes away from the area around them.",
    ),
)


@AREA.story(steps=1)
def _rectangle_area(t: Tale) -> Outcome:
    c, w, long = t.c, t.whole(4, 15), t.whole(16, 40)
    t.tell(
        f"The {c.plot} {c.at} is {long} metres long and {w} metres wide, and {t.who} covers its "
        f"area "
        f"with foil.",
        f"{t.friend} paints a rectangular area {c.at} with sides of {w} and {long} metres.",
        f"A plan of {c.place} shows a rectangle of {long} by {w} metres. Its area is coloured.",
    )
    area = t.step("The area is # square metres.", long * w)
    t.prove(area, sum((long.n,) * w.n))
    return _area(area)


def _area(area: Number) -> Outcome:
    asks = ("What is the area in square metres?", "How many square metres is this area?")
    return Outcome(Kind.MEASURE, area, asks, *SQUARE_METRES, what="the area")


@AREA.story(steps=1)
def _triangle_area(t: Tale) -> Outcome:
    c, b, h = t.c, t.whole(6, 30, by=2), t.whole(7, 25)
    t.tell(
        f"A triangular sail above {c.place} has a base of {b} metres and a height of {h} metres; "
        f"{t.who} needs the area.",
        f"{t.third} plants the area of a triangle {c.at}: base {b} metres, height {h} metres.",
        f"A corner {c.at} is a right triangle whose short sides measure {b} metres and {h} metres. "
        f"Its area is swept.",
    )
    area = t.step("The area is # square metres.", b * h / 2)
    t.prove(area, (b.n // 2) * h.n)
    return _area(area)


@AREA.story(steps=2)
def _with_extension(t: Tale) -> Outcome:
    c, w, long, s = t.c, t.whole(4, 12), t.whole(13, 30), t.whole(3, 11)
    t.tell(
        f"A room {c.at} consists of a rectangle of {long} by {w} metres and a bay with an area of "
        f"{s} square metres. {t.who} lays carpet everywhere.",
        f"To the {c.plot} {c.at}, {long} metres long and {w} metres wide, an area of {s} square "
        f"metres is added.",
    )
    main = t.step("The rectangle has # square metres.", long * w)
    area = t.step("The whole area is # square metres.", main + s)
    t.prove(area, sum((w.n,) * long.n, s.n))
    return _area(area)


@AREA.story(steps=2)
def _with_hole(t: Tale) -> Outcome:
    c, w, long, hole = t.c, t.whole(8, 16), t.whole(17, 35), t.whole(20, 90)
    t.tell(
        f"In the middle of the {c.plot} {c.at} ({long} metres by {w} metres), an area of {hole} "
        f"square metres is closed off. {t.friend} uses the remaining area.",
        f"{t.who} cuts an area of {hole} square metres out of a sheet of {w} by {long} metres "
        f"{c.at}.",
    )
    main = t.step("The whole rectangle has # square metres.", long * w)
    area = t.step("The remaining area is # square metres.", main - hole)
    t.prove(area, sum((long.n,) * w.n, -hole.n))
    return _area(area)


@AREA.story(steps=3)
def _two_rectangles(t: Tale) -> Outcome:
    c, w, long, v, k = t.c, t.whole(3, 9), t.whole(12, 30), t.whole(3, 9), t.whole(12, 30)
    t.tell(
        f"The floor {c.at} is shaped like an L. It is made of a rectangle of {long} by {w} "
        f"metres and "
        f"a rectangle of {k} by {v} metres. {t.who} tiles the whole area.",
        f"{t.who} owns an area of {long} metres by {w} metres {c.at}; {t.friend} owns an area of "
        f"{k} "
        f"metres by {v} metres beside it. They join them.",
    )
    first = t.step("The first rectangle has # square metres.", long * w)
    second = t.step("The second rectangle has # square metres.", k * v)
    area = t.step("The whole area is # square metres.", first + second)
    t.prove(area, sum((long.n,) * w.n) + sum((k.n,) * v.n))
    return _area(area)


VOLUME = Topic(
    DOMAIN,
    "volume",
    ("volume",),
    (
        "The volume of a box is length times width times height.",
        "The area of the base times the height gives the volume.",
        "Find the volume of a single container before you look at several.",
        "Use the same unit for all edges.",
    ),
)

CUBIC = ("cubic decimetres", "cubic decimetre")


def _volume(volume: Number) -> Outcome:
    asks = ("What is the volume in cubic decimetres?", "How many cubic decimetres is the volume?")
    return Outcome(Kind.MEASURE, volume, asks, *CUBIC, what="the volume")


@VOLUME.story(steps=1)
def _box_volume(t: Tale) -> Outcome:
    c, long, w, h = t.c, t.whole(5, 15), t.whole(3, 12), t.whole(3, 12)
    t.tell(
        f"A {c.box} {c.at} is {long} decimetres long, {w} decimetres wide and {h} decimetres high. "
        f"{t.who} fills its volume with {c.stuff}.",
        f"{t.friend} builds a cuboid for {c.place} with edges of {long}, {w} and {h} decimetres "
        f"and "
        f"notes the volume.",
        f"The volume of a water tank {c.at} follows from its edges, which measure {w}, {h} and "
        f"{long} "
        f"decimetres.",
    )
    volume = t.step("The volume is # cubic decimetres.", long * w * h)
    t.prove(volume, sum((long.n * w.n,) * h.n))
    return _volume(volume)


@VOLUME.story(steps=1)
def _prism(t: Tale) -> Outcome:
    c, base, h = t.c, t.whole(15, 60), t.whole(4, 14)
    t.tell(
        f"The base of a column {c.at} has {base} square decimetres, and the column is {h} "
        f"decimetres high. {t.who} works out the volume.",
        f"{c.stuff} stands {h} decimetres high in a basin {c.at} whose floor measures {base} "
        f"square decimetres. {t.third} wants the volume.",
    )
    volume = t.step("The volume is # cubic decimetres.", base * h)
    t.prove(volume, sum((base.n,) * h.n))
    return _volume(volume)


@VOLUME.story(steps=2)
def _base_then_height(t: Tale) -> Outcome:
    c, long, w, d = t.c, t.whole(6, 14), t.whole(3, 5), t.whole(7, 20)
    t.tell(
        f"The floor of a basin {c.at} is {long} by {w} decimetres; the basin is filled to a "
        f"height of "
        f"{d} decimetres. The volume is written on a label by {t.who}.",
        f"{t.friend} pours {c.stuff} into a container {c.at}, {w} decimetres wide, {long} "
        f"decimetres "
        f"long and {d} decimetres deep, until its volume is used.",
    )
    base = t.step("The base has # square decimetres.", long * w)
    volume = t.step("The volume is # cubic decimetres.", base * d)
    t.prove(volume, sum((w.n * d.n,) * long.n))
    return _volume(volume)


@VOLUME.story(steps=2)
def _find_height(t: Tale) -> Outcome:
    c, long, w = t.c, t.whole(5, 14), t.whole(3, 12)
    volume = t.given(long.n * w.n * t.rng.randint(3, 18))
    t.tell(
        f"A cuboid {c.at} has a volume of {volume} cubic decimetres. Its base is {long} "
        f"decimetres by "
        f"{w} decimetres, and {t.who} asks for its height.",
        f"{t.third} orders a {c.box} for {c.place} with a volume of {volume} cubic decimetres. "
        f"Length {long} and width {w} decimetres are fixed, so the height follows.",
    )
    base = t.step("The base has # square decimetres.", long * w)
    height = t.step("The height is # decimetres.", volume / base)
    t.prove(volume, long.n * w.n * height.n)
    asks = ("What is the height in decimetres?", "How many decimetres is the height?")
    return Outcome(Kind.MEASURE, height, asks, "decimetres", "decimetre", what="the height")


@VOLUME.story(steps=2)
def _several_boxes(t: Tale) -> Outcome:
    c, s, h, n = t.c, t.whole(12, 40), t.whole(3, 11), t.whole(3, 11)
    t.tell(
        f"{n} equal columns {c.at} have a base of {s} square decimetres and a height of {h} "
        f"decimetres. {t.who} adds up their volume.",
        f"{t.friend} stores {n} blocks {c.at}. Every block covers {s} square decimetres and is {h} "
        f"decimetres thick; together they take up a certain volume.",
    )
    single = t.step("A single volume is # cubic decimetres.", s * h)
    volume = t.step("The whole volume is # cubic decimetres.", n * single)
    t.prove(volume, sum((s.n * h.n,) * n.n))
    return _volume(volume)


@VOLUME.story(steps=3)
def _remaining_volume(t: Tale) -> Outcome:
    c, long, w, h, k = t.c, t.whole(8, 16), t.whole(5, 12), t.whole(5, 12), t.whole(3, 9)
    block = t.whole(10, 40)
    t.tell(
        f"A chest {c.at} measures {long} by {w} by {h} decimetres inside. {t.who} puts {k} parcels "
        f"with a volume of {block} cubic decimetres each into it.",
    )
    volume = t.step("The chest holds # cubic decimetres.", long * w * h)
    filled = t.step("The parcels take # cubic decimetres.", k * block)
    free = t.step("The free volume is # cubic decimetres.", volume - filled)
    t.prove(volume, free.n + sum((block.n,) * k.n))
    asks = ("How many cubic decimetres stay free?", "What volume is free, in cubic decimetres?")
    return Outcome(Kind.MEASURE, free, asks, *CUBIC, what="the free volume")


TOPICS = (PERIMETER, AREA, VOLUME)
