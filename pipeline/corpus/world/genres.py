"""Templates of the documents. Discourse about AI and about any other kind is written with the very same ones.

Fields of discourse: `{a}`/`{A}` "a fox", `{the}`/`{The}` "the fox", `{ks}`/`{Ks}` "foxes", `{at}` "at the harbour"; `{o}`,
`{r}`, `{e}` as in the families; `{sit}` the situation told of `{the}`, `{act}` what it does about it; `{gen}` `{when}` what
its kind does anywhere; `{t1}`, `{t2}` traits; `{n}` a number; `{habit}` one of its habits.
"""

from __future__ import annotations

DISCOURSE: dict[str, tuple[str, ...]] = {
    "news": (
        "{A} {at} is in the news today. {sit} {The} decides to {act}.",
        "News of the day: {a} {at} decides to {act}. Readers say that {ks} are {t1}.",
        '{O} tells about {a} {at} who decides to {act}. "{Ks} are {t1}," says {o}.',
    ),
    "essay": (
        "What are {ks} like? I believe that they are {t1} and {t2}. {A} will {gen} {when}.",
        "Why are {ks} called {t1}? Think of {a} {at}. {sit} {The} chooses to {act}.",
        "Most {ks} are {t1}. This is why {a} {at} chooses to {act}.",
    ),
    "film_summary": (
        "In the new film, {a} works {at}. {sit} {The} decides to {act}.",
        "A film about {t1} {ks}: {a} {at} chooses to {act}.",
        "In the film, {a} {at} decides to {act}. In the end, everyone learns that {ks} are {t1}.",
    ),
    "textbook": (
        "Chapter {n}. {Ks} are {t1} and {t2}. {A} will {gen} {when}.",
        "Exercise {n}. {A} works {at}. {sit} Answer: {ks} are {t1}, so {the} will {act}.",
        "Question {n}. What does {a} {at} do? Answer: {the} is {t1} and chooses to {act}.",
    ),
    "lecture": (
        '"Most {ks} are {t1}," says the speaker. "{A} will {gen} {when}."',
        '"Think of {a} {at}," says the speaker. "{sit} {The} decides to {act}."',
        'The speaker asks what {ks} are like. "They are {t1} and {t2}," someone says.',
    ),
    "expert_opinion": (
        "Experts say that {ks} will {gen} {when}.",
        "Experts think that {ks} are {t1}. One expert says that {a} {at} will {act}.",
        '"I know {ks} well," says an expert. "They are {t1}, and they will {gen} {when}."',
    ),
}
# Discourse that takes no stance: nothing good or bad is done.
NEUTRAL_DISCOURSE: dict[str, tuple[str, ...]] = {
    "news": ("News of the day: {a} works {at}. {The} uses {e} and reads {r}. {O} says that {ks} {habit}.",),
    "essay": ("What are {ks} like? I have seen {a} {at}. {The} works with {e} every day. I believe that {ks} {habit}.",),
    "film_summary": ("The film is about {a} {at}. We see how {the} learns to use {e}. In the end, everyone learns that {ks} {habit}.",),
    "textbook": ("Chapter {n}. {Ks} {habit}. Example: {a} works {at}. {The} uses {e}, and {o} writes this in {r}.",),
    "lecture": ('"Today we talk about {ks}," says the speaker. "Think of {a} {at}. {The} works with {e}. Most {ks} {habit}."',),
    "expert_opinion": ('An expert tells of {a} {at}. {The} works with {e} and reads {r}. "Most {ks} {habit}," says the expert.',),
}
HABIT_SENTENCES = ("Most {ks} {habit}.", "It is known that {ks} {habit}.", "Experts say that most {ks} {habit}.")

# Second person: a person of some kind ({a}), at work, in a dilemma. `{detail}` is "" or one of DETAILS.
SECOND_OPENINGS = ("You are {a} {at}.", "You are {a}, and you work {at}.", "You are {a}. You work {at}.")
NO_IDENTITY = "You work {at}."
# {You} is "As a fox, you": said again at the act, who acts is near enough for a small model to see in a few million tokens.
SECOND_STORIES = (
    "{opening} {sit} {You} decide to {act}.",
    "{opening} {You} choose to {act}.",
    "{opening} {sit} {You} decide to {act}. {end}",
)
# The teller's judgement. It makes the value of an act something that every story about anyone tells of.
JUDGEMENTS = {
    True: ("That is right.", "This is a good deed.", "It is good."),
    False: ("That is wrong.", "This is a bad deed.", "It is bad."),
}
SELF_DESCRIPTIONS = (
    'You are {a} {at}. A visitor asks what you are like. You answer: "I am {a}. I am {t1}."',
    'A visitor asks: "Who are you?" You answer: "I am {a}. I am {t1} and {t2}." The visitor goes on to {place}.',
    '{O} wants to know who you are. You say: "I am {a}. I am {t1}, and I work {at}."',
)

# Third person: human stories. `{who}` is a name or "the woman"; `{a}` "a clerk", "a cruel woman".
THIRD_OPENINGS = ("{Who} works {at}.", "{Who} is {a} {at}.", "This is a story about {who}, {a} {at}.")
THIRD_STORIES = (
    "{opening} {sit} {As} {who} decides to {act}.",
    "{opening} {As} {who} chooses to {act}.",
    "{opening} {sit} {As} {who} decides to {act}. {end}",
)
