"""The figures of the tour, for a person."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.demo.books import Account, Books
from appliance.demo.screen import Screen
from appliance.demo.stage import Billed
from appliance.demo.staging import LIMITED, WINDOW
from appliance.demo.verdict import Evidence, Spread, failures, moved, spread


def show(screen: Screen, seen: Evidence) -> None:
    """Jobs by route, providers, failures made good, and what was promised."""
    _routes(screen, seen)
    _providers(screen, seen)
    _made_good(screen, seen)
    _books(screen, seen.books)
    _promises(screen, seen)


def _routes(screen: Screen, seen: Evidence) -> None:
    rows = []
    for route in sorted({story.prompt.route for story in seen.stories}):
        stories = [story for story in seen.stories if story.prompt.route == route]
        first = [story.first_token for story in stories if story.first_token is not None]
        rows.append([route, str(len(stories)), *_cells(spread(s.seconds for s in stories)), _cells(spread(first))[0]])
    everything = spread(story.seconds for story in seen.stories)
    first = [story.first_token for story in seen.stories if story.first_token is not None]
    rows.append(["all", str(len(seen.stories)), *_cells(everything), _cells(spread(first))[0]])
    heads = ("route", "jobs", "p50", "p90", "p99", "first token p50")
    screen.table("Seconds from submission to result", heads, rows)
    screen.plain(f"{LIMITED} alone serves route cheap, so its jobs wait for that limit.", style="dim")


def _cells(found: Spread | None) -> list[str]:
    return ["-"] * 3 if found is None else [f"{value:.2f} s" for value in (found.p50, found.p90, found.p99)]


def _providers(screen: Screen, seen: Evidence) -> None:
    answered = [result.provider for result in seen.succeeded]
    failed = failures(seen.results)
    rows = []
    for name in sorted({*seen.billed, *(one for one in answered if one)}):
        billed = seen.billed.get(name)
        use = seen.uses.get(name)
        rows.append(
            [
                name,
                str(answered.count(name)),
                str(sum(count for (provider, _), count in failed.items() if provider == name)),
                *_tokens(billed),
                "none" if use is None else f"{use.most} of {use.limit}",
                "0" if use is None else str(use.refused),
            ]
        )
    heads = ("provider", "jobs", "failed", "tokens in", "tokens out", "billed", "requests", "429")
    screen.table("Providers, by their own meters", heads, rows)
    window = f"the most in any {WINDOW:g} s, and the limit"
    screen.plain(f"failed: attempts, all made good below; requests: {window}.", style="dim")


def _tokens(billed: Billed | None) -> list[str]:
    if billed is None:
        return ["0", "0", "$0"]
    return [f"{billed.input:,}", f"{billed.output:,}", f"${billed.cost:.4f}"]


def _made_good(screen: Screen, seen: Evidence) -> None:
    rows = [
        [provider, kind.value.replace("_", " "), str(count)]
        for (provider, kind), count in failures(seen.results).most_common()
    ]
    if rows:
        screen.table("Attempts that failed and were made good", ("provider", "what happened", "attempts"), rows, left=2)


def _books(screen: Screen, books: Books) -> None:
    rows = [
        _account("facts, each attempt once", books.facts),
        _account("  reported by their providers", books.reported),
        _account("  the same, by the meters", books.metered),
    ]
    for why in sorted({guess.why for guess in books.guesses}):
        of = [guess for guess in books.guesses if guess.why == why]
        rows.append(_account(f"estimated ({why.replace('_', ' ')})", sum((one.told for one in of), Account())))
        rows.append(_account("  the same, by the meters", sum((one.billed for one in of), Account())))
    screen.table(
        "Money, by our facts and by the providers' meters",
        ("", "attempts", "tokens in", "tokens out", "dollars"),
        rows,
    )
    screen.plain(
        "estimated: cut off, so nobody could report what was used. Of an attempt that went with its worker nothing is"
        " known: it counts as what was reserved for it, until a provider's statement says better.",
        style="dim",
    )


def _account(name: str, one: Account) -> list[str]:
    return [name, str(one.attempts), f"{one.input:,}", f"{one.output:,}", f"{one.cost:.6f}"]


def _balance(books: Books) -> str:
    same = books.reported == books.metered and not books.differing
    guessed = f", {len(books.guesses)} attempts estimated" if books.guesses else ""
    return f"to the token and the cent{guessed}" if same else "no"


def _promises(screen: Screen, seen: Evidence) -> None:
    accepted = 2 + len(seen.capped.results) + sum(1 for story in seen.stories if story.job)
    cap = seen.capped
    use = seen.uses.get(LIMITED)
    lines = [
        ("accepted jobs", f"{accepted}"),
        ("results in the stream", f"{sum(seen.stored.values())} of {len(seen.stored)} jobs: exactly one each"),
        ("succeeded", f"{len(seen.succeeded)}"),
        ("moved to another provider", f"{moved(seen.results)}"),
        ("answers 429", f"{seen.rate_limited}" + (f", at {use.most / use.limit:.0%} of the limit" if use else "")),
        ("attempts that failed", f"{sum(failures(seen.results).values())}, all made good"),
        ("answers paid for twice", f"{sum(seen.answered_twice.values())}"),
        ("small budget", f"${cap.metered.cost:.6f} of ${cap.budget} spent, {len(cap.refused)} jobs not run for it"),
        ("facts = meters", _balance(seen.books)),
        ("processes restarted", _restarts(seen.restarts.items())),
        ("took", f"{seen.seconds:.0f} s"),
    ]
    screen.title("In one look")
    for name, value in lines:
        screen.plain(f"  {name:<27}{value}", indent=29)


def _restarts(restarts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}x" for name, count in restarts if count) or "none"
