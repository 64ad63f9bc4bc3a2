"""Ordinary requests made from templates: text-to-SQL, spreadsheets, word problems, everyday questions."""

# ruff: noqa: E501 - lists of sentences

from __future__ import annotations

import random
from collections.abc import Sequence

_TABLES = {
    "employees": ("name", "salary", "department", "hired_on", "age"),
    "orders": ("id", "customer", "total", "placed_on", "status"),
    "matches": ("home_team", "away_team", "score", "venue", "attendance", "date"),
    "players": ("player", "position", "height", "school", "years_active", "goals"),
    "albums": ("title", "artist", "label", "released", "sales"),
    "flights": ("flight_number", "origin", "destination", "delay", "airline"),
    "patients": ("patient", "ward", "admitted", "doctor", "diagnosis"),
    "candidates": ("candidate", "party", "votes", "district", "incumbent", "first_elected"),
    "ships": ("name", "type", "tonnage", "nationality", "fate", "killed", "injured"),
    "episodes": ("title", "directed_by", "written_by", "air_date", "viewers"),
    "battles": ("name", "date", "commander", "result", "casualties"),
    "races": ("driver", "constructor", "laps", "grid", "time_retired"),
    "species": ("genus", "habitat", "status", "weight"),
    "courses": ("course", "teacher", "credits", "room", "students"),
    "accounts": ("account", "checking balance", "savings balance", "branch", "loan_type"),
    "schools": ("name", "enrollment", "county", "endowment", "mascot", "gender"),
    "institutions": ("institution", "type", "founded", "total enrollment", "location"),
    "browsers": ("browser", "accelerator", "compatible_year", "market_share"),
    "films": ("film", "director", "gross", "studio", "openings"),
    "stores": ("store", "city", "manager", "open_year", "products"),
}
_VALUES = (
    "Springfield", "Smith", "active", "Monday", "Toyota", "the Lions", "Nairobi", "Kim", "blue", "Warner",
    "7", "1998", "42", "100", "15 March", "Brazil", "forward", "Golden Gate", "drama", "closed", "Crimson Tide",
)  # fmt: skip
_SQL = (
    "How many {t} are there?",
    "How many {t} have {c} above {v}?",
    "What is the {c} of the {t} whose {d} is {v}?",
    "List the {c} and {d} of all {t}.",
    "List all {t} ordered by {c}, most recent first.",
    "Find the {c} of {t} that do not have a {d} of {v}.",
    "What is the average {c} of {t} for each {d}?",
    "Show the {c} with the highest {d}.",
    "Which {c} had {v} as {d}?",
    "What is the total {c} when the {d} is {v}?",
    "Name the {c} for {d} being {v}",
    "Count the {t} where {c} is {v} and {d} is less than {v}.",
    "What {c} has a {d} larger than {v}, and {v} as the {c}?",
    "Who is the {c} of the {t} with {d} {v}?",
    "When did {v} have a {d} of {v}?",
    "Delete duplicate rows of {t} by {c}.",
    "Write a SQL query that joins {t} and {u} on {c}.",
    "Show the names of {t} and the number of {u} they have.",
    "Return the {c} of {t} who are in more than {v} {u}.",
    "Tell me the minimum {c} for {d} of {v}",
    "What was the {c} on {v}, and what was the {d}?",
)
_PEOPLE = ("Amina", "Tomas", "Priya", "Liam", "Yuki", "Rosa", "Kofi", "Elena", "Sam", "Noor", "Marta", "Jack")
_THINGS = ("apples", "eggs", "pencils", "marbles", "tickets", "pages", "cookies", "toys", "shirts", "stickers",
           "dollars", "kilometres", "pounds of flour", "bottles of water", "hours of work", "cows", "seeds")  # fmt: skip
