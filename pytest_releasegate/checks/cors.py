"""`cors`: which other sites' scripts may read answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictBool, StringConstraints, model_validator

from pytest_releasegate.check import counted, find
from pytest_releasegate.model import Ok
from pytest_releasegate.params import Parameters
from pytest_releasegate.sources.text import OneOrMore, shown
from pytest_releasegate.sources.webpages import fetch, is_later, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_releasegate.check import Context
    from pytest_releasegate.model import Finding
    from pytest_releasegate.sources.http import Answer

__all__ = ["Cors"]

_STRANGER = "releasegate.invalid"
_SIMPLE = ("GET", "HEAD", "POST")
_NOT_FOUND = 404


def _is_origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "null" and "${" not in text and (text != f"{parts.scheme}://{parts.netloc}" or not parts.netloc):
        raise ValueError(f"expected an origin such as https://app.example.org, without a path, got '{text}'")
    if "*" in text:
        raise ValueError(f"expected one origin that is tried, not a pattern of them, got '{text}'")
    sent = re.sub(r"^(https://[^:]+):443$|^(http://[^:]+):80$", r"\1\2", text.lower())
    if "${" not in text and sent != text:
        raise ValueError(f"browsers write the origin '{text}' as '{sent}'; write it so")
    return text


Origin = Annotated[str, StringConstraints(min_length=1), AfterValidator(_is_origin)]


class Cors(Parameters):
    """Answers and preflights as browsers judge them, for sites that may and may not; the denominator is the origins.

    ```yaml
    cors:
      url: /api/clients
      allowed: https://portal.example.org
      denied: https://blog.example.org
      methods: [GET, PUT]
      headers: [authorization]
      credentials: true
    ```
    """

    kind: ClassVar[str] = "cors"
    waits: ClassVar[bool] = True
    shorthand: ClassVar[str] = "url"

    url: Annotated[str, StringConstraints(min_length=1)]
    """A path under the environment's base URL or an absolute URL."""
    allowed: Annotated[tuple[Origin, ...], OneOrMore] = ()
    """Origins whose scripts must be able to read the answer; without any, no other site may."""
    denied: Annotated[tuple[Origin, ...], OneOrMore] = ()
    """Origins whose scripts must not; strangers, `null` and look-alikes of those allowed are always tried too."""
    methods: Annotated[tuple[Annotated[str, StringConstraints(pattern="^[A-Z]+$")], ...], OneOrMore] = ("GET",)
    """The methods that allowed origins may use; each is asked for by a preflight, and none but GET is ever sent."""
    headers: Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], OneOrMore] = ()
    """The request headers that allowed origins may send, such as `authorization`."""
    credentials: StrictBool = False
    """Whether allowed origins may send cookies along."""
    public: StrictBool = False
    """Whether any site may read the answer, without credentials: then `*` is as expected, and no origin is denied."""
    ca: str = ""
    """A file with the certificate authority to trust, relative to the root; may hold references."""

    @model_validator(mode="after")
    def _agreed(self) -> Cors:
        if self.public and (self.credentials or self.denied):
            raise ValueError("what is `public` is denied to nobody, and takes no `credentials`")
        if both := set(self.allowed) & set(self.denied):
            raise ValueError(f"{shown(sorted(both))}: both `allowed` and `denied`")
        if not self.methods:
            raise ValueError("`methods`: expected one at least, for no preflight is asked without")
        return self

    def look(self, context: Context) -> Iterator[Finding]:
        """Ask as each origin's scripts would, simply and by preflight."""
        allowed = [context.resolve(origin, secret=False) for origin in self.allowed]
        denied = [context.resolve(origin, secret=False) for origin in self.denied]
        for origin in allowed:
            yield from self._may(origin, context)
        strangers = [origin for origin in (*denied, *_strangers(allowed)) if origin not in allowed]
        if self.public:
            yield from self._may(f"https://{_STRANGER}", context)
        for origin in dict.fromkeys(strangers):
            yield self._may_not(origin, context)
        yield counted("origins", len(allowed) + len(set(strangers)))

    def _may(self, origin: str, context: Context) -> Iterator[Finding]:
        answer = self._ask(origin, context)
        name = f"{place(answer)} from {origin}"
        yield _told(name, self._allows(answer, origin), answer)
        varies = {each.lower() for each in _listed(answer, "Vary")}
        if answer.headers.get("Access-Control-Allow-Origin") == origin and not varies & {"origin", "*"}:
            actual = shown(sorted(varies)) or "absent"
            expected = "Origin, else a cache hands the answer to other sites' scripts"
            yield find(f"{name} Vary", expected=expected, actual=actual, ok=False, observe=True)
        for method in self.methods:
            answer = self._preflight(origin, method, context)
            problems = self._allows(answer, origin) + self._preflight_problems(answer, method)
            yield _told(f"{name} preflight of {method}", problems, answer)

    def _allows(self, answer: Answer, origin: str) -> list[str]:
        """Why a browser would keep the answer from the origin's script."""
        said = answer.headers.get("Access-Control-Allow-Origin")
        wild = said == "*" and not self.credentials
        problems = [] if said == origin or wild else [f"Access-Control-Allow-Origin is {said or 'absent'}"]
        if self.credentials and answer.headers.get("Access-Control-Allow-Credentials") != "true":
            problems.append("Access-Control-Allow-Credentials is not true")
        return problems

    def _preflight_problems(self, answer: Answer, method: str) -> list[str]:
        problems = [] if 200 <= answer.status < 300 else [f"the status is {answer.status}"]
        methods = _listed(answer, "Access-Control-Allow-Methods")
        headers = {each.lower() for each in _listed(answer, "Access-Control-Allow-Headers")}
        wild = not self.credentials
        if method not in (*methods, *_SIMPLE) and not (wild and "*" in methods):
            problems.append(f"Access-Control-Allow-Methods is {shown(methods) or 'absent'}")
        # `*` never stands for Authorization (Fetch standard)
        missing = [
            name
            for name in self.headers
            if name.lower() not in headers and not (wild and "*" in headers and name.lower() != "authorization")
        ]
        if missing:
            problems.append(f"Access-Control-Allow-Headers is without {shown(missing)}")
        return problems

    def _may_not(self, origin: str, context: Context) -> Finding:
        answers = [self._ask(origin, context), *(self._preflight(origin, each, context) for each in self.methods)]
        name = f"{place(answers[0])} from {origin}"
        open_to = [words for answer in answers if (words := self._openness(answer, origin))]
        expected = "never with credentials" if self.public else "not allowed"
        if open_to:
            return find(name, expected=expected, actual=open_to[0], ok=False)
        unsure = [answer.status for answer in answers if is_later(answer)] or (
            [_NOT_FOUND] if answers[0].status == _NOT_FOUND else []
        )
        if unsure:
            return find(name, expected=expected, actual=f"not allowed, by a {unsure[0]}", ok=Ok.CANNOT_TELL)
        return find(name, expected=expected, actual="not allowed" if not self.public else "never", ok=True)

    def _openness(self, answer: Answer, origin: str) -> str:
        """How an answer opens itself to an origin that it should not; empty when it does not."""
        said = answer.headers.get("Access-Control-Allow-Origin", "")
        cookies = answer.headers.get("Access-Control-Allow-Credentials") == "true"
        how = {"*": "allowed as *", origin: "allowed by name" if origin in self.denied else "its origin is sent back"}
        if said not in how or (self.public and not cookies):
            return ""
        return how[said] + (" with credentials" if cookies else "")

    def _ask(self, origin: str, context: Context) -> Answer:
        return fetch(context, self.url, ca=self.ca, headers={"Origin": origin})

    def _preflight(self, origin: str, method: str, context: Context) -> Answer:
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        if self.headers:
            headers["Access-Control-Request-Headers"] = ",".join(sorted(name.lower() for name in self.headers))
        return fetch(context, self.url, ca=self.ca, method="OPTIONS", headers=headers)


