"""The curation web application: the only Starlette and Jinja.

How a page module is written (`signing.py` and `people.py` are two):

    def shown(visit: Visit) -> dict[str, Any] | BaseModel | NamedTuple: ...
    ROUTES = (
        Page("/examples", Right.LOOK, shown, "examples.html"),   # and /examples.json
        Page("/examples/{id:int}", Right.LOOK, one, "example.html"),
        Action("/examples/{id:int}/approve", Right.REVIEW, approve, again=ONE),
        Upload("/imports/upload", Right.OPERATE, take),          # visit.body: pieces of bytes
        Download("/imports/{id:uuid}/repair", Right.LOOK, repair),
        Passage("/sign-in/provider", leave, again=FORM),         # leads on, here or elsewhere
    )

What costs much or searches says so: `pace=Pace.COSTLY`, `pace=Pace.SEARCH`.

and added to `app.SERVED`, and to the table in tests/web/test_rights.py. Functions are plain, run
in a thread and get a `Visit`:

    visit.store, visit.runtime, visit.now, visit.person (a core.people.Person)
    visit.domains                      what every query is limited to; None: nothing
    visit.domain(), .text(name), .number(name, default, most=), .choice(name, Words)   the query
    visit.field(name), .fields(name), .field_number(name, most=), .field_choice(name, Words)
    visit.document                     the JSON of a POST; visit.path["id"] variables of the path
    visit.require(Right.CURATE, domain=...)   what is another's is 404

A page returns its content (named tuples and models may be nested) or `Go(path)`; an action returns
`Done(then, says, content)`: a form is sent on to `then`, which says `says`, machines get JSON.
Errors of tdsys.errors become 400 InvalidInput, 403 NotAllowed, 404 NotFound, 409 Conflict and
NotReady, 429 TooSoon, 503 Transient. Every POST needs the form token: `{{ ui.proof(here) }}`
in a form, the header X-CSRF-Token from scripts (`tdsys.send(path, document)` and
`tdsys.upload(path, file)` of app.js do it); API tokens do not.

Templates extend base.html (blocks `title`, `main`, `scripts`, `foot`; `{% set has_math = true %}`
loads KaTeX) and get the content's fields, `here` (person, form_token, path, query,
static(...), now, as_json), `ui` (the macros of macros.html), and `mistake`, `typed`, `made` when a
form is shown again. No script, style element or event attribute in a page: the policy refuses them.
Text of examples, models and files is shown by `ui.untrusted(text)` and by nothing else, a single
line of it in a table by `{{ text|line }}`.
"""

from __future__ import annotations