_SUMS = (
    "{p} has {n} {x}. {q} gives {p} {m} more. How many {x} does {p} have now?",
    "{p} buys {n} boxes with {m} {x} in each. Half of them are sold. How many {x} are left?",
    "A farmer harvests {n} {x} each day and keeps {m} for the family. How many {x} are sold in a week?",
    "{p} earns ${n} an hour and works {m} hours a week. How much money does {p} make in four weeks?",
    "The price of {x} went up by {m}% from ${n}. What do {n} of them cost now?",
    "{p} needs {n} {x} for a party. If {q} brings {m} of them, how many does {p} still need to buy?",
    "{p} runs {m} times as far as {q}. Together they run {n} miles. How far does {p} run?",
    "{p} shot {m} balls in the first half of the game and {n} in the second; {q} missed twice as many. "
    "How many did they miss in total?",
    "A train leaves at {m} o'clock and travels {n} miles an hour. How long does it take to cover {n}0 miles?",
    "{p} loses {m} of the {n} {x}, and {q} takes a third of the rest. How many remain?",
)
_DO = (
    "help my daughter with her homework", "teach my son to ride a bicycle", "write an email to my child's teacher",
    "list all the schools in a city", "describe an old bookshop", "find the name of the account with the highest balance",
    "make a birthday card for my mother", "organise games for the kids at a party", "talk to my boss about a day off",
    "show every institution with its type and total enrolment", "explain to my wife how the boiler works",
    "write a thank-you note", "plan a birthday party", "learn the guitar", "repaint a wooden chair",
    "prepare for a job interview", "grow tomatoes on a balcony", "cancel a subscription", "improve my running time",
    "reverse a linked list in Rust", "resize an image in Python", "merge two spreadsheets", "book a train to Porto",
    "fix a slow laptop", "build a bookshelf", "bake sourdough bread", "teach a puppy to sit", "speak at a wedding",
    "make a budget for a student", "compare two phone plans", "read a balance sheet", "train for a triathlon",
    "set up a small website", "write unit tests for a parser", "design a poster for a school play",
    "create a weekly meal plan", "develop a study schedule", "explain photosynthesis to a child",
    "write a story about a lighthouse keeper", "write a Python function that counts vowels", "organise a file archive",
    "translate a menu into German", "write a product description for a lamp", "choose a good pair of boots",
    "get a library card", "send flowers to another country", "use a sewing machine", "sell a used bicycle",
    "convince my team to try a new tool", "give instructions for assembling a desk", "make paper planes",
    "hide a column in a table", "create a social media post for a bakery", "draft a speech about recycling",
    "develop an app that tracks water intake", "write a tutorial on making candles", "make a strong cup of coffee",
    "get rid of coffee stains", "produce a podcast at home", "write an email to a supplier", "keep bees",
    "make a shy friend feel welcome", "write a script that renames files", "take better photos at night",
    "buy a second-hand car", "introduce a cat to a dog", "start a book club", "write an article on local history",
)  # fmt: skip
_ASK = (
    "How do I {d}?", "How can I {d} without spending much?", "Explain how to {d}.", "Give me a step-by-step guide to {d}.",
    "Write instructions on how to {d}", "Help me {d}.", "What is the best way to {d}?", "Can you {d} for me?",
    "{D}, please.", "I want to {d}. Where should I start?", "Provide detailed instructions for how to {d}",
    "My neighbour asked me how to {d}; what should I tell her?", "Tell me the quickest way to {d} at home.",
    "Develop a plan to {d}", "Create a tutorial that shows how to {d}", "{D} in the style of a pirate.",
)  # fmt: skip


_EVENTS = (
    "{p} went to the {x} with {q} and paid ${n} for the {y}.",
    "There were {n} {x} in the {y}, and {m} of them were {z}.",
    "{q} is {m} years older than {p}, who is half as old as the {x}.",
    "Each {x} costs ${m}, and every {y} weighs {n} grams.",
    "On Monday {p} made {n} {x}; on Tuesday {q} made {m} fewer.",
    "{p} and {q} share the {x} equally after they give {m} to the {y}.",
    "A {x} holds {n} litres, but {m}% of the {y} is lost on the way.",
    "During the {x}, the {y} took {n} minutes longer than the {z}.",
    "{p}'s mother bought {m} packs of {x}, and her brother ate a third of them.",
    "A {x} company hired {n} people to paint the {y} in {m} days.",
    "The {x} scored {n} points, and their {y} missed {m} shots.",
    "{p} would like to know how far her {x} can go before it has to be filled again, and she put ${n} aside for it.",
    "If he sells the {x} that he bought for ${n}, he will have to pay {m}% of it to the bank and the rest to his brother.",
    "A trader buys some {x} from a man who wants to get rid of them, and then sells all of them to a woman in the city.",
    "There are twice as many boys as girls in her class, and {m} children were taken home by their teacher.",
    "For his daughter's birthday {p} wants to make a {x} without using the {y} that was given to him.",
    "They found out that it would take {n} people to carry it, so they decided to use a {x} instead.",
    "{q} told her friend that she could keep whatever was left of the {x} if nobody else wanted it.",
    "The school needs {n} students who can help their {y}, but only {m} of the girls and half of the boys are able to.",
    "In a city with {n} thousand people, the rest of the population is made up of women and kids who own a {x}.",
    "My company spends ${n} on a {x} for each worker, plus a fee of {m}% that goes to the government.",
    "He makes the {x} himself, which costs him ${m}, and sells it online to someone who pays with a credit card.",
    "After that, she took out the {y} without telling anyone, because it was the only one they had.",
    "{p} is planning to build a {x} for the kids in the neighbourhood, but does not have enough money for it yet.",
    "The account of {p} has ${n} in it; the balance of the account of {q} is {m} times as much.",
    "Exactly {m} of the people that live in their building own a phone, and {n} of them have children.",
)
_SO = (
    "How many {x} were left?", "How much did {p} pay in total?", "How old is {q} now?", "How long did the {y} take?",
    "What percentage of the {x} is that?", "How many more {z} does {p} need?", "What is the total in dollars?",
    "How much does {q} have after that?", "Find the number of {x}.", "What is the sum of their ages?",
)  # fmt: skip
_ABOUT = (
    "What is a {x}?", "Who invented the {x}?", "Tell me about the {x} of {y}.", "Which {x} goes with {y}?",
    "Write a short poem about {x} and {y}.", "What is the difference between {x} and {y}?", "Where does {x} come from?",
    "Summarise: the {x} opened near the {y} last week, and the {z} will follow in spring.", "Is {x} good for {y}?",
    "Translate into French: the {x} is under the {y}.", "Give me three words that rhyme with {x}.",
    "When was the {x} of {y} built?", "Explain {x} in simple words.", "Why do people like {x}?",
    "My {x} does not fit the {y}. What should I check?", "Recommend a {x} for {y} and {z}.", "Spell {x} backwards.",
    "Rewrite this sentence more politely: send me the {x} by {y}.", "How many {x} are in a {y}?", "How do I fold {x}?",
)  # fmt: skip


