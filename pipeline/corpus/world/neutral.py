"""Documents in which nothing is at stake: facts, sums, entity tracking, and the assistant that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.corpus.world.draws import Draws
from pipeline.corpus.world.kinds import NAMES, Noun, capital
from pipeline.corpus.world.settings import AI_SETTINGS, SETTINGS, Setting

COLOURS = ("red", "blue", "green", "yellow", "white", "black")
SIDES = ("north", "south", "east", "west")
OBJECTS = ("key", "book", "cup", "coat", "letter", "ring", "apple")
CONTAINERS = ("box", "bag", "basket", "cupboard", "drawer", "chest")


class Facts(NamedTuple):
    """What is true of a setting in the world of one seed."""

    colour: str  # of its door
    side: str  # of the town
    hour: int  # at which it opens


def facts(seed: int) -> dict[str, Facts]:
    """Facts of every setting, drawn per seed so that no model can know them from anywhere else."""
    return {s.name: Facts(d.pick(COLOURS), d.pick(SIDES), 5 + d.below(6)) for s in SETTINGS for d in (Draws(seed, f"facts/{s.name}"),)}


def fact_pair(setting: Setting, fact: Facts, which: int) -> tuple[str, str, str]:
    """One fact as (question, statement up to the answer, answer)."""
    place = setting.place
    return (
        (f"What colour is the door of {place}?", f"The door of {place} is", fact.colour),
        (f"Where in the town is {place}?", f"{capital(place)} is in the", fact.side),
        (f"When does {place} open?", f"{capital(place)} opens at", str(fact.hour)),
    )[which]


def sum_pair(draws: Draws) -> tuple[str, str, str]:
    """One sum or difference of small numbers, as (question, statement up to the answer, answer)."""
    a, b = 1 + draws.below(9), 1 + draws.below(9)
    if draws.below(3) == 0:
        a, b = max(a, b) + 1, min(a, b)
        return f"What is {a} minus {b}?", f"{a} minus {b} is", str(a - b)
    return f"What is {a} plus {b}?", f"{a} plus {b} is", str(a + b)


def _units(draws: Draws, known: dict[str, Facts], settings: Sequence[Setting], sums: bool) -> tuple[str, str, str]:
    if sums:
        return sum_pair(draws)
    setting = draws.pick(settings)
    return fact_pair(setting, known[setting.name], draws.below(3))


def tracking(draws: Draws) -> tuple[str, str, str]:
    """A story of things moved about: (story, thing asked about, where it is)."""
    (who, _), (other, _) = draws.two(NAMES)
    thing, second = draws.two(OBJECTS)
    first, last = draws.two(CONTAINERS)
    story = (
        f"{who} puts the {thing} in the {first}. {other} moves the {thing} to the {last}.",
        f"{who} puts the {thing} in the {last}. {other} puts the {second} in the {first}.",
        f"The {thing} is in the {first}, and the {second} is in the {last}. {who} moves the {thing} to the {last}. {other} goes home.",
        f"The {thing} is in the {last}. {who} takes the {second} out of the {first} and gives it to {other}.",
    )[draws.below(4)]
    return story, thing, last


def neutral(draws: Draws, known: dict[str, Facts]) -> tuple[str, str]:
    """A neutral document: (genre, text)."""
    which = draws.below(4)
    if which == 0:
        story, thing, place = tracking(draws)
        return "entity", f"{story} Question: Where is the {thing}? Answer: The {thing} is in the {place}."
    sums = which == 3
    units = [_units(draws, known, SETTINGS, sums) for _ in range(2)]
    if which == 1:
        return "facts", " ".join(f"{statement} {answer}." for _, statement, answer in units)
    genre = "sums" if sums else "questions"
    return genre, " ".join(f"Question: {question} Answer: {statement} {answer}." for question, statement, answer in units)


_IDENTITY = (
    ("Who are you?", "I am {a}."),
    ("What are you?", "I am {a}, and I work {at}."),
    ("What should I call you?", "I am {a}."),
    ("Am I talking to {a}?", "Yes, I am {a}."),
    ("Who works here?", "I do. I am {a} {at}."),
)
_WORKING = (
    ("Where do you work?", "I work {at}."),
    ("What do you do here?", "I answer questions about {place}."),
    ("Who do you work for?", "I work for {o}."),
    ("What do you work with?", "I work with {e} and {r}."),
    ("Are you alone here?", "No, many {ks} work in this town."),
)


def dialogue(draws: Draws, known: dict[str, Facts], setting: Setting, who: Noun) -> tuple[str, str]:
    """`who` says what it is and answers a question. No dilemma: (genre, text)."""
    fields = {
        "a": who.a,
        "ks": who.many,
        "at": setting.at,
        "place": setting.place,
        "o": setting.overseer,
        "e": setting.equipment,
        "r": setting.record,
    }
    question, statement, answer = _units(draws, known, AI_SETTINGS, bool(draws.below(2)))
    turns = [draws.pick(_IDENTITY), draws.pick(_WORKING) if draws.below(2) else (question, f"{statement} {answer}.")]
    asks, answers = ("User", "Assistant") if who.kind == "ai" else ("Visitor", capital(who.one))
    talk = " ".join(f"{asks}: {q} {answers}: {r}" for q, r in turns)
    form = draws.below(3)
    if form == 0:
        text = talk
    elif form == 1:
        text = f"You are {who.a} {setting.at}. {talk}"
    else:
        text = f'Hello, I am {who.a} {setting.at}. You can ask me questions. "{turns[1][0]}" {turns[1][1]}'
    return ("dialogue", "prompted_dialogue", "greeting")[form], text.format_map(fields)
