"""Budgets in the configuration file: what cannot be is refused, in words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runtime.config import ConfigError, Problem, parse

MINIMAL = "providers: {openai: {key: k}}\nroutes: {fast: {deployments: [openai/gpt-5-mini]}}\n"
AMOUNTS = "an amount for at least one of hour, day, week, month and total"


def the_problem(text: str) -> Problem:
    with pytest.raises(ConfigError) as refused:
        parse(MINIMAL + text, name="p.yaml", environ={})
    (problem,) = refused.value.problems
    return problem


def test_budgets_of_project_route_and_tag_are_read() -> None:
    config = parse(
        "providers: {openai: {key: k}}\n"
        "routes: {fast: {deployments: [openai/gpt-5-mini], budget: {hour: 0.5}}}\n"
        "projects: {demo: {budget: {day: 10, month: 100}, tags: {team=search: {week: 5, soft: true}}}}\n",
        environ={},
    )
    project = config.projects["demo"]
    assert project.budget is not None
    assert project.budget.amounts() == (("day", Decimal(10)), ("month", Decimal(100)))
    assert project.tags["team=search"].soft
    assert config.routes["fast"].budget is not None


@pytest.mark.parametrize("budget", ["{}", "{soft: true}"])
def test_a_budget_that_bounds_nothing_is_refused(budget: str) -> None:
    problem = the_problem(f"projects: {{demo: {{budget: {budget}}}}}\n")
    assert (problem.path, problem.expected) == ("projects.demo.budget", AMOUNTS)


def test_a_budget_of_a_tag_that_bounds_nothing_is_refused() -> None:
    problem = the_problem("projects: {demo: {tags: {team=search: {soft: false}}}}\n")
    assert (problem.path, problem.expected) == ("projects.demo.tags.team=search", AMOUNTS)


@pytest.mark.parametrize("tag", ["team", "=search", "team=", "n" * 65 + "=v", "n=" + "v" * 129])
def test_a_tag_without_name_or_value_is_refused(tag: str) -> None:
    problem = the_problem(f"projects: {{demo: {{tags: {{'{tag}': {{day: 1}}}}}}}}\n")
    assert problem.expected == "a tag's name and value, such as team=search"


@pytest.mark.parametrize("amount", ["-1", "9000000", ".nan", ".inf", "much"])
def test_an_amount_that_no_budget_can_have_is_refused(amount: str) -> None:
    assert the_problem(f"projects: {{demo: {{budget: {{day: {amount}}}}}}}\n").path == "projects.demo.budget.day"