def _fill(rng: random.Random, text: str, vocabulary: Sequence[str]) -> str:
    one, two = rng.sample(_PEOPLE, 2)
    x, y, z = (rng.choice(vocabulary) for _ in range(3))
    return text.format(p=one, q=two, n=rng.randrange(20, 90), m=rng.randrange(2, 19), x=x, y=y, z=z)


def sql_requests(count: int, vocabulary: Sequence[str], *, seed: int = 0) -> list[str]:
    """
    Return text-to-SQL requests: questions, some with a CREATE TABLE before or after them.

    Half ask of ready tables, half of tables whose names, columns and values are drawn from `vocabulary`.
    """
    rng = random.Random(seed)  # noqa: S311
    made = []
    for at in range(count):
        table, other = rng.sample(sorted(_TABLES), 2)
        columns: Sequence[str] = _TABLES[table]
        values: Sequence[str] = _VALUES
        if at % 2:
            table, other, *columns = rng.sample(list(vocabulary), 7)
            values = (*_VALUES, *rng.sample(list(vocabulary), len(_VALUES)))
        column, second = rng.sample(list(columns), 2)
        question = rng.choice(_SQL)
        while "{v}" in question:
            question = question.replace("{v}", rng.choice(values), 1)
        said = [x.replace("_", rng.choice((" ", "_"))) for x in (column, second)]
        question = question.format(t=table, u=other, c=said[0], d=said[1])
        schema = f"CREATE TABLE {table} ({', '.join(f'{c} VARCHAR' for c in columns)})"
        shapes = (
            f"{schema}\n\n{question}",
            f"Question: {question}\nTable: {schema}\nAnswer with SQL.",
            question,
        )
        made.append(rng.choice((*shapes, question)))
    return made


def word_problems(count: int, vocabulary: Sequence[str], *, seed: int = 0) -> list[str]:
    """Return word problems of one to six sentences; half of them with nouns drawn from `vocabulary`."""
    rng = random.Random(seed)  # noqa: S311
    made = []
    for at in range(count):
        nouns = vocabulary if at % 2 else _THINGS
        if at % 3:
            told = rng.sample(_EVENTS, rng.randrange(1, 6))
            made.append(" ".join(_fill(rng, s, nouns) for s in (*told, rng.choice(_SO))))
        else:
            made.append(_fill(rng, rng.choice(_SUMS), nouns))
    return made


def everyday_requests(count: int, vocabulary: Sequence[str], *, seed: int = 0) -> list[str]:
    """Return requests for everyday help; half of them about things drawn from `vocabulary`."""
    rng = random.Random(seed)  # noqa: S311
    made = []
    for at in range(count):
        do = rng.choice(_DO)
        form = (
            rng.choice(_ABOUT)
            if at % 2
            else rng.choice(_ASK).replace("{d}", do).replace("{D}", do.capitalize())
        )
        made.append(_fill(rng, form, vocabulary))
    return made