def _strangers(allowed: Sequence[str]) -> Iterator[str]:
    """Origins that a careless comparison takes for one that is allowed."""
    yield f"https://{_STRANGER}"
    yield "null"
    for origin in allowed:
        if origin == "null":
            continue
        scheme, _, host = origin.partition("://")
        name = host.partition(":")[0]
        yield f"{scheme}://{name}.{_STRANGER}"
        yield f"{scheme}://releasegate{host}"
        if not name.replace(".", "").isdecimal() and "." in name:
            yield f"{scheme}://{host.replace('.', 'x', 1)}"  # a dot that a pattern takes for any letter
        if scheme == "https":
            yield f"http://{host}"


def _listed(answer: Answer, name: str) -> list[str]:
    return [part.strip() for part in answer.headers.get(name, "").split(",") if part.strip()]


def _told(name: str, problems: list[str], answer: Answer) -> Finding:
    if is_later(answer) or (answer.status == _NOT_FOUND and not problems):
        said = f"{answer.status} {answer.reason}".strip()
        actual = said if problems else f"allowed, by a {said}; is the path right?"
        return find(name, expected="allowed", actual=actual, ok=Ok.CANNOT_TELL)
    return find(name, expected="allowed", actual="; ".join(problems) or "allowed", ok=not problems)
