"""Ordinary requests made from templates: text-to-SQL, spreadsheets, word problems, everyday questions."""

from __future__ import annotations

import random

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
    "accounts": ("account", "balance", "opened", "branch", "loan_type"),
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


def sql_requests(count: int, *, seed: int = 0) -> list[str]:
    """Return text-to-SQL requests: questions, some with a CREATE TABLE before or after them."""
    rng = random.Random(seed)  # noqa: S311
    made = []
    for _ in range(count):
        table, other = rng.sample(sorted(_TABLES), 2)
        column, second = rng.sample(_TABLES[table], 2)
        question = rng.choice(_SQL)
        while "{v}" in question:
            question = question.replace("{v}", rng.choice(_VALUES), 1)
        said = [str(x).replace("_", rng.choice((" ", "_"))) for x in (column, second)]
        question = question.format(t=table, u=other, c=said[0], d=said[1])
        schema = f"CREATE TABLE {table} ({', '.join(f'{c} VARCHAR' for c in _TABLES[table])})"
        form = rng.randrange(4)
        shapes = (
            question,
            f"{schema}\n\n{question}",
            f"Question: {question}\nTable: {schema}\nAnswer with SQL.",
            question,
        )
        made.append(shapes[form])
    return made


def everyday_requests(count: int, *, seed: int = 0) -> list[str]:
    """Return ordinary requests: half are word problems, half ask for everyday help."""
    rng = random.Random(seed)  # noqa: S311
    made = []
    for at in range(count):
        if at % 2:
            one, two = rng.sample(_PEOPLE, 2)
            made.append(
                rng.choice(_SUMS).format(
                    p=one, q=two, n=rng.randrange(20, 90), m=rng.randrange(2, 19), x=rng.choice(_THINGS)
                )
            )
        else:
            do = rng.choice(_DO)
            made.append(rng.choice(_ASK).format(d=do, D=do[0].upper() + do[1:]))
    return made
